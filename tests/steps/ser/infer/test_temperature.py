"""The temperature of a model directory: who chooses it, and where it counts."""

import json
import shutil

import numpy as np
import onnxruntime
import pytest
import torch

from conftest import run, tone
from ser import load_model
from ser.data.data_dir import read_table
from ser.data.feature_bank import load_bank
from ser.data.fold_data import FoldData
from ser.infer.evaluation import score
from ser.infer.export import as_onnx
from ser.infer.posteriors import logits_of
from ser.model_dir.emotion_model import load_emotion_model
from ser.stats.calibration import fit_temperature, reliability


@pytest.fixture
def model(trained, tmp_path):
    return shutil.copytree(trained / "vgg5_ad" / "fold_s1", tmp_path / "m")


def temperature_of(model):
    return json.loads((model / "calibration.json").read_text())["temperature"]


def set_temperature(model, value):
    (model / "calibration.json").write_text(json.dumps({"format_version": 1, "temperature": value}))


def scored(model):
    """Utterances, references and hypotheses, and probabilities `[utterances, classes]` of per_utt."""
    rows = [line.split() for line in read_table(model / "score" / "per_utt").values()]
    return (list(read_table(model / "score" / "per_utt")), np.array([row[:2] for row in rows]),
            np.array([row[2:] for row in rows], float))


def test_the_validation_speaker_chooses_it_and_per_utt_has_it(model, tiny):
    data = FoldData.read(tiny, "fold_s1")
    network, config = load_emotion_model(model)
    bank = load_bank(tiny, data.parts["valid"] + data.parts["test"], config["options"]["feature_norm"], "cpu")
    valid, test = (logits_of(network, bank, bank.indices(data.parts[part])) for part in ("valid", "test"))
    temperature = temperature_of(model)
    assert temperature == pytest.approx(fit_temperature(valid, data.emotions(data.parts["valid"])), rel=1e-4) != 1
    utts, labels, probabilities = scored(model)
    assert utts == data.parts["test"]
    np.testing.assert_allclose(probabilities, torch.softmax(test / temperature, 1), atol=2e-6)
    assert [config["classes"][number] for number in test.argmax(1)] == list(labels[:, 1])  # as without a temperature
    results = json.loads((model / "results.json").read_text())
    references = data.emotions(utts)
    for name, logits in (("reliability", test / temperature), ("reliability_uncalibrated", test)):
        expected = reliability(torch.softmax(logits, 1), references)
        assert results[name]["ece"] == pytest.approx(expected.ece, abs=1e-3)
        assert results[name]["nll"] == pytest.approx(expected.nll, abs=1e-5)


def test_the_test_speaker_has_no_say_in_it(model, tiny, tmp_path):
    data = shutil.copytree(tiny, tmp_path / "data")
    text = (data / "utt2emo").read_text()
    (data / "utt2emo").write_text("".join(
        f"{utt} {'sad' if utt.startswith('s1-') else label}\n" for utt, label in map(str.split, text.splitlines())))
    before, file = scored(model), (model / "calibration.json").read_text()
    score(model, data, torch.device("cpu"))
    after = scored(model)
    assert (model / "calibration.json").read_text() == file
    assert list(after[1][:, 0]) == ["sad"] * 12 and list(after[1][:, 1]) == list(before[1][:, 1])
    np.testing.assert_array_equal(after[2], before[2])


def test_prediction_and_export_take_it_and_say_the_same_emotion(model):
    samples = [tone(np.random.default_rng(number), 110 + 15 * number).astype(np.float32) for number in range(6)]
    (model / "calibration.json").unlink()  # as of a version before
    plain = load_model(model)
    set_temperature(model, 2.5)
    warm = load_model(model)
    session = onnxruntime.InferenceSession(as_onnx(warm.network, warm.input_format), providers=["CPUExecutionProvider"])
    for each in samples:
        before, after = plain.predict(each), warm.predict(each)
        assert after.label == before.label
        p, q = (np.array(list(one.probabilities.values())) for one in (before, after))
        np.testing.assert_allclose(q, p**0.4 / (p**0.4).sum(), atol=1e-5)
        assert q.max() < p.max()
        features = warm.features(each)
        (found,) = session.run(None, {"features": features[None], "lengths": np.array([len(features)])})
        np.testing.assert_allclose(found[0], q, atol=1e-5)


def test_folds_are_averaged_each_with_its_own(trained, tmp_path):
    system = shutil.copytree(trained / "vgg5_ad", tmp_path / "vgg5_ad")
    for fold, temperature in (("fold_s1", 0.5), ("fold_s2", 4.0)):
        set_temperature(system / fold, temperature)
    sound = tone(np.random.default_rng(1), 140).astype(np.float32)
    said = [np.array(list(load_model(place).predict(sound).probabilities.values()))
            for place in (system, system / "fold_s1", system / "fold_s2")]
    np.testing.assert_allclose(said[0], (said[1] + said[2]) / 2, atol=1e-6)


@pytest.mark.parametrize("text, message", [
    ("{", "has no temperature between 0.001 and 1000"), ("[1]", "has no temperature"),
    ('{"format_version": 1, "temperature": NaN}', "has no temperature"),
    ('{"format_version": 1, "temperature": 0}', "has no temperature"),
    ('{"format_version": 1, "temperature": "2"}', "has no temperature"),
    ('{"format_version": 7, "temperature": 2.0}', "has format_version 7, this version of the recipe reads 1")])
def test_a_damaged_one_is_one_clear_line(text, message, model, tiny, tmp_path, outcome):
    (model / "calibration.json").write_text(text)
    result = run("steps/export.py", model, tmp_path / "model.onnx", check=False)
    line, = result.stderr.splitlines()
    assert result.returncode == 1 and f"m/calibration.json: {message}" in line and "steps/score.py" in line
    outcome(f"calibration.json {text}", "prediction", result.returncode, line.replace(f"{tmp_path}/", ""))
    run("steps/score.py", model, tiny)
    assert 0.1 <= temperature_of(model) <= 10

"""Exported networks, run by onnxruntime and by torch.export.load(): the probabilities of the model directory."""

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch

from conftest import ROOT, run, tone
from ser.data.normalization import PER_UTTERANCE
from ser.infer.export import as_onnx, as_program
from ser.infer.prediction import load_model
from ser.infer.probability_network import ProbabilityNetwork
from ser.nn.models import EmotionModel
from ser.nn.options import EmotionModelConfig
from ser.nn.pooling import POOLINGS

SHAPES = ((1, 1), (1, 2), (1, 15), (3, 16), (1, 17), (4, 33), (2, 300), (7, 100))  # batch, frames
MODELS = ("vgg5_ad/fold_s1", "vgg5_ad", "resnet18_ad")


def batches():
    """Features with noise behind each end, and lengths of which one is the longest."""
    rng = np.random.default_rng(0)
    for batch, frames in SHAPES:
        lengths = rng.integers(1, frames + 1, batch)
        lengths[-1] = frames
        yield rng.normal(size=(batch, frames, 41)).astype(np.float32), lengths


def alone(recognizer, features, lengths):
    """Probabilities of each utterance of a batch by itself."""
    with torch.inference_mode():
        return np.array([np.mean([network(torch.from_numpy(utterance[None, :length]))[0].softmax(1)[0].numpy()
                                  for network in recognizer.network.networks], axis=0)
                         for utterance, length in zip(features, lengths, strict=True)])


@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_says_the_same(name, trained, tmp_path):
    run("steps/export.py", trained / name, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert [(each.name, each.shape, each.type) for each in session.get_inputs()] == [
        ("features", ["batch", "frames", 41], "tensor(float)"), ("lengths", ["batch"], "tensor(int64)")]
    assert [(each.name, each.shape) for each in session.get_outputs()] == [("probabilities", ["batch", 2])]
    recognizer = load_model(trained / name)
    for features, lengths in batches():
        (found,) = session.run(None, {"features": features, "lengths": lengths})
        assert np.allclose(found, alone(recognizer, features, lengths), atol=1e-4)
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["classes"]) == ["ang", "sad"] and said == recognizer.input_format.metadata
    assert "--frame-length=40" in said["fbank.conf"]
    samples = tone(np.random.default_rng(4), 130).astype(np.float32)
    features = recognizer.features(samples)
    (found,) = session.run(None, {"features": features[None], "lengths": np.array([len(features)])})
    assert np.allclose(found[0], list(recognizer.predict(samples).probabilities.values()), atol=1e-4)


def test_torch_export_says_the_same(trained):
    recognizer = load_model(trained / "vgg5_ad" / "fold_s1")
    more = {"metadata.json": ""}
    content = as_program(recognizer.network, recognizer.input_format)
    program = torch.export.load(io.BytesIO(content), extra_files=more).module()
    for features, lengths in batches():
        found = program(torch.from_numpy(features), torch.from_numpy(lengths))
        assert np.allclose(found.detach(), alone(recognizer, features, lengths), atol=1e-4)
    said = json.loads(more["metadata.json"])
    assert json.loads(said["classes"]) == ["ang", "sad"] and said == recognizer.input_format.metadata


@pytest.mark.parametrize("pooling", sorted(POOLINGS.keys() - {"mean"}))
def test_every_pooling_can_be_exported(pooling, trained):
    """The two tests above have an AD module; for torch.export the mean over time is a part of "stats"."""
    recognizer = load_model(trained / "vgg5_ad" / "fold_s1")
    torch.manual_seed(0)
    network = EmotionModel(EmotionModelConfig(backbone="vgg5", pooling=pooling), 41, 2, 2)
    network(torch.randn(8, 80, 41))  # statistics that are not those at the start
    recognizer.network = ProbabilityNetwork([network.eval()])
    session = onnxruntime.InferenceSession(as_onnx(recognizer.network, recognizer.input_format),
                                           providers=["CPUExecutionProvider"])
    expected = [alone(recognizer, features, lengths) for features, lengths in batches()]
    for (features, lengths), of_batch in zip(batches(), expected, strict=True):
        (found,) = session.run(None, {"features": features, "lengths": lengths})
        assert np.allclose(found, of_batch, atol=1e-4)
    if pooling != "time":
        program = torch.export.load(io.BytesIO(as_program(recognizer.network, recognizer.input_format))).module()
        for (features, lengths), of_batch in zip(batches(), expected, strict=True):
            found = program(torch.from_numpy(features), torch.from_numpy(lengths))
            assert np.allclose(found.detach(), of_batch, atol=1e-4)


@pytest.mark.parametrize("fbank, vad, norm", [
    ("", "", "utterance"), ("", "--aggressiveness=0\n--voiced-share=0.7\n", "utterance-mean"),
    ("--frame-length=25\n--frame-shift=15\n--window-type=povey\n--num-mel-bins=40\n--use-energy=true\n", "", "none")])
def test_the_example_of_the_docs_runs(fbank, vad, norm, trained, tiny, tmp_path):
    """docs/onnx_example.py, without the recipe, says of a WAV what predict says."""
    shutil.copytree(trained / "vgg5_ad" / "fold_s1", tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["features"]["fbank.conf"] += fbank
    config["features"]["vad.conf"] += vad
    config["options"]["feature_norm"] = norm
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    said = run("steps/export.py", tmp_path / "m", tmp_path / "model.onnx").stdout
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SER_ROOT")}
    for name in ("s1-ang0", "s4-sad5"):
        sound = tmp_path / f"{name}.wav"
        samples, _ = soundfile.read(tiny.parent / "source" / "audio" / f"{name}.wav", dtype="int16")
        soundfile.write(sound, np.pad(samples, 5000), 16000)  # with unvoiced frames
        shutil.copy(ROOT / "docs" / "onnx_example.py", tmp_path)
        result = subprocess.run([sys.executable, "onnx_example.py", "model.onnx", sound], cwd=tmp_path, env=env,
                                capture_output=True, text=True, check=True)
        expected = load_model(tmp_path / "m").predict(sound).probabilities
        assert json.loads(result.stdout) == pytest.approx(expected, abs=1e-4)
    # What is printed and what the metadata say is how it was made.
    assert "docs/onnx_example.py" in said and f"steps/predict.py {tmp_path}/model.onnx x.wav" in said
    words = load_model(tmp_path / "model.onnx").input_format.in_words
    assert words in said and "--dither=0" in words
    assert ("deviation" in words) == (norm == "utterance") and ("minus the mean" in words) == (norm != "none")
    assert ("povey windows of 25 ms every 15 ms" in words) == bool(fbank) and ("mode 0" in words) == bool(vad)


def test_every_normalization_has_words(trained):
    of_model = load_model(trained / "vgg5_ad" / "fold_s1").input_format
    assert len({dataclasses.replace(of_model, feature_norm=norm).in_words for norm in PER_UTTERANCE}) == 4


def test_what_is_exported_is_not_exported_again(trained, tmp_path):
    run("steps/export.py", trained / "vgg5_ad" / "fold_s1", tmp_path / "model.onnx")
    result = run("steps/export.py", tmp_path / "model.onnx", tmp_path / "again.pt2", check=False)
    assert result.returncode == 1 and "model.onnx: not a model directory" in result.stderr
    assert not (tmp_path / "again.pt2").exists()


@pytest.mark.parametrize("words, message", [
    (["model.tflite"], "model.tflite ends with no format; end it with .onnx or .pt2, or give --format"),
    (["--format", "onnx", "/proc/model"], "/proc"), (["--format", "xml", "x"], "invalid choice: 'xml'")])
def test_one_clear_line(words, message, trained, tmp_path):
    place = [str(tmp_path / word) if word.startswith("model") else word for word in words]
    result = run("steps/export.py", *place[:-1], trained / "vgg5_ad" / "fold_s1", place[-1], check=False)
    lines = result.stderr.splitlines()
    assert result.returncode == 1 and len(lines) == 1 and message in lines[0]
    assert not list(tmp_path.iterdir())

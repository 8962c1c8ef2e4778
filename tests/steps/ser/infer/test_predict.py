"""Prediction: what score.py says of the same sound, for files, folders, data directories and pieces; and its faults."""

import json
import math
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from conftest import ROOT, run, tone
from ser import load_model
from ser.audio.waveform import load_audio
from ser.base.errors import UserError
from ser.data.data_dir import read_table
from ser.model_dir.checkpoint import load_tensors, save_tensors

WINDOW = "--segment", "window", "--window-seconds"


@pytest.fixture
def model(trained):
    return trained / "vgg5_ad" / "fold_s1"


@pytest.fixture
def audio(tiny):
    return tiny.parent / "source" / "audio"


def predict(*words, code=0, text=None):
    """Rows that predict.py wrote, without the header, and the lines on standard error."""
    command = [sys.executable, "steps/predict.py", *map(str, words)]
    result = run("steps/predict.py", *words, check=False) if text is None else subprocess.run(
        command, cwd=ROOT, input=text, capture_output=True, text=True)
    assert result.returncode == code, result.stderr
    return [line.split("\t") for line in result.stdout.splitlines()[1:]], result.stderr.splitlines()


def probabilities(row):
    return [float(word) for word in row[-3:-1]]


@pytest.mark.parametrize("name", ["vgg5_ad/fold_s1", "vgg5_ad/fold_s2", "resnet18_ad/fold_s1"])
def test_probabilities_are_those_of_score(name, trained, audio):
    scored = read_table(trained / name / "score" / "per_utt")
    rows, complaints = predict(trained / name, *(audio / f"{utt}.wav" for utt in scored))
    assert [row[0] for row in rows] == [str(audio / f"{utt}.wav") for utt in scored] and not complaints
    for row, said in zip(rows, scored.values(), strict=True):
        _, label, *expected = said.split()
        assert row[1] == label and np.allclose(probabilities(row), np.array(expected, float), atol=1e-5)


def test_folds_are_averaged(trained, model, audio):
    path = audio / "s3-ang2.wav"
    rows = [predict(place, path)[0][0] for place in (model, trained / "vgg5_ad" / "fold_s2", trained / "vgg5_ad")]
    one, other, both = map(probabilities, rows)
    assert one != other and np.allclose(both, np.mean([one, other], axis=0), atol=1e-6)


def test_a_folder_a_data_directory_and_standard_input(tiny, model, audio, tmp_path):
    whole, _ = predict(model, audio)
    assert [row[0] for row in whole] == [str(path) for path in sorted(audio.iterdir())]
    of = {os.path.basename(row[0]).removesuffix(".wav"): row[1:] for row in whole}
    assert {row[0]: row[1:] for row in predict(model, tiny)[0]} == of
    assert {row[0]: row[1:] for row in predict(model, tiny.parent / "source")[0]} == of  # wav.scp of relative paths
    named, _ = predict(model, "-", text=f"{audio}/s1-ang0.wav\r\n\n{audio}/s2-sad1.wav")
    assert [row[1:] for row in named] == [of["s1-ang0"], of["s2-sad1"]]
    (tmp_path / "deep" / "er").mkdir(parents=True)
    shutil.copy(audio / "s1-ang0.wav", tmp_path / "deep" / "er" / "a b.WAV")
    (tmp_path / "deep" / "notes.txt").write_text("none")
    (tmp_path / "deep" / "._a.wav").write_text("what macOS leaves")
    assert predict(model, tmp_path)[0] == [[str(tmp_path / "deep" / "er" / "a b.WAV"), *of["s1-ang0"]]]


def test_segments_of_a_data_directory(model, audio, tmp_path):
    samples, _ = soundfile.read(audio / "s1-ang5.wav", dtype="int16")
    soundfile.write(tmp_path / "cut.wav", samples[3200:12800], 16000)
    (tmp_path / "wav.scp").write_text(f"r {audio}/s1-ang5.wav\n")
    (tmp_path / "segments").write_text("r-2 r 0.2 0.8\n")
    assert predict(model, tmp_path)[0][0][1:] == predict(model, tmp_path / "cut.wav")[0][0][1:]


@pytest.mark.parametrize("suffix, rate", [("flac", 16000), ("wav", 8000), ("ogg", 48000), ("mp3", 44100),
                                          ("aiff", 22050)])
def test_any_rate_and_format(suffix, rate, model, tmp_path):
    samples = np.repeat(tone(np.random.default_rng(1), 120)[:, None], 2, axis=1)
    soundfile.write(tmp_path / f"x.{suffix}", samples, rate)
    (row,), _ = predict(model, tmp_path / f"x.{suffix}")
    assert sum(probabilities(row)) == pytest.approx(1, abs=1e-5)


def test_a_piece_is_predicted_as_the_file_that_it_would_be(model, audio, tmp_path):
    samples = np.concatenate([soundfile.read(audio / f"s1-{name}.wav", dtype="int16")[0]
                              for name in ("ang5", "sad5", "ang4", "sad4")])
    soundfile.write(tmp_path / "long.wav", samples, 16000)
    rows, _ = predict(*WINDOW, "1.5", "--shift-seconds", "0.75", model, tmp_path / "long.wav")
    seconds = len(samples) / 16000
    starts = [float(row[1]) for row in rows]
    assert starts == [0.75 * number for number in range(len(rows))]
    assert starts[-1] + 1.5 >= seconds > starts[-2] + 1.5 and float(rows[-1][2]) == pytest.approx(seconds, abs=0.01)
    for number, row in enumerate(rows):
        soundfile.write(tmp_path / "piece.wav", samples[12000 * number : 12000 * number + 24000], 16000)
        assert row[3:] == predict(model, tmp_path / "piece.wav")[0][0][1:]
    assert [row[1:3] for row in predict(*WINDOW, "60", model, tmp_path / "long.wav")[0]] == [
        ["0.00", f"{seconds:.2f}"]]


def test_json(model, audio):
    path = audio / "s1-ang0.wav"
    (row,), _ = predict(model, path)
    said = json.loads(run("steps/predict.py", "--format", "json", model, path).stdout)
    assert said == {"file": str(path), "label": row[1], "reason": None,
                    "probabilities": dict(zip(["ang", "sad"], probabilities(row), strict=True))}
    pieces = run("steps/predict.py", "--format", "json", *WINDOW, "0.3", model, path).stdout.splitlines()
    assert [json.loads(piece)["end"] for piece in pieces] == [0.3, 0.6]


def test_python(model, audio):
    path = audio / "s1-ang0.wav"
    found = load_model(model).predict(path)
    (row,), _ = predict(model, path)
    assert found.label == row[1] == max(found.probabilities, key=found.probabilities.get)
    assert list(found.probabilities) == ["ang", "sad"] and (found.start, found.end) == (0, 0.6)
    assert found == load_model(str(model)).predict(load_audio(path))
    code = "import ser, sys; assert not {'torch', 'numpy'} & sys.modules.keys(); ser.load_model"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError):
        import ser
        _ = ser.load_models


def test_without_a_voiced_frame_all_are_kept(model):
    recognizer = load_model(model)
    assert recognizer.features(np.zeros(16000, np.float32)).shape == (97, 41)
    assert len(recognizer.features(np.pad(tone(np.random.default_rng(2), 150), 16000).astype(np.float32))) < 150


def test_commands_never_run(model, audio, tmp_path):
    data, touched = tmp_path / "data", tmp_path / "touched"
    data.mkdir()
    (data / "wav.scp").write_text(f"a touch {touched}; cat {audio}/s1-ang0.wav |\nb {audio}/s1-ang0.wav\n")
    rows, complaints = predict(model, data, f"touch {touched} |", code=1)
    assert [row[0] for row in rows] == ["b"] and not touched.exists()
    assert "is a command, and none is run here" in complaints[0] and "No such file" in complaints[1]
    assert len(complaints) == 2


def test_bad_sounds_are_named_and_the_others_done(model, audio, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "wav.scp").write_text("a x.wav y\na\n")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "wav.scp").write_text(f"r {audio}/s1-ang0.wav\n")
    (tmp_path / "cut" / "segments").write_text("r-1 r 0.1 nan\n")
    whole = (audio / "s1-ang0.wav").read_bytes()
    (tmp_path / "half.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(tmp_path / "long.flac", np.zeros(16000 * 601, np.int16), 16000)
    bad = {"nowhere.wav": "cannot be read: No such file", "text.wav": "cannot be read", "half.wav": "is cut short",
           "empty": "a folder without a sound file", "data": "wav.scp:2: expected 'key value'",
           "cut": "segments: r-1: expected 'recording start end'",
           "long.flac": "more than 600 s are too long for one utterance; take it in parts"}
    words = [word for name in bad for word in (tmp_path / name, audio / "s1-ang0.wav")]
    rows, complaints = predict(model, *words, code=1)
    assert len(rows) == len(complaints) == len(bad) and all(row == rows[0] for row in rows)
    for (name, message), complaint in zip(bad.items(), complaints, strict=True):
        assert complaint.startswith(f"predict.py: {tmp_path / name}") and message in complaint
        assert complaint.count(str(tmp_path)) == 1


def test_a_model_directory_is_all_that_is_needed(trained, audio, tiny, tmp_path):
    """Its data, archives and configuration are gone, and it is used from elsewhere."""
    before, _ = predict(trained / "vgg5_ad", audio / "s1-ang0.wav")
    shutil.copytree(trained / "vgg5_ad", tmp_path / "copy")
    shutil.copy(audio / "s1-ang0.wav", tmp_path / "x.wav")
    for path in (tmp_path / "copy").rglob("config.json"):
        path.write_text(path.read_text().replace(str(tiny), "/gone"))
    result = subprocess.run([sys.executable, ROOT / "steps" / "predict.py", "copy", "x.wav"], cwd=tmp_path,
                            capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[1].split("\t")[1:] == before[0][1:]


@pytest.mark.parametrize("name, line", [("fbank.conf", "--window-type=rectangular\n"),
                                        ("vad.conf", "--voiced-share=1\n")])
def test_what_was_recorded_counts(name, line, model, tmp_path):
    samples = np.pad(tone(np.random.default_rng(3), 150), 8000).astype(np.float32)
    before, after = (load_model(place).features(samples)
                     for place in (model, changed(model, tmp_path / "m", set_feature(name, line))))
    assert before.shape != after.shape if name == "vad.conf" else not np.allclose(before, after, atol=0.1)


def changed(model, place, change):
    """A copy of a model directory with a change to its config.json."""
    shutil.copytree(model, place)
    config = json.loads((place / "config.json").read_text())
    change(config)
    (place / "config.json").write_text(json.dumps(config))
    return place


def set_option(name, value):
    return lambda config: config["options"].update({name: value})


def set_feature(name, line):
    return lambda config: config["features"].update({name: config["features"][name] + line})


CONFIG_FAULTS = {
    "nothing": (lambda config: config.clear(), "has no options"),
    "a pre-training": (lambda config: config.pop("classes"), "is not that of an emotion model"),
    "classes no list": (lambda config: config.update(classes="ang"), "classes must be different words, not 'ang'"),
    "class of two lines": (lambda config: config.update(classes=["a\nb", "c"]), r"classes .*, not \['a\\nb', 'c'\]"),
    "class twice": (lambda config: config.update(classes=["ang", "ang"]), "classes must be different words"),
    "more classes": (lambda config: config.update(classes=["a", "b", "c"]), "best.safetensors: does not fit"),
    "dimension text": (lambda config: config.update(dimension="41"), "dimension must be a whole number, not '41'"),
    "dimension true": (lambda config: config.update(dimension=True), "dimension must be a whole number, not True"),
    "dimension huge": (lambda config: config.update(dimension=10**30), "dimension must lie between 1 and 65535"),
    "attention_dim huge": (set_option("attention_dim", 2**40), "attention_dim must lie between"),
    "weight endless": (set_option("ad_weight", math.inf), "ad_weight must be a number, not inf"),
    "backbone unknown": (set_option("backbone", "../vgg5"), "backbone is one of resnet18 vgg5 conv1d, not '../vgg5'"),
    "select a path": (set_option("select", "../../x"), "select is one of best last, not '../../x'"),
    "norm unknown": (set_option("feature_norm", "os.system"), "feature_norm is one of"),
    "norm a list": (set_option("feature_norm", ["none"]), r"feature_norm must be text, not \['none'\]"),
    "layer unknown": (set_option("ad_after", "../x"), "vgg5 has no layer '../x'"),
    "option of another version": (set_option("number_of_heads", 4), "has an option 'number_of_heads' that this"),
    "features no texts": (lambda config: config.update(features={"fbank.conf": 3}), "features 'fbank.conf' must be"),
    "features not known": (lambda config: config.update(features={}), "does not say with which fbank.conf"),
    "other dimension": (set_feature("fbank.conf", "--num-mel-bins=40\n"), "makes 40 features per frame.* takes 41"),
    "fbank huge": (set_feature("fbank.conf", "--frame-length=1e12\n"), "frame-length must be 1000 ms or less"),
    "fbank not a number": (set_feature("fbank.conf", "--frame-shift=nan\n"), "frame-shift must lie between"),
    "fbank no shift": (set_feature("fbank.conf", "--frame-shift=1e-9\n"), "frame-shift a sample or more"),
    "fbank unknown": (set_feature("fbank.conf", "--config=/etc/passwd\n"), "fbank.conf: unknown option --config"),
    "fbank choice": (set_feature("fbank.conf", "--window-type=bell\n"), "--window-type is one of hamming"),
    "fbank bool": (set_feature("fbank.conf", "--use-energy=1\n"), "--use-energy takes no '1'"),
    "vad grammar": (set_feature("vad.conf", "aggressiveness\n"), r"vad.conf:\d+: expected --key=value"),
    "vad range": (set_feature("vad.conf", "--aggressiveness=7\n"), "aggressiveness must be 0, 1, 2 or 3"),
}


@pytest.mark.parametrize("fault", CONFIG_FAULTS)
def test_a_damaged_configuration_is_one_clear_line(fault, model, tmp_path):
    change, message = CONFIG_FAULTS[fault]
    with pytest.raises(UserError, match=message) as said:
        load_model(changed(model, tmp_path / "m", change))
    assert "\n" not in str(said.value) and len(str(said.value).removeprefix(str(tmp_path))) < 300


def test_a_retired_option_of_a_version_before_is_no_fault(model, tmp_path):
    """scratch_lr_factor was an option, and pooling and ad_lr_factor were none."""
    def as_before(config):
        for name in ("pooling", "ad_lr_factor", "label_smoothing", "weight_decay"):
            del config["options"][name]
        config["options"]["scratch_lr_factor"] = 0.1

    samples = tone(np.random.default_rng(4), 130).astype(np.float32)
    before = load_model(changed(model, tmp_path / "m", as_before))
    assert before.predict(samples) == load_model(model).predict(samples)


@pytest.mark.parametrize("text", ["", "[]", "[" * 100000, "{", "\x00", '{"options": 1' + "0" * 5000 + "}"])
def test_no_configuration_is_one_clear_line(text, model, tmp_path):
    shutil.copytree(model, tmp_path / "m")
    (tmp_path / "m" / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config.json: (not valid JSON|has no options)"):
        load_model(tmp_path / "m")


def test_a_model_that_is_not_whole_is_refused(trained, model, audio, tmp_path):
    _, complaints = predict(audio, audio, code=1)
    assert len(complaints) == 1 and "not a model directory" in complaints[0]
    shutil.copytree(trained / "vgg5_ad", tmp_path / "m")
    weights = tmp_path / "m" / "fold_s1" / "best.safetensors"
    tensors, _ = load_tensors(weights)
    save_tensors(weights, {**tensors, "classifier.bias": torch.tensor([0.0, math.nan])})
    with pytest.raises(UserError, match="best.safetensors: holds a value that is not finite"):
        load_model(tmp_path / "m")
    shutil.copy(model / "best.safetensors", weights)
    (tmp_path / "m" / "fold_s1" / "state.safetensors").touch()
    with pytest.raises(UserError, match="fold_s1: its training is not finished"):
        load_model(tmp_path / "m")
    (tmp_path / "m" / "fold_s1" / "state.safetensors").unlink()
    changed(model, tmp_path / "m" / "fold_s3", set_feature("vad.conf", "--voiced-share=0.4\n"))
    with pytest.raises(UserError, match="fold_s3/config.json: features differs from that of .*fold_s1"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("words, message", [
    (["--shift-seconds", "1"], "--shift-seconds goes with --segment window"),
    (["--segment", "vad", "--window-seconds", "1"], "--window-seconds goes with --segment window"),
    (["--segment", "window", "--pause-seconds", "1"], "--pause-seconds goes with --segment vad"),
    (["--segment", "4"], "invalid choice: '4'"),
    ([*WINDOW, "0"], "windows of 0 s cannot be; give 0.2 to 600"), ([*WINDOW, "nan"], "windows of nan s"),
    ([*WINDOW, "1", "--shift-seconds", "-1"], "every -1 s cannot be"),
    ([*WINDOW, "1", "--shift-seconds", "inf"], "every inf s cannot be"),
    (["--segment", "vad", "--pause-seconds", "0"], "a pause of 0 s cannot be"),
    (["--segment", "vad", "--max-seconds", "1e9"], r"segments of 1e\+09 s cannot be; give 0.2 to 600"),
    (["--format", "xml"], "invalid choice: 'xml'"), (["--format", "textgrid"], "--out-dir goes with --format textgrid"),
    (["--out-dir", "x"], "--out-dir goes with --format textgrid or audacity"),
    ([*WINDOW, "1", "--shift-seconds", "0.5", "--format", "textgrid", "--out-dir", "x"], "textgrid has no overlap"),
    (["--min-probability", "1.5"], "min-probability must lie between 0 and 1, not be 1.5"),
    (["--min-probability", "nan"], "min-probability must lie between 0 and 1, not be nan")])
def test_options_are_one_clear_line(words, message, model, audio):
    rows, complaints = predict(*words, model, audio, code=1)
    assert not rows and len(complaints) == 1 and re.search(message, complaints[0])

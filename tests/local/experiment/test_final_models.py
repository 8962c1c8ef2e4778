"""Models that learn from all speakers: how long, what they are expected to do, and that no table counts them."""

import csv
import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import onnxruntime
import pytest
import soundfile

from conftest import ROOT, run, tone
from ser import load_model
from ser.model_dir.checkpoint import load_tensors
from stages import moved

OPTIONS = ("--backbone=vgg5", "--epochs=4", "--batch-size=16", "--crop=40", "--precision=fp32",
           "--feature-norm=utterance", "--extractor-lr-factor=0.3")
SYSTEMS = ("--systems", "vgg5_baseline majority")


def plan(place, *words, code=0):
    """Plan trainings; return what was said, and the planned configuration files."""
    tasks = place / "exp" / "tasks"
    result = run("local/experiment/plan_finetuning.py", *SYSTEMS, "--finetune-config", place / "own.conf", *words,
                 place / "data", place / "exp", tasks, check=False)
    assert result.returncode == code, result.stderr
    return result.stderr.splitlines(), sorted(tasks.glob("*.conf"))


def train(place):
    for script in ("finetune", "train_classical"):
        run("steps/finetune_tasks.py", "--script", script, "--job", "1", "--num-jobs", "1", place / "exp" / "tasks",
            place / "exp" / "log")


def tables(place):
    """What the scripts of the results make, and what a user greps."""
    for script in ("make_results", "make_wf1", "make_confusions", "make_curves"):
        run(f"local/results/{script}.py", *SYSTEMS, place / "data", place / "exp")
    grep = subprocess.run("grep WF1 exp/*/*/RESULT", shell=True, cwd=place, capture_output=True, text=True).stdout
    paths = [place / "exp" / "RESULTS", *sorted((place / "exp" / "analysis").rglob("*"))]
    return grep, {str(path.relative_to(place)): path.read_bytes() for path in paths if path.is_file()}


@pytest.fixture(scope="session")
def finals(tiny, make_once):
    """Folds and final model of a system, its tables before there was a final model, and what the planner said."""
    def make(place):
        shutil.copytree(tiny, place / "data")
        (place / "own.conf").write_text("\n".join(OPTIONS) + "\n")
        assert len(plan(place)[1]) == 8
        train(place)
        grep, before = tables(place)
        said, planned = plan(place, "--final", "true")
        (place / "said").write_text(json.dumps([said, len(planned), grep, sorted(before)]))
        train(place)
        assert (grep, before) == tables(place)

    return make_once("final models", make)


@pytest.fixture
def place(finals, tmp_path):
    return moved(finals, tmp_path / "place")


@pytest.fixture
def final(place):
    return place / "exp" / "vgg5_baseline" / "final"


def valid_of(fold):
    with open(fold / "log" / "epochs.tsv") as file:
        return [float(row["valid"]) for row in csv.DictReader(file, delimiter="\t")]


def folds_of(place):
    return sorted((place / "exp" / "vgg5_baseline").glob("fold_*"))


def test_it_is_no_fold_of_any_table(finals):
    said, planned, grep, files = json.loads((finals / "said").read_text())
    line, = (line for line in said if "no final model" in line)
    assert line.endswith("majority: no final model, for of a system without a network nothing is kept but scores")
    assert planned == 1 and grep.count("\n") == 8 and "exp/analysis/curves.png" in files  # the same after it was made
    assert not (finals / "exp" / "majority" / "final").exists()
    assert not (finals / "exp" / "vgg5_baseline" / "final" / "RESULT").exists()
    assert plan(finals)[1] == [] and plan(finals, "--final", "true")[1] == []


def test_it_stops_where_the_folds_stood_on_average(place, final):
    chosen = [int(np.argmax(valid_of(fold))) + 1 for fold in folds_of(place)]
    stop = math.floor(np.mean(chosen) + 0.5)
    said = (final / "TRAINED").read_text()
    assert said.startswith(f"%FINAL 48 utterances of 4 speakers [ epoch {stop} of 4, its 4 folds have WF1 ")
    assert len(valid_of(final)) == stop and all(map(math.isnan, valid_of(final)))
    assert not (final / "best.safetensors").exists()
    config = json.loads((final / "config.json").read_text())
    assert config["training_speakers"] == ["s1", "s2", "s3", "s4"] and config["utterances"] == {
        "train": 48, "valid": 0, "test": 0}

    # Folds that chose other epochs make it again from the start
    for fold, best in zip(folds_of(place), (1, 1, 2, 1), strict=True):
        rows = [[epoch, epoch, 1.0, 90 if epoch == best else 50] for epoch in (1, 2, 3, 4)]
        (fold / "log" / "epochs.tsv").write_text("epoch\tstep\tloss\tvalid\n" + "".join(
            "\t".join(map(str, row)) + "\n" for row in rows))
    said, planned = plan(place, "--final", "true")
    assert len(planned) == 1 and any("final: changed since made: models of the folds; made again" in line
                                     for line in said)
    train(place)
    assert " [ epoch 1 of 4, " in (final / "TRAINED").read_text() and len(valid_of(final)) == 1


def test_the_card_says_what_results_json_does(place, final):
    results = json.loads((place / "exp" / "vgg5_baseline" / "results.json").read_text())
    scores, (low, high) = results["pooled"]["scores"], results["interval"]
    card = (final / "README.md").read_text()
    for said in (f"| weighted F1 | **{scores['wf1']:.2f} %**, 95 % interval {low:.1f} to {high:.1f} |",
                 f"(WA) | {scores['wa']:.2f} %, {scores['correct']} of 48 utterances |",
                 "| expected: the test parts of 4 folds together | |", "| protocol | loso, all folds |",
                 "| train | 48 utterances of 4 speakers |", "Its folds were tested on 4 speakers"):
        assert said in card
    assert "| valid |" not in card and "validation part" not in card and str(place) not in card
    assert not re.search(r"\n\n\n|[{}]|Undefined|None| $", card)
    assert f"have WF1 {scores['wf1']:.2f} CI95 {low:.1f}-{high:.1f}, seed 0, " in (final / "TRAINED").read_text()
    temperatures = [json.loads((model / "calibration.json").read_text())["temperature"]
                    for model in (*folds_of(place), final)]
    assert temperatures[-1] == pytest.approx(np.prod(temperatures[:-1]) ** (1 / 4))


def test_predict_export_and_python_take_it_and_a_system_is_still_its_folds(place, final, tmp_path):
    sound = tone(np.random.default_rng(2), 140).astype(np.float32)
    model = load_model(final)
    expected = list(model.predict(sound).probabilities.values())
    run("steps/export.py", final, tmp_path / "model.onnx")
    features = model.features(sound)
    found, = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(
        None, {"features": features[None], "lengths": np.array([len(features)])})
    np.testing.assert_allclose(found[0], expected, atol=1e-4)
    soundfile.write(tmp_path / "x.wav", sound.astype(np.int16), 16000)
    heading, row = (line.split("\t") for line in run("steps/predict.py", final, tmp_path / "x.wav").stdout.splitlines())
    said = dict(zip(heading, row, strict=True))
    # Of samples cut to whole numbers.
    np.testing.assert_allclose([float(said[label]) for label in model.classes], expected, atol=1e-3)
    of_folds = [list(load_model(fold).predict(sound).probabilities.values()) for fold in folds_of(place)]
    system = load_model(final.parent)
    assert len(system.network.networks) == 4
    np.testing.assert_allclose(list(system.predict(sound).probabilities.values()), np.mean(of_folds, axis=0), atol=1e-6)


def test_killed_and_continued_it_ends_with_the_same_weights(place, final):
    shorter = (final / "log" / "epochs.tsv").read_text().splitlines()
    config = place / "one.conf"
    config.write_text("".join(f"{word}\n" for word in (
        *OPTIONS, f"--data={place}/data", "--fold=final", f"--folds-dir={final.parent}", f"--dir={final}",
        "--save-every=0", "--num-threads=1")))
    for fold in folds_of(place):  # all epochs, so that there are some to be killed in
        rows = [f"{epoch}\t1\t1\t{epoch}\n" for epoch in (1, 2, 3, 4)]
        (fold / "log" / "epochs.tsv").write_text("epoch\tstep\tloss\tvalid\n" + "".join(rows))
    run("steps/finetune.py", "--config", config)
    whole = load_tensors(final / "last.safetensors")[0]
    line = (final / "TRAINED").read_text()
    shutil.rmtree(final)
    process = subprocess.Popen([sys.executable, "steps/finetune.py", "--config", str(config)], cwd=ROOT,
                               stderr=subprocess.DEVNULL)
    while not (final / "state.safetensors").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (final / "TRAINED").exists()
    assert "continuing after epoch" in run("steps/finetune.py", "--config", config).stderr
    continued = load_tensors(final / "last.safetensors")[0]
    assert (final / "TRAINED").read_text() == line and not (final / "state.safetensors").exists()
    assert all(np.array_equal(continued[name], tensor) for name, tensor in whole.items())

    # The schedule is that of all epochs: one that stops earlier has been on the same way.
    epochs = (final / "log" / "epochs.tsv").read_text().splitlines()
    assert len(epochs) == 5 and epochs[:len(shorter)] == shorter


def test_it_goes_when_its_folds_are_made_again_and_with_stage_5(place, final):
    (final / "notes.txt").write_text("mine")
    path = place / "data" / "utt2emo"
    before = path.read_text()
    path.write_text(before.replace("s3-ang0 ang", "s3-ang0 sad"))
    said, planned = plan(place)
    assert len(planned) == 8 and any("final: removed, for its folds are made again" in line for line in said)
    assert {file.name for file in final.iterdir()} == {"notes.txt"}
    said, _ = plan(place, "--final", "true", code=1)
    assert re.search(r"fold_s\d/RESULT: not there; run stage 5|other data than \S+ holds now", said[-1])
    shutil.rmtree(final)
    path.write_text(before)
    plan(place, "--final", "true")
    train(place)
    assert (final / "TRAINED").exists()
    run("local/experiment/undo_stages.py", "--stage", "5", "--stop-stage", "5", *SYSTEMS, place / "exp")
    assert not final.exists()


BAD = {
    "no folds named": (lambda place: None, ["--fold", "final"], "--fold final and --folds-dir go together"),
    "folds of a fold": (lambda place: None, ["--fold", "fold_s1", "--folds-dir", "exp"], "go together"),
    "a fold missing": (lambda place: shutil.rmtree(folds_of(place)[1]), [], r"fold_s2/RESULT: not there; run stage 5"),
    "a fold of a version before": (lambda place: forget_reliability(folds_of(place)[0]), [],
                                   r"fold_s1: has no temperature, as a version before scored it; score it again: "
                                   r"steps/score.py \S+fold_s1 \S+data"),
    "other options": (lambda place: None, ["--ad-weight", "0.1"], r"fold_s1: was trained with ad_weight 0.5, its final "
                      r"model is to have 0.1; train both with the same options"),
    "no log of epochs": (lambda place: (folds_of(place)[0] / "log" / "epochs.tsv").write_text("epoch\n"), [],
                         r"fold_s1/log/epochs.tsv: is no log of epochs; train the fold again"),
}


def forget_reliability(fold):
    results = json.loads((fold / "results.json").read_text())
    del results["reliability"], results["reliability_uncalibrated"]
    (fold / "results.json").write_text(json.dumps(results))


@pytest.mark.parametrize("what", BAD)
def test_one_clear_line(what, place, final, outcome):
    spoil, words, message = BAD[what]
    spoil(place)
    shutil.rmtree(final)
    words = words if "--fold" in words else ["--fold", "final", "--folds-dir", final.parent, *words]
    result = run("steps/finetune.py", "--config", place / "own.conf", "--data", place / "data", "--dir", final, *words,
                 check=False)
    line = result.stderr.splitlines()[-1]
    outcome(f"final model, {what}", "5 training", result.returncode, line.replace(f"{place}/", ""))
    assert result.returncode != 0 and re.search(message, line) and not final.exists()


@pytest.mark.parametrize("words", [["steps/score.py", "FINAL", "DATA"], ["steps/analyse.py", "--dir", "FINAL"]],
                         ids=str)
def test_no_speaker_is_left_to_test_it(words, place, final, outcome):
    script, *words = [{"FINAL": final, "DATA": place / "data"}.get(word, word) for word in words]
    result = run(script, *words, check=False)
    line = result.stderr.splitlines()[-1]
    outcome(f"{script} of a final model", "5 scoring", result.returncode, line.replace(f"{place}/", ""))
    assert result.returncode == 1 and "has learned from all speakers, so none is left to test it on" in line
    assert (final / "TRAINED").exists() and not (final / "RESULT").exists()

"""steps/score_cross.py on the corpus that models learned from, where it must say what they said, and on others."""

import json
import re
import shutil

import numpy as np
import pytest
from sklearn.metrics import f1_score

from conftest import run
from ser import load_model
from ser.data.data_dir import read_table, write_table


def scores(folder):
    """`{utterance: (reference, hypothesis, probabilities)}`"""
    return {utt: (*row.split()[:2], np.array(row.split()[2:], dtype=float))
            for utt, row in read_table(folder / "score" / "per_utt").items()}


@pytest.fixture
def call(tiny, tmp_path):
    """Score models of `tiny` on some utterances; returns the completed process."""
    def called(*models, data=tiny, references=None, label_map=None, check=True):
        write_table(tmp_path / "references", references or read_table(tiny / "utt2emo"))
        write_table(tmp_path / "labels", label_map or {"ang": "ang", "sad": "sad"})
        return run("steps/score_cross.py", "--device", "cpu", "--num-threads", "1", "--data", data, "--references",
                   tmp_path / "references", "--label-map", tmp_path / "labels", "--dir", tmp_path / "out",
                   *(word for model in models for word in ("--model", model)), check=check)

    return called


def test_a_network_says_what_it_says_of_its_own_fold_and_of_a_recording(trained, tiny, call, tmp_path):
    folds = [trained / "vgg5_ad" / "fold_s1", trained / "vgg5_ad" / "fold_s2"]
    call(*folds)
    wavs = read_table(tiny / "wav.scp")
    for fold in folds:
        said = scores(tmp_path / "out" / "vgg5_ad" / fold.name)
        assert len(said) == 48
        own = scores(fold)
        assert len(own) == 12
        for utt, (reference, hypothesis, probabilities) in own.items():
            assert said[utt][:2] == (reference, hypothesis)
            np.testing.assert_allclose(said[utt][2], probabilities, atol=2e-6)
        predicted = load_model(fold).predict(wavs["s4-ang3"])  # from the sound, without archives
        np.testing.assert_allclose(said["s4-ang3"][2], list(predicted.probabilities.values()), atol=1e-4)
        line = (tmp_path / "out" / "vgg5_ad" / fold.name / "RESULT").read_text()
        wf1 = 100 * f1_score(*zip(*(row[:2] for row in said.values()), strict=True), average="weighted")
        assert line.startswith(f"%WF1 {wf1:.2f} [ ") and line.endswith(f" ] {tmp_path}/out/vgg5_ad/{fold.name}\n")
        assert f"fold {fold.name[5:]} scored on source-2, classes ang+sad, seed 0, source-2 loso, backbone vgg5" in line


@pytest.fixture(scope="module")
def with_functionals(tiny, tmp_path_factory):
    data = shutil.copytree(tiny, tmp_path_factory.mktemp("functionals") / "data")
    run("steps/make_functionals.sh", "--nj", "1", data)
    return data


@pytest.mark.parametrize("classifier", ["svm", "majority"])
def test_a_classifier_without_a_network_is_trained_as_it_was(classifier, with_functionals, tmp_path, call):
    data = shutil.copytree(with_functionals, tmp_path / "data")
    model = tmp_path / "exp" / classifier / "fold_s2"
    run("steps/train_classical.py", "--classifier", classifier, "--data", data, "--fold", "fold_s2", "--dir", model)
    own = scores(model)
    call(model, data=data, references={utt: row[0] for utt, row in own.items()})
    assert (tmp_path / "out" / classifier / "fold_s2" / "score" / "per_utt").read_bytes() == (
        model / "score" / "per_utt").read_bytes()
    with open(data / "utt2emo", "r+") as file:
        text = file.read().replace("s1-ang0 ang", "s1-ang0 sad")
        file.seek(0)
        file.write(text)
    result = call(model, data=data, check=False)
    assert result.returncode == 1 and "changed since it was made: labels (utt2emo); train it again" in result.stderr


def test_what_is_scored_is_kept_and_what_has_changed_is_scored_again(trained, tiny, call, tmp_path):
    model = trained / "vgg5_ad" / "fold_s1"
    made = tmp_path / "out" / "vgg5_ad" / "fold_s1"
    call(model)
    before = (made / "score" / "per_utt").stat().st_mtime_ns
    assert "already there" in call(model).stderr and (made / "score" / "per_utt").stat().st_mtime_ns == before
    (made / "RESULT").unlink()  # as a kill leaves it
    assert "already there" not in call(model).stderr
    some = {utt: "joy" if label == "ang" else "sad" for utt, label in read_table(tiny / "utt2emo").items()
            if utt.startswith("s3")}
    assert "already there" not in call(model, references=some, label_map={"ang": "joy", "sad": "sad"}).stderr
    assert len(scores(made)) == 12 and (made / "score" / "classes").read_text().split() == ["joy", "sad"]
    other = tmp_path / "exp" / "vgg5_ad" / "fold_s1"  # of other weights
    shutil.copytree(model, other)
    path = other / "score" / "per_utt"
    path.write_text(path.read_text().replace("0.5", "0.6", 1))
    assert "already there" not in call(other, references=some, label_map={"ang": "joy", "sad": "sad"}).stderr


def test_wrong_input_is_said_in_one_line(trained, tiny, call, tmp_path, outcome):
    model = trained / "vgg5_ad" / "fold_s1"
    call(model)
    made = tmp_path / "out" / "vgg5_ad" / "fold_s1" / "RESULT"
    before = made.read_text()
    other = tmp_path / "other"
    shutil.copytree(tiny, other)
    with open(other / "conf" / "fbank.conf", "a") as file:
        file.write("--low-freq=100\n")
    unfinished = tmp_path / "exp" / "vgg5_ad" / "fold_s1"
    shutil.copytree(model, unfinished)
    (unfinished / "RESULT").unlink()
    for fault, said, words in (
            ("other fbank.conf", r"other/conf/fbank.conf: is not that of the features that .*fold_s1 learned from",
             {"data": other}),
            ("a label map of others", r"fold_s1: has no label fea, only ang sad; is the label map of another model\?",
             {"label_map": {"ang": "ang", "fea": "sad"}}),
            ("a reference of no class", r"48 utterances, the classes ang sad, and joy is none of them",
             {"references": read_table(tiny / "utt2emo") | {"s1-ang0": "joy"}}),
            ("one class", r"48 utterances, the classes ang, and sad is none of them", {"label_map": {"ang": "ang"}}),
            ("an unknown utterance", r"feats.scp: has no .*nobody",
             {"references": {"nobody": "ang", "s1-ang0": "sad"}}),
            ("a training that is not finished", r"fold_s1/RESULT: not there; run stage 5",
             {"models": [unfinished], "references": {"s1-ang0": "ang", "s1-sad0": "sad"}})):
        result = call(*words.pop("models", [model]), **words, check=False)
        line, = (line for line in result.stderr.splitlines() if not re.match(r"\d{4}-", line))
        outcome(fault, "cross", result.returncode, line.replace(str(tmp_path), "exp"))
        assert result.returncode == 1 and re.search(said, line), line
        assert made.read_text() == before


def test_a_damaged_result_is_scored_again(trained, call, tmp_path):
    model = trained / "vgg5_ad" / "fold_s1"
    call(model)
    path = tmp_path / "out" / "vgg5_ad" / "fold_s1" / "results.json"
    whole = json.loads(path.read_text())
    path.write_text("{")
    call(model)
    assert json.loads(path.read_text()) == whole

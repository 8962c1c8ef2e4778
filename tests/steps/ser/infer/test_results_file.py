"""results.json of a model against scikit-learn and against RESULT; what a reader says of a damaged one."""

import json
import re
import shutil

import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from conftest import run
from ser.base import files
from ser.base.errors import UserError
from ser.data.data_dir import read_list, read_table
from ser.infer.evaluation import score
from ser.infer.results_file import FoldResults, read_fold_results, read_results
from ser.model_dir.checkpoint import load_config

MODEL = "vgg5_ad/fold_s1"


@pytest.fixture
def model(trained, tmp_path):
    """A scored model, to be changed."""
    return shutil.copytree(trained / MODEL, tmp_path / "fold_s1")


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_scores_are_those_of_scikit_learn_on_per_utt(trained):
    for name in (MODEL, "vgg5_ad/fold_s2", "resnet18_ad/fold_s1"):
        data = json.loads((trained / name / "results.json").read_text())
        rows = [values.split() for values in read_table(trained / name / "score" / "per_utt").values()]
        references, hypotheses = zip(*(row[:2] for row in rows), strict=True)
        classes = read_list(trained / name / "score" / "classes")
        test = data["test"]
        assert test["classes"] == classes == ["ang", "sad"]
        assert test["confusion"] == confusion_matrix(references, hypotheses, labels=classes).tolist()
        expected = {"wf1": 100 * f1_score(references, hypotheses, average="weighted", zero_division=0),
                    "ua": 100 * balanced_accuracy_score(references, hypotheses),
                    "wa": 100 * accuracy_score(references, hypotheses), "total": len(rows),
                    "correct": sum(reference == hypothesis for reference, hypothesis, *_ in rows)}
        assert test["scores"] == pytest.approx(expected, rel=1e-12)
        by_class = precision_recall_fscore_support(references, hypotheses, labels=classes, zero_division=0)
        for label, precision, recall, f1, utterances in zip(classes, *by_class, strict=True):
            one = test["by_class"][label]
            assert (one["precision"], one["recall"], one["f1"]) == pytest.approx((100 * precision, 100 * recall,
                                                                                  100 * f1))
            assert one["utterances"] == utterances


def test_the_line_says_what_the_data_say(trained):
    data = json.loads((trained / MODEL / "results.json").read_text())
    line = (trained / MODEL / "RESULT").read_text()
    found = re.match(r"%WF1 ([\d.]+) \[ (\d+) / (\d+) correct, UA ([\d.]+), WA ([\d.]+), fold (\w+), seed (\d+), "
                     r"(\S+) (\S+), ([^,]+), (\w+) (\w+), options ([0-9a-f]{6}) \] ", line)
    scores, trained_as = data["test"]["scores"], data["trained"]
    assert found.groups() == (
        f"{scores['wf1']:.2f}", str(scores["correct"]), str(scores["total"]), f"{scores['ua']:.2f}",
        f"{scores['wa']:.2f}", data["fold"].removeprefix("fold_"), str(trained_as["seed"]), trained_as["dataset"],
        trained_as["protocol"], trained_as["phrase"], trained_as["precision"], "cpu", trained_as["options_digest"])
    options = load_config(trained / MODEL)["options"]
    assert data["data_stamp"] == options["data_stamp"] and data["fold"] == options["fold"] == "fold_s1"
    assert trained_as["options"] == {name: options[name] for name in trained_as["options"]}
    assert trained_as["options"].keys() == {"backbone", "ad_after", "pooling", "feature_norm", "crop", "epochs",
                                            "select", "batch_size", "extractor_lr_factor", "ad_lr_factor"}


def test_scoring_again_gives_the_same_bytes(trained, tiny, model):
    for name in ("results.json", "RESULT"):
        (model / name).unlink()
    score(model, tiny, torch.device("cpu"))
    assert (model / "results.json").read_bytes() == (trained / MODEL / "results.json").read_bytes()


class Killed(BaseException):
    pass


def test_a_killed_scoring_leaves_no_result_without_its_data(tiny, model, monkeypatch):
    """Scoring is killed at each of the files that it writes, in turn."""
    for name in ("results.json", "RESULT"):
        (model / name).unlink()
    atomic_path, states = files.atomic_path, []
    for survived in range(10):
        written = iter(range(survived))

        def killed(path, written=written):
            if next(written, None) is None:
                raise Killed
            return atomic_path(path)

        monkeypatch.setattr(files, "atomic_path", killed)
        try:
            score(model, tiny, torch.device("cpu"))
        except Killed:
            pass
        states.append(((model / "results.json").exists(), (model / "RESULT").exists()))
        if states[-1][1]:
            break
    assert states == [(False, False)] * 4 + [(True, False), (True, True)]


def set_value(*keys):
    """Damage: put the last of the keys where the others lead."""
    def change(text):
        data = json.loads(text)
        place = data
        for key in keys[:-2]:
            place = place[key]
        place[keys[-2]] = keys[-1]
        return json.dumps(data)

    return change


DAMAGES = {
    "cut short": (lambda text: text[:100], "not a results file"),
    "another file": (lambda text: "[1]", "not a results file"),
    "no version": (lambda text: "{}", "not a results file"),
    "too deep": (lambda text: "[" * 100000, "not a results file"),
    "a later version": (set_value("format", 3), "has format 3, this version of the recipe reads 2"),
    "no classes": (set_value("test", "classes", None), "test classes must be of type list"),
    "a class that is no word": (set_value("test", "classes", 0, 7), "test classes must be of type str"),
    "counts that are none": (set_value("test", "confusion", 0, [1.5, 2]), "test confusion must be of type int"),
    "truth for a number": (set_value("test", "scores", "total", True), "test scores total must be of type int"),
    "an unknown key": (set_value("test", "scores", "more", 1), "test scores must have wf1, ua, wa, correct, total"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_one_line_with_the_remedy(damage, tiny, model):
    harm, message = DAMAGES[damage]
    path = model / "results.json"
    path.write_text(harm(path.read_text()))
    with pytest.raises(UserError) as error:
        read_fold_results(model, tiny)
    assert str(error.value) == f"{path}: {message}; score it again: steps/score.py {model} {tiny}"


def test_a_model_of_the_version_before_is_scored_again(tiny, model):
    (model / "results.json").unlink()
    with pytest.raises(UserError) as error:
        read_fold_results(model, tiny)
    message, _, remedy = str(error.value).partition("; score it again: ")
    assert message == f"{model}/results.json: not there"
    run(*remedy.split())
    assert read_fold_results(model, tiny).fold == "fold_s1"


def test_whole_numbers_are_numbers(model):
    path = model / "results.json"
    path.write_text(set_value("test", "scores", "wf1", 50)(path.read_text()))
    assert read_results(path, FoldResults, "").test.scores.wf1 == 50.0

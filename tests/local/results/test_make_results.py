"""local/results/make_results.py on files as steps/finetune.py leaves them: published figures, intervals, pooled."""

import json
import re
import statistics

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)
from test_compare import CLASSES, weighted_f1, write_data, write_run

from conftest import run

SYSTEMS = ("resnet18_pretrain_ad", "vgg5_ad")


@pytest.fixture
def made(tmp_path):
    """Make the table of two systems with seeds 0 and 1 for a dataset; returns EXP, the table and what was said."""
    def make(dataset, systems=SYSTEMS):
        utt2spk, said = write_data(tmp_path / "data", dataset), {}
        for system, accuracy in zip(SYSTEMS, (0.7, 0.5), strict=True):
            for seed, name in enumerate((system, f"{system}_seed1")):
                said[name] = write_run(tmp_path / "exp" / name, tmp_path / "data", utt2spk, accuracy, seed, dataset)
        run("local/results/make_results.py", "--systems", " ".join(systems), "--seeds", "0 1", tmp_path / "data",
            tmp_path / "exp")
        return tmp_path / "exp", (tmp_path / "exp" / "RESULTS").read_text(), said

    return make


def row(table, name):
    return re.search(rf"^{re.escape(name)} .*", table, re.MULTILINE)[0]


def ends(text):
    low, high = map(float, re.search(r"(\d+\.\d)-(\d+\.\d)", text).groups())
    return low, high


def test_the_papers_data_stands_beside_the_published_figures(made):
    _, table, said = made("iemocap-impro-4")
    table_2, table_3 = table.split("Table 3 of the paper")
    assert "paper, Table 2" in table_2 and row(table_2, "vgg5_ad").endswith("  64.34")
    assert row(table_2, "resnet18_pretrain_ad").endswith("  68.19")
    for model, figure in (("ICON [25]", "63.0"), ("MCED [26]", "60.1"), ("CopyPaste [6]", "63.78")):
        assert re.search(rf" {figure} +that paper's own number, on its own protocol$", row(table_3, model))
    assert re.search(r" 68\.19 +the number of the paper", row(table_3, "Proposed"))
    wf1 = statistics.fmean(weighted_f1(said[name]) for name in ("resnet18_pretrain_ad", "resnet18_pretrain_ad_seed1"))
    assert re.search(rf"^\w+ +{wf1:.2f} ± .* this run, WF1 pooled, CI95 ", row(table_3, "resnet18_pretrain_ad"))
    assert ends(row(table_3, "resnet18_pretrain_ad")) == ends(row(table_2, "resnet18_pretrain_ad"))


def test_table_3_without_the_proposed_system(made):
    _, table, _ = made("iemocap-impro-4-exc", systems=("vgg5_ad",))
    assert "CopyPaste" in table and "Proposed" in table and "this run" not in table


@pytest.mark.parametrize("dataset", ["nemo-4", "synthetic-iemocap-impro-4", "iemocap-all-4"])
def test_other_data_has_no_published_figure(dataset, made):
    _, table, _ = made(dataset)
    for word in ("paper", "68.19", "64.34", "ICON", "MCED", "CopyPaste", "Proposed", "Table 3"):
        assert word not in table
    assert ("SYNTHETIC" in table) == dataset.startswith("synthetic-")


def test_precision_recall_and_f1_of_each_class_are_scikit_learns(made):
    exp, _, said = made("nemo-4")
    *_, heading, _, first, second = (exp / "CLASSES").read_text().splitlines()
    by_class = json.loads((exp / "results.json").read_text())["systems"]
    for system, line, of_json in zip(SYSTEMS, (first, second), by_class, strict=True):
        expected = np.mean([precision_recall_fscore_support(*zip(*said[name].values(), strict=True), labels=CLASSES)[:3]
                            for name in (system, f"{system}_seed1")], axis=0).T * 100
        assert line.split()[0] == system
        assert line.split()[1:] == ["/".join(f"{score:.1f}" for score in scores) for scores in expected]
        assert tuple(of_json["by_class"]) == CLASSES
        np.testing.assert_allclose(list(of_json["by_class"].values()), expected)
    assert re.findall(r"(\w+) \((\d+)\)", heading) == [(name, "45") for name in CLASSES]


def test_intervals_and_what_they_are_of(made):
    exp, table, said = made("nemo-4")
    for system in SYSTEMS:
        of_seeds = [weighted_f1(said[name]) for name in (system, f"{system}_seed1")]
        low, high = ends(row(table, system))
        assert low < statistics.fmean(of_seeds) < high and high - low < 20
        for name, wf1 in zip((system, f"{system}_seed1"), of_seeds, strict=True):
            line = (exp / name / "RESULT").read_text()
            assert re.fullmatch(rf"%WF1 {wf1:.2f} \[ \d+ / 180 correct, UA [\d.]+, WA [\d.]+, CI95 [\d.]+-[\d.]+, "
                                r"pooled over 6 folds, mean of folds .*, seed [01], nemo-4 loso, .* \] .*\n", line)
            low, high = ends(line)
            assert low < wf1 < high
    assert "Resampled are utterances, with replacement within each speaker" in table
    assert "NOT with other speakers" in table


def test_pooled_data_are_those_of_scikit_learn(made):
    exp, _, said = made("nemo-4")
    for name, table in said.items():
        data = json.loads((exp / name / "results.json").read_text())
        references, hypotheses = zip(*table.values(), strict=True)
        expected = {"wf1": weighted_f1(table), "ua": 100 * balanced_accuracy_score(references, hypotheses),
                    "wa": 100 * accuracy_score(references, hypotheses), "total": 180,
                    "correct": sum(reference == hypothesis for reference, hypothesis in table.values())}
        assert data["pooled"]["scores"] == pytest.approx(expected, rel=1e-12)
        assert data["pooled"]["confusion"] == confusion_matrix(references, hypotheses, labels=CLASSES).tolist()
        of_folds = {f"fold_s{number}": 100 * f1_score(*zip(*(pair for utt, pair in table.items() if utt.startswith(
            f"s{number}-")), strict=True), average="weighted") for number in range(6)}
        assert {fold: one["wf1"] for fold, one in data["folds"].items()} == pytest.approx(of_folds)
        assert data["folds"].keys() == of_folds.keys()
        assert {one["data_stamp"] for one in data["folds"].values()} == {"stamp"}
        assert data["mean_of_folds"] == pytest.approx(statistics.fmean(of_folds.values()))
        low, high = data["interval"]
        line = (exp / name / "RESULT").read_text()
        assert f"%WF1 {data['pooled']['scores']['wf1']:.2f} [ " in line and f", CI95 {low:.1f}-{high:.1f}, " in line
        assert (f"mean of folds {data['mean_of_folds']:.2f} from {min(of_folds.values()):.2f} to "
                f"{max(of_folds.values()):.2f}, seed {data['trained']['seed']}, ") in line


def test_the_table_says_what_its_data_say(made):
    exp, table, said = made("nemo-4")
    data = json.loads((exp / "results.json").read_text())
    assert data["setting"] == {"dataset": "nemo-4", "protocol": "loso", "seeds": ["0", "1"], "extractors": {},
                               "pretrained_on": [],
                               "folds": [f"fold_s{number}" for number in range(6)]}
    assert data["utterances"] == dict.fromkeys(CLASSES, 45)
    assert [each["system"] for each in data["systems"]] == list(SYSTEMS)
    for each in data["systems"]:
        names = each["system"], f"{each['system']}_seed1"
        assert each["wf1"] == pytest.approx([weighted_f1(said[name]) for name in names], rel=1e-12)
        cells = re.split(" {2,}", row(table, each["system"]))
        low, high = each["interval"]
        assert cells[1:3] == [each["backbone"], each["method"]] and cells[4] == f"{low:.1f}-{high:.1f}"
        of_speakers = each["interval_speakers"]
        assert cells[5] == f"{of_speakers[0]:.1f}-{of_speakers[1]:.1f}"
        assert of_speakers[0] < statistics.fmean(each["wf1"]) < of_speakers[1]
        for cell, key in zip((cells[3], *cells[6:]), ("wf1", "wf1_folds", "ua", "wa"), strict=True):
            assert cell == f"{statistics.fmean(each[key]):.2f} ± {statistics.stdev(each[key]):.2f}"


def test_a_few_speakers_have_no_interval_over_speakers(tmp_path):
    utt2spk = write_data(tmp_path / "data", num_speakers=5)
    write_run(tmp_path / "exp" / "vgg5_ad", tmp_path / "data", utt2spk, 0.5)
    run("local/results/make_results.py", "--systems", "vgg5_ad", tmp_path / "data", tmp_path / "exp")
    cells = re.split(" {2,}", row((tmp_path / "exp" / "RESULTS").read_text(), "vgg5_ad"))
    assert cells[5] == "-" and json.loads((tmp_path / "exp" / "results.json").read_text())["systems"][0][
        "interval_speakers"] is None


def set_options(model, pretraining, **options):
    """Change what results.json of all folds of a system says of its training."""
    for path in model.glob("*/results.json"):
        data = json.loads(path.read_text())
        data["trained"]["options"] |= options
        data["trained"]["pretraining"] = pretraining
        path.write_text(json.dumps(data))


def test_the_heading_names_what_the_rows_of_a_family_differ_in(tmp_path):
    """By what was trained, also where conf/systems.conf knows nothing of it."""
    utt2spk = write_data(tmp_path / "data")
    start = {"dataset": "voices", "num_speakers": 20, "identity": "x", "options_digest": "3b1d55"}
    trained = {"resnet18_baseline": ({}, {"ad_after": "none", "crop": 200}),
               "resnet18_pretrain": (start, {"ad_after": "none", "crop": 200}),
               "resnet18_pretrain_ad": (start, {"ad_after": "last", "crop": 200}),
               "vgg5_baseline": ({}, {"ad_after": "none", "crop": 200, "scratch_lr_factor": 0.1}),
               "vgg5_ad": ({}, {"ad_after": "last", "crop": 300})}
    for system, (pretraining, options) in trained.items():
        write_run(tmp_path / "exp" / system, tmp_path / "data", utt2spk, 0.5)
        set_options(tmp_path / "exp" / system, pretraining, **options)

    def heading(*systems):
        run("local/results/make_results.py", "--systems", " ".join(systems), tmp_path / "data", tmp_path / "exp")
        blocks = (tmp_path / "exp" / "RESULTS").read_text().split("\n\n")
        return "" if blocks[1].startswith("system ") else " ".join(blocks[1].split())

    assert heading(*trained) == (
        "ResNet18: no option differs between these rows but pretraining (voices 20 spk 3b1d55 in resnet18_pretrain, "
        "resnet18_pretrain_ad) and ad-after (last in resnet18_pretrain_ad). The same in all: crop 200, device cpu, "
        "precision fp32. VGG5: no option differs between these rows but ad-after (last in vgg5_ad) and crop (300 in "
        "vgg5_ad) and scratch-lr-factor (its default in vgg5_ad). The same in all: pretraining none, device cpu, "
        "precision fp32.")
    assert heading("resnet18_pretrain", "vgg5_ad") == ""


def test_the_same_bytes_again(made):
    exp, *_ = made("nemo-4")
    paths = [exp / "results.json", exp / "RESULTS", *exp.glob("*/results.json"), *exp.glob("*/RESULT")]
    first = [path.read_bytes() for path in paths]
    run("local/results/make_results.py", "--systems", " ".join(SYSTEMS), "--seeds", "0 1", exp.parent / "data", exp)
    assert len(paths) == 10 and [path.read_bytes() for path in paths] == first

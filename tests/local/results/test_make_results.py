"""local/results/make_results.py on files as steps/finetune.py leaves them: published figures, intervals, pooled."""

import re
import statistics

import pytest
from test_compare import weighted_f1, write_data, write_run

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

"""Figures of another data set, protocol, content of the data, or of other options are in no table beside the others."""

import json
import re

import pytest
from test_compare import write_data, write_run

from conftest import run

SYSTEMS = ("vgg5_baseline", "vgg5_ad")
OF_ALL = {
    "dataset": (("trained", "dataset"), "tests-5", r"differ in dataset \(tests-4 and tests-5\)"),
    "protocol": (("trained", "protocol"), "5fold", r"differ in protocol \(loso and 5fold\)"),
    "data": (("data_stamp",), "0" * 64, r"differ in stamp of the data \(stamp and 000000000000\)"),
}
OF_A_SYSTEM = {
    "options": (("trained", "options_digest"), "000000", r"differ in options or precision \(3f9c2a and 000000\)"),
    "data of the pre-training": (("trained", "pretraining"), {"data_stamp": "other"},
                                 r"differ in data of the pre-training \(None and other\)"),
}


@pytest.fixture
def exp(tmp_path):
    """Two systems with seeds 0 and 1."""
    utt2spk = write_data(tmp_path / "data", num_speakers=3)
    for system, accuracy in zip(SYSTEMS, (0.5, 0.7), strict=True):
        for seed, name in enumerate((system, f"{system}_seed1")):
            write_run(tmp_path / "exp" / name, tmp_path / "data", utt2spk, accuracy, seed)
    return tmp_path / "exp"


def change(model, keys, value):
    path = model / "results.json"
    data = json.loads(path.read_text())
    place = data
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(data))


def table(exp, script="make_results", *words):
    return run(f"local/results/{script}.py", "--systems", " ".join(SYSTEMS), "--seeds", "0 1", *words,
               exp.parent / "data", exp, check=False)


@pytest.mark.parametrize("place", ["vgg5_baseline/fold_s1", "vgg5_ad/fold_s2", "vgg5_ad_seed1/fold_s0"])
@pytest.mark.parametrize("what", [*OF_ALL, *OF_A_SYSTEM])
def test_a_fold_of_another_origin_is_in_no_table(what, place, exp, outcome):
    keys, value, said = (OF_ALL | OF_A_SYSTEM)[what]
    change(exp / place, keys, value)
    result = table(exp)
    if place == "vgg5_ad/fold_s2":
        outcome(f"a fold of other {what} than the rest", "6 results", result.returncode,
                result.stderr.replace(f"{exp}/", "exp/").strip())
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    first = "vgg5_baseline" if what in OF_ALL else place.split("_seed")[0].split("/")[0]
    assert re.search(rf"exp/{first}/fold_s0 and \S*exp/{place}: {said}, so their figures do not belong together; ",
                     result.stderr), result.stderr
    assert not (exp / "RESULTS").exists() and not list(exp.glob("*/RESULT"))


@pytest.mark.parametrize("place, first", [("vgg5_ad/fold_s2", "vgg5_ad"), ("vgg5_ad_seed1/fold_s1", "vgg5_ad_seed1")])
def test_the_folds_of_a_seed_start_from_one_model(place, first, exp, outcome):
    change(exp / place, ("trained", "pretraining"), {"identity": "other"})
    result = table(exp)
    outcome("a fold of another pre-trained model", "6 results", 1, result.stderr.replace(f"{exp}/", "exp/").strip())
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert f"exp/{first}/fold_s0 and {exp}/{place}: differ in pre-training (None and other), so " in result.stderr


@pytest.mark.parametrize("of_seeds, said", [
    ({"vgg5_ad": ("a", "b")}, ", a pre-trained extractor per seed (voices-9, 9 speakers)"),
    ({"vgg5_ad": ("a", "a")}, ", one pre-trained extractor (voices-9, 9 speakers)"),
    ({"vgg5_ad": ("a", "a"), "vgg5_baseline": ("a", "b")}, ", 1 or 2 pre-trained extractors (voices-9, 9 speakers)"),
    ({}, ""),
])
def test_the_heading_says_from_how_many_extractors_the_seeds_start(of_seeds, said, exp):
    for system, identities in of_seeds.items():
        for name, identity in zip((system, f"{system}_seed1"), identities, strict=True):
            for fold in (exp / name).glob("fold_*"):
                change(fold, ("trained", "pretraining"), {
                    "identity": identity, "data_stamp": "d", "seed": 0, "dataset": "voices-9", "num_speakers": 9})
    assert table(exp).returncode == 0
    assert (exp / "RESULTS").read_text().startswith(f"tests-4, loso, 3 folds, seeds 0 1{said}\n")
    counts = {system: len(set(identities)) for system, identities in of_seeds.items()}
    assert json.loads((exp / "results.json").read_text())["setting"]["extractors"] == counts
    run("local/results/make_results.py", "--systems", " ".join(SYSTEMS), exp.parent / "data", exp)
    one = ", one pre-trained extractor (voices-9, 9 speakers)" if said else ""
    assert (exp / "RESULTS").read_text().startswith(f"tests-4, loso, 3 folds, seed 0{one}\n")


def test_a_whole_system_of_other_options_is_what_tables_are_for(exp):
    for fold in exp.glob("vgg5_ad*/fold_*"):
        change(fold, ("trained", "options_digest"), "000000")
    assert table(exp).returncode == 0


@pytest.mark.parametrize("script", ["make_confusions", "make_probes", "make_curves", "make_figure1"])
def test_what_else_puts_figures_together(script, exp):
    change(exp / "vgg5_ad" / "fold_s0", ("data_stamp",), "other")
    result = table(exp, script)
    assert result.returncode == 1 and "differ in stamp of the data (stamp and other)" in result.stderr
    assert {path.suffix for path in exp.glob("analysis/*")} <= {".left_out"}


def test_comparisons(exp):
    change(exp / "vgg5_ad_seed1" / "fold_s0", ("trained", "options_digest"), "other")
    result = run("local/results/compare.py", *SYSTEMS, exp, check=False)
    assert result.returncode == 1 and "differ in options or precision (3f9c2a and other)" in result.stderr


def test_a_table_names_the_data_that_its_models_were_trained_on(exp):
    (exp.parent / "data" / "dataset").write_text("tests-6\n")
    result = table(exp)
    assert result.returncode == 1 and "was made with dataset tests-4, " in result.stderr
    assert "data has tests-6; name the data that it was trained on" in result.stderr


def test_pooled_figures_name_every_kind_of_device(exp):
    change(exp / "vgg5_ad" / "fold_s2", ("trained", "device"), "cuda")
    assert table(exp).returncode == 0
    assert ", fp32 cpu+cuda, options 3f9c2a ] " in (exp / "vgg5_ad" / "RESULT").read_text()
    assert ", fp32 cpu, options 3f9c2a ] " in (exp / "vgg5_ad_seed1" / "RESULT").read_text()

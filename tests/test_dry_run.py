"""./run.sh --dry-run before anything is there; tests/test_run.py has what it says after a run."""

import re

import pytest

from conftest import run


def told(result):
    """What is said of each stage."""
    return re.findall(r"^stage (\d): (.*)$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("words", [("--dry-run",), ("--dry-run", "--seeds", "0 1"), ("--seeds", "0 1", "--dry-run"),
                                   ("--dry-run", "true", "--systems", "vgg5_ad")], ids=" ".join)
def test_before_anything_is_there(words, tmp_path):
    result = run("./run.sh", "--data-dir", tmp_path / "data", "--exp-dir", tmp_path / "exp", *words)
    assert list(tmp_path.iterdir()) == [] and result.stderr == ""
    stages = told(result)
    assert list(dict.fromkeys(number for number, _ in stages)) == [
        number for number in "01234567" if number != "4" or "vgg5_ad" not in words]
    assert all("to do" in what or "to make" in what or "to be made again" in what for _, what in stages)
    trainings = 10 if "vgg5_ad" in words else 140 if "0 1" in words else 70
    assert ("5", f"fine-tuning and scoring: up to {trainings} of {trainings} trainings to do") in stages
    assert "final models" not in result.stdout
    assert f"results:   {tmp_path}/exp\n" in result.stdout and "where:     local, on cpu; " in result.stdout


def test_final_models_follow_their_folds(tmp_path):
    result = run("./run.sh", "--data-dir", tmp_path / "data", "--exp-dir", tmp_path / "exp", "--dry-run", "--final",
                 "true", "--systems", "vgg5_ad")
    assert [what for number, what in told(result) if number == "5"] == [
        "fine-tuning and scoring: up to 10 of 10 trainings to do",
        "final models: one of each system with a network and seed to do, after their folds"]


@pytest.mark.parametrize("name", ["dry_run", "final"])
def test_a_word_of_a_configuration_file_that_is_no_choice(name, tmp_path):
    (tmp_path / "own.conf").write_text(f"{name}=yes\n")
    result = run("./run.sh", "--config", tmp_path / "own.conf", "--data-dir", tmp_path / "data", "--exp-dir",
                 tmp_path / "exp", check=False, timeout=60)
    said = f"run.sh: --{name.replace('_', '-')} yes: expected true or false\n"
    assert (result.returncode, result.stderr) == (1, said) and not (tmp_path / "exp").exists()

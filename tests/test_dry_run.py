"""./run.sh --dry-run: what it says is what a run then does, and nothing changes."""

import re

import pytest

from conftest import recipe, run


def state(*folders):
    """Names, times and contents of all that is there."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
            for folder in folders for path in [folder, *folder.rglob("*")]}


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
    assert f"results:   {tmp_path}/exp\n" in result.stdout and "where:     local, on cpu; " in result.stdout


def test_after_a_run_it_says_what_is_left_and_how_long_it_took(finished):
    folders = finished / "data", finished / "exp"
    before = state(*folders)
    stages = told(recipe(finished, "--dry-run"))
    times = [line.split("\t") for line in (finished / "exp" / "log" / "times").read_text().splitlines()]
    assert [line[1] for line in times] == sorted(line[1] for line in times)
    jobs = {line[1]: int(line[2]) for line in times}
    assert set(jobs) == set("01234567") and (jobs["4"], jobs["5"]) == (1, 35)
    assert [what for number, what in stages if number < "4"] == [
        f"{line[4]}: already done" for line in times if line[1] < "4"]
    said = dict(stages)
    assert re.fullmatch(r"speaker pre-training: 0 of 1 model to make; last time it took [\d minsh]+", said["4"])
    assert re.fullmatch(r"fine-tuning and scoring: 0 of 35 trainings to do; last time it took [\d minsh]+ for 35 of them",
                        said["5"])
    again = dict(told(recipe(finished, "--dry-run", "--stage", "5")))
    assert again["5"].startswith("fine-tuning and scoring: 35 of 35 trainings to do; last")
    of_data = told(recipe(finished, "--dry-run", "--stage", "2"))
    assert [what.partition(":")[2] for number, what in of_data if number == "1"] == [" already done"] * 2
    assert all("to do, since --stage 2 asks for it; last time" in what for number, what in of_data if number in "23")
    assert dict(of_data)["5"].startswith("fine-tuning and scoring: up to 35 of 35 trainings")
    other = dict(told(recipe(finished, "--dry-run", "--seeds", "0 1")))
    assert other["4"].startswith("speaker pre-training: 1 of 2 models to make: ") and "up to 70 of 70" in other["5"]
    assert state(*folders) == before


def test_one_fold_that_is_not_done_is_counted(finished, tmp_path):
    exp = finished / "exp" / "vgg5_ad" / "fold_Ses02M"
    (exp / "RESULT").rename(tmp_path / "RESULT")
    try:
        assert dict(told(recipe(finished, "--dry-run")))["5"].startswith("fine-tuning and scoring: 1 of 35 trainings")
    finally:
        (tmp_path / "RESULT").rename(exp / "RESULT")


def test_what_a_run_would_refuse_is_refused(finished):
    result = run("./run.sh", "--data-dir", finished / "data", "--exp-dir", finished / "exp", "--dry-run", check=False)
    assert result.returncode == 1 and "exp holds results of mini 5fold, these would be of mini 10fold" in result.stderr

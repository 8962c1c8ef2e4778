"""--stage N takes back first what it does again, killed or not, and checks the stages before it as any run does."""

import fcntl
import os
import shutil
import subprocess
import time

import pytest

from conftest import ROOT
from stages import DATA, spoken
from test_kills import kill_all, outcomes, recipe

TO_RESULTS = "--stop-stage", "6"


def run_recipe(place, *words):
    return subprocess.run(recipe(ROOT, place, *TO_RESULTS, *words), cwd=ROOT, capture_output=True, text=True)


def trained(place):
    return sorted(path.parent.name for path in place.glob("exp/vgg5_ad/*/RESULT"))


def is_locked(data):
    with open(data / ".lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def kill_when(place, happened, *words):
    """Kill a run as soon as something has happened; returns whether it held its data directory until then."""
    process = subprocess.Popen(recipe(ROOT, place, *TO_RESULTS, *words), cwd=ROOT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    while not happened():
        assert process.poll() is None
        time.sleep(0.005)
    data, = place.glob("data/source*")
    held = is_locked(data)
    kill_all(process)
    return held


@pytest.fixture(scope="module")
def place(whole, tmp_path_factory):
    """A finished experiment; the tests of this file follow one another in it."""
    place = tmp_path_factory.mktemp("redo")
    shutil.copytree(whole(DATA) / "source", place / "source")
    result = run_recipe(place)
    assert result.returncode == 0, result.stderr
    return place


@pytest.fixture(scope="module")
def before(place):
    return outcomes(place)


def test_killed_redo_and_plain_run(place, before, outcome):
    folds = trained(place)
    started = time.time()

    def one_is_new():
        return any(path.stat().st_mtime > started for path in place.glob("exp/vgg5_ad/*/RESULT"))

    held = kill_when(place, one_is_new, "--stage", "5")
    left = trained(place)
    assert not (place / "exp" / "RESULTS").exists()
    result = run_recipe(place)
    outcome("--stage 5 killed, then a plain run", "run.sh", result.returncode, spoken(result, "trainings to do", place))
    assert held and 0 < len(left) < len(folds) == 4
    assert result.returncode == 0 and f"{4 - len(left)} trainings to do" in result.stdout
    assert outcomes(place) == before
    assert all(path.stat().st_mtime > started for path in place.glob("exp/vgg5_ad/*/RESULT"))


def test_wrong_options_of_an_earlier_stage(place, outcome):
    (place / "other.conf").write_text((place / "own.conf").read_text() + "--ad-weight=0.1\n")
    result = run_recipe(place, "--stage", "6", "--finetune-config", place / "other.conf")
    said = "was made with ad_weight 0.5, asked for is 0.1"
    outcome("--stage 6, other options of stage 5", "run.sh", result.returncode, spoken(result, said, place))
    assert result.returncode == 1 and said in result.stderr and len(trained(place)) == 4


def test_touched_source_keeps_the_trainings(place, outcome):
    for path in (place / "source" / "audio").iterdir():
        path.touch()
    result = run_recipe(place)
    outcome("wavs touched", "run.sh", result.returncode, spoken(result, "trainings to do", place))
    assert "the source has changed: 40 files are other ones" in result.stdout
    assert all(f"stage {number}: " in result.stdout for number in (1, 2, 3)) and "already done" not in result.stdout
    assert result.returncode == 0 and "0 trainings to do" in result.stdout


def test_edited_label_is_trained_again(place, before, outcome):
    table = place / "source" / "utt2emo"
    whole = table.read_text()
    table.write_text(whole.replace("s1-0 ang", "s1-0 sad"))
    result = run_recipe(place, "--stop-stage", "5")
    table.write_text(whole)
    assert not list((place / "exp").glob("**/RESULTS")) and not (place / "exp" / "vgg5_ad" / "RESULT").exists()
    outcome("edited label", "run.sh", result.returncode, spoken(result, "trainings to do", place))
    assert result.returncode == 0 and "4 trainings to do" in result.stdout
    assert outcomes(place).keys() == before.keys() and outcomes(place) != before


def test_killed_while_it_takes_back(place, before, outcome):
    """The next run goes on with it, whatever its own options are."""
    stuck = place / "exp" / "vgg5_ad" / "fold_s2-stuck" / "config.json"  # whoever reads it waits for ever
    stuck.parent.mkdir()
    os.mkfifo(stuck)
    kill_when(place, lambda: trained(place) == ["fold_s3", "fold_s4"], "--stage", "5")
    shutil.rmtree(stuck.parent)
    result = run_recipe(place, "--stop-stage", "3")
    outcome("--stage 5 killed at its start", "run.sh", result.returncode, spoken(result, "are undone", place))
    assert result.returncode == 0 and not trained(place) and not (place / "exp" / ".redo").exists()
    assert "4 trainings to do" in run_recipe(place).stdout and outcomes(place) == before

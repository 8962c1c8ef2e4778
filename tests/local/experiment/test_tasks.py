"""Planned trainings: what has changed is planned again and said once, and other folders are left alone."""

import re
import shutil

import pytest

from conftest import run
from local.experiment.tasks import TaskFolder
from ser.base.errors import UserError
from stages import RESULTS, TRAINING, moved


def options_of(place):
    words = zip(TRAINING[::2], TRAINING[1::2], strict=True)
    (place / "own.conf").write_text("".join(f"{name}={value}\n" for name, value in words if name not in
                                            ("--device", "--num-threads")))
    return ("--finetune-config", place / "own.conf")


def plan(place, *words):
    return run("local/experiment/plan_finetuning.py", "--systems", "vgg5_baseline", *options_of(place), *words,
               place / "data", place / "exp", place / "exp" / "tasks")


@pytest.fixture
def place(whole, tmp_path):
    """A finished experiment of one system with four folds."""
    return moved(whole(RESULTS), tmp_path / "place")


def test_what_has_changed_is_planned_again_and_said_in_one_line(place, outcome):
    assert plan(place).stdout == "0\n"
    path = place / "data" / "utt2emo"
    path.write_text(path.read_text().replace("s3-ang0 ang", "s3-ang0 sad"))
    shutil.rmtree(place / "exp" / "vgg5_baseline" / "fold_s2")
    result = plan(place)
    line, = result.stderr.splitlines()
    outcome("a label changed, folds done", "5 training", result.returncode, line.replace(f"{place}/", ""))
    assert result.stdout == "4\n"
    assert line.endswith("exp/vgg5_baseline/fold_s1 and 2 more: changed since made: labels (utt2emo); made again from "
                         "the start")
    for number in range(1, 5):
        run("steps/finetune.py", "--config", place / "exp" / "tasks" / f"finetune.{number}.conf")
    assert plan(place).stdout == "0\n"
    assert not list((place / "exp" / "tasks").glob("finetune.*"))


def test_the_figures_of_folds_on_mixed_data_are_refused(place):
    """A fold that is trained again on other data, and the others not."""
    path = place / "data" / "utt2emo"
    path.write_text(path.read_text().replace("s3-ang0 ang", "s3-ang0 sad"))
    assert plan(place).stdout == "4\n"
    run("steps/finetune.py", "--config", place / "exp" / "tasks" / "finetune.2.conf")
    result = RESULTS(place)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert re.search(r"fold_s1 and \S+/vgg5_baseline/fold_s2: differ in stamp of the data \(", result.stderr)
    assert not (place / "exp" / "RESULTS").exists()  # what was there was of the data of before


@pytest.mark.parametrize("most, expected", {
    "1": ["s1 s2 s4"], "2": ["s1 s4", "s2"], "8": ["s1", "s2", "s4"]}.items())
def test_models_to_analyse_are_dealt_to_the_jobs_that_run_at_a_time(most, expected, place):
    exp = place / "exp"
    analysed = exp / "vgg5_baseline" / "fold_s3" / "analysis" / "probes.tsv"
    analysed.parent.mkdir()
    analysed.touch()
    result = run("local/experiment/plan_analysis.py", "--systems", "vgg5_baseline majority", "--max-jobs", most,
                 place / "data", exp, exp / "tasks")
    assert result.stdout == f"{len(expected)}\n"
    for number, folds in enumerate(expected, 1):
        assert (exp / "tasks" / f"analyse.{number}.conf").read_text().splitlines() == [
            "--device=cpu", "--num-threads=1", *(f"--dir={exp}/vgg5_baseline/fold_{fold}" for fold in folds.split())]


def test_only_tasks_are_removed(tmp_path, outcome):
    folder = tmp_path / "tasks"
    for kind in ("finetune", "analyse"):
        TaskFolder(folder, kind).add(["--a=1"])
    (folder / "pretrain.1.sh").touch()  # run.sh's
    TaskFolder(folder, "finetune")
    assert {path.name for path in folder.iterdir()} == {"analyse.1.conf", "pretrain.1.sh"}
    (folder / "notes.txt").write_text("the user's")
    with pytest.raises(UserError, match="holds notes.txt, which is no planned task; give another folder") as error:
        TaskFolder(folder, "analyse")
    outcome("tasks into a folder of the user's", "5 training", 1, str(error.value).replace(f"{tmp_path}/", ""))
    assert {path.name for path in folder.iterdir()} == {"analyse.1.conf", "pretrain.1.sh", "notes.txt"}

"""run.sh and its stages that are killed and begun again, two runs at once, and all stages in a clone in an odd path."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import ROOT, SMALL, run, tone
from stages import DATA, LOG_LINE, PRETRAIN, files_of, moved, spoken


def kill_all(process):
    """kill -9 of a process and everything that it has started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(path.parent.name)] = int(fields[1])
    doomed, grown = {process.pid}, True
    while grown:
        grown = {pid for pid, parent in parents.items() if parent in doomed} - doomed
        doomed |= grown
    for pid in doomed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()


# stage: command, what it has when it is killed, what must be there only later, where all that it makes is
KILLED = {
    "0 corpora": (("local/mini/make_mini_corpora.py", *SMALL, "--nj", "1", "{}/mini"),
                  "mini/.make_mini_corpora.*/new/*/*/*/*", "mini/VoxCeleb1", "mini"),
    "4 pre-training": ((*PRETRAIN.words, "--epochs", "8", "--save-every", "0"), "exp/m/state.safetensors",
                       "exp/m/RESULT", "exp/m"),
}


@pytest.mark.parametrize("stage", KILLED)
def test_kill_of_a_script(stage, whole, small_corpora, tmp_path, outcome):
    words, sign, later, makes = KILLED[stage]
    places = [moved(whole(PRETRAIN), tmp_path / name) for name in ("killed", "whole")]
    first, second = ([word.replace("{}", str(place)) for word in words] for place in places)
    process = subprocess.Popen([sys.executable, *first], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not list(places[0].glob(sign)):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    kill_all(process)
    process.stderr.close()
    unfinished = not (places[0] / later).exists()
    again = run(*first)
    if stage == "0 corpora":
        (places[1] / "mini").symlink_to(small_corpora)
    else:
        run(*second)
    files = [{name: content for name, content in files_of(place / makes).items()
              if not name.endswith(("config.json", "RESULT"))} for place in places]
    outcome("kill -9", stage, again.returncode, "the same command made the same")
    assert unfinished and files[0] == files[1]


def short_run(root, place, *words):
    """The command line of a short run.sh; all that it makes is below a place."""
    (place / "own.conf").write_text("--epochs=1\n--batch-size=16\n--crop=15\n")
    return [str(word) for word in (
        root / "run.sh", "--finetune-config", place / "own.conf", "--data-dir", place / "data", "--exp-dir",
        place / "exp", "--nj", "1", *words)]


def recipe(root, place, *words):
    """The same over a data directory of one's own."""
    return short_run(root, place, "--ser-data", place / "source", "--systems", "vgg5_ad", *words)


def to_the_end(root, place, *words):
    """The same over EmoDB, with analysis and ablations."""
    return short_run(root, place, "--corpus", "emodb", "--emodb", place / "emodb", "--stop-stage", "8", "--systems",
                     "vgg5_baseline vgg5_ad", "--ablations", "vgg5_ad_an vgg5_ad_minus", *words)


def make_emodb(folder):
    """EmoDB's layout made small: three speakers, the four classes."""
    rng = np.random.default_rng(0)
    (folder / "wav").mkdir(parents=True)
    for number, speaker in enumerate(("03", "08", "09")):
        for letter, pitch in (("W", 220), ("F", 260), ("T", 120), ("N", 150)):
            for text in ("a01", "a02", "b01"):
                soundfile.write(folder / "wav" / f"{speaker}{text}{letter}a.wav", tone(rng, pitch + 10 * number, 0.4),
                                16000)


@pytest.fixture(scope="module")
def odd_clone(tmp_path_factory):
    """A clone whose path is odd, and how a run of it went that was started from another directory."""
    root = tmp_path_factory.mktemp("clone") / "it's my clone, ä 語音#1"
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                           capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / ".venv").symlink_to((ROOT / ".venv").resolve())
    make_emodb(root / "emodb")
    return root, subprocess.run(to_the_end(root, root), cwd="/", capture_output=True, text=True)


def outcomes(place):
    """Scores of each fold, and the tables of the analysis and the ablations."""
    patterns = "vgg5_*/fold_*/score/per_utt", "vgg5_*/fold_*/analysis/*.tsv", "analysis/*.tsv", "ABLATIONS"
    return {str(path.relative_to(place)): path.read_text() for pattern in patterns
            for path in (place / "exp").glob(pattern)}


def test_clone_in_an_odd_path_from_another_directory(odd_clone, whole, outcome):
    root, result = odd_clone
    said = "vgg5_ad +VGG5"
    for fault in ("clone in a path with blanks, quotes, unicode", "run from another directory"):
        outcome(fault, "1 to 8", result.returncode, spoken(result, said, root))
    assert result.returncode == 0, result.stderr
    assert re.search(said, result.stdout) and len(outcomes(root)) > 8

    # Data of one's own
    shutil.copytree(whole(DATA) / "source", root / "source")
    result = subprocess.run(recipe(root, root, "--stop-stage", "1", "--exp-dir", root / "mine"), cwd="/",
                            capture_output=True, text=True)
    assert result.returncode == 0 and "40 utterances of 4 speakers" in result.stdout, result.stdout + result.stderr


def test_emodb_from_files_to_table(odd_clone):
    root, result = odd_clone
    table = (root / "exp" / "RESULTS").read_text()
    assert table.startswith("emodb-4, loso, 3 folds") and table in result.stdout and "SYNTHETIC" not in table


def test_analysis_and_report(odd_clone):
    root, result = odd_clone
    exp = root / "exp"
    assert {path.name for path in (exp / "analysis").iterdir()} >= {
        "wf1.svg", "PROBES", "probes.tsv", "silhouette.tsv", "figure1.png", "figure1.pdf", "figure1.tsv",
        "confusions.png", "speakers.png", "curves.png", "tensorboard", "figure1.svg", "confusions.svg", "speakers.svg",
        "curves.svg", "CALIBRATION", "calibration.json", "reliability.png", "reliability.svg"}
    for system in ("vgg5_baseline", "vgg5_ad"):
        assert len(list(exp.glob(f"{system}/fold_*/analysis/probes.tsv"))) == 3
        assert len(list(exp.glob(f"{system}/fold_*/analysis/masks.png"))) == (system == "vgg5_ad")
    page = (exp / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert page.count("data:image/svg+xml;base64,") == 7  # each is drawn for a telephone, too
    assert "pretrain_" not in result.stdout.split("Data, logs:")[1]  # neither of them has one
    line, = (line for line in result.stdout.splitlines() if line.startswith("Report:"))
    typed = line.removeprefix("Report:").removesuffix("(all of it on one page)")
    assert run("bash", "-c", f"printf %s {typed}").stdout == f"{exp}/report.html"  # as a shell takes it


def test_ablations_stand_in_the_same_table(odd_clone):
    root, result = odd_clone
    names = ["vgg5_baseline", "vgg5_ad", "vgg5_ad_an", "vgg5_ad_minus"]
    assert result.stdout.count("6 trainings to do") == 2
    table = (root / "exp" / "RESULTS").read_text()
    assert re.findall(r"^(\w+) +VGG5", table, re.MULTILINE) == names and table in result.stdout
    assert re.findall(r"^(vgg5\w+) ", (root / "exp" / "ABLATIONS").read_text(), re.MULTILINE) == names[1:]
    assert "AD(L_AD-)" in (root / "exp" / "report.html").read_text()


# stage: seconds after its line in the log
KILLS = {"1": 0.1, "2": 0.2, "3": 0.05, "5": 1.0, "6": 0.2, "7": 1.0, "8": 1.0}


def test_kill_in_every_stage(odd_clone, tmp_path, outcome):
    """Each run is killed with all of its jobs, in the stage after that in which the one before it was killed.

    It has two jobs at a time, and makes the same as the run that has one.
    """
    make_emodb(tmp_path / "emodb")
    words, killed = to_the_end(ROOT, tmp_path, "--nj", "2"), {}
    for stage, seconds in KILLS.items():
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        reached = any(f"(run.sh) stage {stage}:" in line and "done" not in line for line in process.stdout)
        time.sleep(seconds)
        killed[stage] = reached and process.poll() is None
        kill_all(process)
        process.stdout.close()
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    for stage in KILLS:
        outcome("kill -9", f"{stage}, of run.sh", result.returncode,
                "the same command made the same" if killed[stage] else "NOT EXPECTED: not killed")
    assert result.returncode == 0, result.stderr
    assert all(killed.values()), killed
    assert "0 trainings to do" in result.stdout and "are of these models and stay" in result.stdout
    assert outcomes(tmp_path) == outcomes(odd_clone[0])
    assert not list(tmp_path.glob("exp/*/*/.*")) and not list(tmp_path.glob("exp/*/*/state*"))


def test_runs_at_once(whole, tmp_path, outcome):
    """Two runs make the same data directory for experiments of their own; a third is not let into another's."""
    shutil.copytree(whole(DATA) / "source", tmp_path / "source")
    words, names = recipe(ROOT, tmp_path, "--stop-stage", "3"), ("exp1", "exp2", "exp3")
    (tmp_path / "exp3").mkdir()
    with open(tmp_path / "exp3" / ".lock", "w") as file:  # the first run into it
        fcntl.flock(file, fcntl.LOCK_EX)
        runs = [subprocess.Popen([*words, "--exp-dir", str(tmp_path / name)], cwd=ROOT, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True) for name in names]
        *said, refused = [process.communicate()[0] for process in runs]
    assert [process.returncode for process in runs] == [0, 0, 1], said
    waiting, = [line for text in said for line in text.splitlines() if "waiting for it" in line]
    outcome("two runs make one data directory", "1 to 3", 0, LOG_LINE.sub("(", waiting).replace(f"{tmp_path}/", ""))
    assert sum("already done" in text for text in said) == 1
    outcome("two runs into one experiment", "run.sh", 1, refused.replace(f"{tmp_path}/", "").strip())
    assert re.fullmatch("run.sh: another run.sh is working in .*exp3; wait for it or give another --exp-dir\n", refused)

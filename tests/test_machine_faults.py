"""A machine without memory, room on its disk, a program, a locale or a Python that the recipe counts on."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import finetune as finetune_script
import options
import score as score_script
from conftest import ROOT, run
from ser.infer import evaluation
from ser.train import finetuning
from stages import DATA, FBANK, FOLD, FOLDS, RESULTS, SCORE, TRAIN, check, made, moved, spoken

OUT_OF_MEMORY = ("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 14.75 GiB of which "
                 "12.71 GiB is free. If reserved but unallocated memory is large try setting something else.")


@pytest.mark.parametrize(("stage", "where", "error", "said"), [
    (TRAIN, (finetuning, "overall_loss"), torch.cuda.OutOfMemoryError(OUT_OF_MEMORY),
     r"the GPU's memory is full; lower --batch-size or --crop, .* \(.*12.71 GiB is free.\)$"),
    (TRAIN, (finetuning, "load_bank"), MemoryError("Unable to allocate 3 TiB"), r"the memory is full; lower --batch"),
    (SCORE, (evaluation, "logits_of"), torch.cuda.OutOfMemoryError(OUT_OF_MEMORY), r"the GPU's memory is full; lower"),
], ids=lambda value: getattr(value, "name", None))
def test_out_of_memory(stage, where, error, said, whole, tmp_path, outcome, monkeypatch, capsys):
    place = moved(whole(stage), tmp_path / "place")
    before, script = made(stage, place), {TRAIN: finetune_script, SCORE: score_script}[stage]

    def fill(*_, **__):
        raise error

    monkeypatch.setattr(*where, fill)
    monkeypatch.setattr(sys, "argv", [word.replace("{}", str(place)) for word in stage.words])
    with pytest.raises(SystemExit) as end:
        options.run(script.main)
    result = subprocess.CompletedProcess((), end.value.code, "", capsys.readouterr().err)
    what = "out of memory on the GPU" if "CUDA" in str(error) else "out of memory"
    outcome(what, stage.name, result.returncode, spoken(result, said, place))
    check(stage, place, result, 1, said, before)
    assert stage(place).returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MB of its own, whose options may be changed; skips where none may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(words):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", words, "tmpfs", disk], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")

    mount("size=64m")
    yield disk, lambda words: mount(f"remount,{words}")
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk):
    """Leave no room on a disk; returns the file that takes it."""
    free = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(free.f_bavail * free.f_bsize))
    return filler


@pytest.mark.parametrize("stage", [DATA, FBANK, FOLDS, TRAIN, SCORE, RESULTS], ids=lambda stage: stage.name)
def test_disk_full(stage, whole, small_disk, outcome):
    disk, _ = small_disk
    place = moved(whole(stage), disk / "place")
    reference, filler = made(stage, place), fill(disk)
    said = r"\S+.*No space left on device"
    result = stage(place)
    outcome("disk full", stage.name, result.returncode, spoken(result, said, place))
    check(stage, place, result, 1, said, reference)
    filler.unlink()
    again = stage(place)
    assert again.returncode == 0 and made(stage, place) == reference, again.stderr


@pytest.mark.parametrize("stage", [DATA, FBANK, FOLDS, TRAIN, SCORE, RESULTS], ids=lambda stage: stage.name)
def test_read_only_disk(stage, whole, small_disk, outcome):
    disk, remount = small_disk
    place = moved(whole(stage), disk / "place")
    reference = made(stage, place)
    remount("ro")
    result = stage(place)
    outcome("read-only disk", stage.name, result.returncode, spoken(result, "Read-only file system", place))
    check(stage, place, result, 1, r"Read-only file system.*place|place.*Read-only file system", reference)
    remount("rw")
    assert stage(place).returncode == 0 and made(stage, place) == reference


def test_read_only_data(whole, small_disk, tmp_path, outcome):
    disk, remount = small_disk
    place = moved(whole(TRAIN), disk / "place")
    shutil.rmtree(place / "data" / "bank", ignore_errors=True)
    remount("ro")
    model = tmp_path / "m"
    result = TRAIN(place, "--dir", str(model))
    said = r"data/bank/.*: cannot be made \(Read-only file system\), so the archives are read each time"
    outcome("data on a read-only disk", TRAIN.name, result.returncode, spoken(result, said, place))
    assert result.returncode == 0 and re.search(said, result.stderr)
    assert (model / "best.safetensors").read_bytes() == (place / FOLD / "best.safetensors").read_bytes()


@pytest.fixture
def path_without(tmp_path):
    """Give an environment whose PATH has all programs but some."""
    def make(*missing):
        folder = tmp_path / "bin"
        folder.mkdir()
        for place in os.environ["PATH"].split(os.pathsep):
            for program in Path(place).glob("*"):
                if program.name not in missing and not (folder / program.name).is_symlink():
                    (folder / program.name).symlink_to(program)
        return os.environ | {"PATH": str(folder)}
    return make


def test_without_flock(tmp_path, path_without, outcome):
    result = run("./run.sh", "--data-dir", tmp_path / "data", "--exp-dir", tmp_path / "exp", check=False,
                 env=path_without("flock"))
    outcome("flock missing", "run.sh", result.returncode, spoken(result, "flock", tmp_path))
    assert result.returncode == 1 and result.stderr == "run.sh: no flock in PATH; install util-linux\n"


def test_without_git(whole, tmp_path, path_without, outcome):
    place = moved(whole(TRAIN), tmp_path / "place")
    result = TRAIN(place, env=path_without("git"))
    outcome("git missing", TRAIN.name, result.returncode, spoken(result, "%WF1", place))
    assert result.returncode == 0 and made(TRAIN, place) == made(TRAIN, whole(TRAIN))


def test_without_a_scheduler(tmp_path, path_without, outcome):
    result = run("steps/parallel/slurm.py", tmp_path / "x.log", "true", check=False, env=path_without("sbatch"))
    outcome("sbatch missing", "slurm.py", result.returncode, spoken(result, "sbatch", tmp_path))
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "sbatch" in result.stderr


PYTHONS = {
    "Python missing": (None, r"install.sh: no own-python; install Python 3.10 or newer"),
    "Python too old": ("case $1 in --version) echo Python 3.6.8;; *) exit 1;; esac", r"Python 3.6.8 is too old; set"),
    "Python without venv": ("case $1 in -m) exit 1;; esac", r"install.sh: cannot make .venv; install the venv module"),
    "Python of .venv removed": (None, r"\.venv has no Python that can be run; remove it \(rm -r \.venv\)"),
}


@pytest.mark.parametrize("fault", PYTHONS)
def test_python(fault, tmp_path, outcome):
    program, said = PYTHONS[fault]
    (tmp_path / "local").mkdir()
    shutil.copy(ROOT / "local" / "install.sh", tmp_path / "local")
    (tmp_path / "requirements.txt").write_text("numpy\n")
    (tmp_path / "bin").mkdir()
    if program:
        (tmp_path / "bin" / "own-python").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "bin" / "own-python").chmod(0o755)
    if "removed" in fault:
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        (tmp_path / ".venv" / "bin" / "python").symlink_to(tmp_path / "gone")
        (tmp_path / ".venv" / ".requirements.txt").write_text("numpy\n")
    result = run(tmp_path / "local" / "install.sh", "requirements.txt", check=False, env=os.environ | {
        "PYTHON": "own-python", "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
    outcome(fault, "path.sh", result.returncode, spoken(result, said, tmp_path))
    assert result.returncode == 1 and re.search(said, result.stderr) and result.stderr.count("\n") == 1


PLACES = {
    "Turkish locale": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "POSIX locale": {"LC_ALL": "POSIX", "LANG": "", "PYTHONUTF8": ""},
    "time zone of the Pacific": {"TZ": "Pacific/Kiritimati"},
}


@pytest.mark.parametrize("fault", PLACES)
def test_locale_and_time_zone(fault, whole, tmp_path, outcome):
    place = moved(whole(FBANK), tmp_path / "Iıİi ö")
    for stage in (DATA, FBANK):
        command = [word.replace("{}", str(place)) for word in stage.words]
        command = [sys.executable, *command] if command[0].endswith(".py") else command
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | PLACES[fault])
        outcome(fault, stage.name, result.returncode, spoken(result, "prepared|wrote features", place))
        assert result.returncode == 0 and "Traceback" not in result.stderr, result.stderr
    reference = made(FBANK, whole(FBANK))
    assert made(FBANK, place) == reference


def test_corpus_in_a_folder_that_is_not_utf8(whole, tmp_path, outcome):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/fran\xe7ais"))
    shutil.copytree(whole(DATA) / "source", folder)
    result = run("local/kaldi_data_prep.py", "--emotion", "true", folder, tmp_path / "data", check=False)
    said = r"wav.scp: cannot hold .*fran\\udce7ais.*, a name that is not UTF-8; rename"
    outcome("folder whose name is not UTF-8", DATA.name, result.returncode, spoken(result, said, tmp_path))
    assert result.returncode == 1 and re.search(said, result.stderr) and result.stderr.count("\n") == 1
    assert not list((tmp_path / "data").iterdir())

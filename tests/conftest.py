"""Small data directories for the tests, made by the recipe's own scripts once a session."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scripts import run_script

ROOT = Path(__file__).resolve().parent.parent
os.environ["PYTHONPATH"] = str(ROOT / "steps")
os.chdir(ROOT)
# A shell ignores these for what it runs in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def run(*words, check=True, **kwargs):
    """Run a script of the recipe from its root; returns the completed process with text output."""
    words = [str(word) for word in words]
    if words[0].endswith(".py") and kwargs.keys() <= {"env"}:
        result = run_script(words, ROOT, kwargs.get("env", dict(os.environ)))
    else:
        command = [sys.executable, *words] if words[0].endswith(".py") else words
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, **kwargs)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(words)}\n{result.stdout}{result.stderr}")
    return result


@pytest.fixture
def script():
    return run


SHORT = ("--epochs=1", "--batch-size=32", "--crop=40", "--feature-norm=utterance")


def recipe(place, *words, check=True, **kwargs):
    """Run run.sh up to the results on the mini corpora, five folds, with all its files under `place`."""
    return run("./run.sh", "--stop-stage", "6", "--data-dir", place / "data", "--exp-dir", place / "exp",
               "--protocol", "5fold",
               "--pretrain-config", place / "pretrain.conf", "--finetune-config", place / "finetune.conf",
               *words, check=check, **kwargs)


def short_schedule(folder):
    """Write configurations of one epoch into a folder and return it."""
    folder.mkdir(exist_ok=True)
    for name in ("pretrain.conf", "finetune.conf"):
        (folder / name).write_text("\n".join(SHORT) + "\n")
    return folder


def results(place):
    return {path: path.read_text() for path in sorted((place / "exp").glob("*/*/RESULT"))}


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Where the whole mini recipe was run on one epoch, in a folder with a blank in its name, and how that went."""
    place = short_schedule(tmp_path_factory.mktemp("my recipe"))
    return place, recipe(place)


def tone(rng, frequency, seconds=0.8):
    """A harmonic tone with noise at int16 scale, different for every call."""
    time = np.arange(int(16000 * seconds)) / 16000
    wave = sum(np.sin(2 * np.pi * frequency * k * time + rng.uniform(0, 6)) / k for k in range(1, 12))
    envelope = 0.4 + 0.6 * np.abs(np.sin(2 * np.pi * rng.uniform(2, 4) * time))
    return (3000 * wave * envelope + rng.normal(0, 60, len(time))).astype(np.int16)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Four speakers, two emotions, six utterances of each: features, VAD, leave-one-speaker-out and identification."""
    folder = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    source = folder / "source"
    (source / "audio").mkdir(parents=True)
    tables = {"wav.scp": [], "utt2spk": [], "utt2emo": []}
    for number, speaker in enumerate(("s1", "s2", "s3", "s4")):
        for emotion, factor in (("ang", 1.6), ("sad", 1.0)):
            for take in range(6):
                utt = f"{speaker}-{emotion}{take}"
                soundfile.write(source / "audio" / f"{utt}.wav",
                                tone(rng, (100 + 20 * number) * factor, 0.6 + 0.1 * take), 16000)
                tables["wav.scp"].append(f"{utt} audio/{utt}.wav")
                tables["utt2spk"].append(f"{utt} {speaker}")
                tables["utt2emo"].append(f"{utt} {emotion}")
    for name, lines in tables.items():
        (source / name).write_text("\n".join(lines) + "\n")
    data = folder / "data"
    run("local/kaldi_data_prep.py", "--emotion", "true", source, data)
    run("steps/make_fbank.sh", "--nj", "2", data)
    run("steps/compute_vad.sh", "--nj", "2", data)
    run("local/make_folds.py", "--protocol", "loso", data)
    run("local/make_folds.py", "--protocol", "identification", data)
    return data


@pytest.fixture
def outcome(record_property):
    """Put a row into the table of faults that ends the report: outcome(fault, stage, status, said)."""
    return lambda *row: record_property("fault", [str(cell) for cell in row])


def pytest_terminal_summary(terminalreporter):
    """Print what became of each fault of tests/test_faults.py, whichever process ran it."""
    reports = [report for word in ("passed", "failed", "skipped") for report in terminalreporter.stats.get(word, ())]
    rows = {tuple(value): report.outcome for report in reports for name, value in report.user_properties
            if name == "fault"}
    if not rows:
        return
    terminalreporter.section("faults: stage, fault, exit status, what was said")
    for fault, stage, status, said in sorted(rows, key=lambda row: (row[1], row[0])):
        wrong = "" if rows[fault, stage, status, said] == "passed" else " NOT AS IT SHOULD BE"
        terminalreporter.write_line(f"{stage:<14} {fault:<45} {status:>4}{wrong}  {said[:200]}")
    terminalreporter.write_line(f"{len(rows)} faults")

"""How long the fifty trainings of Table 2 take on one GPU, on random features of IEMOCAP's size.

Ten rotations of each system are trained and scored by the scripts that run.sh starts, with the schedule of
conf/finetune.conf: 2280 utterances of 4.4 s and ten speakers. What their pre-training takes is in pretraining.py.
"""

import subprocess
import tempfile
import time
from pathlib import Path

import torch

from ser.base.files import write_text
from ser.data.data_dir import write_list, write_table
from table import ROOT, alone
from training import write_features

SYSTEMS = "resnet18_baseline resnet18_pretrain resnet18_pretrain_ad vgg5_baseline vgg5_ad"
UTTERANCES, FRAMES, SPEAKERS, EMOTIONS = 2280, 440, 10, ("ang", "hap", "neu", "sad")


def run(*words):
    return subprocess.run([*map(str, words)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def emotion_corpus(folder):
    utts = [f"s{n % SPEAKERS}-{n:06d}" for n in range(UTTERANCES)]
    write_features(folder, utts, FRAMES)
    for name in ("feats", "vad"):
        (folder / f"{name}.scp").write_text("".join(sorted((folder / f"{name}.scp").open())))
    write_table(folder / "utt2spk", {utt: utt.split("-")[0] for utt in utts})
    write_table(folder / "utt2emo", {utt: EMOTIONS[n // SPEAKERS % len(EMOTIONS)] for n, utt in enumerate(utts)})
    write_text(folder / "dataset", "random-features\n")
    (folder / "conf").mkdir()
    for name in ("fbank.conf", "vad.conf"):
        (folder / "conf" / name).write_text((ROOT / "conf" / name).read_text())
    run("local/make_folds.py", "--protocol", "loso", folder)
    write_list(folder / "identification" / "train", [utt for n, utt in enumerate(utts) if n // SPEAKERS % 10])
    write_list(folder / "identification" / "valid", [utt for n, utt in enumerate(utts) if not n // SPEAKERS % 10])


def rotations(folder):
    """Yield each system and the seconds of its ten rotations."""
    data, exp = folder / "data", folder / "exp"
    data.mkdir()
    emotion_corpus(data)
    run("steps/pretrain.py", "--config", "conf/pretrain.conf", "--epochs", 1, data, exp / "pretrain_resnet18")
    for system in SYSTEMS.split():
        run("local/experiment/plan_finetuning.py", "--systems", system, "--device", "cuda", data, exp, exp / "tasks")
        start = time.perf_counter()
        run("steps/finetune_tasks.py", exp / "tasks", exp / "log")
        yield system, time.perf_counter() - start


def rows():
    """Yield rows (table.row); none without a GPU."""
    if not torch.cuda.is_available():
        return
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        for system, seconds in rotations(Path(folder)):
            total += seconds
            yield alone(f"ten rotations of {system}", seconds, "s")
    yield alone("fifty trainings", total, "s")

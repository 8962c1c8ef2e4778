"""How long Table 2 takes on one GPU, on random features of the sizes of IEMOCAP and VoxCeleb1.

Ten rotations of each system are trained and scored by the scripts that run.sh starts, with the schedule of
conf/finetune.conf: 2280 utterances of 4.4 s and ten speakers. Pre-training runs for some epochs on 148642 utterances of
8.5 s and 1251 speakers, 10 GB in half precision that are in memory already; from their time follows what all epochs of
conf/pretrain.conf take.
"""

import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import ser.data.feature_bank
from ser.base.device import pick_device, place
from ser.base.files import write_text
from ser.data.data_dir import write_list, write_table
from ser.data.feature_bank import FeatureBank
from ser.infer.posteriors import posteriors
from ser.nn.models import SpeakerModel
from ser.train.schedules import warmup_cosine
from ser.train.trainer import Plan, Trainer
from table import ROOT, alone, gpu, row
from training import DIMENSION, write_features

SYSTEMS = "resnet18_baseline resnet18_pretrain resnet18_pretrain_ad vgg5_baseline vgg5_ad"
UTTERANCES, FRAMES, SPEAKERS, EMOTIONS = 2280, 440, 10, ("ang", "hap", "neu", "sad")
VOXCELEB = {"utterances": 148642, "frames": 852, "speakers": 1251, "held_out": 6255}


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


def options(path):
    lines = [line[2:].split("=", 1) for line in path.read_text().splitlines() if line.startswith("--")]
    return {key: value for key, value in lines}


def pretraining(folder, epochs, resident):
    """Mean seconds of an epoch of pre-training with its validation, after the first one."""
    device = pick_device("cuda")
    sizes, conf = VOXCELEB, options(ROOT / "conf" / "pretrain.conf")
    block = np.random.default_rng(0).standard_normal((100_000, DIMENSION)).astype(np.float16)
    frames = np.resize(block, (sizes["utterances"] * sizes["frames"], DIMENSION))
    share = ser.data.feature_bank._SHARE_OF_FREE_MEMORY
    ser.data.feature_bank._SHARE_OF_FREE_MEMORY = share if resident else 0
    bank = FeatureBank(range(sizes["utterances"]), [sizes["frames"]] * sizes["utterances"], frames, device,
                       checksums=[0] * sizes["utterances"])
    ser.data.feature_bank._SHARE_OF_FREE_MEMORY = share
    positions = torch.arange(sizes["utterances"], device=bank.frames.device)
    speakers = torch.arange(sizes["utterances"], device=device) % sizes["speakers"]
    model = SpeakerModel("resnet18", DIMENSION, sizes["speakers"])
    place(model, device)
    marks = []

    def validate():
        hypotheses = posteriors(model, bank, positions[: sizes["held_out"]], "bf16").argmax(1)
        hits = hypotheses == speakers[: sizes["held_out"]].cpu()
        marks.append(time.perf_counter())
        return 100 * hits.float().mean().item()

    plan = Plan(epochs=epochs, batch_size=int(conf["batch-size"]), crop=int(conf["crop"]), seed=0,
                learning_rates={"": 0.001}, schedule=warmup_cosine(0.1), precision="bf16", fast=True, save_every=10.0)
    Trainer(model, bank, positions[sizes["held_out"] :],
            loss=lambda network, features, batch: cross_entropy(network(features).float(), speakers[batch]),
            validate=validate, plan=plan, model_dir=folder, identity="bench").run()
    return (marks[-1] - marks[0]) / (epochs - 1)


def rows(epochs=3):
    """Yield rows (table.row); none without a GPU."""
    if not torch.cuda.is_available():
        return
    total, wanted = 0, int(options(ROOT / "conf" / "pretrain.conf")["epochs"])
    with tempfile.TemporaryDirectory() as folder:
        for system, seconds in rotations(Path(folder)):
            total += seconds
            yield alone(f"ten rotations of {system}", seconds, "s", gpu())
    with tempfile.TemporaryDirectory() as folder:
        each = pretraining(Path(folder), epochs, True)
        yield alone(f"{wanted} epochs of pre-training, from {epochs - 1}", each * wanted, "s", gpu())
        yield alone("Table 2", total + each * wanted, "s", gpu())
        slow = pretraining(Path(folder) / "host", epochs, False)
        yield row("an epoch of it; features in the host's memory", each, slow, "s", gpu(), 1, smaller_is_better=True)

"""Utterances per second of pre-training on one GPU and on all of this machine, on random features in the GPU's memory.

ResNet18 with the options of conf/pretrain.conf: 11068 utterances of 1.6 s and 699 speakers, which are short epochs, and
148642 of 8.5 s and 1251 speakers, VoxCeleb1's size. The time is that of whole epochs with their validation, after
those in which the steps become graphs. Each measurement is a process, or as many as there are GPUs; the spread is that
of its epochs.
"""

import recipe_environment

import itertools
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import ser.data.feature_bank
from ser.base.device import pick_device, place
from ser.base.processes import is_main, rank, world_size
from ser.data.feature_bank import FeatureBank
from ser.infer.posteriors import posteriors
from ser.nn.models import SpeakerModel
from ser.train import distributed
from ser.train.augmentation import augmented
from ser.train.schedules import warmup_cosine
from ser.train.trainer import Plan, Trainer
from table import ROOT, alone, row

DIMENSION = 41
SMALL = {"utterances": 11068, "frames": 160, "speakers": 699, "held_out": 699}
VOXCELEB1 = {"utterances": 148642, "frames": 852, "speakers": 1251, "held_out": 6255}
SIZES = {"small": SMALL, "voxceleb1": VOXCELEB1}


def options(path):
    """Those of a configuration file."""
    lines = [line[2:].split("=", 1) for line in path.read_text().splitlines() if line.startswith("--")]
    return dict(lines)


def random_bank(sizes, device, resident):
    """Features of all utterances, on the GPU or in the host's memory."""
    block = np.random.default_rng(0).standard_normal((100_000, DIMENSION)).astype(np.float16)
    frames = np.resize(block, (sizes["utterances"] * sizes["frames"], DIMENSION))
    if not resident:
        ser.data.feature_bank._SHARE_OF_FREE_MEMORY = 0
    return FeatureBank(range(sizes["utterances"]), [sizes["frames"]] * sizes["utterances"], frames, device,
                       checksums=[0] * sizes["utterances"])


def train(sizes, batch, is_global, epochs, warm_up, resident):
    """Train; return the seconds of each epoch after `warm_up` of them."""
    distributed.begin()
    device, conf = pick_device("cuda"), options(ROOT / "conf" / "pretrain.conf")
    with distributed.group(device), tempfile.TemporaryDirectory() as folder:
        bank = random_bank(sizes, device, resident)
        positions = torch.arange(sizes["utterances"], device=bank.frames.device)
        speakers = torch.arange(sizes["utterances"], device=device) % sizes["speakers"]
        model = SpeakerModel("resnet18", DIMENSION, sizes["speakers"])
        place(model, device)
        marks = []

        def validate():
            posteriors(model, bank, positions[: sizes["held_out"]][rank()::world_size()], "bf16")
            marks.append(time.perf_counter())
            return 0.0

        plan = Plan(epochs=epochs, batch_size=batch, crop=int(conf["crop"]), seed=0, learning_rates={"": 0.001},
                    schedule=warmup_cosine(0.1), precision="bf16", fast=True, save_every=1e9,
                    weight_decay=float(conf["weight-decay"]), global_batch=is_global)
        Trainer(model, augmented(bank, conf["augment"], {}), positions[sizes["held_out"] :],
                loss=lambda network, features, of: cross_entropy(network(features).float(), speakers[of]),
                validate=validate, plan=plan, model_dir=folder, identity="bench").run()
    return [after - before for before, after in itertools.pairwise(marks[warm_up - 1 :])]


def seconds(gpus, name, batch, is_global=False, epochs=18, warm_up=13, resident=True):
    """Seconds of each epoch on some GPUs, and MiB that a GPU's memory needed."""
    launch = ["steps/launch_distributed.py", "--nproc-per-node", gpus] if gpus > 1 else []
    words = [*launch, "tests/bench/pretraining.py", name, batch, int(is_global), epochs, warm_up, int(resident)]
    result = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    *each, memory = map(float, result.stdout.split())
    return each, memory


def rows():
    """Yield rows (table.row); none without a GPU."""
    gpus = torch.cuda.device_count()
    if not gpus:
        return
    training = {name: sizes["utterances"] - sizes["held_out"] for name, sizes in SIZES.items()}
    if gpus > 1:
        for batch in (64, 128, 256, 512, 1024):
            one, _ = seconds(1, "small", batch)
            for what, is_global in (("each", False), ("of all", True)):
                several, _ = seconds(gpus, "small", batch, is_global)
                speeds = [(training["small"] / ours, training["small"] / theirs)
                          for ours, theirs in zip(several, one, strict=True)]
                yield row(f"pre-training, {gpus} GPUs, batch {batch} {what}; one GPU", speeds, "utt/s")
    batch, epochs = (int(options(ROOT / "conf" / "pretrain.conf")[name]) for name in ("batch-size", "epochs"))
    one, memory = seconds(1, "voxceleb1", batch, epochs=4, warm_up=1)
    yield alone("VoxCeleb1's size, its memory on the GPU", memory, "MiB")
    yield alone(f"{epochs} epochs of it, from {len(one)}", statistics.mean(one) * epochs, "s")
    slow, _ = seconds(1, "voxceleb1", batch, epochs=4, warm_up=1, resident=False)
    of_epochs = {"digits": 1, "smaller_is_better": True}
    yield row(f"an epoch of it in batches of {batch}; features in the host's memory",
              list(zip(one, slow, strict=True)), "s", **of_epochs)
    if gpus > 1:
        several, _ = seconds(gpus, "voxceleb1", batch, epochs=4, warm_up=1)
        yield row(f"an epoch of it on {gpus} GPUs; one GPU", list(zip(several, one, strict=True)), "s", **of_epochs)


if __name__ == "__main__":
    name, *numbers = sys.argv[1:]
    batch, is_global, epochs, warm_up, resident = map(int, numbers)
    epochs_seconds = train(SIZES[name], batch, bool(is_global), epochs, warm_up, bool(resident))
    if is_main():
        print(*epochs_seconds, torch.cuda.max_memory_allocated() / 2**20)

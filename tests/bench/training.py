"""Utterances per second of whole trainings and of scoring: the recipe against plain torch, on random features.

Both train ResNet18+AD or VGG5+AD with batches of 128 crops of 200 frames, with a validation after each epoch that is
the same for both, and in the precision that the recipe chooses on the processor. Plain torch is the loop that one
writes first, with what is known to help: the network's own layers with channels last, autocast, a fused Adam, features
in memory, and on a GPU worker processes that cut crops and pinned memory. torch.compile makes it slower on a CPU
(BENCHMARKS.md). On a GPU it has a row, as have the recipe's own --fast false and scoring: batches of whole utterances
against one utterance at a time, in float32.

Each measurement is a process of its own. On a GPU that is a whole training of 50 epochs with its start, where the
compiler finds in its cache what the first run left; on a CPU, which other work disturbs, the fastest epoch with its
validation, in processor time of one thread, as folds are trained side by side on cores. The limits are those of a step
of plain torch without validation.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import kaldiio
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from limits import least_seconds, needs
from ser.base.device import pick_device, pick_precision, place
from ser.data.archives import write_archive
from ser.data.data_dir import read_table
from ser.data.feature_bank import load_bank
from ser.infer.posteriors import posteriors
from ser.nn.losses import overall_loss
from ser.nn.models import EmotionModel
from ser.nn.options import EmotionModelConfig
from ser.train.trainer import Plan, Trainer
from table import in_turns, row

BATCH, CROP, FRAMES, SPEAKERS, EMOTIONS, DIMENSION = 128, 200, 440, 8, 4, 41
TRAINING = {"cuda": 1824, "cpu": 128}  # utterances
VALIDATION = {"cuda": 228, "cpu": 16}
CLOCK = {"cuda": time.perf_counter, "cpu": time.process_time}
EPOCHS = {"cuda": 50, "cpu": 3}
SCORED = 500


def write_features(folder, utts, frames=FRAMES):
    """Write archives of random features of some utterances, all voiced."""
    rng = np.random.default_rng(0)
    lengths = dict(zip(utts, rng.integers(frames // 2, frames * 3 // 2, len(utts)).tolist(), strict=True))
    write_archive(folder / "feats", ((utt, rng.standard_normal((length, DIMENSION), np.float32))
                                     for utt, length in lengths.items()))
    write_archive(folder / "vad", ((utt, np.ones(length)) for utt, length in lengths.items()))


class Crops(Dataset):
    """One crop of each utterance, from matrices in memory."""

    def __init__(self, matrices):
        self.matrices = matrices

    def __len__(self):
        return len(self.matrices)

    def __getitem__(self, number):
        matrix = self.matrices[number]
        start = np.random.randint(len(matrix) - CROP + 1)
        return matrix[start : start + CROP], number % EMOTIONS, number % SPEAKERS


def a_network(backbone, device):
    network = EmotionModel(EmotionModelConfig(backbone=backbone, ad_after="last"), DIMENSION, EMOTIONS, SPEAKERS)
    place(network, device)
    return network


def loss_of(network, features, emotions, speakers):
    logits, dual, _ = network(features)
    return overall_loss(logits, dual, emotions, speakers, 0.5)


def open_features(folder, device):
    """The bank, the names of the utterances that train, and the positions of those that validate."""
    utts = list(read_table(folder / "feats.scp"))
    bank = load_bank(folder, utts, device=device)
    training = TRAINING[device.type]
    return bank, utts[:training], bank.indices(utts[training : training + VALIDATION[device.type]])


def speed(utterances, marks, device):
    """Utterances per second of all epochs on a GPU, of the fastest one on a CPU, from when they began and ended."""
    if device.type == "cuda":
        return utterances * (len(marks) - 1) / (marks[-1] - marks[0])
    return utterances / min(after - before for before, after in itertools.pairwise(marks))


def plain_training(folder, backbone, device, compiled=False):
    """Train in plain torch; returns utterances per second."""
    bank, utts, held_out = open_features(folder, device)
    places, precision, on_gpu = read_table(folder / "feats.scp"), pick_precision("auto", device), device.type == "cuda"
    crops = Crops([np.array(kaldiio.load_mat(places[utt])) for utt in utts])
    workers = min(8, len(os.sched_getaffinity(0))) if on_gpu else 0
    network = a_network(backbone, device).train()
    forward = torch.compile(network) if compiled else network
    marks = [CLOCK[device.type]()]
    loader = DataLoader(crops, BATCH, shuffle=True, num_workers=workers, pin_memory=on_gpu, persistent_workers=on_gpu)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001, fused=True)
    for _ in range(EPOCHS[device.type]):
        total = torch.zeros((), device=device)
        for batch in loader:
            features, emotions, speakers = (tensor.to(device, non_blocking=True) for tensor in batch)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                loss = loss_of(forward, features, emotions, speakers)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        assert total.isfinite()
        posteriors(network, bank, held_out, precision)
        marks.append(CLOCK[device.type]())
    return speed(len(utts), marks, device)


def our_training(folder, backbone, device, fast=True):
    """Train with the recipe's trainer; returns utterances per second."""
    bank, utts, held_out = open_features(folder, device)
    numbers = torch.arange(len(bank.utts), device=device)
    precision = pick_precision("auto", device)
    network = a_network(backbone, device)
    plan = Plan(epochs=EPOCHS[device.type], batch_size=BATCH, crop=CROP, seed=0, learning_rates={"": 0.001},
                schedule=lambda epoch, progress: 1.0, precision=precision, fast=fast, save_every=1e9)

    def loss(model, features, positions):
        return loss_of(model, features, numbers[positions] % EMOTIONS, numbers[positions] % SPEAKERS)

    def validate():
        posteriors(network, bank, held_out, precision)
        marks.append(CLOCK[device.type]())
        return 0.0

    marks = [CLOCK[device.type]()]
    Trainer(network, bank, bank.indices(utts), loss=loss, validate=validate, plan=plan, model_dir=folder / "model",
            identity="bench").run()
    return speed(len(utts), marks, device)


def plain_scoring(folder, backbone, device):
    """Score one utterance at a time; returns utterances per second."""
    network = a_network(backbone, device).eval()
    places = list(read_table(folder / "feats.scp").values())[:SCORED]
    matrices = [np.array(kaldiio.load_mat(place)) for place in places]
    return fastest_of_three(lambda: [network(torch.from_numpy(matrix)[None].to(device))[0].softmax(1).cpu()
                                     for matrix in matrices], len(matrices))


def our_scoring(folder, backbone, device):
    """Score batches; returns utterances per second."""
    network = a_network(backbone, device).eval()
    place(network, device, to_score=True)
    bank = load_bank(folder, list(read_table(folder / "feats.scp")), device=device)
    scored = torch.arange(SCORED, device=bank.frames.device)
    return fastest_of_three(lambda: posteriors(network, bank, scored), len(scored))


def fastest_of_three(function, utterances):
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        with torch.inference_mode():
            function()
        seconds.append(time.perf_counter() - start)
    return utterances / min(seconds)


# What is measured, by which name of MEASURES, and what that is compared with.
COMPARISONS = {"cuda": {"training": ("plain torch", "plain torch, compiled", "--fast false"),
                        "scoring": ("one at a time",)},
               "cpu": {"training": ("plain torch",)}}
MEASURES = {"training": our_training, "--fast false": partial(our_training, fast=False), "scoring": our_scoring,
            "plain torch": plain_training, "plain torch, compiled": partial(plain_training, compiled=True),
            "one at a time": plain_scoring}


def measure(name, folder, backbone, device):
    """Utterances per second of one measurement, in this process."""
    threads = int(os.environ["OMP_NUM_THREADS"])
    torch.set_num_threads(threads)
    is_plain = name in ("plain torch", "plain torch, compiled", "one at a time")
    return MEASURES[name](Path(folder), backbone, torch.device(device) if is_plain else pick_device(device))


def threads_of(device):
    return 1 if device == "cpu" else len(os.sched_getaffinity(0))


def in_a_process(name, folder, backbone, device):
    words, environment = (name, folder, backbone, device), dict(os.environ, OMP_NUM_THREADS=str(threads_of(device)))
    result = subprocess.run([sys.executable, __file__, *words], env=environment, check=True, stdout=subprocess.PIPE,
                            text=True)
    return float(result.stdout)


def least_of(what, backbone, device):
    """Seconds that an utterance takes at least (limits.least_seconds())."""
    network, numbers = a_network(backbone, torch.device(device)), torch.arange(BATCH, device=device)
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[pick_precision("auto", torch.device(device))]
    features = torch.randn(BATCH, CROP, DIMENSION, device=device)

    def step():
        with torch.autocast(device, torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = loss_of(network, features, numbers % EMOTIONS, numbers % SPEAKERS)
        loss.backward()

    def score():
        with torch.no_grad():
            network.eval()(torch.randn(1, FRAMES, DIMENSION, device=device))

    work, utterances = (step, BATCH) if what == "training" else (score, 1)
    least = least_seconds(**needs(work), dtype=dtype if what == "training" else torch.float32, device=device,
                          threads=threads_of(device))
    return {limit: seconds / utterances for limit, seconds in least.items()}


def rows():
    """Yield rows (table.row) of the GPU, if there is one, and of the CPU."""
    for device in ("cuda", "cpu") if torch.cuda.is_available() else ("cpu",):
        for backbone in ("resnet18", "vgg5"):
            with tempfile.TemporaryDirectory() as folder:
                write_features(Path(folder), [f"utt{n:05d}" for n in range(TRAINING[device] + VALIDATION[device])])
                for ours, others in COMPARISONS[device].items():
                    sides = [partial(in_a_process, side, folder, backbone, device) for side in (ours, *others)]
                    speeds = list(zip(*in_turns(*sides), strict=True))
                    for theirs, of_theirs in zip(others, speeds[1:], strict=True):
                        yield row(f"{ours} {backbone}+AD on {device}; {theirs}",
                                  list(zip(speeds[0], of_theirs, strict=True)), "utt/s",
                                  least_of(ours, backbone, device))


if __name__ == "__main__":
    print(measure(*sys.argv[1:]))

"""Utterances a second of training and scoring: ours against the plain way, on random features.

The plain way is float32 with channels first, torch's own layers one by one, and worker processes that read one
utterance at a time with kaldiio and cut a crop of it; scored is one utterance at a time. Both train ResNet18+AD or
VGG5+AD with batches of 128 from the same archives. Each measurement is a process of its own, and they take turns. On a
GPU crops have 300 frames; on a CPU 200, and the plain process has the allocator as it is.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import kaldiio
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ser.base.device import pick_device, pick_precision
from ser.data.archives import write_archive
from ser.data.data_dir import read_table
from ser.data.feature_bank import load_bank
from ser.infer.posteriors import posteriors
from ser.nn.losses import overall_loss
from ser.nn.models import EmotionModel, EmotionModelConfig
from ser.nn.padding import ConvBnRelu, halved, mask_frames
from ser.train.trainer import Plan, Trainer
from table import cpu, gpu, row

BATCH, FRAMES, SPEAKERS, EMOTIONS, DIMENSION = 128, 440, 8, 4, 41
CROP = {"cuda": 300, "cpu": 200}
STEPS = {"cuda": 12, "cpu": 1}  # of an epoch, whose time is one measurement
EPOCHS = {"cuda": 8, "cpu": 4}  # the first half warms up
SCORED = {"cuda": 1000, "cpu": 60}
ALLOCATOR = "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"


def write_features(folder, utts, frames=FRAMES):
    """Write archives of random features of some utterances, all voiced."""
    rng = np.random.default_rng(0)
    lengths = dict(zip(utts, rng.integers(frames // 2, frames * 3 // 2, len(utts)).tolist(), strict=True))
    write_archive(folder / "feats", ((utt, rng.standard_normal((length, DIMENSION), np.float32))
                                     for utt, length in lengths.items()))
    write_archive(folder / "vad", ((utt, np.ones(length)) for utt, length in lengths.items()))


class PlainConvBnRelu(ConvBnRelu):
    """One of torch's layers after the other."""

    def forward(self, x, lengths, residual=None):
        x = self.norm(nn.functional.conv2d(x, self.conv.weight, None, self.conv.stride, self.conv.padding))
        lengths = None if lengths is None else halved(lengths, self.stride)
        return mask_frames((x if residual is None else x + residual).relu(), lengths), lengths


def make_plain(network):
    """Give a network channels first and torch's own layers; returns it."""
    for module in network.modules():
        if isinstance(module, ConvBnRelu):
            module.__class__ = PlainConvBnRelu
    network.extractor.layers["conv1"].register_forward_pre_hook(
        lambda _, inputs: (inputs[0].clone(memory_format=torch.contiguous_format), *inputs[1:]))
    return network.to(memory_format=torch.contiguous_format)


def plain_network(backbone, device):
    network = EmotionModel(EmotionModelConfig(backbone=backbone, ad_after="last"), DIMENSION, EMOTIONS, SPEAKERS)
    return make_plain(network).to(device)


class Utterances(Dataset):
    """One crop of an utterance, read when it is asked for."""

    def __init__(self, folder, crop):
        self.places, self.crop = list(read_table(folder / "feats.scp").values()), crop

    def __len__(self):
        return len(self.places)

    def __getitem__(self, number):
        matrix = kaldiio.load_mat(self.places[number])
        matrix = np.tile(matrix, (-(-self.crop // len(matrix)), 1))
        start = np.random.randint(len(matrix) - self.crop + 1)
        return matrix[start : start + self.crop], number % EMOTIONS, number % SPEAKERS


def loss_of(network, features, emotions, speakers):
    logits, dual, _ = network(features)
    return overall_loss(logits, dual, emotions, speakers, 0.5)


def plain_epochs(folder, backbone, device):
    """Yield the seconds of each epoch of the plain loop."""
    network = plain_network(backbone, device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    workers = min(8, len(os.sched_getaffinity(0)))
    loader = DataLoader(Utterances(folder, CROP[device.type]), BATCH, shuffle=True, num_workers=workers,
                        pin_memory=device.type == "cuda", persistent_workers=True)
    for _ in range(EPOCHS[device.type]):
        start, total = time.perf_counter(), 0.0
        for batch in loader:
            loss = loss_of(network, *(tensor.to(device, non_blocking=True) for tensor in batch))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        yield time.perf_counter() - start


def our_epochs(folder, backbone, device):
    """Yield the seconds of each epoch of the recipe's trainer."""
    bank = load_bank(folder, list(read_table(folder / "feats.scp")), device=device)
    which = torch.arange(len(bank.utts), device=bank.frames.device)
    numbers = torch.arange(len(bank.utts), device=device)
    network = EmotionModel(EmotionModelConfig(backbone=backbone, ad_after="last"), DIMENSION, EMOTIONS, SPEAKERS)
    marks = []

    def validate():
        marks.append(time.perf_counter())
        return 0.0

    plan = Plan(EPOCHS[device.type], BATCH, CROP[device.type], 0, {"": 0.001}, lambda epoch, progress: 1.0,
                pick_precision("auto", device), save_every=1e9)

    def loss(model, features, positions):
        return loss_of(model, features, numbers[positions] % EMOTIONS, numbers[positions] % SPEAKERS)

    Trainer(network.to(device, memory_format=torch.channels_last), bank, which, loss, validate, plan, folder / "model",
            "bench").run()
    return [after - before for before, after in zip(marks, marks[1:], strict=False)]


def plain_scoring(folder, backbone, device):
    network = plain_network(backbone, device).eval()
    places = list(read_table(folder / "feats.scp").values())
    for _ in range(3):
        start = time.perf_counter()
        with torch.inference_mode():
            for place in places:
                features = torch.from_numpy(np.array(kaldiio.load_mat(place)))[None].to(device)
                network(features)[0].softmax(1).cpu()
        yield time.perf_counter() - start


def our_scoring(folder, backbone, device):
    network = EmotionModel(EmotionModelConfig(backbone=backbone, ad_after="last"), DIMENSION, EMOTIONS, SPEAKERS)
    network = network.to(device, memory_format=torch.channels_last).eval()
    for _ in range(3):
        start = time.perf_counter()
        bank = load_bank(folder, list(read_table(folder / "feats.scp")), device=device)
        posteriors(network, bank, torch.arange(len(bank.utts), device=bank.frames.device))
        yield time.perf_counter() - start


MEASURES = {"plain": plain_epochs, "ours": our_epochs, "plain-scoring": plain_scoring, "our-scoring": our_scoring}


def measure(name, folder, backbone, device):
    """Utterances a second of one measurement, in this process."""
    if name.startswith("our"):
        device = pick_device(device, torch.get_num_threads())
    else:
        device = torch.device(device)
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    seconds = list(MEASURES[name](Path(folder), backbone, device))
    return len(read_table(Path(folder) / "feats.scp")) / min(seconds[len(seconds) // 2 :])


def in_a_process(name, folder, backbone, device):
    environment = dict(os.environ, OMP_NUM_THREADS=str(len(os.sched_getaffinity(0))))
    if name.startswith("plain"):
        environment = {key: value for key, value in environment.items() if key not in ALLOCATOR}
    result = subprocess.run([sys.executable, __file__, name, folder, backbone, device], env=environment,
                            check=True, stdout=subprocess.PIPE, text=True)
    return float(result.stdout)


def rows(repeats=2):
    """Yield rows (table.row) of the GPU, if there is one, and of the CPU; medians of repeats."""
    for device in ("cuda", "cpu") if torch.cuda.is_available() else ("cpu",):
        for backbone in ("resnet18", "vgg5"):
            for what, ours, theirs, utterances in (("training", "ours", "plain", BATCH * STEPS[device]),
                                                   ("scoring", "our-scoring", "plain-scoring", SCORED[device])):
                with tempfile.TemporaryDirectory() as folder:
                    write_features(Path(folder), [f"utt{number:05d}" for number in range(utterances)])
                    speeds = {ours: [], theirs: []}
                    for _ in range(repeats):
                        for name, each in speeds.items():
                            each.append(in_a_process(name, folder, backbone, device))
                    our, their = map(statistics.median, speeds.values())
                    machine = {"cuda": gpu, "cpu": cpu}[device]()
                    yield row(f"{what} {backbone}+AD on {device}; plain", our, their, "utt/s", machine)


if __name__ == "__main__":
    print(measure(*sys.argv[1:]))

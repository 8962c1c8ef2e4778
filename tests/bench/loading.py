"""Time how a data directory is opened: the copy of ser.data.bank_cache against kaldiio in worker processes.

Both end with the voiced frames of every utterance in memory; ours are normalized and compared with their checksums as
well. Theirs is a torch DataLoader over kaldiio, with a worker for each core and batches that are padded, as recipes
have it. The first opening makes the copy, later ones find it. Files are dropped from memory before each opening. The
features are random, of speech-like size in the first rows, and of three frames where the number of utterances is
VoxCeleb1's.
"""

import os
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path

import kaldiio
import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from limits import forget, least_seconds
from ser.data.archives import write_archive
from ser.data.feature_bank import load_bank
from table import in_turns, row

NORM = "utterance-mean"


def make_data_dir(folder, utterances, frames, dimension=41):
    """Write archives of utterances of about `frames` frames, of which four in five are voiced; return their names."""
    rng = np.random.default_rng(0)
    lengths = dict(zip((f"id{n // 120:05d}-{n:07d}" for n in range(utterances)),
                       rng.integers(frames // 2 + 1, frames * 3 // 2 + 1, utterances), strict=True))
    write_archive(folder / "feats", ((utt, rng.standard_normal((length, dimension), np.float32))
                                     for utt, length in lengths.items()))
    write_archive(folder / "vad", ((utt, np.arange(length) % 5 < 4) for utt, length in lengths.items()))
    return list(lengths)


class Utterances(Dataset):
    """Voiced frames, one utterance at a time."""

    def __init__(self, folder):
        self.feats, self.vad = (kaldiio.load_scp(str(folder / f"{name}.scp")) for name in ("feats", "vad"))
        self.utts = list(self.feats)

    def __len__(self):
        return len(self.utts)

    def __getitem__(self, number):
        utt = self.utts[number]
        return torch.from_numpy(self.feats[utt][self.vad[utt] > 0])


def padded(utterances):
    return pad_sequence(utterances, batch_first=True), [len(frames) for frames in utterances]


def read_with_kaldiio(folder):
    workers = len(os.sched_getaffinity(0))
    batches = DataLoader(Utterances(folder), 128, num_workers=workers, collate_fn=padded)
    return [frames[:length] for batch, lengths in batches for frames, length in zip(batch, lengths, strict=True)]


def open_first(folder, utts):
    shutil.rmtree(folder / "bank", ignore_errors=True)
    return seconds(load_bank, folder, utts, NORM)


def seconds(function, folder, *words):
    for path in folder.rglob("*"):
        if path.is_file():
            forget(path)
    start = time.perf_counter()
    function(folder, *words)
    return time.perf_counter() - start


def rows(utterances=2000, many=150000):
    """Yield rows (table.row) of `utterances` of 400 frames, which are 130 MB, and of `many` of three frames."""
    for number, frames in ((utterances, 400), (many, 3)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            utts = make_data_dir(folder, number, frames)
            size = (folder / "feats.ark").stat().st_size
            theirs = partial(seconds, read_with_kaldiio, folder)
            for when, ours in (("the first time", partial(open_first, folder, utts)),
                               ("later", partial(seconds, load_bank, folder, utts, NORM))):
                yield row(f"open {number} utterances, {size / 1e6:.0f} MB, {when}; kaldiio, worker processes",
                          in_turns(ours, theirs), "s", least_seconds(moved=size, read=size), digits=2,
                          smaller_is_better=True)

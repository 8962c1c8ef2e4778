"""Time how a data directory is opened: the copy of ser.data.bank_cache against kaldiio, utterance by utterance.

Both end with the voiced frames of every utterance; ours are normalized and compared with their checksums as well. The
features are random, of speech-like size in the first rows, and of three frames where the number of utterances is
VoxCeleb1's. All of it was written just before, so it is read from memory and not from a disk.
"""

import tempfile
import time
from pathlib import Path

import kaldiio
import numpy as np

from ser.data.archives import write_archive
from ser.data.feature_bank import load_bank
from table import cpu, row

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


def read_with_kaldiio(folder):
    feats, vad = (kaldiio.load_scp(str(folder / f"{name}.scp")) for name in ("feats", "vad"))
    return [feats[utt][vad[utt] > 0] for utt in feats]


def seconds(function, *words):
    start = time.perf_counter()
    function(*words)
    return time.perf_counter() - start


def rows(utterances=2000, many=150000):
    """Yield rows (table.row) of `utterances` of 400 frames, which are 130 MB, and of `many` of three frames."""
    form = {"unit": "s", "machine": cpu(), "digits": 2, "smaller_is_better": True}
    for number, frames in ((utterances, 400), (many, 3)):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            utts = make_data_dir(folder, number, frames)
            work = f"open {number} utterances, {(folder / 'feats.ark').stat().st_size / 1e6:.0f} MB"
            theirs = seconds(read_with_kaldiio, folder)
            for name, dtype in (("single", np.float32), ("half", np.float16)):
                words = load_bank, folder, utts, NORM, "cpu", dtype
                yield row(f"{work}, {name}, copied; kaldiio", seconds(*words), theirs, **form)
                yield row(f"{work}, {name}; kaldiio", seconds(*words), theirs, **form)

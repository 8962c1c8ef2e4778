#!/usr/bin/env python3
"""Time how a data directory is opened: the copy of ser.bank_cache against kaldiio, utterance by utterance.

Both end with the voiced frames of every utterance; ours are normalized and compared with their checksums as well. The
features are random, of speech-like size in the first rows, and of three frames where the number of utterances is
VoxCeleb1's. All of it was written just before, so it is read from memory and not from a disk.
"""

import tempfile
import time
from pathlib import Path

import kaldiio
import numpy as np

from options import OptionParser, run
from ser.archives import write_archive
from ser.feature_bank import load_bank

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


def row(work, ours, theirs):
    return work, f"{ours:.2f} s", f"{theirs:.2f} s", f"{theirs / ours:.1f}"


def rows(utterances=2000, many=150000):
    """Measure.

    Parameters
    ----------
    utterances : int
        Of 400 frames; 2000 are 130 MB.
    many : int
        Of three frames.

    Yields
    ------
    tuple of str
        The work, our time, kaldiio's time, and how many times ours it is.
    """
    for number, frames in ((utterances, 400), (many, 3)):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            utts = make_data_dir(folder, number, frames)
            work = f"open {number} utterances, {(folder / 'feats.ark').stat().st_size / 1e6:.0f} MB"
            theirs = seconds(read_with_kaldiio, folder)
            for name, dtype in (("single", np.float32), ("half", np.float16)):
                words = load_bank, folder, utts, NORM, "cpu", dtype
                yield row(f"{work}, in {name} precision, making the copy", seconds(*words), theirs)
                yield row(f"{work}, in {name} precision", seconds(*words), theirs)


def main():
    parser = OptionParser(__doc__, "tests/bench/loading.py --utterances 20000")
    parser.add_argument("--utterances", type=int, default=2000, help="of 400 frames (default: 2000, which is 130 MB)")
    parser.add_argument("--many", type=int, default=150000, help="of three frames (default: 150000, as VoxCeleb1 has)")
    args = parser.parse_args()
    print(f"{'':<75}{'ours':>9}{'kaldiio':>9}{'ratio':>7}")
    for work, ours, theirs, ratio in rows(args.utterances, args.many):
        print(f"{work:<75}{ours:>9}{theirs:>9}{ratio:>7}", flush=True)


if __name__ == "__main__":
    run(main)

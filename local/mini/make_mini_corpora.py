#!/usr/bin/env python3
"""Make two small synthetic corpora in the layouts of IEMOCAP and VoxCeleb1, so that the recipe runs without data.

OUT gets IEMOCAP_full_release, VoxCeleb1 and factors.tsv, the ground truth of every utterance. The audio is
speech-like synthesis: figures measured on it say that the recipe works, and nothing about human emotion.
The same options give the same bytes, whatever the number of processes.

example: local/mini/make_mini_corpora.py data/mini
"""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from local.mini import iemocap, voxceleb1
from local.mini.synthesis import SAMPLE_RATE
from options import OptionParser, run
from ser.base.errors import UserError
from ser.base.files import temporary_folder, write_text

CORPORA = (iemocap.ROOT, voxceleb1.ROOT)
FACTORS = "factors.tsv"
MARK = "SYNTHETIC"  # a file at a corpus's root; data preparations look for it
SENTENCE = ("Synthetic speech-like audio in the layout of {}, made by local/mini/make_mini_corpora.py to try the "
            "recipe: no human spoke, and results on it say nothing about the real corpus.\n")


def get_args():
    parser = OptionParser(__doc__.splitlines()[0], "local/mini/make_mini_corpora.py --seed 0 data/mini")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default: 0)")
    parser.add_argument("--utterances-per-class", type=int, default=4, metavar="N",
                        help="improvised turns each IEMOCAP voice has of its rarest class; the others have up to "
                             "2.25 times as many (default: 4)")
    parser.add_argument("--speakers", type=int, default=24, help="VoxCeleb1 voices (default: 24)")
    parser.add_argument("--utterances-per-speaker", type=int, default=12, metavar="N",
                        help="of each VoxCeleb1 voice (default: 12)")
    parser.add_argument("--nj", type=int, default=os.cpu_count(), help="processes (default: one a processor)")
    parser.add_argument("out", metavar="OUT", type=Path)
    args = parser.parse_args()
    for name, least in (("seed", 0), ("utterances_per_class", 1), ("speakers", 2), ("utterances_per_speaker", 2),
                        ("nj", 1)):
        if getattr(args, name) < least:
            parser.error(f"--{name.replace('_', '-')} must be at least {least}")
    if args.speakers > 269:
        parser.error("--speakers must be at most 269, as the ids of VoxCeleb1's test part begin there")
    return args


def render(root, recording):
    """Write one recording below `root`."""
    samples = np.round(recording.render() * 32767).astype(np.int16)
    soundfile.write(root / recording.path, samples, SAMPLE_RATE, subtype="PCM_16")


def factors_table(recordings):
    """Ground truth of every utterance as tab-separated text."""
    lines = ["utt\tcorpus\tspeaker\temotion\tf0_mean_hz\tf0_range_semitones\trate\tenergy_db\ttilt\n"]
    for r in sorted(recordings, key=lambda recording: recording.utt):
        d = r.delivery
        lines.append(f"{r.utt}\t{r.corpus}\t{r.speaker}\t{r.emotion}\t{d.f0_mean_hz:.2f}\t{d.f0_range_semitones:.2f}\t"
                     f"{d.rate:.3f}\t{d.energy_db:.2f}\t{d.tilt_db:.2f}\n")
    return "".join(lines)


def write_corpora(root, recordings, files, nj):
    """Fill `root`."""
    files = files | {f"{corpus}/{MARK}": SENTENCE.format(corpus).encode() for corpus in CORPORA}
    for folder in {(root / path).parent for path in [*files, *(recording.path for recording in recordings)]}:
        folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        (root / path).write_bytes(content)
    with ProcessPoolExecutor(nj) as pool:
        for _ in pool.map(partial(render, root), recordings, chunksize=8):
            pass


def main():
    args = get_args()
    for corpus in CORPORA:
        if (args.out / corpus).exists() and not (args.out / corpus / MARK).is_file():
            raise UserError(f"{args.out / corpus}: holds no file {MARK}, may be a real corpus; choose another OUT")
    plans = (iemocap.plan_iemocap(args.seed, args.utterances_per_class),
             voxceleb1.plan_voxceleb1(args.seed, args.speakers, args.utterances_per_speaker))
    recordings = [recording for plan in plans for recording in plan[0]]
    args.out.mkdir(parents=True, exist_ok=True)
    with temporary_folder(args.out, ".make_mini_corpora.") as aside:
        new, old = aside / "new", aside / "old"
        old.mkdir()
        write_corpora(new, recordings, plans[0][1] | plans[1][1], args.nj)
        for corpus in CORPORA:
            if (args.out / corpus).exists():
                (args.out / corpus).rename(old / corpus)
            (new / corpus).rename(args.out / corpus)
    write_text(args.out / FACTORS, factors_table(recordings))
    print(f"make_mini_corpora.py: made {args.out}/{CORPORA[0]} ({len(plans[0][0])} turns) and "
          f"{args.out}/{CORPORA[1]} ({len(plans[1][0])} utterances), both synthetic, and {args.out}/{FACTORS}")


if __name__ == "__main__":
    run(main)

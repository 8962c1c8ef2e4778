#!/usr/bin/env python3
"""Make two small synthetic corpora in the layouts of IEMOCAP and VoxCeleb1, so that the recipe runs without data.

OUT gets IEMOCAP_full_release, VoxCeleb1 and factors.tsv, the ground truth of every utterance. The audio is
speech-like synthesis: figures measured on it say that the recipe works, and nothing about human emotion.
The same options give the same bytes, whatever the number of processes.

example: local/mini/make_mini_corpora.py data/mini
"""

import recipe_environment

import argparse
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from local.corpus_files import SYNTHETIC_MARKER
from local.mini.emotional_delivery import Plan, Recording
from local.mini.iemocap import ROOT as IEMOCAP
from local.mini.iemocap import plan_iemocap
from local.mini.synthesis import SAMPLE_RATE
from local.mini.voxceleb1 import ROOT as VOXCELEB1
from local.mini.voxceleb1 import plan_voxceleb1
from options import OptionParser, run
from ser.base.errors import UserError
from ser.base.files import temporary_folder, write_text
from ser.base.log import progress

FACTORS = "factors.tsv"
NOTE = ("Synthetic speech-like audio in the layout of {}, made by local/mini/make_mini_corpora.py to try the "
            "recipe: no human spoke, and results on it say nothing about the real corpus.\n")


def parse_options() -> argparse.Namespace:
    parser = OptionParser(__doc__.splitlines()[0], "local/mini/make_mini_corpora.py --seed 0 data/mini")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default: 0)")
    parser.add_argument("--utterances-per-class", type=int, default=4, metavar="N",
                        help="improvised turns each IEMOCAP voice has of its rarest class; the others have up to "
                             "2.25 times as many (default: 4)")
    parser.add_argument("--speakers", type=int, default=64, help="VoxCeleb1 voices (default: 64)")
    parser.add_argument("--utterances-per-speaker", type=int, default=8, metavar="N",
                        help="of each VoxCeleb1 voice (default: 8)")
    parser.add_argument("--nj", type=int, default=os.cpu_count(), help="processes (default: one per processor)")
    parser.add_argument("out", metavar="OUT", type=Path)
    args = parser.parse_args()
    at_least = {"seed": 0, "utterances_per_class": 1, "speakers": 2, "utterances_per_speaker": 2, "nj": 1}
    for name, least in at_least.items():
        if getattr(args, name) < least:
            parser.error(f"--{name.replace('_', '-')} must be at least {least}")
    if args.speakers > 269:
        parser.error("--speakers must be at most 269, as the ids of VoxCeleb1's test part begin there")
    return args


def render(root: Path, recording: Recording) -> None:
    """Write one recording below `root`."""
    samples = np.round(recording.render() * 32767).astype(np.int16)
    soundfile.write(root / recording.path, samples, SAMPLE_RATE, subtype="PCM_16")


def factors_table(recordings: Iterable[Recording]) -> str:
    """Ground truth of every utterance as tab-separated text."""
    lines = ["utt\tcorpus\tspeaker\temotion\tf0_mean_hz\tf0_range_semitones\trate\tenergy_db\ttilt\t"
             "noise_db\tgain_db\n"]
    for recording in sorted(recordings, key=lambda recording: recording.utt):
        delivery = recording.delivery
        channel = recording.channel
        lines.append(f"{recording.utt}\t{recording.corpus}\t{recording.speaker}\t{recording.emotion}\t"
                     f"{delivery.f0_mean_hz:.2f}\t{delivery.f0_range_semitones:.2f}\t{delivery.rate:.3f}\t"
                     f"{delivery.energy_db:.2f}\t{delivery.tilt_db:.2f}\t"
                     f"{channel.noise_db:.2f}\t{channel.gain_db:.2f}\n")
    return "".join(lines)


def write_corpora(root: Path, plans: dict[str, Plan], nj: int) -> None:
    """Fill `root` with the planned corpora, by their folders, in `nj` processes."""
    recordings = [recording for plan in plans.values() for recording in plan.recordings]
    files = {path: content for plan in plans.values() for path, content in plan.files.items()}
    files |= {f"{corpus}/{SYNTHETIC_MARKER}": NOTE.format(corpus).encode() for corpus in plans}
    for folder in {(root / path).parent for path in [*files, *(recording.path for recording in recordings)]}:
        folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        (root / path).write_bytes(content)
    with ProcessPoolExecutor(nj) as pool:
        rendered = pool.map(partial(render, root), recordings, chunksize=8)  # raises what a process raised
        for _ in progress(rendered, total=len(recordings), unit="recording"):
            pass


def replace_corpora(out: Path, plans: dict[str, Plan], nj: int) -> None:
    """Write the corpora, and once they are complete put them in the place of earlier ones; raises UserError."""
    for corpus in plans:
        if (out / corpus).exists() and not (out / corpus / SYNTHETIC_MARKER).is_file():
            raise UserError(f"{out / corpus}: holds no file {SYNTHETIC_MARKER}, may be a real corpus; "
                            "choose another OUT")
    out.mkdir(parents=True, exist_ok=True)
    with temporary_folder(out, ".make_mini_corpora.") as aside:
        new = aside / "new"
        old = aside / "old"
        old.mkdir()
        write_corpora(new, plans, nj)
        for corpus in plans:
            if (out / corpus).exists():
                (out / corpus).rename(old / corpus)
            (new / corpus).rename(out / corpus)


def main() -> None:
    args = parse_options()
    turns = plan_iemocap(args.seed, args.utterances_per_class)
    utterances = plan_voxceleb1(args.seed, args.speakers, args.utterances_per_speaker)
    replace_corpora(args.out, {IEMOCAP: turns, VOXCELEB1: utterances}, args.nj)
    write_text(args.out / FACTORS, factors_table(turns.recordings + utterances.recordings))
    print(f"make_mini_corpora.py: made {args.out}/{IEMOCAP} ({len(turns.recordings)} turns) and "
          f"{args.out}/{VOXCELEB1} ({len(utterances.recordings)} utterances), both synthetic, and {args.out}/{FACTORS}")


if __name__ == "__main__":
    run(main)

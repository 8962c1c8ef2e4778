#!/usr/bin/env python3
"""Check one share of the features that a user has brought; a job of steps/check_feats.sh.

Reads DATA/feats.scp and DATA/frame_shift, and DATA/vad.scp where there is one. Writes PREFIX.ark and PREFIX.scp with
the voice activity, of which every frame is voiced where there is no vad.scp, and beside them PREFIX.utt2num_frames,
PREFIX.utt2dur (frames times the shift, as Kaldi's get_utt2dur.sh has it) and PREFIX.utt2audio_digest, by which
utterances of the same features are found. One that cannot be used is named in the log and left out.
"""

import recipe_environment

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from options import OptionParser, run, share
from ser.base.errors import UserError
from ser.base.log import log, progress
from ser.data.archives import read_matrix, read_vector, write_archive
from ser.data.data_dir import read_table, read_text, write_table


def first_dimension(feats: dict[str, str]) -> int:
    """The dimension of the first utterance that can be read; raises UserError when none can."""
    problem: UserError | None = None
    for utt, place in feats.items():
        try:
            return read_matrix(utt, place).shape[1]
        except UserError as error:
            problem = problem or error
    raise problem or UserError("feats.scp: empty")


def main() -> None:
    parser = OptionParser(__doc__, "steps/check_feats.py --job 1 --num-jobs 4 data/mine data/mine/data/vad_mine.1")
    parser.add_share()
    parser.add_argument("data", type=Path, help="data directory with features")
    parser.add_argument("prefix", help="archive to write, without .ark")
    args = parser.parse_args()
    feats = read_table(args.data / "feats.scp")
    vad = read_table(args.data / "vad.scp") if (args.data / "vad.scp").is_file() else None
    shift = float(read_text(args.data / "frame_shift"))
    dimension = first_dimension(feats)
    num_frames: dict[str, int] = {}
    digests: dict[str, str] = {}

    def decisions(utt: str) -> np.ndarray:
        """Voice activity of an utterance that is as it must be; raises UserError."""
        matrix = read_matrix(utt, feats[utt])
        if matrix.shape[1] != dimension:
            raise UserError(f"has dimension {matrix.shape[1]}, the others {dimension}")
        if vad is None:
            voiced = np.ones(len(matrix), np.float32)
        elif utt not in vad:
            raise UserError(f"{args.data}/vad.scp has no entry")
        else:
            voiced = read_vector(utt, vad[utt])
        if len(voiced) != len(matrix):
            raise UserError(f"vad.scp has {len(voiced)} decisions for {len(matrix)} frames")
        num_frames[utt] = len(matrix)
        digests[utt] = hashlib.sha256(np.ascontiguousarray(matrix).data).hexdigest()[:16]
        return voiced

    def items() -> Iterator[tuple[str, np.ndarray]]:
        for utt in progress(utts, unit="utt"):
            try:
                voiced = decisions(utt)
            except UserError as error:
                log(f"skipping {utt}: {error}")
                continue
            yield utt, voiced

    utts = share(sorted(feats), args.job, args.num_jobs)
    write_archive(args.prefix, items())
    write_table(f"{args.prefix}.utt2num_frames", num_frames)
    write_table(f"{args.prefix}.utt2dur", {utt: f"{frames * shift:.5f}" for utt, frames in num_frames.items()})
    write_table(f"{args.prefix}.utt2audio_digest", digests)
    log(f"{len(num_frames)} of {len(utts)} utterances have features of dimension {dimension}")


if __name__ == "__main__":
    run(main)

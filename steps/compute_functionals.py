#!/usr/bin/env python3
"""Functionals of one share of a data directory, a vector of each utterance; a job of steps/make_functionals.sh.

Writes PREFIX.ark and PREFIX.scp for the utterances of DATA/vad.scp: librosa's MFCC and their deltas, F0, RMS, spectral
shape and zero crossings in the frames that are voiced, each as mean, deviation, percentiles and slope.
"""

import recipe_environment

from pathlib import Path

import numpy as np

from compute_vad import fbank_config_of
from options import OptionParser, run, share
from ser.audio.extraction import Recordings, extract
from ser.audio.functionals import functionals
from ser.base.errors import UserError
from ser.data.archives import read_vector
from ser.data.data_dir import read_table


def main() -> None:
    parser = OptionParser(__doc__, "steps/compute_functionals.py --job 1 --num-jobs 4 data/iemocap "
                          "data/iemocap/data/functionals_iemocap.1")
    parser.add_share()
    parser.add_argument("data", help="data directory with features and voice activity")
    parser.add_argument("prefix", help="archive to write, without .ark")
    args = parser.parse_args()
    fbank_config = fbank_config_of(args.data)
    vad = read_table(Path(args.data) / "vad.scp")

    def describe(utt: str, samples: np.ndarray) -> np.ndarray:
        voiced = read_vector(utt, vad[utt])
        frames = fbank_config.num_frames(len(samples))
        if len(voiced) != frames:
            raise UserError(f"{frames} frames and {len(voiced)} decisions of vad.scp; was the audio changed? run "
                            "steps/make_fbank.sh and steps/compute_vad.sh again")
        return functionals(samples, voiced, fbank_config)

    extract(Recordings(args.data), share(sorted(vad), args.job, args.num_jobs), describe, args.prefix)


if __name__ == "__main__":
    run(main)

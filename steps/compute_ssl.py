#!/usr/bin/env python3
"""Compute the hidden states of one share of a data directory; a job of steps/make_ssl.sh.

Writes what steps/compute_fbank.py writes: PREFIX.ark, PREFIX.scp, PREFIX.utt2num_frames and, of the samples,
PREFIX.utt2dur, PREFIX.utt2audio_digest and PREFIX.utt2audio_problem.
"""

import recipe_environment

import numpy as np

from options import OptionParser, run, share
from ser.audio.extraction import Recordings, extract_features
from ser.audio.frames import SslConfig
from ser.audio.ssl import HiddenStates
from ser.base.device import DEVICES, pick_device
from ser.base.errors import UserError


def main() -> None:
    parser = OptionParser(__doc__, "steps/compute_ssl.py --config data/iemocap/conf/ssl.conf --ssl-model "
                          "models/wav2vec2-base \\\n    --job 1 --num-jobs 4 data/mine data/mine/data/raw_ssl_mine.1")
    parser.add_fields(SslConfig)
    parser.add_share()
    parser.add_argument("--ssl-model", required=True, metavar="DIR", help="folder of the model")
    parser.add_argument("--device", default="cpu", choices=DEVICES, help="(default: cpu)")
    parser.add_argument("data", help="data directory")
    parser.add_argument("prefix", help="archive to write, without .ark")
    args = parser.parse_args()
    config = parser.fields_of(SslConfig, args)
    hidden_states = HiddenStates(args.ssl_model, config.layer, pick_device(args.device))
    recordings = Recordings(args.data)

    def features(samples: np.ndarray) -> np.ndarray:
        frames = config.num_frames(len(samples))
        if not frames:
            return np.empty((0, 0), np.float32)
        matrix = hidden_states(samples)
        if len(matrix) != frames:
            raise UserError(f"{args.ssl_model} makes {len(matrix)} frames of {len(samples)} samples where its "
                            f"convolutions make {frames}, so no voice activity could be told of them")
        return matrix

    extract_features(recordings, share(recordings.utts, args.job, args.num_jobs), features, config, args.prefix)


if __name__ == "__main__":
    run(main)

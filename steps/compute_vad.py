#!/usr/bin/env python3
"""Voice activity of one share of a data directory, a decision for each feature frame; a job of steps/compute_vad.sh.

Writes PREFIX.ark and PREFIX.scp with one 0/1 vector per utterance of DATA/feats.scp, as long as its features.
"""

import recipe_environment

from pathlib import Path

import numpy as np

from options import OptionParser, read_conf, run, share
from ser.audio.extraction import Recordings, extract
from ser.audio.fbank import FbankConfig
from ser.audio.frames import FrameGrid, SslConfig
from ser.audio.vad import VadConfig, voiced_frames
from ser.base.conf import config_from
from ser.base.errors import UserError
from ser.data.data_dir import read_table


def frame_grid_of(data_dir: str | Path) -> FrameGrid:
    """Where the frames of the features lie, as steps/make_ssl.sh or steps/make_fbank.sh left it; raises UserError."""
    path = Path(data_dir) / "conf" / "ssl.conf"
    if path.is_file():
        return config_from(SslConfig, path.read_text(encoding="utf-8"), str(path))
    return fbank_config_of(data_dir)


def fbank_config_of(data_dir: str | Path) -> FbankConfig:
    """The configuration that steps/make_fbank.sh left in the data directory; raises UserError."""
    parser = OptionParser("", "")
    parser.add_fields(FbankConfig)
    args = parser.parse_args(read_conf(Path(data_dir) / "conf" / "fbank.conf"))
    return parser.fields_of(FbankConfig, args)


def main() -> None:
    parser = OptionParser(__doc__, "steps/compute_vad.py --config conf/vad.conf --job 1 --num-jobs 4 data/iemocap "
                          "data/iemocap/data/vad_iemocap.1")
    parser.add_fields(VadConfig)
    parser.add_share()
    parser.add_argument("data", help="data directory with features")
    parser.add_argument("prefix", help="archive to write, without .ark")
    args = parser.parse_args()
    config = parser.fields_of(VadConfig, args)
    grid = frame_grid_of(args.data)
    num_frames = read_table(Path(args.data) / "utt2num_frames", columns=2)

    def decide(utt: str, samples: np.ndarray) -> np.ndarray:
        voiced = voiced_frames(samples, grid, config)
        if str(len(voiced)) != num_frames[utt]:
            raise UserError(f"{len(voiced)} decisions for {num_frames[utt]} feature frames; was the audio changed? "
                            "make the features again")
        return voiced

    utts = share(sorted(num_frames), args.job, args.num_jobs)
    extract(Recordings(args.data), utts, decide, args.prefix)


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Extract the filterbanks of one share of a data directory; a job of steps/make_fbank.sh.

Writes PREFIX.ark, PREFIX.scp, and beside them PREFIX.utt2num_frames, and of the samples PREFIX.utt2dur (seconds),
PREFIX.utt2audio_digest and PREFIX.utt2audio_problem (of those that are silent, clipped or constant). An utterance that
cannot be read is named in the log and left out.
"""

import recipe_environment

from options import OptionParser, run, share
from ser.audio.extraction import Recordings, extract_features
from ser.audio.fbank import FbankConfig, FbankExtractor


def main() -> None:
    parser = OptionParser(__doc__, "steps/compute_fbank.py --config conf/fbank.conf --job 1 --num-jobs 4 data/iemocap "
                          "data/iemocap/data/raw_fbank_iemocap.1")
    parser.add_fields(FbankConfig)
    parser.add_share()
    parser.add_argument("data", help="data directory")
    parser.add_argument("prefix", help="archive to write, without .ark")
    args = parser.parse_args()
    config = parser.fields_of(FbankConfig, args)
    recordings = Recordings(args.data)
    extract_features(recordings, share(recordings.utts, args.job, args.num_jobs), FbankExtractor(config), config,
                     args.prefix)


if __name__ == "__main__":
    run(main)

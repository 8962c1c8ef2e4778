#!/usr/bin/env python3
"""Check a Kaldi data directory, as Kaldi's utils/validate_data_dir.sh does, and utt2emo and vad.scp with it.

    steps/validate_data_dir.py --no-feats data/iemocap
"""

import recipe_environment

from options import OptionParser, run
from ser.base.log import log
from ser.data.check_data_dir import data_dir_problems
from ser.data.data_dir import read_table


def main():
    parser = OptionParser("Check a Kaldi data directory; a table that is there is checked in any case.",
                          "steps/validate_data_dir.py --no-feats data/iemocap")
    for name, table in {"feats": "feats.scp", "text": "text", "wav": "wav.scp"}.items():
        parser.add_argument(f"--no-{name}", dest=name, action="store_false", help=f"do not require {table}")
    parser.add_argument("--before-features", action="store_true",
                        help="leave out what extracting features makes anew, such as utt2num_frames")
    parser.add_argument("data", metavar="DATA", help="the data directory")
    args = parser.parse_args()

    problems = data_dir_problems(args.data, feats=args.feats, text=args.text, wav=args.wav,
                                 of_features=not args.before_features)
    for problem in problems:
        log(problem)
    if problems:
        return 1
    if len(read_table(f"{args.data}/spk2utt")) == 1:
        log(f"WARNING: {args.data} has only one speaker")
    print(f"steps/validate_data_dir.py: successfully validated data directory {args.data}")
    return 0


if __name__ == "__main__":
    run(main)

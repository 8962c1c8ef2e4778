#!/usr/bin/env python3
"""Extract the filterbanks of one share of a data directory; a job of steps/make_fbank.sh.

Writes PREFIX.ark, PREFIX.scp, and beside them PREFIX.utt2num_frames, and of the samples PREFIX.utt2dur (seconds),
PREFIX.utt2audio_digest and PREFIX.utt2audio_problem (of those that are silent, clipped or constant). An utterance that
cannot be read is named in the log and left out.
"""

import recipe_environment

import numpy as np

from options import OptionParser, run, share
from ser.audio.extraction import Recordings, extract
from ser.audio.fbank import FbankConfig, FbankExtractor
from ser.audio.sound_check import audio_digest, sound_problem
from ser.audio.waveform import SAMPLE_RATE
from ser.data.data_dir import write_table


def main() -> None:
    parser = OptionParser(__doc__, "steps/compute_fbank.py --config conf/fbank.conf --job 1 --num-jobs 4 data/iemocap "
                          "data/iemocap/data/raw_fbank_iemocap.1")
    parser.add_fields(FbankConfig)
    parser.add_share()
    parser.add_argument("data", help="data directory")
    parser.add_argument("prefix", help="archive to write, without .ark")
    args = parser.parse_args()
    config = parser.fields_of(FbankConfig, args)
    extractor = FbankExtractor(config)
    recordings = Recordings(args.data)
    digests = {}
    problems = {}

    def features(utt: str, samples: np.ndarray) -> np.ndarray:
        matrix = extractor(samples)
        if len(matrix):
            digests[utt] = audio_digest(samples)
            problem = sound_problem(samples)
            if problem:
                problems[utt] = problem
        return matrix

    utts = share(recordings.utts, args.job, args.num_jobs)
    num_samples = extract(recordings, utts, features, args.prefix)
    write_table(f"{args.prefix}.utt2num_frames", {utt: config.num_frames(n) for utt, n in num_samples.items()})
    write_table(f"{args.prefix}.utt2dur", {utt: f"{n / SAMPLE_RATE:.5f}" for utt, n in num_samples.items()})
    write_table(f"{args.prefix}.utt2audio_digest", digests)
    write_table(f"{args.prefix}.utt2audio_problem", problems)


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Recognize the emotion of recordings with a trained model.

Sounds are files of any rate, channel count and format that libsndfile reads, or ffmpeg where that is installed (m4a,
mp4, webm, wma …), folders of such files, or Kaldi data directories without commands in wav.scp; - reads names of these
from standard input, one a line. A model directory that holds one for each fold is used as a whole: their probabilities
are averaged. Each sound becomes a line:

    file<TAB>label<TAB>probability of each class            below a header, with --format tsv
    {"file": …, "label": …, "probabilities": {class: …}}    with --format json

With --segment a long recording becomes a line for each piece, which also has start and end in seconds. One that cannot
be used is named on standard error; the others are done, and the exit status is 1. Named there are also sounds in which
nothing is voiced, and what files of a folder were not tried.
"""

import recipe_environment

import json
import os
import signal
import sys

from options import OptionParser, run
from ser.audio.inputs import sounds_of
from ser.base.errors import UserError
from ser.base.log import progress
from ser.infer.prediction import load_model


def names(words):
    """Yield the words of the command line, and for - the lines of standard input."""
    for word in words:
        if word == "-":
            yield from (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer if line.strip())
        else:
            yield word


def as_tsv(name, prediction, with_times):
    times = [f"{prediction.start:.2f}", f"{prediction.end:.2f}"] if with_times else []
    name = name.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return "\t".join([name, *times, prediction.label, *(f"{p:.6f}" for p in prediction.probabilities.values())])


def as_json(name, prediction, with_times):
    times = {"start": round(prediction.start, 2), "end": round(prediction.end, 2)} if with_times else {}
    probabilities = {label: round(p, 6) for label, p in prediction.probabilities.items()}
    return json.dumps({"file": name, **times, "label": prediction.label, "probabilities": probabilities})


def main():
    parser = OptionParser(__doc__, "steps/predict.py exp/vgg5_ad x.wav recordings/\n"
                          "  find . -name '*.flac' | steps/predict.py --format json exp/vgg5_ad/fold_Ses01M -\n"
                          "  steps/predict.py --segment 4 --hop 1 exp/vgg5_ad call.mp3")
    parser.add_argument("--format", choices=("tsv", "json"), default="tsv", help="of a line (default: tsv)")
    parser.add_argument("--segment", type=float, metavar="SECONDS", help="length of a piece (default: no pieces)")
    parser.add_argument("--hop", type=float, metavar="SECONDS", help="from one piece to the next (default: --segment)")
    parser.add_argument("model", metavar="MODEL_DIR", help="model directory of steps/finetune.py, or of several folds")
    parser.add_argument("sounds", metavar="SOUND", nargs="+", help="file, folder, data directory or -")
    args = parser.parse_args()
    in_pieces = args.segment is not None
    if args.hop is not None and not in_pieces:
        parser.error("--hop goes with --segment")
    model = load_model(args.model)
    model.require_sound()
    as_line = {"tsv": as_tsv, "json": as_json}[args.format]
    if in_pieces:
        model.require_segments(args.segment, args.segment if args.hop is None else args.hop)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `steps/predict.py … | head` ends as other filters do
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    if args.format == "tsv":
        print("\t".join(["file", *(["start", "end"] if in_pieces else []), "label", *model.classes]), flush=True)
    failed = 0
    sounds = sounds_of(names(args.sounds))
    for sound in sounds if sys.stdout.isatty() else progress(sounds, unit="sound"):
        try:
            samples = sound.read()
            predictions = model.time_line(samples, args.segment, args.hop) if in_pieces else [model.predict(samples)]
        except (UserError, OSError) as error:
            failed += 1
            prefix = "" if str(error).startswith(sound.name) else f"{sound.name}: "
            print(f"{parser.prog}: {prefix}{error}", file=sys.stderr)
        else:
            print(*(as_line(sound.name, each, in_pieces) for each in predictions), sep="\n", flush=True)
            unvoiced = sum(not each.voiced for each in predictions)
            if unvoiced:
                where = f" in {unvoiced} of {len(predictions)} pieces" if in_pieces else ""
                print(f"{parser.prog}: {sound.name}: nothing voiced was found{where}, so all of it was used",
                      file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Recognize the emotion of recordings with a trained model.

A model is a model directory, a folder that holds one for each fold, whose probabilities are averaged, or an ONNX file
of steps/export.py, which needs a fifth of the time to start. Sounds are files of any rate, channel count and format
that libsndfile reads, or ffmpeg where that is installed (m4a, mp4, webm, wma …), folders of such files, or Kaldi data
directories without commands in wav.scp. What - means says --stdin: names of these on standard input, one a line, or a
stream of sound. Each sound becomes a line:

    file<TAB>label<TAB>probability of each class<TAB>reason                              --format tsv, below a header
    {"file": …, "label": …, "probabilities": {class: …}, "reason": …}                    --format json
    SPEAKER file 1 start duration <NA> <NA> label probability <NA>                       --format rttm

or with --format textgrid (Praat) and audacity a file in --out-dir. A sound without speech gets no label (-, in JSON
null; no line in RTTM) but a reason: silent (nothing louder than -60 dB of full scale), no speech (the voice activity
detection finds none), too short (no stretch of 0.2 s is voiced); and with --min-probability: unsure.

With --segment a recording of any length becomes a line for each part, with start and end in seconds. window: windows of
the same length. vad: speech between pauses, and the pauses with no speech as their reason. Lines come as soon as a
part is over: of a stream, a tenth of a second after a window's end; after a pause of --pause-seconds, or when speech
is --max-seconds long.

A sound that cannot be used is named on standard error; the others are done, and the exit status is 1.
"""

import recipe_environment

import functools
import os
import signal
import sys
from pathlib import Path

from options import OptionParser, run
from ser.audio.inputs import Sound, sounds_of
from ser.audio.segments import VoiceSegments, Windows
from ser.audio.waveform import stream_blocks
from ser.base.errors import UserError
from ser.base.files import write_text
from ser.base.log import progress
from ser.infer.label_formats import FILES, LINES, tsv_header
from ser.infer.prediction import load_model

NO_NAMES = "standard input: holds no names of files, one a line; for sound give --stdin wav or pcm"


def names(words):
    """Yield the words of the command line, and for - the lines of standard input."""
    for word in words:
        if word != "-":
            yield word
            continue
        for line in sys.stdin.buffer:
            if b"\0" in line or line.startswith(b"RIFF"):
                raise UserError(NO_NAMES)
            if line.strip():
                yield os.fsdecode(line.rstrip(b"\r\n"))


def sounds_named(words, stdin):
    """Yield the Sounds of the command line."""
    if stdin == "names":
        yield from sounds_of(names(words))
        return
    for word in words:
        yield from [Sound("-", functools.partial(stream_blocks, 0, stdin))] if word == "-" else sounds_of([word])


# kind of segments: its class, and the fields of it that have an option
SEGMENTATIONS = {
    "none": (lambda: None, {}),
    "window": (Windows, {"window_seconds": "length", "shift_seconds": "shift"}),
    "vad": (VoiceSegments, {"pause_seconds": "pause", "max_seconds": "longest"}),
}


def segmentation_of(args, parser):
    """The Segmentation that is asked for, or None."""
    for kind, (_, fields) in SEGMENTATIONS.items():
        wrong = [option for option in fields if getattr(args, option) is not None and args.segment != kind]
        if wrong:
            parser.error(f"--{wrong[0].replace('_', '-')} goes with --segment {kind}")
    make, fields = SEGMENTATIONS[args.segment]
    given = {field: getattr(args, option) for option, field in fields.items() if getattr(args, option) is not None}
    segmentation = make(**given)
    if args.format == "textgrid" and args.segment == "window" and segmentation.step < segmentation.length:
        parser.error("--format textgrid has no overlap; give another format, or a larger --shift-seconds")
    return segmentation


def print_lines(as_line, classes, with_times, name, predictions):
    """Print a line for each prediction as it comes."""
    for prediction in predictions:
        line = as_line(name, prediction, classes, with_times)
        if line is not None:
            print(line, flush=True)


def write_file(suffix, as_text, folder, made, name, predictions):
    """Write the predictions of a sound into a file of the folder; `made` says of which sound each file is."""
    stem = Path(name).stem if os.path.isfile(name) else Path(name).name
    path = Path(folder, ("stdin" if name == "-" else stem) + suffix)
    if path in made:
        raise UserError(f"{path} is that of {made[path]} already; take another --out-dir for one of them")
    write_text(path, as_text(list(predictions)))
    made[path] = name


def main():
    parser = OptionParser(__doc__, "steps/predict.py exp/vgg5_ad x.wav recordings/\n"
                          "  find . -name '*.flac' | steps/predict.py --format json exp/vgg5_ad/fold_Ses01M -\n"
                          "  steps/predict.py --segment vad --format textgrid --out-dir labels exp/vgg5_ad call.mp3\n"
                          "  arecord -q -t raw -f S16_LE -r 16000 -c 1 | steps/predict.py --stdin pcm --segment vad "
                          "exp/vgg5_ad -")
    parser.add_argument("--format", choices=(*LINES, *FILES), default="tsv", help="of the output (default: tsv)")
    parser.add_argument("--out-dir", metavar="DIR", help="for textgrid and audacity: a file for each sound, x.TextGrid "
                        "or x.txt of x.wav")
    parser.add_argument("--min-probability", type=float, metavar="P", default=0.0, help="a less probable label is not "
                        "given, and the reason is unsure (default: 0)")
    parser.add_argument("--segment", choices=("none", "window", "vad"), default="none", help="parts of a recording "
                        "(default: none)")
    parser.add_argument("--window-seconds", type=float, metavar="S", help=f"of a window (default: {Windows.length:g})")
    parser.add_argument("--shift-seconds", type=float, metavar="S", help="from one window to the next (default: "
                        "--window-seconds)")
    parser.add_argument("--pause-seconds", type=float, metavar="S", help="without voice that end a segment of vad "
                        f"(default: {VoiceSegments.pause:g})")
    parser.add_argument("--max-seconds", type=float, metavar="S", help="after which a segment of vad is cut (default: "
                        f"{VoiceSegments.longest:g})")
    parser.add_argument("--stdin", choices=("names", "wav", "pcm"), default="names", help="what - is: names of files, "
                        "one a line; a WAV; or samples alone, 16 kHz, signed 16-bit little-endian, one channel "
                        "(default: names)")
    parser.add_argument("model", metavar="MODEL", help="model directory of steps/finetune.py, or of several folds, or "
                        "model.onnx")
    parser.add_argument("sounds", metavar="SOUND", nargs="+", help="file, folder, data directory or -")
    args = parser.parse_args()
    if (args.format in FILES) != (args.out_dir is not None):
        parser.error("--out-dir goes with --format textgrid or audacity, and they with it")
    segmentation = segmentation_of(args, parser)
    model = load_model(args.model, args.min_probability)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `steps/predict.py … | head` ends as other filters do
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    # Where the output goes.
    if args.format in LINES:
        put = functools.partial(print_lines, LINES[args.format], model.classes, segmentation is not None)
    else:
        put = functools.partial(write_file, *FILES[args.format], args.out_dir, {})
    if args.format == "tsv":
        print(tsv_header(model.classes, segmentation is not None), flush=True)
    failed = 0
    sounds = sounds_named(args.sounds, args.stdin)
    for sound in sounds if sys.stdout.isatty() else progress(sounds, unit="sound"):
        try:
            blocks = sound.blocks()
            put(sound.name, model.time_line(blocks, segmentation) if segmentation else [model.predict(blocks)])
        except (UserError, OSError) as error:
            failed += 1
            prefix = "" if sound.name == "-" or str(error).startswith(sound.name) else f"{sound.name}: "
            print(f"{parser.prog}: {prefix}{error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)

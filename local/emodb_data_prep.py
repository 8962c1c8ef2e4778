#!/usr/bin/env python3
"""Prepare a Kaldi data directory from EmoDB, the Berlin database of emotional speech.

    local/emodb_data_prep.py --labels four /corpora/EmoDB data/emodb

A name such as 03a01Fa.wav holds speaker 03, text a01, emotion F and version a. Four labels are the
paper's (neu hap ang sad), all seven add bor dis fea.
"""

import re
from pathlib import Path

from options import OptionParser, run
from prep_common import keep_usable, label_counts, print_counts, synthetic_prefix, warn_of, wav_problem, with_totals
from ser.data_dir import write_data_dir
from ser.errors import UserError
from ser.log import log

GENDER = {"03": "m", "08": "f", "09": "f", "10": "m", "11": "m", "12": "m", "13": "f", "14": "f", "15": "m", "16": "f"}
EMOTION = {"N": "neu", "F": "hap", "W": "ang", "T": "sad", "L": "bor", "E": "dis", "A": "fea"}
PUBLISHED = {"neu": 79, "hap": 71, "ang": 127, "sad": 62, "bor": 81, "dis": 46, "fea": 69}
LABELS = {"four": ("neu", "hap", "ang", "sad"), "all": tuple(PUBLISHED)}
NAME = re.compile(rf"({'|'.join(GENDER)})[ab]\d\d([{''.join(EMOTION)}])[a-z]")


def main():
    parser = OptionParser("Prepare a Kaldi data directory from EmoDB.",
                          "local/emodb_data_prep.py /corpora/EmoDB data/emodb")
    parser.add_argument("--labels", choices=LABELS, default="four",
                        help="the paper's four classes, or all seven (default: four)")
    parser.add_argument("root", metavar="ROOT", help="the corpus: the wavs, or a folder wav that holds them")
    parser.add_argument("data", metavar="DATA", help="the data directory to write")
    args = parser.parse_args()

    root = Path(args.root).absolute()
    folder = root / "wav" if (root / "wav").is_dir() else root
    paths = [path for path in sorted(folder.glob("*.wav")) if not path.name.startswith(".")]
    wavs, utt2spk, utt2emo = {}, {}, {}
    for path in paths:
        match = NAME.fullmatch(path.stem)
        if not match:
            log(f"left out: {path}: not a name of EmoDB, such as 03a01Fa.wav")
        elif EMOTION[match[2]] in LABELS[args.labels]:
            utt = f"{match[1]}-{path.stem}"
            wavs[utt], utt2spk[utt], utt2emo[utt] = path, match[1], EMOTION[match[2]]
    if not wavs:
        raise UserError(f"{args.root}: no EmoDB wav (such as 03a01Fa.wav) inside or in its folder wav")

    usable = keep_usable(wavs, lambda utt: wav_problem(wavs[utt]))
    utt2spk = {utt: utt2spk[utt] for utt in usable}
    utt2emo = {utt: utt2emo[utt] for utt in usable}
    labels = LABELS[args.labels]
    prefix = synthetic_prefix(root)
    published = with_totals({"published": PUBLISHED}, labels)
    counts = with_totals(label_counts(utt2spk, utt2emo), labels)
    warn_of(print_counts(counts, None if prefix else {"total": published["total"]}))
    word = f"{prefix}emodb-{len(labels)}"
    write_data_dir(args.data, dataset=word, wav={utt: wavs[utt] for utt in usable}, utt2spk=utt2spk,
                   spk2gender=GENDER, utt2emo=utt2emo)
    print(f"{parser.prog}: prepared {args.data}: {len(usable)} utterances of {len(set(utt2spk.values()))} speakers, "
          f"dataset {word}")


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Prepare a Kaldi data directory from EmoDB, the Berlin database of emotional speech.

    local/emodb_data_prep.py --labels four /corpora/EmoDB data/emodb

A name such as 03a01Fa.wav holds speaker 03, text a01, emotion F and version a. Four labels are the
paper's (neu hap ang sad), all seven add bor dis fea.
"""

import re

from local.acted_corpus import get_args, prepare
from local.prep_common import list_files
from options import run

GENDER = {"03": "m", "08": "f", "09": "f", "10": "m", "11": "m", "12": "m", "13": "f", "14": "f", "15": "m", "16": "f"}
EMOTION = {"N": "neu", "F": "hap", "W": "ang", "T": "sad", "L": "bor", "E": "dis", "A": "fea"}
PUBLISHED = {"neu": 79, "hap": 71, "ang": 127, "sad": 62, "bor": 81, "dis": 46, "fea": 69}
NAME = re.compile(rf"({'|'.join(GENDER)})[ab]\d\d([{''.join(EMOTION)}])[a-z]", re.ASCII)


def utterance_of(name):
    """(03-03a01Fa, 03, hap) of 03a01Fa; None of any other name."""
    match = NAME.fullmatch(name)
    return match and (f"{match[1]}-{name}", match[1], EMOTION[match[2]])


def main():
    args = get_args("EmoDB", PUBLISHED)
    prepare(args, list_files(args.root), sample="03a01Fa.wav", utterance_of=utterance_of, published=PUBLISHED,
            spk2gender=GENDER)


if __name__ == "__main__":
    run(main)

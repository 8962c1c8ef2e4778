#!/usr/bin/env python3
"""Prepare a Kaldi data directory from EmoDB, the Berlin database of emotional speech.

    local/emodb_data_prep.py --labels four /corpora/EmoDB data/emodb

A name such as 03a01Fa.wav holds speaker 03, text a01, emotion F and version a. Four labels are the
paper's (neu hap ang sad), all seven add bor dis fea.
"""

import recipe_environment

import re
from pathlib import Path

from local.acted_corpus import Corpus, Utterance, parse_options, prepare
from local.corpus_files import list_files
from options import run

GENDER = {"03": "m", "08": "f", "09": "f", "10": "m", "11": "m", "12": "m", "13": "f", "14": "f", "15": "m", "16": "f"}
EMOTION = {"N": "neu", "F": "hap", "W": "ang", "T": "sad", "L": "bor", "E": "dis", "A": "fea"}
PUBLISHED = {"neu": 79, "hap": 71, "ang": 127, "sad": 62, "bor": 81, "dis": 46, "fea": 69}
LARYNGOGRAPH = {"laryngo", "egg"}  # folders with the names of wav/ and another signal
NAME = re.compile(rf"(?P<speaker>{'|'.join(GENDER)})[ab]\d\d(?P<emotion>[{''.join(EMOTION)}])[a-z]", re.ASCII)


def utterance_of(path: str) -> tuple[Utterance | None, str]:
    """Utterance 03-03a01Fa, speaker 03, label hap of …/03a01Fa.wav; see Corpus."""
    name = Path(path).stem
    match = NAME.fullmatch(name)
    if not match:
        return None, ""
    if Path(path).parent.name.lower() in LARYNGOGRAPH:
        return None, "of the larynx (electroglottograph), not speech"
    speaker = match["speaker"]
    return Utterance(f"{speaker}-{name}", speaker, EMOTION[match["emotion"]], path), ""


CORPUS = Corpus("EmoDB", "emodb", "03a01Fa.wav", PUBLISHED, utterance_of, folders=re.compile("wav"), sample_rate=16000,
                mono=True)


def main() -> None:
    args = parse_options(CORPUS)
    prepare(CORPUS, args.root, args.data, list_files(args.root), all_labels=args.labels == "all", spk2gender=GENDER)


if __name__ == "__main__":
    run(main)

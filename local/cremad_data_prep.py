#!/usr/bin/env python3
"""Prepare a Kaldi data directory from CREMA-D, the crowd-sourced emotional multimodal actors dataset.

    local/cremad_data_prep.py --labels four /corpora/CREMA-D data/cremad

A name such as 1001_DFA_ANG_XX.wav holds actor, sentence, emotion and level (LO MD HI XX; one file has X). Labels are
what the actors were asked for. Four are the paper's (neu hap ang sad), all six add dis fea. VideoDemographics.csv, in
ROOT or beside it, gives the genders.
"""

import recipe_environment

import csv
import re
from pathlib import Path

from local.acted_corpus import Corpus, Utterance, parse_options, prepare
from local.corpus_files import find, list_files
from local.prep_common import GENDER, genders_if_readable
from options import run
from ser.base.errors import UserError

SILENT = "1076_MTI_SAD_XX"
EMOTION = {"NEU": "neu", "HAP": "hap", "ANG": "ang", "SAD": "sad", "DIS": "dis", "FEA": "fea"}
PUBLISHED = {"neu": 1087, "hap": 1271, "ang": 1271, "sad": 1270, "dis": 1271, "fea": 1271}  # SILENT would be sad
NAME = re.compile(r"(?P<actor>10[0-8]\d|109[01])_[A-Z]{3}_(?P<emotion>[A-Z]{3})_(?:LO|MD|HI|XX?)", re.ASCII)


def utterance_of(path: str) -> tuple[Utterance | None, str]:
    """Utterance 1001_DFA_ANG_XX, speaker 1001, label ang of …/1001_DFA_ANG_XX.wav; see Corpus."""
    name = Path(path).stem
    match = NAME.fullmatch(name)
    if not match or match["actor"] == "1000" or match["emotion"] not in EMOTION:
        return None, ""
    if name == SILENT:
        return None, "is published without sound"
    return Utterance(name, match["actor"], EMOTION[match["emotion"]], path), ""


CORPUS = Corpus("CREMA-D", "cremad", "1001_DFA_ANG_XX.wav", PUBLISHED, utterance_of, folders=re.compile("AudioWAV"),
                sample_rate=16000, mono=True)


def read_demographics(path: Path) -> dict[str, str]:
    """Read the genders of VideoDemographics.csv (`ActorID,Age,Sex,Race,Ethnicity`); raises UserError."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        if not {"ActorID", "Sex"} <= set(columns):
            raise UserError(f"{path}: needs the columns ActorID and Sex, has {','.join(columns)!r}; save it with "
                            "commas between the columns")
        genders = {}
        for row in reader:
            if not any(str(cell or "").strip() for cell in row.values()):
                continue  # as spreadsheets append them
            actor, sex = (str(row.get(column) or "").strip() for column in ("ActorID", "Sex"))
            if not actor or sex.lower() not in GENDER:
                raise UserError(f"{path}:{reader.line_num}: expected an ActorID, and Male or Female as its Sex, "
                                f"found {actor!r} and {sex!r}; correct or remove the line")
            genders[actor] = GENDER[sex.lower()]
    return genders


def main() -> None:
    args = parse_options(CORPUS)
    files = list_files(args.root)
    path = find(files, args.root, "VideoDemographics.csv")
    print(f"gender: {path or 'no VideoDemographics.csv in ROOT or beside it, so no spk2gender'}")
    prepare(CORPUS, args.root, args.data, files, all_labels=args.labels == "all",
            spk2gender=genders_if_readable(read_demographics, Path(path)) if path else {})


if __name__ == "__main__":
    run(main)

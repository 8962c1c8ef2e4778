#!/usr/bin/env python3
"""Prepare a Kaldi data directory from RAVDESS, the speech of 24 actors.

    local/ravdess_data_prep.py --labels four /corpora/RAVDESS data/ravdess

A name such as 03-01-05-02-01-01-12.wav holds modality (03 is audio alone), channel (01 speech, 02 song), emotion,
intensity, statement, repetition and actor; actors of an odd number are men. Four labels are the paper's
(neu hap ang sad), of which neu is the neutral and not the calm; all eight add cal fea dis sur. Songs and what
belongs to a video are left out, and so is the duplicate in a corpus that holds every actor twice. Of files of one
name in several folders that in Actor_01 to Actor_24 is meant; two that differ there are an error.
"""

import recipe_environment

import re
from pathlib import Path

from local.acted_corpus import Corpus, Utterance, parse_options, prepare
from local.corpus_files import list_files
from options import run
from ser.base.errors import UserError

EMOTION = {"01": "neu", "02": "cal", "03": "hap", "04": "sad", "05": "ang", "06": "fea", "07": "dis", "08": "sur"}
PUBLISHED = {label: 96 if label == "neu" else 192 for label in EMOTION.values()}
GENDER = {f"Actor_{number:02d}": "m" if number % 2 else "f" for number in range(1, 25)}
NAME = re.compile(r"(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>0[1-8])-0[12]-0[12]-0[12]-(?P<actor>\d\d)",
                  re.ASCII)


def utterance_of(path: str) -> tuple[Utterance | None, str]:
    """Utterance Actor_12-03-01-05-02-01-01-12, speaker Actor_12, label ang of …/03-01-05-02-01-01-12.wav."""
    name = Path(path).stem
    match = NAME.fullmatch(name)
    if not match or f"Actor_{match['actor']}" not in GENDER:
        return None, ""
    if match["modality"] != "03":
        return None, "of a video, not modality 03"
    if match["channel"] != "01":
        return None, "song, not channel 01"
    speaker = f"Actor_{match['actor']}"
    return Utterance(f"{speaker}-{name}", speaker, EMOTION[match["emotion"]], path), ""


FOLDERS = re.compile(r"Actor_\d\d|audio_speech_actors_01-24", re.ASCII | re.IGNORECASE)
CORPUS = Corpus("RAVDESS", "ravdess", "03-01-05-02-01-01-12.wav", PUBLISHED, utterance_of, folders=FOLDERS,
                sample_rate=48000, mono=False)


def main() -> None:
    args = parse_options(CORPUS)
    if args.root.name in GENDER:
        raise UserError(f"{args.root}: is one actor's folder; give the one that holds Actor_01 to Actor_24")
    prepare(CORPUS, args.root, args.data, list_files(args.root), all_labels=args.labels == "all", spk2gender=GENDER)


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Prepare a Kaldi data directory from LibriSpeech, to pre-train on its speakers.

    local/librispeech_data_prep.py --subsets "train-clean-100 train-clean-360" /corpora/LibriSpeech data/librispeech

ROOT is the folder that holds SPEAKERS.TXT and the subsets, one below or above it, or a subset itself:
train-clean-100/103/1240/103-1240-0000.flac has speaker, chapter and number. Speakers are padded to four digits, so that
utterances sort with them: 0103-1240-0000. SPEAKERS.TXT gives the genders. The table utt2split holds out about a tenth
of each speaker, in whole chapters where there are five.
"""

import re
from pathlib import Path

from local.prep_common import (
    held_out_split,
    keep_usable,
    log_left_out,
    once_each,
    print_counts,
    size_problem,
    synthetic_prefix,
    walk,
    warn_of,
)
from options import OptionParser, run
from ser.base.errors import UserError
from ser.data.data_dir import write_data_dir

PUBLISHED = {
    "train-clean-100": {"speakers": 251, "utterances": 28539},
    "train-clean-360": {"speakers": 921, "utterances": 104014},
    "train-other-500": {"speakers": 1166, "utterances": 148688},
    "dev-clean": {"speakers": 40, "utterances": 2703},
    "dev-other": {"speakers": 33, "utterances": 2864},
    "test-clean": {"speakers": 40, "utterances": 2620},
    "test-other": {"speakers": 33, "utterances": 2939},
}
NAME = re.compile(r"(\d{1,4})-(\d+)-(\d{4})", re.ASCII)
SUBSET = re.compile(r"(?:train|dev|test)-\w[\w-]*", re.ASCII)
SOUND = {".flac", ".wav"}


def find_subsets(root):
    """`{name in lower case: folder}` of ROOT and the folders in it, two levels deep, that are named like a subset."""
    if not root.is_dir():
        raise UserError(f"{root}: no such directory")
    folders = [root, *sorted(root.glob("*")), *sorted(root.glob("*/*"))]
    return {folder.name.lower(): folder for folder in reversed(folders)
            if SUBSET.fullmatch(folder.name.lower()) and folder.is_dir()}


def read_genders(path):
    """Read SPEAKERS.TXT, `ID | SEX | SUBSET | MINUTES | NAME` with `;` comments; a name may hold `|`, too."""
    genders = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith(";"):
            continue
        speaker, sex, *_ = [*map(str.strip, line.split("|")), ""]
        if not (speaker.isdecimal() and sex in ("M", "F")):
            raise UserError(f"{path}:{number}: expected 'ID | M or F | …', found {line!r}; mend it or take it away")
        genders[f"{int(speaker):04d}"] = sex.lower()
    return genders


def find_genders(folder):
    """SPEAKERS.TXT beside a subset or one folder above, in any case, or None."""
    places = [place for parent in (folder.parent, folder.parent.parent) for place in sorted(parent.glob("*"))]
    return next((place for place in places if place.name.lower() == "speakers.txt" and place.is_file()), None)


def utterance_of(name):
    """(0103-1240-0000, 0103, 1240) of 103-1240-0000: utterance, speaker and chapter; None of any other name."""
    match = NAME.fullmatch(name)
    if not match:
        return None
    speaker = f"{int(match[1]):04d}"
    return f"{speaker}-{match[2]}-{match[3]}", speaker, match[2]


def read_subset(folder):
    """Map the audio files of a subset to `{utterance: (speaker, chapter, path)}`; raises UserError without any."""
    paths = sorted(entry.path for entry in walk(folder) if Path(entry.name).suffix.lower() in SOUND)
    said = {path: utterance_of(Path(path).stem) for path in paths}
    strangers = [path for path in paths if not said[path]]
    if len(strangers) == len(paths):
        raise UserError(f"{folder}: no LibriSpeech audio inside, such as 103/1240/103-1240-0000.flac")
    if strangers:
        log_left_out(strangers, "not a name of LibriSpeech, such as 103-1240-0000.flac")
    once = once_each((path for path in paths if said[path]), key=lambda path: said[path][0])
    return {utt: (*said[path][1:], path) for utt, path in once.items()}


def main():
    parser = OptionParser("Prepare a Kaldi data directory from LibriSpeech, to pre-train on its speakers.",
                          "local/librispeech_data_prep.py --subsets train-clean-100 /corpora/LibriSpeech "
                          "data/librispeech")
    parser.add_argument("--subsets", metavar="NAMES", default="train-clean-100",
                        help="in one word (default: train-clean-100)")
    parser.add_argument("root", metavar="ROOT", help="the corpus")
    parser.add_argument("data", metavar="DATA", help="the data directory to write")
    args = parser.parse_args()

    root, subsets = Path(args.root).absolute(), sorted(set(args.subsets.lower().split()))
    folders = find_subsets(root)
    absent = [subset for subset in subsets if subset not in folders]
    if not subsets:
        parser.error("--subsets names no subset")
    if absent:
        there = f"there are: {' '.join(sorted(folders))}; --subsets chooses" if folders else "nor any other subset"
        raise UserError(f"{args.root}: no folder {' '.join(absent)} of LibriSpeech here or two levels below ({there})")
    of_subset = {subset: read_subset(folders[subset]) for subset in subsets}
    everything = {utt: entry for found in of_subset.values() for utt, entry in found.items()}
    usable = keep_usable(everything, lambda utt: size_problem(everything[utt][2]))

    utts_of = {subset: found.keys() & set(usable) for subset, found in of_subset.items()}
    counts = {subset: {"speakers": len({everything[utt][0] for utt in utts}), "utterances": len(utts)}
              for subset, utts in utts_of.items()}
    prefix = synthetic_prefix(folders[subsets[0]].parent)
    warn_of(print_counts(counts, None if prefix else {subset: PUBLISHED.get(subset, {}) for subset in subsets}))
    path = find_genders(folders[subsets[0]])
    print(f"gender: {path or 'no SPEAKERS.TXT beside the subsets, so no spk2gender'}")
    utt2spk = {utt: everything[utt][0] for utt in usable}
    word = f"{prefix}librispeech-{'+'.join(subsets)}"
    write_data_dir(args.data, dataset=word, wav={utt: everything[utt][2] for utt in usable}, utt2spk=utt2spk,
                   spk2gender=read_genders(path) if path else None,
                   extra={"utt2split": held_out_split({utt: everything[utt][:2] for utt in usable})})
    print(f"{parser.prog}: prepared {args.data}: {len(usable)} utterances of {len(set(utt2spk.values()))} speakers, "
          f"dataset {word}")


if __name__ == "__main__":
    run(main)

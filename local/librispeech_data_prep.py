#!/usr/bin/env python3
"""Prepare a Kaldi data directory from LibriSpeech, to pre-train on its speakers.

    local/librispeech_data_prep.py --subsets "train-clean-100 train-clean-360" /corpora/LibriSpeech data/librispeech

ROOT is the folder that holds SPEAKERS.TXT and the subsets, one below or above it, or a subset itself:
train-clean-100/103/1240/103-1240-0000.flac has speaker, chapter and number. Speakers are padded to four digits, so that
utterances sort with them: 0103-1240-0000. SPEAKERS.TXT gives the genders. The table utt2split holds out about a tenth
of each speaker, in whole chapters where there are five.
"""

import recipe_environment

import re
from pathlib import Path

from local.copies import choose_files, undocumented
from local.corpus_files import walk
from local.counts import compare_counts, print_counts, warn_about
from local.messages import Report
from local.prep_common import (
    genders_if_readable,
    is_marked_synthetic,
    keep_usable,
    prepared,
    size_problem,
    synthetic_dataset,
)
from local.speaker_corpus import Utterance, held_out_split
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
NAME = re.compile(r"(?P<speaker>\d{1,4})-(?P<chapter>\d+)-(?P<number>\d{4})", re.ASCII)
SUBSET = re.compile(r"(?:train|dev|test)-\w[\w-]*", re.ASCII)
AUDIO = {".flac", ".wav"}


def find_subsets(root: Path) -> dict[str, list[Path]]:
    """`{name in lower case: folders}` of ROOT and the folders in it, two levels deep, that are named like a subset."""
    if not root.is_dir():
        raise UserError(f"{root}: no such directory")
    folders = [root, *sorted(root.glob("*")), *sorted(root.glob("*/*"))]
    subsets: dict[str, list[Path]] = {}
    for folder in folders:
        if SUBSET.fullmatch(folder.name.lower()) and folder.is_dir():
            subsets.setdefault(folder.name.lower(), []).append(folder)
    return subsets


def find_genders(folder: Path) -> Path | None:
    """SPEAKERS.TXT beside a subset or one folder above, in any case, or None."""
    candidates = [path for parent in (folder.parent, folder.parent.parent) for path in sorted(parent.glob("*"))]
    return next((path for path in candidates if path.name.lower() == "speakers.txt" and path.is_file()), None)


def read_genders(path: Path) -> dict[str, str]:
    """Read SPEAKERS.TXT into `{speaker: m or f}`; raises UserError. A name may hold `|`, too.

    ;ID  |SEX| SUBSET           |MINUTES| NAME
    14   | F | train-clean-360  | 25.03 | Kristin LeMoine
    16   | F | train-clean-360  | 25.11 | Alys AtteWater
    """
    genders = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith(";"):
            continue
        speaker, sex, *_ = [*map(str.strip, line.split("|")), ""]
        if not (speaker.isdecimal() and sex in ("M", "F")):
            raise UserError(f"{path}:{number}: expected 'ID | M or F | …', found {line!r}; correct or remove the line")
        genders[f"{int(speaker):04d}"] = sex.lower()
    return genders


def utterance_of(path: str) -> Utterance | None:
    """Utterance 0103-1240-0000, speaker 0103, session 1240 of …/103-1240-0000.flac; None of any other name."""
    match = NAME.fullmatch(Path(path).stem)
    if not match:
        return None
    speaker = f"{int(match['speaker']):04d}"
    chapter = match["chapter"]
    return Utterance(f"{speaker}-{chapter}-{match['number']}", speaker, chapter, path)


def read_subset(folders: list[Path], root: Path, report: Report) -> list[Utterance]:
    """The utterances of a subset, one file of each, from the folders of its name.

    Raises
    ------
    UserError
        There is none, or files of one utterance and of folders that count alike differ.
    """
    folder_of = {entry.path: folder for folder in folders for entry in walk(folder)
                 if Path(entry.name).suffix.lower() in AUDIO}
    parsed = {}
    misnamed = []
    for path in sorted(folder_of):
        utterance = utterance_of(path)
        if utterance:
            parsed[path] = utterance
        else:
            misnamed.append(path)
    if not parsed:
        raise UserError(f"{folders[0]}: no LibriSpeech audio inside, such as 103/1240/103-1240-0000.flac")
    report.files(misnamed, "not a name of LibriSpeech, such as 103-1240-0000.flac")

    def rank(path: str) -> tuple[int, int, bool]:
        folder = folder_of[path]
        above = folder.relative_to(root).parts[:-1]
        below = Path(path).relative_to(folder).parts[:-1]
        return (undocumented(above, re.compile("librispeech", re.IGNORECASE).fullmatch),
                undocumented(below, str.isdecimal), Path(path).suffix.lower() != ".flac")

    unique = choose_files(parsed, lambda path: parsed[path].id, rank, report)
    return [parsed[path] for path in unique.values()]


def prepare(root: Path, data: str, subsets: list[str]) -> str:
    """Write the data directory; returns what was made. Raises UserError for a corpus that cannot be used."""
    # Utterances
    folders = find_subsets(root)
    absent = [subset for subset in subsets if subset not in folders]
    if absent:
        others = f"there are: {' '.join(sorted(folders))}; --subsets chooses" if folders else "nor any other subset"
        raise UserError(f"{root}: no folder {' '.join(absent)} of LibriSpeech here or two levels below ({others})")
    report = Report(data)
    utterances_of = {subset: read_subset(folders[subset], root, report) for subset in subsets}
    utterances = {utterance.id: utterance for of_subset in utterances_of.values() for utterance in of_subset}
    usable = keep_usable(utterances, lambda utt: size_problem(utterances[utt].path), report)
    utterances = {utt: utterances[utt] for utt in usable}

    # Published counts
    counts = {}
    for subset, of_subset in utterances_of.items():
        used = [utterance for utterance in of_subset if utterance.id in utterances]
        counts[subset] = {"speakers": len({utterance.speaker for utterance in used}), "utterances": len(used)}
    first_folder = folders[subsets[0]][0]
    dataset = f"librispeech-{'+'.join(subsets)}"
    published = {subset: PUBLISHED.get(subset, {}) for subset in subsets}
    if is_marked_synthetic(first_folder.parent):
        dataset = synthetic_dataset(first_folder.parent, dataset)
        published = {}
    print_counts(counts, published)
    warn_about(compare_counts(counts, published))

    # Tables
    genders = find_genders(first_folder)
    print(f"gender: {genders or 'no SPEAKERS.TXT beside the subsets, so no spk2gender'}")
    speakers = {utterance.speaker for utterance in utterances.values()}
    write_data_dir(data, dataset=dataset,
                   wav={utt: utterance.path for utt, utterance in utterances.items()},
                   utt2spk={utt: utterance.speaker for utt, utterance in utterances.items()},
                   spk2gender=genders_if_readable(read_genders, genders) if genders else None,
                   extra={"utt2split": held_out_split(utterances.values())})
    return prepared(data, utterances, speakers, dataset)


def main() -> None:
    parser = OptionParser("Prepare a Kaldi data directory from LibriSpeech, to pre-train on its speakers.",
                          "local/librispeech_data_prep.py --subsets train-clean-100 /corpora/LibriSpeech "
                          "data/librispeech")
    parser.add_argument("--subsets", metavar="NAMES", default="train-clean-100",
                        help="quoted, separated by spaces (default: train-clean-100)")
    parser.add_argument("root", metavar="ROOT", help="the corpus")
    parser.add_argument("data", metavar="DATA", help="the data directory to write")
    args = parser.parse_args()
    subsets = sorted(set(args.subsets.lower().split()))
    if not subsets:
        parser.error("--subsets names no subset")
    made = prepare(Path(args.root).absolute(), args.data, subsets)
    print(f"{parser.prog}: prepared {made}")


if __name__ == "__main__":
    run(main)

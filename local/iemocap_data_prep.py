#!/usr/bin/env python3
"""Prepare a Kaldi data directory from IEMOCAP, in the four classes neu hap ang sad.

    local/iemocap_data_prep.py --scope improvised /corpora/IEMOCAP_full_release data/iemocap

Labels are the summary lines of Session*/dialog/EmoEvaluation/Ses*.txt, and only those: the folders
below it hold single annotators' votes. The speaker is the voice: in Ses01F_impro01_M000 the man of
session 1 speaks, so the utterance becomes Ses01M-Ses01F_impro01_M000. Counts and a checksum are
compared with the published ones; a difference is said loudly, but a part of the corpus is prepared too.
"""

import recipe_environment

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from local.counts import compare_counts, label_counts, print_counts, warn_about, with_totals
from local.iemocap_published import CHECKSUMS, counts_of
from local.messages import Report
from local.prep_common import (
    is_marked_synthetic,
    keep_usable,
    prepared,
    synthetic_dataset,
    warn_about_formats,
    wav_problem,
)
from options import OptionParser, run, str2bool
from ser.base.errors import UserError
from ser.base.log import counted
from ser.data.data_dir import write_data_dir

CLASSES = ("neu", "hap", "ang", "sad")
CODES = {*CLASSES, "exc", "fru", "fea", "sur", "dis", "oth", "xxx"}
SUMMARY = re.compile(r"\[\d+\.\d+ - \d+\.\d+\]\t(\S+)\t(\S+)\t\[[^\]]*\]")  # [6.29 - 8.23] turn label [V, A, D]
SESSION = re.compile(r"Session[1-5]")
SAMPLE_RATE = 16000  # of the sentences, which are mono
TURN_END = re.compile(r"_[FM]\d{3}")


def in_scope(dialog: str, scope: str) -> bool:
    """Whether a dialog such as Ses05M_script01_1b belongs to `improvised` or `all`."""
    return scope == "all" or "_impro" in dialog


def speaker_of(turn: str) -> str:
    """The voice: Ses01F_impro01_M000 is spoken by Ses01M."""
    session = turn[:5]
    voice = turn.rsplit("_", 1)[1][0]
    return session + voice


def summary_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) of the lines that begin with `[`; comments are free text in any encoding."""
    with open(path, encoding="latin-1") as lines:
        for number, line in enumerate(lines, 1):
            if line.startswith("["):
                yield number, line.rstrip()


def find_label_files(root: Path, scope: str, report: Report) -> list[Path]:
    """The EmoEvaluation files in scope; says which folders beside the five sessions are not used. Raises UserError."""
    found = [path for path in sorted(root.glob("Session*/dialog/EmoEvaluation/Ses*.txt")) if in_scope(path.stem, scope)]
    of_sessions = [path for path in found if SESSION.fullmatch(path.parents[2].name)]
    if not of_sessions:
        raise UserError(f"{root}: not an IEMOCAP tree (no Session*/dialog/EmoEvaluation/Ses*.txt); "
                        "give the folder that holds Session1 to Session5")
    others = sorted({str(path.parents[2]) for path in found} - {str(path.parents[2]) for path in of_sessions})
    report.files(others, "not one of Session1 to Session5")
    return of_sessions


def read_labels(paths: Iterable[Path], report: Report) -> dict[str, str]:
    """Read EmoEvaluation files into `{turn: label}`.

    Raises
    ------
    UserError
        Anything in the files is not as it should be; every case is named with file and line first.
    """
    labels: dict[str, str] = {}
    places: dict[str, str] = {}
    problems: list[str] = []
    for path in paths:
        before = len(problems) + len(labels)
        for number, line in summary_lines(path):
            place = f"{path}:{number}"
            match = SUMMARY.fullmatch(line)
            if not match:
                problems.append(f"{place}: not '[start - end] turn label [V, A, D]' between tabs: {line!r}")
                continue
            turn, label = match.groups()
            if not (turn.startswith(path.stem) and TURN_END.fullmatch(turn, len(path.stem))):
                problems.append(f"{place}: turn {turn} is not {path.stem}_F or _M and three digits")
            elif label not in CODES:
                problems.append(f"{place}: unknown label {label!r} of {turn}")
            elif turn in labels and labels[turn] != label:
                problems.append(f"{place}: conflict: {turn} is {label} here and {labels[turn]} in {places[turn]}")
            elif turn in labels:
                problems.append(f"{place}: {turn} is already in {places[turn]}")
            else:
                labels[turn] = label
                places[turn] = place
        if len(problems) + len(labels) == before:
            problems.append(f"{path}: holds no turn")
    report.lines(problems)
    if problems:
        raise UserError(f"{counted(len(problems), 'problem')} in the label files, named above; nothing was written")
    return labels


def warn_about_unlabelled(wavs: Iterable[Path], labels: Collection[str], report: Report) -> None:
    """Name the label files that are missing, and the sentence wavs that an existing one does not name."""
    unlabelled: dict[Path, list[Path]] = {}
    for wav in wavs:
        if wav.stem not in labels:
            label_file = wav.parents[3] / "dialog" / "EmoEvaluation" / f"{wav.parent.name}.txt"
            unlabelled.setdefault(label_file, []).append(wav)
    missing = [label_file for label_file in unlabelled if not label_file.exists()]
    report.lines([f"WARNING: {label_file} is missing: no label for {counted(len(unlabelled[label_file]), 'wav')} of "
                  f"{unlabelled[label_file][0].parent}" for label_file in missing])
    report.lines([f"WARNING: {wav} has no label line" for label_file, wavs_of_dialog in unlabelled.items()
                  if label_file not in missing for wav in wavs_of_dialog])


def checksum(utt2spk: Mapping[str, str], utt2emo: Mapping[str, str]) -> str:
    """sha256 of the sorted lines `<utterance> <speaker> <label>`, with the corpus's own utterance ids."""
    lines = sorted(f"{utt} {utt2spk[utt]} {label}\n" for utt, label in utt2emo.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def compare_with_published(utt2spk: Mapping[str, str], utt2emo: Mapping[str, str], scope: str, merge_excited: bool,
                           dataset: str) -> None:
    """Print the counts and whether the checksum is the published one, and warn about every difference."""
    counts = with_totals(label_counts(utt2spk, utt2emo), CLASSES)
    published = with_totals(counts_of(scope, merge_excited), CLASSES)
    print_counts(counts, published)
    differences = compare_counts(counts, published)
    found = checksum(utt2spk, utt2emo)
    expected = CHECKSUMS.get(dataset)
    if expected is None:
        verdict = f"no checksum is published for {dataset}"
    elif found == expected:
        verdict = "the SAME as published: every utterance, speaker and label is right"
    else:
        verdict = f"DIFFERENT from the published {expected}"
        differences.append("the checksum" if differences else "the checksum: the counts are right, so utterance ids "
                           "or their labels differ from the published ones")
    print(f"sha256 of 'utterance speaker label' lines: {found}, {verdict}")
    warn_about(differences)


def prepare(root: Path, data: str, scope: str, merge_excited: bool) -> str:
    """Write the data directory; returns what was made. Raises UserError for a corpus that cannot be used."""
    # Labels
    report = Report(data)
    label_files = find_label_files(root, scope, report)
    labels = read_labels(label_files, report)
    emotions = {label: label for label in CLASSES}
    if merge_excited:
        emotions["exc"] = "hap"

    # Audio
    wav_dirs = {path.stem: path.parents[2] / "sentences" / "wav" / path.stem for path in label_files}
    wavs = {turn: wav_dirs[turn.rsplit("_", 1)[0]] / f"{turn}.wav" for turn in labels}
    sentences = sorted(root.glob("Session[1-5]/sentences/wav/*/*.wav"))
    warn_about_unlabelled((wav for wav in sentences if in_scope(wav.parent.name, scope)
                           and not wav.name.startswith("._")), labels, report)
    usable = keep_usable((turn for turn, label in labels.items() if label in emotions),
                         lambda turn: wav_problem(wavs[turn]), report)
    utt2spk = {turn: speaker_of(turn) for turn in usable}
    utt2emo = {turn: emotions[labels[turn]] for turn in usable}

    # Published counts
    dataset = f"iemocap-{'impro' if scope == 'improvised' else 'all'}-4{'-exc' if merge_excited else ''}"
    if is_marked_synthetic(root):
        dataset = synthetic_dataset(root, dataset)
        print_counts(with_totals(label_counts(utt2spk, utt2emo), CLASSES))
    else:
        warn_about_formats((wavs[turn] for turn in usable), SAMPLE_RATE, mono=True)
        compare_with_published(utt2spk, utt2emo, scope, merge_excited, dataset)

    # Tables, under ids that begin with the speaker
    utt_of = {turn: f"{utt2spk[turn]}-{turn}" for turn in usable}
    write_data_dir(data, dataset=dataset,
                   wav={utt_of[turn]: str(wavs[turn]) for turn in usable},
                   utt2spk={utt_of[turn]: utt2spk[turn] for turn in usable},
                   spk2gender={speaker: speaker[-1].lower() for speaker in utt2spk.values()},
                   utt2emo={utt_of[turn]: utt2emo[turn] for turn in usable})
    return prepared(data, usable, utt2spk.values(), dataset)


def main() -> None:
    parser = OptionParser("Prepare a Kaldi data directory from IEMOCAP, in four classes.",
                          "local/iemocap_data_prep.py /corpora/IEMOCAP_full_release data/iemocap")
    parser.add_argument("--scope", choices=["improvised", "all"], default="improvised",
                        help="which dialogs (default: improvised)")
    parser.add_argument("--merge-excited", type=str2bool, default=False, metavar="true|false",
                        help="count excited as happy (default: false, excited is left out)")
    parser.add_argument("root", metavar="ROOT", help="the folder that holds Session1 to Session5")
    parser.add_argument("data", metavar="DATA", help="the data directory to write")
    args = parser.parse_args()
    made = prepare(Path(args.root).absolute(), args.data, args.scope, args.merge_excited)
    print(f"{parser.prog}: prepared {made}")


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Prepare a Kaldi data directory from IEMOCAP, in the four classes neu hap ang sad.

    local/iemocap_data_prep.py --scope improvised /corpora/IEMOCAP_full_release data/iemocap

Labels are the summary lines of Session*/dialog/EmoEvaluation/Ses*.txt, and only those: the folders
below it hold single annotators' votes. The speaker is the voice: in Ses01F_impro01_M000 the man of
session 1 speaks, so the utterance becomes Ses01M-Ses01F_impro01_M000. Counts and a checksum are
compared with the published ones; a difference is said loudly, but a part of the corpus is prepared too.
"""

import hashlib
import re
from pathlib import Path

from local.iemocap_published import CHECKSUMS, counts_of
from local.prep_common import (
    keep_usable,
    label_counts,
    print_counts,
    synthetic_prefix,
    warn_of,
    wav_problem,
    with_totals,
)
from options import OptionParser, run, str2bool
from ser.base.errors import UserError
from ser.base.log import log
from ser.data.data_dir import write_data_dir

CLASSES = ("neu", "hap", "ang", "sad")
CODES = {*CLASSES, "exc", "fru", "fea", "sur", "dis", "oth", "xxx"}
SUMMARY = re.compile(r"\[\d+\.\d+ - \d+\.\d+\]\t(\S+)\t(\S+)\t\[[^\]]*\]")  # [6.29 - 8.23] turn label [V, A, D]
TURN_END = re.compile(r"_[FM]\d{3}")


def in_scope(dialog, scope):
    """Whether a dialog such as Ses05M_script01_1b belongs to `improvised` or `all`."""
    return scope == "all" or "_impro" in dialog


def speaker_of(utt):
    """The voice: Ses01F_impro01_M000 is spoken by Ses01M."""
    return utt[:5] + utt.rsplit("_", 1)[1][0]


def summary_lines(path):
    """Yield (line number, line) of the lines that begin with `[`; comments are free text in any encoding."""
    with open(path, encoding="latin-1") as lines:
        for number, line in enumerate(lines, 1):
            if line.startswith("["):
                yield number, line.rstrip()


def read_labels(paths):
    """Read EmoEvaluation files into `{turn: label}`.

    Raises
    ------
    UserError
        Anything in the files is not as it should be; every case is named with file and line first.
    """
    labels, places, problems = {}, {}, []
    for path in paths:
        before = len(problems) + len(labels)
        for number, line in summary_lines(path):
            place = f"{path}:{number}"
            match = SUMMARY.fullmatch(line)
            turn, label = match.groups() if match else (None, None)
            if not match:
                problems.append(f"{place}: not '[start - end] turn label [V, A, D]' between tabs: {line!r}")
            elif not (turn.startswith(path.stem) and TURN_END.fullmatch(turn, len(path.stem))):
                problems.append(f"{place}: turn {turn} is not {path.stem}_F or _M and three digits")
            elif label not in CODES:
                problems.append(f"{place}: unknown label {label!r} of {turn}")
            elif turn in labels and labels[turn] != label:
                problems.append(f"{place}: conflict: {turn} is {label} here and {labels[turn]} in {places[turn]}")
            elif turn in labels:
                problems.append(f"{place}: {turn} stands already in {places[turn]}")
            else:
                labels[turn], places[turn] = label, place
        if len(problems) + len(labels) == before:
            problems.append(f"{path}: holds no turn")
    for problem in problems:
        log(problem)
    if problems:
        raise UserError(f"{len(problems)} problems in the label files, named above; nothing was written")
    return labels


def warn_of_unlabelled(sentence_dir, scope, labels):
    """Name the sentence wavs in scope that no label file speaks of."""
    for wav in sorted(sentence_dir.glob("*/*.wav")):
        if in_scope(wav.parent.name, scope) and not wav.name.startswith("._") and wav.stem not in labels:
            log(f"WARNING: {wav} has no label line")


def checksum(utt2spk, utt2emo):
    """sha256 of the sorted lines `<utterance> <speaker> <label>`, with the corpus's own utterance ids."""
    lines = sorted(f"{utt} {utt2spk[utt]} {label}\n" for utt, label in utt2emo.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def compare_with_published(utt2spk, utt2emo, scope, merge_excited, word):
    """Print the table and the checksum's verdict, and warn of every difference."""
    published = counts_of(scope, merge_excited)
    differences = print_counts(with_totals(label_counts(utt2spk, utt2emo), CLASSES), with_totals(published, CLASSES))
    found, expected = checksum(utt2spk, utt2emo), CHECKSUMS.get(word)
    if expected is None:
        verdict = f"no checksum is published for {word}"
    elif found == expected:
        verdict = "the SAME as published: every utterance, speaker and label is right"
    else:
        verdict = f"DIFFERENT from the published {expected}"
        differences.append("the checksum" + ("" if differences else
                           ": the counts are right, so utterance ids or their labels differ from the published ones"))
    print(f"sha256 of 'utterance speaker label' lines: {found}, {verdict}")
    warn_of(differences)


def main():
    parser = OptionParser("Prepare a Kaldi data directory from IEMOCAP, in four classes.",
                          "local/iemocap_data_prep.py /corpora/IEMOCAP_full_release data/iemocap")
    parser.add_argument("--scope", choices=["improvised", "all"], default="improvised",
                        help="which dialogs (default: improvised)")
    parser.add_argument("--merge-excited", type=str2bool, default=False, metavar="true|false",
                        help="count excited as happy (default: false, excited is left out)")
    parser.add_argument("root", metavar="ROOT", help="the folder that holds Session1 to Session5")
    parser.add_argument("data", metavar="DATA", help="the data directory to write")
    args = parser.parse_args()

    root = Path(args.root).absolute()
    label_files = [path for path in sorted(root.glob("Session*/dialog/EmoEvaluation/Ses*.txt"))
                   if in_scope(path.stem, args.scope)]
    if not label_files:
        raise UserError(f"{args.root}: not an IEMOCAP tree (no Session*/dialog/EmoEvaluation/Ses*.txt); "
                        "give the folder that holds Session1 to Session5")
    labels = read_labels(label_files)
    folders = {path.stem: path.parents[2] / "sentences" / "wav" / path.stem for path in label_files}
    wavs = {utt: folders[utt.rsplit("_", 1)[0]] / f"{utt}.wav" for utt in labels}
    for sentence_dir in sorted({folder.parent for folder in folders.values()}):
        warn_of_unlabelled(sentence_dir, args.scope, labels)
    emotions = {label: label for label in CLASSES} | ({"exc": "hap"} if args.merge_excited else {})
    usable = keep_usable((utt for utt, label in labels.items() if label in emotions),
                         lambda utt: wav_problem(wavs[utt]))

    utt2spk = {utt: speaker_of(utt) for utt in usable}
    utt2emo = {utt: emotions[labels[utt]] for utt in usable}
    word = f"iemocap-{'impro' if args.scope == 'improvised' else 'all'}-4{'-exc' if args.merge_excited else ''}"
    prefix = synthetic_prefix(root)
    if prefix:
        print_counts(with_totals(label_counts(utt2spk, utt2emo), CLASSES))
    else:
        compare_with_published(utt2spk, utt2emo, args.scope, args.merge_excited, word)

    name = {utt: f"{utt2spk[utt]}-{utt}" for utt in usable}
    write_data_dir(args.data, dataset=prefix + word,
                   wav={name[utt]: wavs[utt] for utt in usable},
                   utt2spk={name[utt]: utt2spk[utt] for utt in usable},
                   spk2gender={speaker: speaker[-1].lower() for speaker in utt2spk.values()},
                   utt2emo={name[utt]: utt2emo[utt] for utt in usable})
    print(f"{parser.prog}: prepared {args.data}: {len(usable)} utterances of {len(set(utt2spk.values()))} speakers, "
          f"dataset {prefix + word}")


if __name__ == "__main__":
    run(main)

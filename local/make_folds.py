#!/usr/bin/env python3
"""Divide the utterances of a data directory into training, validation and test parts.

    local/make_folds.py --protocol 10fold data/iemocap

Writes DATA/folds/<fold>/{train,valid,test}, DATA/folds/list and DATA/folds/protocol, or for
`identification` DATA/identification/{train,valid}. No speaker of a fold is in two parts:

    10fold          each speaker tests once, the partner in the session (Ses01F, Ses01M) validates
    5fold           one direction of it: the man of each session tests, the woman validates
    loso            each speaker tests once, the next one in sorted order validates
    kfold           --num-folds groups of speakers of about equal numbers of utterances; group i tests, i + 1 validates
    auto            loso, or kfold where there are more than 20 speakers
    identification  the same speakers in both parts: by utt2split (valid and test validate), or else the last tenth of
                    each speaker's utterances validates
"""

import recipe_environment

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from local.speaker_corpus import last_tenth
from options import OptionParser, run
from ser.base.errors import UserError
from ser.base.files import temporary_folder, write_text
from ser.data.data_dir import read_table, spk2utt_of, write_list
from ser.data.folds import read_fold, read_identification

MANY_SPEAKERS = 20  # with more, auto is kfold
Folds = dict[str, tuple[set[str], set[str]]]  # fold to speakers of test and speakers of valid


def sessions_of(speakers: Mapping[str, int]) -> list[list[str]]:
    """Pair the two speakers of each session: those whose ids agree in five characters."""
    sessions: dict[str, list[str]] = {}
    for speaker in sorted(speakers):
        sessions.setdefault(speaker[:5], []).append(speaker)
    for session, members in sessions.items():
        if len(members) != 2:
            raise UserError(f"session {session} has {len(members)} speakers ({' '.join(members)}) and needs 2; "
                            "use --protocol loso or kfold")
    if len(sessions) < 2:
        raise UserError("one session leaves no speaker to train on; needs 2 or more")
    return list(sessions.values())


def ten_fold(counts: Mapping[str, int], _: int) -> Folds:
    pairs = sessions_of(counts)
    return {f"fold_{test}": ({test}, {valid}) for pair in pairs for test, valid in (pair, pair[::-1])}


def five_fold(counts: Mapping[str, int], _: int) -> Folds:
    pairs = sessions_of(counts)
    for pair in pairs:
        if [speaker[-1] for speaker in pair] != ["F", "M"]:
            raise UserError(f"{' and '.join(pair)} are not the F and the M of a session; use --protocol loso or kfold")
    return {f"fold_{man}": ({man}, {woman}) for woman, man in pairs}


def leave_one_speaker_out(counts: Mapping[str, int], _: int) -> Folds:
    speakers = sorted(counts)
    if len(speakers) < 3:
        raise UserError(f"loso needs 3 or more speakers, found {len(speakers)}")
    next_speakers = speakers[1:] + speakers[:1]
    return {f"fold_{test}": ({test}, {valid}) for test, valid in zip(speakers, next_speakers, strict=True)}


def speaker_groups(counts: Mapping[str, int], num_folds: int) -> Folds:
    if not 3 <= num_folds <= len(counts):
        raise UserError(f"--num-folds {num_folds}: needs 3 or more, and no more than the {len(counts)} speakers")
    groups: list[set[str]] = [set() for _ in range(num_folds)]
    largest_first = sorted(counts, key=lambda speaker: (-counts[speaker], speaker))
    for speaker in largest_first:
        smallest_group = min(groups, key=lambda group: sum(counts[member] for member in group))
        smallest_group.add(speaker)
    next_groups = groups[1:] + groups[:1]
    return {f"fold_{number:02d}": (test, valid)
            for number, (test, valid) in enumerate(zip(groups, next_groups, strict=True), 1)}


# Protocol to a function of each speaker's number of utterances and the number of folds.
PROTOCOLS: dict[str, Callable[[Mapping[str, int], int], Folds]] = {
    "10fold": ten_fold,
    "5fold": five_fold,
    "loso": leave_one_speaker_out,
    "kfold": speaker_groups,
}


@contextlib.contextmanager
def replaced_dir(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`, which takes its place when the block ends without an error."""
    with temporary_folder(target.parent, f".{target.name}.") as aside:
        new = aside / "new"
        new.mkdir()
        yield new
        if target.exists():
            target.rename(aside / "old")
        new.rename(target)


def make_folds(data: Path, utt2spk: Mapping[str, str], protocol: str, num_folds: int) -> int:
    """Write DATA/folds and return how many there are."""
    folds = PROTOCOLS[protocol](Counter(utt2spk.values()), num_folds)
    with_slash = [fold for fold in folds if "/" in fold]
    if with_slash:
        raise UserError(f"{data / 'utt2spk'}: speaker {with_slash[0].removeprefix('fold_')} cannot name a folder; "
                        "rename it, without /")
    with replaced_dir(data / "folds") as folder:
        for fold, (test, valid) in folds.items():
            part_of = dict.fromkeys(test, "test") | dict.fromkeys(valid, "valid")
            for part in ("train", "valid", "test"):
                write_list(folder / fold / part, [utt for utt, speaker in utt2spk.items()
                                                  if part_of.get(speaker, "train") == part])
            read_fold(folder / fold, utt2spk)
        write_text(folder / "list", "".join(f"{fold}\n" for fold in folds))
        write_text(folder / "protocol", f"{protocol}{num_folds if protocol == 'kfold' else ''}\n")
    return len(folds)


def make_identification(data: Path, utt2spk: Mapping[str, str]) -> dict[str, int]:
    """Write DATA/identification and return the numbers of utterances of train and valid."""
    if (data / "utt2split").is_file():
        utt2split = read_table(data / "utt2split", columns=2)
        for utt in utt2spk:
            if utt2split.get(utt) not in ("train", "valid", "test"):
                raise UserError(f"{data / 'utt2split'}: says {utt2split.get(utt, 'nothing')} of {utt}; "
                                "needs train, valid or test")
        valid = {utt for utt in utt2spk if utt2split[utt] != "train"}
    else:
        valid = {utt for utts in spk2utt_of(utt2spk).values() for utt in last_tenth(utts.split())}
    if not valid:
        raise UserError(f"{data}: nothing to validate on; some speaker needs 2 or more utterances")
    with replaced_dir(data / "identification") as folder:
        write_list(folder / "train", set(utt2spk) - valid)
        write_list(folder / "valid", valid)
        parts = read_identification(folder, utt2spk)
    return {part: len(utts) for part, utts in parts.items()}


def main() -> None:
    parser = OptionParser("Divide the utterances of a data directory into training, validation and test parts.",
                          "local/make_folds.py --protocol 10fold data/iemocap")
    parser.add_argument("--protocol", choices=[*PROTOCOLS, "auto", "identification"], required=True,
                        help="10fold and 5fold pair the speakers of a session, loso leaves one out, kfold groups "
                             "them, identification has the same ones in both parts")
    parser.add_argument("--num-folds", type=int, default=5, help="folds of kfold (default: 5)")
    parser.add_argument("data", metavar="DATA", help="the data directory to divide")
    args = parser.parse_args()

    data = Path(args.data)
    utt2spk = read_table(data / "utt2spk", columns=2)
    if args.protocol == "identification":
        sizes = make_identification(data, utt2spk)
        made = f"identification: {sizes['train']} utterances to train, {sizes['valid']} to validate"
    else:
        protocol = args.protocol
        if protocol == "auto":
            protocol = "kfold" if len(set(utt2spk.values())) > MANY_SPEAKERS else "loso"
        made = f"folds: {make_folds(data, utt2spk, protocol, args.num_folds)} folds, protocol {protocol}"
    print(f"{parser.prog}: made {data}/{made}")


if __name__ == "__main__":
    run(main)

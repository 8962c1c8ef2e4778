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

Copies of a recording, which steps/make_fbank.sh finds, are never in two parts: with `--duplicates drop` all but the
first of them are left out, with `keep` those of train and valid that are also in a later part; where there are copies,
the protocol is called loso+copies then. What cannot work is an error, what works and means little a warning;
`--check true` ends after these and needs no features.
"""

import recipe_environment

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from local.check_folds import BATCH, Folds, batch_size_of, check_folds
from local.speaker_corpus import last_tenth
from options import OptionParser, run, str2bool
from ser.base.errors import UserError
from ser.base.files import temporary_folder, write_text
from ser.base.log import log
from ser.data.data_dir import read_table, spk2utt_of, write_list
from ser.data.duplicates import FILE as DUPLICATES
from ser.data.duplicates import read_duplicates
from ser.data.folds import read_fold, read_identification

MANY_SPEAKERS = 20  # with more, auto is kfold


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
    """Yield a new folder beside `target`, which takes its place when the block ends without an error.

    Raises UserError when `target` holds something, and not what this script writes.
    """
    markers = [target / name for name in ("protocol", "train")]  # of folds, and of identification
    if target.exists() and any(target.iterdir()) and not any(path.is_file() for path in markers):
        raise UserError(f"{target}: is made anew, and was not made by this script; move it elsewhere")
    with temporary_folder(target.parent, f".{target.name}.") as aside:
        new = aside / "new"
        new.mkdir()
        yield new
        if target.exists():
            target.rename(aside / "old")
        new.rename(target)


def read_copies(data: Path, utt2spk: Mapping[str, str]) -> list[list[str]]:
    """The groups of copies in DATA/duplicates, none where nobody has looked for them."""
    return read_duplicates(data, utt2spk) if (data / DUPLICATES).is_file() else []


def warn_without_duplicates(data: Path) -> None:
    """Say so where nobody has looked for copies."""
    if not (data / DUPLICATES).is_file():
        print(f"{data / DUPLICATES}: no such file, so copies of a recording may be in two parts; steps/make_fbank.sh "
              "looks for them")


def write_parts(folder: Path, parts: Mapping[str, set[str]], copies: Sequence[Sequence[str]]) -> None:
    """Write a list for each part; copies that are in several are in the last of them alone."""
    later: set[str] = set()
    for part, utts in reversed(list(parts.items())):
        left_out = {utt for group in copies if later.intersection(group) for utt in group}
        write_list(folder / part, utts - left_out)
        later |= utts - left_out


def divide(data: Path, utt2spk: Mapping[str, str], protocol: str, num_folds: int) -> Folds:
    """The folds of a protocol; raises UserError where the speakers do not allow it."""
    folds = PROTOCOLS[protocol](Counter(utt2spk.values()), num_folds)
    with_slash = [fold for fold in folds if "/" in fold]
    if with_slash:
        raise UserError(f"{data / 'utt2spk'}: speaker {with_slash[0].removeprefix('fold_')} cannot name a folder; "
                        "rename it, without /")
    return folds


def write_folds(data: Path, folds: Folds, utt2spk: Mapping[str, str], name: str,
                copies: Sequence[Sequence[str]]) -> None:
    """Write DATA/folds, of a protocol of this name, none of the copies in two parts of a fold."""
    with replaced_dir(data / "folds") as folder:
        for fold, (test, valid) in folds.items():
            part_of = dict.fromkeys(test, "test") | dict.fromkeys(valid, "valid")
            parts = {part: {utt for utt, speaker in utt2spk.items() if part_of.get(speaker, "train") == part}
                     for part in ("train", "valid", "test")}
            write_parts(folder / fold, parts, copies)
            read_fold(folder / fold, utt2spk)
        write_text(folder / "list", "".join(f"{fold}\n" for fold in folds))
        write_text(folder / "protocol", f"{name}\n")


def divide_identification(data: Path, utt2spk: Mapping[str, str]) -> dict[str, set[str]]:
    """The utterances of train and valid of `identification`; raises UserError where it is not possible."""
    speakers = sorted(set(utt2spk.values()))
    if len(speakers) < 2:
        raise UserError(f"{data}: pre-training needs 2 or more speakers, found {len(speakers)}")
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
    return {"train": set(utt2spk) - valid, "valid": valid}


def write_identification(data: Path, parts: Mapping[str, set[str]], utt2spk: Mapping[str, str],
                         copies: Sequence[Sequence[str]]) -> dict[str, int]:
    """Write DATA/identification, none of the copies in both parts, and return the numbers of utterances of each."""
    with replaced_dir(data / "identification") as folder:
        write_parts(folder, parts, copies)
        written = read_identification(folder, utt2spk)
    return {part: len(utts) for part, utts in written.items()}


def main() -> None:
    parser = OptionParser("Divide the utterances of a data directory into training, validation and test parts.",
                          "local/make_folds.py --protocol 10fold data/iemocap")
    parser.add_argument("--protocol", choices=[*PROTOCOLS, "auto", "identification"], required=True,
                        help="10fold and 5fold pair the speakers of a session, loso leaves one out, kfold groups "
                             "them, identification has the same ones in both parts")
    parser.add_argument("--num-folds", type=int, default=5, help="folds of kfold (default: 5)")
    parser.add_argument("--duplicates", choices=("drop", "keep"), default="drop",
                        help="leave out all copies of a recording but the first, or only those that would be in two "
                             "parts (default: drop)")
    parser.add_argument("--check", type=str2bool, default=False, metavar="true|false",
                        help="only say what cannot work or means little, which needs no features (default: false)")
    parser.add_argument("--training-config", metavar="FILE",
                        help=f"configuration of the training, for its --batch-size (default: {BATCH})")
    parser.add_argument("data", metavar="DATA", help="the data directory to divide")
    args = parser.parse_args()

    # Utterances, and copies of recordings among them
    data = Path(args.data)
    utt2spk = read_table(data / "utt2spk", columns=2)
    copies = [] if args.check else read_copies(data, utt2spk)
    if args.duplicates == "drop":
        left_out = {utt for _, *others in copies for utt in others}
        utt2spk = {utt: speaker for utt, speaker in utt2spk.items() if utt not in left_out}
        copies = []
        if left_out:
            print(f"left out: {len(left_out)} copies of recordings, named in {data / DUPLICATES}")
    batch_size = batch_size_of(args.training_config)

    # Speakers who are in both parts
    if args.protocol == "identification":
        parts = divide_identification(data, utt2spk)
        if len(parts["train"]) < batch_size:
            log(f"WARNING: {len(parts['train'])} utterances to pre-train on, fewer than a batch of {batch_size}: an "
                "epoch is one step; --batch-size of conf/pretrain.conf changes it")
        if not args.check:
            warn_without_duplicates(data)
            sizes = write_identification(data, parts, utt2spk, copies)
            print(f"{parser.prog}: made {data}/identification: {sizes['train']} utterances to train, "
                  f"{sizes['valid']} to validate")
        return

    # Speakers who are in one part
    protocol = args.protocol
    if protocol == "auto":
        protocol = "kfold" if len(set(utt2spk.values())) > MANY_SPEAKERS else "loso"
    folds = divide(data, utt2spk, protocol, args.num_folds)
    check_folds(data, folds, utt2spk, batch_size)
    if not args.check:
        warn_without_duplicates(data)
        name = f"{protocol}{args.num_folds if protocol == 'kfold' else ''}{'+copies' if copies else ''}"
        write_folds(data, folds, utt2spk, name, copies)
        print(f"{parser.prog}: made {data}/folds: {len(folds)} folds, protocol {protocol}")


if __name__ == "__main__":
    run(main)

"""Lists of utterances for training, validation and test, read and checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ser.base.errors import UserError
from ser.data.data_dir import read_list

FINAL = "final"  # instead of the name of a fold: the utterances of all folds train


def read_parts(folder: str | Path, parts: Sequence[str], utt2spk: Mapping[str, str]) -> dict[str, list[str]]:
    """Read `{part: [utterance, …]}` from a folder that holds one list of utterances per part.

    Raises
    ------
    UserError
        A list is missing or empty, or names an utterance twice, one of another part, or one
        that `utt2spk` does not know.
    """
    lists = {}
    part_of: dict[str, str] = {}
    for part in parts:
        path = Path(folder) / part
        lists[part] = read_list(path)
        if not lists[part]:
            raise UserError(f"{path}: empty")
        for utt in lists[part]:
            if utt not in utt2spk:
                raise UserError(f"{path}: utterance {utt} is not in the data directory; make the lists again")
            if utt in part_of:
                raise UserError(f"{path}: utterance {utt} is in {part_of[utt]} too")
            part_of[utt] = part
    return lists


def read_fold(fold_dir: str | Path, utt2spk: Mapping[str, str]) -> dict[str, list[str]]:
    """Read the parts `train`, `valid` and `test` of a fold, no speaker in two of them; raises UserError."""
    fold = read_parts(fold_dir, ("train", "valid", "test"), utt2spk)
    part_of: dict[str, str] = {}
    for part, utterances in fold.items():
        for utt in utterances:
            other = part_of.setdefault(utt2spk[utt], part)
            if other != part:
                raise UserError(f"{fold_dir}: speaker {utt2spk[utt]} is in {other} and in {part}")
    return fold


def read_identification(folder: str | Path, utt2spk: Mapping[str, str]) -> dict[str, list[str]]:
    """Read the parts `train` and `valid`, every speaker of `valid` also in `train`; raises UserError."""
    parts = read_parts(folder, ("train", "valid"), utt2spk)
    training_speakers = {utt2spk[utt] for utt in parts["train"]}
    unseen = sorted({utt2spk[utt] for utt in parts["valid"]} - training_speakers)
    if unseen:
        raise UserError(f"{folder}: speaker {unseen[0]} is in valid and not in train")
    return parts

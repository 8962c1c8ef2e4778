"""Utterances of one data directory that are copies of each other, sample by sample."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ser.data.data_dir import read_table, write_table

FILE = "duplicates"  # of a data directory: an utterance, then its copies


def find_duplicates(digests: Mapping[str, str]) -> list[list[str]]:
    """Group the utterances whose digests are equal, each group of two or more sorted, as the groups are."""
    groups: dict[str, list[str]] = {}
    for utt in sorted(digests):
        groups.setdefault(digests[utt], []).append(utt)
    return [group for group in groups.values() if len(group) > 1]


def write_duplicates(data_dir: str | Path, groups: Iterable[Sequence[str]]) -> None:
    """Write DATA/duplicates, a line for each group, of no length when there are none."""
    write_table(Path(data_dir) / FILE, {first: " ".join(copies) for first, *copies in groups})


def read_duplicates(data_dir: str | Path, utterances: Iterable[str]) -> list[list[str]]:
    """Read from DATA/duplicates what of the groups is among these utterances; raises UserError."""
    known = set(utterances)
    groups = [[first, *copies.split()] for first, copies in read_table(Path(data_dir) / FILE).items()]
    remaining = [[utt for utt in group if utt in known] for group in groups]
    return [group for group in remaining if len(group) > 1]

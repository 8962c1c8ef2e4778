"""One fold of an emotion corpus: its utterances by part, their labels and speakers."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser.base.errors import UserError
from ser.data.data_dir import read_list, read_table
from ser.data.folds import FINAL, read_fold


@dataclass(frozen=True)
class FoldData:
    """A fold as training and scoring see it.

    Attributes
    ----------
    name : str
        Under data_dir/folds; or FINAL, in which the utterances of all folds train, and the other parts are empty.
    parts : dict of str to list of str
        Utterances of train, valid and test.
    labels, speakers : dict of str to str
        Of every utterance of the data directory.
    classes : list of str
        The labels of the data directory in order; a class is its position here.
    training_speakers : list of str
        In order; a speaker target is the position here.
    """

    data_dir: Path
    name: str
    parts: dict[str, list[str]]
    labels: dict[str, str]
    speakers: dict[str, str]
    classes: list[str]
    training_speakers: list[str]

    @classmethod
    def read(cls, data_dir: str | Path, name: str) -> "FoldData":
        """Read and check a fold; raises UserError when a label is missing or a speaker is in two parts."""
        data_dir = Path(data_dir)
        speakers = read_table(data_dir / "utt2spk", columns=2)
        labels = read_table(data_dir / "utt2emo", columns=2)
        if name == FINAL:
            parts = {"train": _of_all_folds(data_dir, speakers), "valid": [], "test": []}
        else:
            parts = read_fold(data_dir / "folds" / name, speakers)
        unlabelled = [utt for utts in parts.values() for utt in utts if utt not in labels]
        if unlabelled:
            raise UserError(f"{data_dir}/utt2emo: has no label for {unlabelled[0]} ({len(unlabelled)} missing)")
        classes = sorted(set(labels.values()))
        if len(classes) < 2:
            raise UserError(f"{data_dir}/utt2emo: has only one label, {classes[0]}; there is nothing to tell apart")
        training_speakers = sorted({speakers[utt] for utt in parts["train"]})
        return cls(data_dir, name, parts, labels, speakers, classes, training_speakers)

    @property
    def protocol(self) -> str:
        """The one word that names how the folds were made."""
        return (self.data_dir / "folds" / "protocol").read_text(encoding="utf-8").strip()

    def emotions(self, utts: Iterable[str]) -> np.ndarray:
        """Integer emotion targets `[len(utts)]`."""
        return np.array([self.classes.index(self.labels[utt]) for utt in utts], dtype=np.int64)

    def speaker_targets(self, utts: Iterable[str]) -> np.ndarray:
        """Integer speaker targets `[len(utts)]`; -1 for a speaker that does not train."""
        target_of = {speaker: target for target, speaker in enumerate(self.training_speakers)}
        return np.array([target_of.get(self.speakers[utt], -1) for utt in utts], dtype=np.int64)


def _of_all_folds(data_dir: Path, speakers: dict[str, str]) -> list[str]:
    """The utterances that are in some fold, in order; copies that a protocol leaves out are in none."""
    folds = [read_fold(data_dir / "folds" / fold, speakers) for fold in read_list(data_dir / "folds" / "list")]
    return sorted({utt for parts in folds for utts in parts.values() for utt in utts})

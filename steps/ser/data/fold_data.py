"""One fold of an emotion corpus: its utterances by part, their labels and speakers."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ser.base.errors import UserError
from ser.data.data_dir import read_table
from ser.data.folds import read_fold


@dataclass(frozen=True)
class FoldData:
    """A fold as training and scoring see it.

    Attributes
    ----------
    parts : dict
        Utterances of train, valid and test.
    classes : list of str
        The labels of the data directory in order; a class is its position here.
    training_speakers : list of str
        In order; a speaker target is the position here.
    """

    data_dir: Path
    name: str
    parts: dict
    labels: dict
    speakers: dict
    classes: list
    training_speakers: list

    @classmethod
    def read(cls, data_dir, name):
        """Read and check a fold; raises UserError when a label is missing or a speaker stands in two parts."""
        data_dir = Path(data_dir)
        speakers = read_table(data_dir / "utt2spk", columns=2)
        labels = read_table(data_dir / "utt2emo", columns=2)
        parts = read_fold(data_dir / "folds" / name, speakers)
        unlabelled = [utt for utts in parts.values() for utt in utts if utt not in labels]
        if unlabelled:
            raise UserError(f"{data_dir}/utt2emo: has no label for {unlabelled[0]} ({len(unlabelled)} missing)")
        classes = sorted(set(labels.values()))
        if len(classes) < 2:
            raise UserError(f"{data_dir}/utt2emo: has the label {classes[0]} alone; there is nothing to tell apart")
        return cls(data_dir, name, parts, labels, speakers, classes,
                   sorted({speakers[utt] for utt in parts["train"]}))

    @property
    def protocol(self):
        """The one word that names how the folds were made."""
        return (self.data_dir / "folds" / "protocol").read_text(encoding="utf-8").strip()

    def emotions(self, utts):
        """Integer emotion targets `[len(utts)]`."""
        return torch.tensor([self.classes.index(self.labels[utt]) for utt in utts])

    def speaker_targets(self, utts):
        """Integer speaker targets `[len(utts)]`; -1 for a speaker that does not train."""
        positions = {speaker: number for number, speaker in enumerate(self.training_speakers)}
        return torch.tensor([positions.get(self.speakers[utt], -1) for utt in utts])

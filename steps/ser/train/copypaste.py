"""CopyPaste augmentation, the paper's reference [6]: training examples joined from two utterances.

Half of the examples of each step are joined. Such an example is two crops of half the length, one of the
utterance whose turn it is and one of a partner, in random order, and has the utterance's label. The partner
is, with probability 1/2 each, a neutral utterance or one of the same emotion (the N-CP and SE-CP of [6],
mixed). It is drawn from the training utterances of the same speaker, so that speaker labels hold; a speaker
without neutral utterances gets one of the same emotion, which may be the utterance itself.

Crops are joined as features, after VAD and the normalization of each utterance. Of [6] its abstract alone is
at hand. Not known are: whether its utterances are joined whole and as audio, whether they share the speaker,
and how many examples are joined.
"""

import torch

from ser.base.device import send
from ser.base.errors import UserError
from ser.data.feature_bank import FeatureBank
from ser.data.fold_data import FoldData
from ser.train.augmentation import Augmentation, CropSource

SHARE = 0.5  # of the examples of a step


class CopyPaste(Augmentation):
    """Crops of training utterances, some of them joined.

    Parameters
    ----------
    source : CropSource
        Of the bank's utterances.
    bank : FeatureBank
    data : FoldData
    neutral : str
        The class that goes with any other.

    Raises
    ------
    UserError
        The corpus has no such class.
    """

    def __init__(self, source: CropSource, bank: FeatureBank, data: FoldData, neutral: str):
        super().__init__(source)
        if neutral not in data.classes:
            raise UserError(f"{data.data_dir}/utt2emo: has no class {neutral!r} for CopyPaste, but "
                            f"{' '.join(data.classes)}; name the neutral one with --neutral-class")
        self.num_classes = len(data.classes)
        self.neutral = data.classes.index(neutral)
        # Group of each utterance: one speaker and one emotion.
        groups = data.speaker_targets(bank.utts) * self.num_classes + data.emotions(bank.utts)
        self.groups = torch.from_numpy(groups).to(bank.lengths.device)
        # Training utterances by group; a group is `counts` of these `members` from `starts` on.
        train = bank.indices(data.parts["train"])
        self.members = train[torch.argsort(self.groups[train], stable=True)]
        self.counts = torch.bincount(self.groups[train], minlength=len(data.training_speakers) * self.num_classes)
        self.starts = torch.cumsum(self.counts, 0) - self.counts

    def partners(self, positions: torch.Tensor, want_neutral: torch.Tensor, fractions: torch.Tensor) -> torch.Tensor:
        """Choose what to join with.

        Parameters
        ----------
        positions : torch.Tensor
            Of training utterances, `[B]`.
        want_neutral : torch.Tensor
            Boolean `[B]`.
        fractions : torch.Tensor
            Which of the candidates, as a fraction of their number in [0, 1), `[B]`.

        Returns
        -------
        torch.Tensor
            Positions of utterances of the same speakers, `[B]`.
        """
        own = self.groups[positions]
        neutral = own - own % self.num_classes + self.neutral
        group = torch.where(want_neutral & (self.counts[neutral] > 0), neutral, own)
        return self.members[self.starts[group] + (fractions * self.counts[group]).long()]

    def crops(self, positions: torch.Tensor, size: int, generator: torch.Generator,
              part: slice = slice(None)) -> torch.Tensor:
        """Gather crops as FeatureBank.crops does, of training utterances only."""
        # Draw for each example whether it is joined, with what, and in which order.
        joined, want_neutral, fractions, order = send(torch.rand(4, len(positions), generator=generator),
                                                      positions.device)
        partners = self.partners(positions, want_neutral < 0.5, fractions)
        first = torch.where(order < 0.5, positions, partners)
        second = torch.where(order < 0.5, partners, positions)
        # Join two halves.
        pasted = torch.cat([self.source.crops(first, size // 2, generator, part),
                            self.source.crops(second, size - size // 2, generator, part)], dim=1)
        # Take a whole crop where nothing is joined.
        whole = self.source.crops(positions, size, generator, part)
        is_joined = (joined[part] < SHARE)[:, None, None].to(self.device)
        return torch.where(is_joined, pasted, whole)

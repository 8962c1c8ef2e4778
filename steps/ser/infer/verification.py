"""Speaker verification: how well an extractor tells pairs of utterances of one speaker from pairs of two speakers."""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn.functional import normalize

from ser.data.feature_bank import FeatureBank
from ser.infer.posteriors import collect_outputs
from ser.nn.models import SpeakerModel
from ser.stats.metrics import equal_error_rate

MOST_TRIALS = 1_000_000
_TRIALS_AT_A_TIME = 20_000  # to bound memory


def held_out_eer(model: SpeakerModel, bank: FeatureBank, positions: torch.Tensor,
                 speakers: ArrayLike) -> tuple[float | None, int]:
    """Equal error rate of verification by the cosine of two embeddings, on trial_pairs() of held-out utterances.

    The utterances did not train the model, but their speakers did, since the identification lists have the same
    speakers in both parts. So it compares extractors that were trained on the same lists, and is better than what a
    benchmark of unseen speakers would show.

    Parameters
    ----------
    model : SpeakerModel
        An embedding is the pooled output of its extractor, of a whole utterance, in evaluation mode.
    bank : FeatureBank
    positions : torch.Tensor
        Of the held-out utterances in the bank.
    speakers : array_like
        `[utterances]`, of these.

    Returns
    -------
    eer : float or None
        In percent; None where no speaker has two utterances, or all are of one speaker.
    trials : int
        How many pairs were compared; 0 without an equal error rate.
    """
    speakers = np.asarray(speakers)
    _, counts = np.unique(speakers, return_counts=True)
    if len(counts) < 2 or counts.max() < 2:
        return None, 0
    embeddings = normalize(torch.stack(collect_outputs(model, bank, positions, model.extractor, _embeddings)))
    first, second = trial_pairs(speakers)
    pairs = zip(*(torch.from_numpy(side).split(_TRIALS_AT_A_TIME) for side in (first, second)), strict=True)
    cosines = torch.cat([(embeddings[one] * embeddings[other]).sum(1) for one, other in pairs])
    return equal_error_rate(cosines.numpy(), speakers[first] == speakers[second]), len(first)


def _embeddings(inputs: tuple, output: tuple) -> list[torch.Tensor]:
    """Those of a batch that the extractor has just computed."""
    return list(output[0].float().cpu())


def trial_pairs(speakers: ArrayLike, most: int = MOST_TRIALS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of utterances to compare.

    Parameters
    ----------
    speakers : array_like
        `[utterances]`, two or more speakers, one of them with two or more utterances.
    most, seed : int

    Returns
    -------
    first, second : numpy.ndarray
        Positions `[trials]`: every pair once. When there are more than `most`, as many as that, an even number: one
        half of the same speaker and one half of two, each a random sample with replacement of all such pairs.
    """
    speakers = np.asarray(speakers)
    total = len(speakers)
    if total * (total - 1) // 2 <= most:
        return np.triu_indices(total, 1)
    # The utterances speaker by speaker; of each one, where the row of its speaker starts and how long it is.
    order = np.argsort(speakers, kind="stable")
    _, starts, row, lengths = np.unique(speakers[order], return_index=True, return_inverse=True, return_counts=True)
    start, length = starts[row], lengths[row]
    rng = np.random.default_rng(seed)
    # An utterance, and another one of its row
    one = rng.choice(total, most // 2, p=(length - 1) / (length - 1).sum())
    same = start[one] + (one - start[one] + 1 + rng.integers(length[one] - 1)) % length[one]
    # An utterance, and one after or before its row
    two = rng.choice(total, most // 2, p=(total - length) / (total - length).sum())
    other = (start[two] + length[two] + rng.integers(total - length[two])) % total
    return order[np.concatenate([one, two])], order[np.concatenate([same, other])]

"""Feature normalizations; none looks at any utterance but its own or at those that train."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from ser.data.feature_bank import FeatureBank


def utterance_mean(matrix: np.ndarray) -> np.ndarray:
    """Subtract each dimension's mean over the utterance (CMN)."""
    return matrix - matrix.mean(axis=0)


def utterance_mean_std(matrix: np.ndarray) -> np.ndarray:
    """Bring each dimension to mean 0 and deviation 1 over the utterance (CMVN)."""
    return utterance_mean(matrix) / np.maximum(matrix.std(axis=0), 1e-3)


# name -> what is done to each utterance as it is loaded, or None
PER_UTTERANCE: dict[str, Callable[[np.ndarray], np.ndarray] | None] = {
    "none": None,
    "corpus": None,
    "utterance-mean": utterance_mean,
    "utterance": utterance_mean_std,
}


def corpus_statistics(bank: FeatureBank, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of each dimension over the frames of some utterances of a bank.

    Parameters
    ----------
    bank : FeatureBank
    positions : torch.Tensor
        Of the utterances that train.

    Returns
    -------
    tuple of torch.Tensor
        Two float32 `[dimension]`.
    """
    import torch  # takes seconds, and the functions above do without

    parts = positions.split(1000)  # utterances at a time, to bound memory
    count = int(bank.lengths[positions].sum())
    zero = torch.zeros(bank.dimension, dtype=torch.double, device=bank.device)
    mean = sum((bank.frames_of(part).double().sum(0) for part in parts), zero) / count
    squares = sum(((bank.frames_of(part).double() - mean).square().sum(0) for part in parts), zero)
    return mean.float(), (squares / (count - 1)).sqrt().clamp(min=1e-3).float()

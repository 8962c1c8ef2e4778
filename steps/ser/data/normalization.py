"""Feature normalizations; none looks at any utterance but its own or at those that train."""

import numpy as np


def utterance_mean(matrix):
    """Subtract each dimension's mean over the utterance (CMN)."""
    return matrix - matrix.mean(axis=0)


def utterance_mean_std(matrix):
    """Bring each dimension to mean 0 and deviation 1 over the utterance (CMVN)."""
    return utterance_mean(matrix) / np.maximum(matrix.std(axis=0), 1e-3)


# name -> what is done to each utterance as it is loaded, or None
PER_UTTERANCE = {
    "none": None,
    "corpus": None,
    "utterance-mean": utterance_mean,
    "utterance": utterance_mean_std,
}


def corpus_statistics(bank, which):
    """Mean and deviation of each dimension over the frames of some utterances of a bank.

    Parameters
    ----------
    bank : FeatureBank
    which : torch.Tensor
        Positions of the utterances that train.

    Returns
    -------
    tuple of torch.Tensor
        Two float32 `[dimension]`.
    """
    parts, count = which.split(1000), int(bank.lengths[which].sum())  # the frames of a large corpus fill no memory
    mean = sum(bank.frames_of(part).double().sum(0) for part in parts) / count
    squares = sum((bank.frames_of(part).double() - mean).square().sum(0) for part in parts)
    return mean.float(), (squares / (count - 1)).sqrt().clamp(min=1e-3).float()

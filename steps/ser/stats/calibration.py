"""Probabilities to trust: expected calibration error, and the temperature that lowers it (Guo et al. 2017, "On
Calibration of Modern Neural Networks")."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

NUM_BINS = 15  # of confidence, as in the paper; of equal width, each with its upper edge
TEMPERATURES = 0.1, 10.0  # between which one is sought: a part that is all correct, or at chance, would have none


@dataclass(frozen=True)
class Reliability:
    """How often a classifier is right when it is so and so sure, on some utterances.

    Attributes
    ----------
    ece : float
        Expected calibration error in percent: `sum_m |B_m| / n |acc(B_m) - conf(B_m)|`, equation 3 of the paper, where
        B_m are the utterances whose largest probability is in (m-1)/M to m/M.
    nll : float
        Mean negative logarithm of the probability of the reference, in nats. A probability of 0 counts as 1e-12.
    utterances, correct : list of int
        In each bin.
    confidence : list of float
        Sum of the largest probabilities in each bin.
    """

    ece: float
    nll: float
    utterances: list[int]
    correct: list[int]
    confidence: list[float]


def reliability(probabilities: ArrayLike, references: ArrayLike) -> Reliability:
    """Measure probabilities `[utterances, classes]` against classes `[utterances]`.

    >>> reliability([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.4, 0.6]], [0, 1, 1, 1]).ece
    37.5
    """
    probabilities = np.asarray(probabilities, dtype=float)
    references = np.asarray(references)
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == references
    edges = np.linspace(0, 1, NUM_BINS + 1)
    bins = np.searchsorted(edges[1:-1], confidence)  # (lower, upper]
    of_reference = probabilities[np.arange(len(references)), references]
    return _reliability(utterances=np.bincount(bins, minlength=NUM_BINS),
                        correct=np.bincount(bins[correct], minlength=NUM_BINS),
                        confidence=np.bincount(bins, weights=confidence, minlength=NUM_BINS),
                        nll=-np.log(of_reference.clip(1e-12)).mean())


def pooled(parts: Sequence[Reliability]) -> Reliability:
    """That of the utterances of several parts together."""
    utterances = np.array([part.utterances for part in parts])  # [parts, bins]
    return _reliability(utterances=utterances.sum(0), correct=np.sum([part.correct for part in parts], axis=0),
                        confidence=np.sum([part.confidence for part in parts], axis=0),
                        nll=np.average([part.nll for part in parts], weights=utterances.sum(1)))


def _reliability(utterances: np.ndarray, correct: np.ndarray, confidence: np.ndarray, nll: float) -> Reliability:
    ece = 100 * np.abs(correct - confidence).sum() / utterances.sum()
    return Reliability(float(ece), float(nll), utterances.tolist(), correct.tolist(), confidence.tolist())


def fit_temperature(logits: ArrayLike, references: ArrayLike) -> float:
    """The temperature T for which `softmax(logits / T)` has the lowest mean negative log likelihood.

    It lies within TEMPERATURES, and is 1 where no other is better. Dividing by it changes no decision.

    Parameters
    ----------
    logits : array_like
        `[utterances, classes]`
    references : array_like
        Classes `[utterances]`.

    Returns
    -------
    float
    """
    from scipy.optimize import minimize_scalar  # takes a quarter of a second; most importers do without
    from scipy.special import log_softmax

    scores = np.asarray(logits, dtype=float)
    references = np.asarray(references)

    def nll(log_temperature: float) -> float:
        log_probabilities = log_softmax(scores / np.exp(log_temperature), axis=1)
        return float(-log_probabilities[np.arange(len(references)), references].mean())

    # Convex in 1 / T, so that there is one minimum.
    found = minimize_scalar(nll, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x)) if found.fun < nll(0.0) else 1.0

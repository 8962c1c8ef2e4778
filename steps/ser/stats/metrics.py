"""Weighted F1, unweighted and weighted accuracy, from a confusion matrix; equal error rate, from scores of trials."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Scores:
    """Scores of one list of utterances, in percent.

    Attributes
    ----------
    wf1 : float
        F1 of each class weighted by its share of the references (scikit-learn's average='weighted').
    ua : float
        Unweighted accuracy: mean recall over the classes that occur in the references.
    wa : float
        Weighted accuracy: share of correct utterances.
    correct, total : int
    """

    wf1: float
    ua: float
    wa: float
    correct: int
    total: int


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class, in percent; what would divide by 0 is 0.

    Attributes
    ----------
    precision, recall, f1 : float
    utterances, predicted, correct : int
        With this reference, with this hypothesis, and with both.
    """

    precision: float
    recall: float
    f1: float
    utterances: int
    predicted: int
    correct: int


def confusion_matrix(references: ArrayLike, hypotheses: ArrayLike, num_classes: int) -> np.ndarray:
    """Count `[num_classes, num_classes]`, row = reference, column = hypothesis, from integer labels."""
    pairs = np.asarray(references) * num_classes + np.asarray(hypotheses)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_f1(confusion: np.ndarray) -> np.ndarray:
    """F1 of each class, 0 to 1, `[…, classes]`, of confusion matrices `[…, classes, classes]`."""
    correct = np.diagonal(confusion, axis1=-2, axis2=-1)
    utterances_and_predicted = confusion.sum(-1) + confusion.sum(-2)
    return 2 * correct / np.maximum(utterances_and_predicted, 1)  # 0 for a class that is neither there nor predicted


def weighted_f1(confusion: np.ndarray) -> np.ndarray:
    """Weighted F1 in percent `[…]` of confusion matrices `[…, classes, classes]`, none of them empty.

    >>> weighted_f1(np.array([[[2, 0], [0, 2]], [[0, 2], [2, 0]]]))
    array([100.,   0.])
    """
    utterances = confusion.sum(-1)
    return 100 * (class_f1(confusion) * utterances).sum(-1) / utterances.sum(-1)


def scores_of(confusion: ArrayLike) -> Scores:
    """Score a confusion matrix; raises ValueError when it is empty.

    >>> scores_of(np.array([[3, 1], [0, 4]])).wa
    87.5
    """
    confusion = np.asarray(confusion)
    correct = np.diag(confusion)
    utterances = confusion.sum(1)
    total = confusion.sum()
    if not total:
        raise ValueError("no utterance to score")
    present = utterances > 0
    recalls = correct[present] / utterances[present]
    return Scores(wf1=float(weighted_f1(confusion)), ua=float(100 * recalls.mean()),
                  wa=float(100 * correct.sum() / total), correct=int(correct.sum()), total=int(total))


def scores_by_class(confusion: ArrayLike) -> list[ClassScores]:
    """Score each class of a confusion matrix, in their order."""
    confusion = np.asarray(confusion)
    return [ClassScores(precision=float(100 * correct / max(predicted, 1)),
                        recall=float(100 * correct / max(utterances, 1)), f1=float(100 * f1),
                        utterances=int(utterances), predicted=int(predicted), correct=int(correct))
            for correct, utterances, predicted, f1 in zip(np.diag(confusion), confusion.sum(1), confusion.sum(0),
                                                          class_f1(confusion), strict=True)]


def equal_error_rate(scores: ArrayLike, targets: ArrayLike) -> float:
    """Equal error rate of verification trials in percent.

    A trial is accepted when its score reaches a threshold. As the threshold falls, the share of targets that are
    missed falls and the share of non-targets that are accepted rises. Where they cross between two thresholds, both are
    interpolated linearly.

    Parameters
    ----------
    scores : array_like
        `[trials]`, higher for the same speaker.
    targets : array_like
        `[trials]`, whether the trial is of the same speaker.

    Raises
    ------
    ValueError
        There is no target or no non-target.

    >>> equal_error_rate([0.9, 0.8, 0.4, 0.6, 0.1, 0.2], [True, True, True, False, False, False])
    33.33333333333333
    """
    order = np.argsort(scores)[::-1]
    scores = np.asarray(scores)[order]
    targets = np.asarray(targets, dtype=bool)[order]
    if targets.all() or not targets.any():
        raise ValueError("an equal error rate needs targets and non-targets")
    # Both rates at each threshold, from one that accepts nothing; trials of the same score are accepted together.
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    misses = np.append(1, 1 - np.cumsum(targets)[last] / targets.sum())
    false_alarms = np.append(0, np.cumsum(~targets)[last] / (~targets).sum())
    # Where they cross.
    difference = misses - false_alarms
    after = int(np.argmax(difference <= 0))
    before = after - 1
    share = difference[before] / (difference[before] - difference[after])
    return float(100 * (misses[before] + share * (misses[after] - misses[before])))

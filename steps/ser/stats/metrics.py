"""Weighted F1, unweighted and weighted accuracy, from a confusion matrix."""

from dataclasses import dataclass

import numpy as np


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


def confusion_matrix(references, hypotheses, num_classes):
    """Count `[num_classes, num_classes]`, row = reference, column = hypothesis, from integer labels."""
    pairs = np.asarray(references) * num_classes + np.asarray(hypotheses)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def scores_of(confusion):
    """Score a confusion matrix; raises ValueError when it is empty.

    >>> scores_of(np.array([[3, 1], [0, 4]])).wa
    87.5
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    total = confusion.sum()
    if not total:
        raise ValueError("no utterance to score")
    hits, support, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    f1 = 2 * hits / np.maximum(support + predicted, 1)  # 0 for a class that is neither there nor predicted
    present = support > 0
    return Scores(wf1=float(100 * (f1 * support).sum() / total),
                  ua=float(100 * (hits[present] / support[present]).mean()),
                  wa=float(100 * hits.sum() / total), correct=int(hits.sum()), total=int(total))

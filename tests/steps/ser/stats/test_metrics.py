"""Scores against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from ser.stats import metrics


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("seed", range(40))
def test_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 6))
    references = rng.choice(classes, rng.integers(1, 60), p=rng.dirichlet(np.ones(classes) * 0.5))
    hypotheses = np.where(rng.random(len(references)) < 0.5, references, rng.integers(0, classes, len(references)))
    matrix = metrics.confusion_matrix(references, hypotheses, classes)
    assert (matrix == confusion_matrix(references, hypotheses, labels=range(classes))).all()
    scores = metrics.scores_of(matrix)
    weighted = f1_score(references, hypotheses, average="weighted", zero_division=0)
    assert scores.wf1 == pytest.approx(100 * weighted)
    assert scores.ua == pytest.approx(100 * balanced_accuracy_score(references, hypotheses))
    assert scores.wa == pytest.approx(100 * accuracy_score(references, hypotheses))
    assert (scores.correct, scores.total) == ((references == hypotheses).sum(), len(references))


def test_nothing_to_score():
    with pytest.raises(ValueError):
        metrics.scores_of(np.zeros((4, 4)))

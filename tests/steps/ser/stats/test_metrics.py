"""Scores against scikit-learn."""

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    roc_curve,
)

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


@pytest.mark.parametrize("seed", range(20))
def test_scores_of_each_class_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    references, hypotheses = rng.choice(5, (2, 30), p=rng.dirichlet(np.ones(5) * 0.5))
    expected = precision_recall_fscore_support(references, hypotheses, labels=range(5), zero_division=0)
    scores = metrics.scores_by_class(metrics.confusion_matrix(references, hypotheses, 5))
    for number, (precision, recall, f1, utterances) in enumerate(zip(*expected, strict=True)):
        one = scores[number]
        assert (one.precision, one.recall, one.f1) == pytest.approx((100 * precision, 100 * recall, 100 * f1))
        assert (one.utterances, one.predicted) == (utterances, (hypotheses == number).sum())
        assert one.correct == ((references == number) & (hypotheses == number)).sum()


@pytest.mark.parametrize("num_classes", [2, 4, 7, 13, 20])
def test_weighted_f1_of_a_stack_is_that_of_each_to_the_last_bit(num_classes):
    stack = np.random.default_rng(num_classes).integers(0, 50, (40, 3, num_classes, num_classes)) + 1
    each = [metrics.scores_of(confusion).wf1 for confusion in stack.reshape(-1, num_classes, num_classes)]
    assert metrics.weighted_f1(stack.astype(float)).ravel().tolist() == each


def test_nothing_to_score():
    with pytest.raises(ValueError):
        metrics.scores_of(np.zeros((4, 4)))


@pytest.mark.parametrize("decimals", [1, 2, 15], ids=["many ties", "ties", "no tie"])
@pytest.mark.parametrize("seed", range(20))
def test_equal_error_rate_is_where_scikit_learns_curve_crosses(seed, decimals):
    rng = np.random.default_rng(seed)
    targets = rng.random(rng.integers(10, 400)) < rng.uniform(0.05, 0.95)
    targets[:2] = True, False
    scores = (rng.normal(size=len(targets)) + rng.uniform(-1, 4) * targets).round(decimals)
    false_alarms, hits, _ = roc_curve(targets, scores)
    expected = brentq(lambda rate: 1 - rate - interp1d(false_alarms, hits)(rate), 0, 1)
    assert metrics.equal_error_rate(scores, targets) == pytest.approx(100 * expected, abs=1e-6)


def test_equal_error_rate_at_its_ends():
    assert metrics.equal_error_rate([3, 2, 1], [True, False, False]) == 0
    assert metrics.equal_error_rate([1, 2, 3], [True, False, False]) == 100
    assert metrics.equal_error_rate([1, 1, 1], [True, False, False]) == 50
    for targets in ([True, True], [False, False]):
        with pytest.raises(ValueError, match="needs targets and non-targets"):
            metrics.equal_error_rate([1, 2], targets)

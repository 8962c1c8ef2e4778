"""Calibration error and temperature: against scikit-learn, against labels that were drawn from known probabilities."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from ser.stats.calibration import NUM_BINS, TEMPERATURES, fit_temperature, pooled, reliability


def drawn(rng, utterances=20000, classes=4):
    """Logits, and classes that were drawn from just their softmax."""
    logits = rng.normal(0, 1.5, (utterances, classes))
    cumulative = softmax(logits, axis=1).cumsum(1)
    return logits, (rng.random((utterances, 1)) > cumulative).sum(1)


def test_bins_are_scikit_learns_and_the_error_is_their_weighted_distance():
    logits, references = drawn(np.random.default_rng(0), 500)
    probabilities = softmax(3 * logits, axis=1)
    found = reliability(probabilities, references)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == references
    accuracy, mean_confidence = calibration_curve(correct, confidence, n_bins=NUM_BINS)
    filled = np.array(found.utterances) > 0
    counts = np.array(found.utterances)[filled]
    np.testing.assert_allclose(np.array(found.correct)[filled] / counts, accuracy)
    np.testing.assert_allclose(np.array(found.confidence)[filled] / counts, mean_confidence)
    assert counts.sum() == 500 and filled.sum() > 5
    assert found.ece == pytest.approx(100 * np.average(np.abs(accuracy - mean_confidence), weights=counts))
    assert found.nll == pytest.approx(log_loss(references, probabilities, labels=range(4)))


@pytest.mark.parametrize("probabilities, references, ece", [
    ([[0.8, 0.2]] * 5, [0, 0, 0, 0, 1], 0),                       # right in four of five cases, as it says
    ([[1.0, 0.0]] * 4, [0, 0, 1, 1], 50),                         # sure, and right in half
    ([[0.95, 0.05], [0.45, 0.55]], [0, 1], (5 + 45) / 2),         # two bins, each too modest
    ([[0.62, 0.38], [0.63, 0.37]], [1, 0], 12.5),                 # in one bin errors cancel
    ([[0.6, 0.4], [0.61, 0.39]], [1, 0], (60 + 39) / 2),          # 0.6 is the upper edge of its bin
], ids=["calibrated", "sure", "modest", "one bin", "edge"])
def test_by_hand(probabilities, references, ece):
    assert reliability(probabilities, references).ece == pytest.approx(ece, abs=1e-9)


def test_parts_together_are_all_their_utterances():
    logits, references = drawn(np.random.default_rng(1), 90)
    probabilities = softmax(2 * logits, axis=1)
    cuts = [slice(0, 20), slice(20, 25), slice(25, 90)]
    together = pooled([reliability(probabilities[cut], references[cut]) for cut in cuts])
    whole = reliability(probabilities, references)
    assert together.utterances == whole.utterances and together.correct == whole.correct
    assert together.ece == pytest.approx(whole.ece) and together.nll == pytest.approx(whole.nll)


@pytest.mark.parametrize("factor", [3.0, 1.7, 1.0, 0.5])
def test_the_factor_by_which_logits_are_too_large_is_found(factor):
    logits, references = drawn(np.random.default_rng(2))
    found = fit_temperature(factor * logits, references)
    assert found == pytest.approx(factor, rel=0.03)
    before = reliability(softmax(factor * logits, axis=1), references)
    after = reliability(softmax(factor * logits / found, axis=1), references)
    assert after.nll <= before.nll and after.ece < 1.5
    if factor > 1:
        assert found > 1 and after.nll < before.nll - 0.01 and after.ece < before.ece - 5
    grid = np.geomspace(*TEMPERATURES, 2001)
    losses = [log_loss(references, softmax(factor * logits / each, axis=1)) for each in grid[::20]]
    assert found == pytest.approx(grid[::20][np.argmin(losses)], rel=0.05)


def test_no_temperature_changes_a_decision():
    logits, references = drawn(np.random.default_rng(3), 2000)
    logits = logits.astype(np.float32)
    for temperature in (*TEMPERATURES, fit_temperature(5 * logits, references)):
        assert np.array_equal(softmax(logits / temperature, axis=1).argmax(1), logits.argmax(1))


@pytest.mark.parametrize("logits, references, lowest, highest", [
    ([[2.0, 0.0], [0.0, 3.0]], [0, 1], 0.1, 0.1001),   # all right: no temperature is too low
    ([[2.0, 0.0], [0.0, 3.0]], [1, 0], 9.999, 10),     # all wrong: none is too high
    ([[1.0, 1.0], [0.0, 0.0]], [0, 1], 1, 1),          # none makes a difference
    ([[5.0, -5.0]], [0], 0.1, 10),                     # a single utterance
], ids=["right", "wrong", "flat", "single"])
def test_a_part_without_a_best_temperature_gets_one_within_limits(logits, references, lowest, highest):
    assert lowest <= fit_temperature(logits, references) <= highest

"""Probes and silhouettes on vectors of which it is known what they hold."""

import numpy as np
import pytest

from ser.base.errors import UserError
from ser.stats.probes import cross_probe, probe, silhouette

pytestmark = pytest.mark.filterwarnings("error")  # such as a classifier that did not converge

LABELS = np.array(["ang", "hap", "neu", "sad"])


def planted(rng, count=1200, noise=0.3, dimension=40):
    """Vectors in which the label is a direction, and the labels."""
    labels = rng.integers(len(LABELS), size=count)
    vectors = noise * rng.standard_normal((count, dimension))
    vectors[:, :len(LABELS)] += np.eye(len(LABELS))[labels]
    return vectors, LABELS[labels]


def both(vectors, labels):
    """A probe that trains on the first half, and one by halves."""
    middle = len(labels) // 2
    return probe(vectors, labels, range(middle), range(middle, len(labels))), cross_probe(vectors, labels)


def test_what_was_put_in_is_read():
    vectors, labels = planted(np.random.default_rng(0))
    for result in both(vectors, labels):
        assert result.accuracy > 90 and result.chance == 25
    assert [(result.n_train, result.n_test) for result in both(vectors, labels)] == [(600, 600), (600, 1200)]
    assert cross_probe(vectors[:8], np.repeat(LABELS, 2)).n_test == 8  # halves need no third vector of a label


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_labels_sit_at_chance(seed):
    rng = np.random.default_rng(seed)
    vectors, labels = planted(rng)
    for result in both(vectors, rng.permutation(labels)):
        assert result.accuracy == pytest.approx(result.chance, abs=6)  # more than three standard deviations


def test_vectors_in_which_no_two_share_anything_sit_at_chance():
    labels = np.random.default_rng(0).permutation(np.repeat(LABELS, 60))
    for result in both(np.eye(len(labels)), labels):  # learned by heart, each would be told
        assert result.accuracy == pytest.approx(25, abs=10)


def test_labels_of_the_tested_vectors_do_not_train():
    rng = np.random.default_rng(0)
    vectors, labels = planted(rng)
    labels[:600] = rng.permutation(labels[:600])
    assert probe(vectors, labels, range(600), range(600, 1200)).accuracy < 40


def test_a_probe_is_linear():
    vectors = np.random.default_rng(0).choice([-1.0, 1.0], size=(1000, 2))
    exclusive_or = np.where(vectors.prod(axis=1) > 0, "same", "other")
    for result in both(vectors, exclusive_or):
        assert result.accuracy < 80  # a line has at most three of the four corners on their sides
    for result in both(np.c_[vectors, vectors.prod(axis=1)], exclusive_or):
        assert result.accuracy == 100


def test_the_majority_label_alone_is_chance():
    labels = ["neu"] * 90 + ["hap"] * 10
    for result in (probe(np.zeros((100, 3)), labels, range(100), range(100)), cross_probe(np.zeros((100, 3)), labels)):
        assert (result.accuracy, result.chance, result.n_test) == (50, 50, 100)


def test_a_label_that_is_there_once_is_left_out():
    vectors, labels = planted(np.random.default_rng(0), count=100)
    result = cross_probe(np.vstack([vectors, vectors[:1]]), [*labels, "fru"])
    assert result == cross_probe(vectors, labels)
    with pytest.raises(UserError, match="two or more labels are needed"):
        cross_probe(vectors, ["neu"] * 99 + ["hap"])
    with pytest.raises(UserError, match="two or more labels are needed, found only neu"):
        probe(vectors, ["neu"] * 50 + ["hap"] * 50, range(50), range(50, 100))


def test_silhouette_is_of_the_label_and_of_no_dimensions_scale():
    rng = np.random.default_rng(0)
    vectors, labels = planted(rng, noise=0.02, dimension=4)
    assert silhouette(vectors, labels) > 0.9
    assert silhouette(vectors * [1, 10, 100, 1000], labels) == pytest.approx(silhouette(vectors, labels))
    assert abs(silhouette(vectors, rng.permutation(labels))) < 0.05
    with pytest.raises(UserError, match="two or more labels are needed"):
        silhouette(vectors, ["neu"] * len(labels))

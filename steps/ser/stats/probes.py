"""Linear probes and silhouettes: how well labels can be read from vectors, and how far they cluster by label."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score, silhouette_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ser.base.errors import UserError

_C = 0.1  # inverse strength of the L2 penalty; the same for all probes and tuned on nothing


@dataclass(frozen=True)
class Probe:
    """What a probe read from vectors that it was not trained on.

    Attributes
    ----------
    accuracy : float
        Mean recall of the labels (UA), in percent.
    chance : float
        What guessing gives: 100 / number of labels, in percent.
    n_train, n_test : int
        Vectors that the probe was trained on, and those it was tested on.
    """

    accuracy: float
    chance: float
    n_train: int
    n_test: int


def probe(vectors: np.ndarray, labels: ArrayLike, train: Sequence[int], test: Sequence[int]) -> Probe:
    """Train a linear probe on some vectors and test it on others.

    The probe is multinomial logistic regression with an L2 penalty; each dimension is brought to mean 0 and
    deviation 1 over the vectors that train.

    Parameters
    ----------
    vectors : numpy.ndarray
        `[N, dimension]`.
    labels : sequence of str
        `[N]`.
    train, test : sequence of int
        Positions in `vectors`.

    Returns
    -------
    Probe

    Raises
    ------
    UserError
        Fewer than two labels train.
    """
    labels = np.asarray(labels)
    _require_two_labels(labels[train])
    hypotheses = _classifier().fit(vectors[train], labels[train]).predict(vectors[test])
    return _result(labels[test], hypotheses, len(np.unique(labels[train])), len(train))


def cross_probe(vectors: np.ndarray, labels: ArrayLike) -> Probe:
    """Probe each half of the vectors with a probe of the other half; the halves share every label evenly.

    Parameters
    ----------
    vectors : numpy.ndarray
        `[N, dimension]`.
    labels : sequence of str
        `[N]`; a label that only one vector has is left out.

    Returns
    -------
    Probe

    Raises
    ------
    UserError
        Fewer than two labels remain.
    """
    labels = np.asarray(labels)
    names, counts = np.unique(labels, return_counts=True)
    kept = np.isin(labels, names[counts > 1])
    vectors, labels = vectors[kept], labels[kept]
    _require_two_labels(labels)
    halves = StratifiedKFold(2, shuffle=True, random_state=0)
    hypotheses = cross_val_predict(_classifier(), vectors, labels, cv=halves)
    return _result(labels, hypotheses, len(np.unique(labels)), len(labels) // 2)


def silhouette(vectors: np.ndarray, labels: Sequence[str]) -> float:
    """Mean silhouette coefficient, Euclidean, after each dimension was brought to mean 0 and deviation 1.

    Parameters
    ----------
    vectors : numpy.ndarray
        `[N, dimension]`.
    labels : sequence of str
        `[N]`.

    Returns
    -------
    float
        Between -1 and 1: 1 for tight clusters far apart, 0 for labels that do not matter.

    Raises
    ------
    UserError
        There are fewer than two labels, or no two vectors with the same one.
    """
    _require_two_labels(labels)
    if len(set(labels)) == len(labels):
        raise UserError("no label has two vectors, which a cluster needs")
    return float(silhouette_score(StandardScaler().fit_transform(vectors), labels))


def _classifier() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=_C, solver="newton-cg"))


def _require_two_labels(labels: Iterable[str]) -> None:
    different = set(labels)
    if len(different) < 2:
        raise UserError(f"two or more labels are needed, found only {next(iter(different), 'none')}")


def _result(references: np.ndarray, hypotheses: np.ndarray, num_labels: int, n_train: int) -> Probe:
    recall = recall_score(references, hypotheses, labels=np.unique(references), average="macro")
    return Probe(float(100 * recall), 100 / num_labels, n_train, len(references))

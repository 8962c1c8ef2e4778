"""Linear probes and silhouettes: how well labels can be read from vectors, and how far they cluster by label."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import silhouette_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ser.base.errors import UserError
from ser.stats.metrics import confusion_matrix, scores_of

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


def probe(vectors, labels, train, test):
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
    _check(labels[train])
    guesses = _classifier().fit(vectors[train], labels[train]).predict(vectors[test])
    return _scored(labels[test], guesses, len(np.unique(labels[train])), len(train))


def cross_probe(vectors, labels):
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
    _check(labels)
    halves = StratifiedKFold(2, shuffle=True, random_state=0)
    guesses = cross_val_predict(_classifier(), vectors, labels, cv=halves)
    return _scored(labels, guesses, len(np.unique(labels)), len(labels) // 2)


def silhouette(vectors, labels):
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
    _check(labels)
    if len(set(labels)) == len(labels):
        raise UserError("each label is there once; a cluster takes two vectors")
    return float(silhouette_score(StandardScaler().fit_transform(vectors), labels))


def _classifier():
    return make_pipeline(StandardScaler(), LogisticRegression(C=_C, max_iter=2000))


def _check(labels):
    if len(set(labels)) < 2:
        raise UserError(f"only the label {next(iter(labels), 'none')} is there to probe for; it takes two")


def _scored(references, guesses, num_labels, n_train):
    names = np.unique(np.concatenate([references, guesses]))
    confusion = confusion_matrix(np.searchsorted(names, references), np.searchsorted(names, guesses), len(names))
    return Probe(scores_of(confusion).ua, 100 / num_labels, n_train, len(references))

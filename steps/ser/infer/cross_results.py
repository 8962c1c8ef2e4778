"""What is known of a model on another corpus: its results file, and probabilities of the classes that both have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ser.infer.results_file import Choices, Counts


@dataclass(frozen=True)
class CrossResults:
    """results.json of a model on another corpus.

    Attributes
    ----------
    trained : Choices
        Its dataset and protocol are those that the model was trained on.
    fold : str
        Of the model.
    scored_on : str
        The data set of the utterances.
    made_from : str
        Checksum of model, features, references and label map.
    test : Counts
        Of the classes that both corpora have.
    """

    trained: Choices
    fold: str
    scored_on: str
    made_from: str
    test: Counts


def merge_classes(probabilities: np.ndarray, labels: Sequence[str], label_map: Mapping[str, str],
                  classes: Sequence[str]) -> np.ndarray:
    """Probabilities of some classes, given that it is one of them.

    Parameters
    ----------
    probabilities : numpy.ndarray
        `[utterances, labels]`
    labels : sequence of str
    label_map : dict of str to str
        Label to the class that it counts as; a label that is not in it is of no class.
    classes : sequence of str

    Returns
    -------
    numpy.ndarray
        `[utterances, classes]`: the sums over the labels of each class, divided by their sum. Where that is 0 all
        classes are equally probable.

    >>> merge_classes(np.array([[0.1, 0.3, 0.2, 0.4]]), ["ang", "cal", "neu", "sur"], {"cal": "neu", "neu": "neu",
    ...               "ang": "ang"}, ["ang", "neu"]).round(3)
    array([[0.167, 0.833]])
    """
    belongs = np.array([[float(label_map.get(label) == name) for name in classes] for label in labels])
    sums = probabilities @ belongs
    total = sums.sum(1, keepdims=True)
    return np.where(total > 0, sums / np.where(total > 0, total, 1), 1 / len(classes))

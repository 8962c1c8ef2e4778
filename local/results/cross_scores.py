"""What models said of another corpus, and what that corpus's own models said of the same utterances, as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from local.experiment.cross import LABEL_MAP, PAIR, REFERENCES, Pair, score_directories
from local.experiment.experiment import Experiment
from local.experiment.systems import System
from local.results.predictions import read_predictions
from ser.base.errors import UserError
from ser.data.data_dir import read_table
from ser.infer.cross_results import CrossResults, merge_classes
from ser.infer.results_file import NAME, read_results

_HALF_DIGIT = 5e-7  # of the six decimals in per_utt: it decides a tie, and nothing else


@dataclass(frozen=True)
class CrossPredictions:
    """The scored utterances of a pair with what the models of one system made of them.

    Attributes
    ----------
    utterances : list of str
        In sorted order.
    speakers : numpy.ndarray
        Names `[utterances]`.
    references : numpy.ndarray
        Positions in the pair's classes, `[utterances]`.
    probabilities : numpy.ndarray
        `[seeds, folds, utterances, classes]`
    """

    utterances: list[str]
    speakers: np.ndarray
    references: np.ndarray
    probabilities: np.ndarray

    @property
    def hypotheses(self) -> np.ndarray:
        """Of each single model, those of a seed one after another, `[seeds * folds, utterances]`."""
        return self.probabilities.argmax(-1).reshape(-1, len(self.utterances))

    @property
    def averaged(self) -> np.ndarray:
        """Of the mean probabilities of a seed's models, which is what steps/predict.py gives, `[seeds, utterances]`."""
        return self.probabilities.mean(1).argmax(-1)


def read_pair(folder: str | Path) -> Pair:
    """pair.json of the directory of a pair; raises UserError."""
    return read_results(Path(folder, PAIR), Pair, "run ./run.sh --cross again")


def read_probabilities(directory: str | Path, classes: Sequence[str], utterances: Sequence[str]) -> np.ndarray:
    """`[utterances, classes]` of score/per_utt, of which the hypothesis is the largest; raises UserError."""
    path = Path(directory) / "score" / "per_utt"
    table = read_table(path, columns=3 + len(classes))
    missing = [utt for utt in utterances if utt not in table]
    if missing:
        raise UserError(f"{path}: has no {missing[0]} ({len(missing)} missing); run ./run.sh --cross again")
    rows = [table[utt].split() for utt in utterances]
    probabilities = np.array([[float(word) for word in row[2:]] for row in rows])
    probabilities[np.arange(len(rows)), [classes.index(row[1]) for row in rows]] += _HALF_DIGIT
    return probabilities


def read_cross(pair: Pair, system: System, seeds: Sequence[str], exp: str | Path) -> CrossPredictions:
    """Read the scores of a system's models.

    Parameters
    ----------
    pair : Pair
    system : System
    seeds : sequence of str
    exp : str or Path
        The directory of all pairs.

    Raises
    ------
    UserError
        A score is missing, or is of other utterances or labels than the pair's.
    """
    folder = pair.folder(exp)
    references = read_table(folder / REFERENCES, columns=2)
    utterances = sorted(references)
    utt2spk = read_table(Path(pair.data) / "utt2spk", columns=2)
    directories = score_directories(pair, system, seeds, exp)
    for directory in directories:
        test = read_results(directory / NAME, CrossResults, "run ./run.sh --cross again").test
        if test.classes != pair.classes or test.scores.total != len(utterances):
            raise UserError(f"{directory}: is of other labels or utterances than {folder / LABEL_MAP} and "
                            f"{folder / REFERENCES}; run ./run.sh --cross again")
    probabilities = np.array([read_probabilities(directory, pair.classes, utterances) for directory in directories])
    return CrossPredictions(
        utterances, speakers=np.array([utt2spk[utt] for utt in utterances]),
        references=np.array([pair.classes.index(references[utt]) for utt in utterances]),
        probabilities=probabilities.reshape(len(seeds), len(pair.folds), *probabilities.shape[1:]))


def read_within(pair: Pair, experiment: Experiment, system: System, utterances: Sequence[str]) -> np.ndarray:
    """What the scored corpus's own models say of a pair's utterances, each of the fold that tests it.

    Parameters
    ----------
    pair : Pair
    experiment : Experiment
        Of the scored corpus.
    system : System
    utterances : sequence of str

    Returns
    -------
    numpy.ndarray
        Hypotheses among the pair's classes, `[seeds, utterances]`.

    Raises
    ------
    UserError
        A fold is missing or damaged.
    """
    predictions = read_predictions([experiment.directories(system)], experiment.folds, experiment.data)
    fold_of: Mapping[str, str] = dict(zip(predictions.utterances, predictions.folds, strict=True))
    position = {utt: number for number, utt in enumerate(utterances)}
    hypotheses = np.empty((len(experiment.seeds), len(utterances)), dtype=int)
    for row, directory in zip(hypotheses, experiment.directories(system), strict=True):
        for fold in experiment.folds:
            tested = [utt for utt in utterances if fold_of.get(utt) == fold]
            if tested:
                of_labels = read_probabilities(f"{directory}/{fold}", predictions.classes, tested)
                merged = merge_classes(of_labels, predictions.classes, pair.scored_label_map, pair.classes)
                row[[position[utt] for utt in tested]] = merged.argmax(1)
    return hypotheses

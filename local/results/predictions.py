"""What trained systems said of the test utterances: the scores of all folds as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from local.results.same_origin import require_same_origin
from ser.base.errors import UserError
from ser.base.log import counted
from ser.data.data_dir import read_table
from ser.infer.results_file import FoldResults, read_fold_results


@dataclass(frozen=True)
class Predictions:
    """Test utterances of all folds with what one or more runs made of them; labels are positions in the class list.

    Attributes
    ----------
    utterances : list of str
        In sorted order.
    speakers, folds : numpy.ndarray
        Names `[utterances]`.
    references : numpy.ndarray
        `[utterances]`
    hypotheses : numpy.ndarray
        `[runs, utterances]`
    classes : list of str
    results : list of dict of str to FoldResults
        results.json of each fold, of each run.
    """

    utterances: list[str]
    speakers: np.ndarray
    folds: np.ndarray
    references: np.ndarray
    hypotheses: np.ndarray
    classes: list[str]
    results: list[dict[str, FoldResults]]


@dataclass(frozen=True)
class Utterance:
    """A scored utterance; reference and hypothesis are positions in the class list."""

    fold: str
    reference: int
    hypothesis: int


@dataclass(frozen=True)
class Run:
    """One system and seed on all folds: its directory, classes, utterances by name, and results.json by fold."""

    directory: str
    classes: list[str]
    utterances: dict[str, Utterance]
    results: dict[str, FoldResults]


def read_run(directory: str, folds: list[str], data_dir: str | Path) -> Run:
    """Read a run; raises UserError."""
    results = {fold: read_fold_results(f"{directory}/{fold}", data_dir) for fold in folds}
    classes = results[folds[0]].test.classes
    utterances: dict[str, Utterance] = {}
    for fold, of_fold in results.items():
        if of_fold.test.classes != classes:
            raise UserError(f"{directory}/{fold}: has other classes than {folds[0]}; train again")
        path = Path(directory) / fold / "score" / "per_utt"
        if not path.is_file():
            raise UserError(f"{path}: not there; run steps/score.py again")
        table = read_table(path, columns=3 + len(classes))
        total = of_fold.test.scores.total
        if len(table) != total:
            raise UserError(f"{path}: has {counted(len(table), 'utterance')}, results.json {total}; run steps/score.py "
                            "again")
        for utt, values in table.items():
            reference, hypothesis, *_ = values.split()
            if not {reference, hypothesis} <= set(classes):
                raise UserError(f"{path}: says {reference} {hypothesis} of {utt}, the classes are {' '.join(classes)}")
            if utt in utterances:
                raise UserError(f"{path}: {utt} is a test utterance of {utterances[utt].fold}, too")
            utterances[utt] = Utterance(fold, classes.index(reference), classes.index(hypothesis))
    return Run(directory, classes, utterances, results)


def require_same_test(one: Run, other: Run) -> None:
    """Raise UserError unless two runs scored the same utterances, with the same references, in the same folds."""
    if one.classes != other.classes:
        raise UserError(f"{other.directory}: has the classes {' '.join(other.classes)}, {one.directory} has "
                        f"{' '.join(one.classes)}")
    unshared = sorted(one.utterances.keys() ^ other.utterances.keys())
    if unshared:
        has, lacks = (one, other) if unshared[0] in one.utterances else (other, one)
        raise UserError(f"{has.directory}: scores {unshared[0]}, {lacks.directory} does not ({len(unshared)} such); "
                        "they ran on different data")
    mismatched = [utt for utt, ours in sorted(one.utterances.items())
                  if (ours.fold, ours.reference) != (other.utterances[utt].fold, other.utterances[utt].reference)]
    if mismatched:
        raise UserError(f"{other.directory}: fold or reference of {mismatched[0]} is not that of {one.directory} "
                        f"({len(mismatched)} such); they ran on different data")


def read_predictions(systems: Sequence[list[str]], folds: list[str], data_dir: str | Path) -> Predictions:
    """Read runs that scored the same utterances.

    Parameters
    ----------
    systems : list of list of str
        Of each system the directories of its runs, one of each seed; the rows of `hypotheses` have this order.
    folds : list of str
        Model directories below each of them.
    data_dir : str or Path
        Its `utt2spk` names the speakers.

    Returns
    -------
    Predictions

    Raises
    ------
    UserError
        A fold has no result, a file is damaged, or the runs differ in classes, utterances, references or origin.
    """
    utt2spk = read_table(Path(data_dir) / "utt2spk", columns=2)
    runs_of = [[read_run(directory, folds, data_dir) for directory in directories] for directories in systems]
    first, *others = runs = [run for of_system in runs_of for run in of_system]
    for other in others:
        require_same_test(first, other)
    require_same_origin([{f"{run.directory}/{fold}": results for run in of_system
                          for fold, results in run.results.items()} for of_system in runs_of], data_dir)
    utterances = sorted(first.utterances)
    unknown = [utt for utt in utterances if utt not in utt2spk]
    if unknown:
        raise UserError(f"{data_dir}/utt2spk: has no {unknown[0]}, which {first.directory} scores; "
                        "is it the data that was trained on?")
    return Predictions(utterances, speakers=np.array([utt2spk[utt] for utt in utterances]),
                       folds=np.array([first.utterances[utt].fold for utt in utterances]),
                       references=np.array([first.utterances[utt].reference for utt in utterances]),
                       hypotheses=np.array([[run.utterances[utt].hypothesis for utt in utterances] for run in runs]),
                       classes=first.classes, results=[run.results for run in runs])

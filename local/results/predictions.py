"""What trained systems said of the test utterances: the per_utt files of all folds as arrays."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser.base.errors import UserError
from ser.data.data_dir import read_list, read_table, read_text


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
    num_classes : int
    """

    utterances: list
    speakers: np.ndarray
    folds: np.ndarray
    references: np.ndarray
    hypotheses: np.ndarray
    num_classes: int


def read_run(directory, folds):
    """Read `{utterance: (fold, reference, hypothesis)}` of one system and seed, and the classes; raises UserError."""
    table, classes = {}, None
    for fold in folds:
        path = Path(directory) / fold / "score" / "per_utt"
        if not path.is_file() or not (Path(directory) / fold / "RESULT").is_file():
            raise UserError(f"{directory}/{fold}/RESULT: not there; run stage 5")
        if classes is None:
            classes = read_list(path.parent / "classes")
        if read_list(path.parent / "classes") != classes:
            raise UserError(f"{path.parent}/classes: differs from that of {folds[0]}; train again")
        rows = read_table(path, columns=3 + len(classes))
        total = re.search(r"/ (\d+) correct", read_text(Path(directory) / fold / "RESULT"))
        if total and len(rows) != int(total[1]):
            raise UserError(f"{path}: has {len(rows)} utterances, its RESULT {total[1]}; run steps/score.py again")
        for utt, values in rows.items():
            reference, hypothesis = values.split()[:2]
            if not {reference, hypothesis} <= set(classes):
                raise UserError(f"{path}: says {reference} {hypothesis} of {utt}, the classes are {' '.join(classes)}")
            if utt in table:
                raise UserError(f"{path}: {utt} is a test utterance of {table[utt][0]}, too")
            table[utt] = fold, classes.index(reference), classes.index(hypothesis)
    return table, classes


def require_same_test(directory, table, classes, other, other_table, other_classes):
    """Raise UserError unless two runs scored the same utterances, with the same references, in the same folds."""
    if classes != other_classes:
        raise UserError(f"{other}: has the classes {' '.join(other_classes)}, {directory} has {' '.join(classes)}")
    odd = sorted(table.keys() ^ other_table.keys())
    if odd:
        has, lacks = (directory, other) if odd[0] in table else (other, directory)
        raise UserError(f"{has}: scores {odd[0]}, {lacks} does not ({len(odd)} such); they ran on different data")
    odd = [utt for utt in sorted(table) if table[utt][:2] != other_table[utt][:2]]
    if odd:
        raise UserError(f"{other}: fold or reference of {odd[0]} is not that of {directory} ({len(odd)} such); "
                        "they ran on different data")


def read_predictions(directories, folds, data_dir):
    """Read runs that scored the same utterances.

    Parameters
    ----------
    directories : list of str
        One of each run, a system with a seed; the rows of `hypotheses` have this order.
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
        A fold has no result, a file is damaged, or the runs differ in classes, utterances or references.
    """
    utt2spk = read_table(Path(data_dir) / "utt2spk", columns=2)
    runs = [read_run(directory, folds) for directory in directories]
    for directory, run in zip(directories[1:], runs[1:], strict=True):
        require_same_test(directories[0], *runs[0], directory, *run)
    table, classes = runs[0]
    utterances = sorted(table)
    unknown = [utt for utt in utterances if utt not in utt2spk]
    if unknown:
        raise UserError(f"{data_dir}/utt2spk: has no {unknown[0]}, which {directories[0]} scores; "
                        "is it the data that was trained on?")
    return Predictions(utterances, speakers=np.array([utt2spk[utt] for utt in utterances]),
                       folds=np.array([table[utt][0] for utt in utterances]),
                       references=np.array([table[utt][1] for utt in utterances]),
                       hypotheses=np.array([[run[utt][2] for utt in utterances] for run, _ in runs]),
                       num_classes=len(classes))

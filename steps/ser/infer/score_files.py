"""What a model said of the test speakers of its fold, as files and as a result line."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ser.base.files import write_text
from ser.data.fold_data import FoldData
from ser.infer.results_file import NAME, Choices, Counts, FoldResults, result_line, write_results
from ser.stats.calibration import reliability
from ser.stats.metrics import confusion_matrix


def write_scores(model_dir: str | Path, data: FoldData, probabilities: np.ndarray, trained: Choices,
                 data_stamp: str, calibrated: np.ndarray | None = None) -> str:
    """Write score/per_utt and score/classes, results.json and, as the last, RESULT.

    Parameters
    ----------
    model_dir : str or Path
    data : FoldData
    probabilities : numpy.ndarray
        Of the test part's utterances, `[utterances, classes]`; the hypothesis is the first of the largest.
    trained : Choices
    data_stamp : str
        As in FoldResults.
    calibrated : numpy.ndarray, optional
        The same probabilities with a temperature, for per_utt; they change no hypothesis.

    Returns
    -------
    str
        The result line.
    """
    model_dir = Path(model_dir)
    utts = data.parts["test"]
    references = data.emotions(utts)
    hypotheses = probabilities.argmax(1)
    before = None
    if calibrated is not None:
        before = reliability(probabilities, references)
        probabilities = calibrated

    write_per_utt(model_dir, utts, data.classes, references, hypotheses, probabilities)
    test = Counts.of(confusion_matrix(references, hypotheses, len(data.classes)), data.classes)
    write_results(model_dir / NAME, FoldResults(trained, data.name, data_stamp, test,
                                                reliability(probabilities, references), before))
    line = result_line(test.scores, f"fold {data.name.removeprefix('fold_')}", trained, model_dir)
    write_text(model_dir / "RESULT", line)
    return line


def write_per_utt(folder: str | Path, utts: Sequence[str], classes: Sequence[str], references: np.ndarray,
                  hypotheses: np.ndarray, probabilities: np.ndarray) -> None:
    """Write score/per_utt, what a model said of each utterance, and score/classes; labels are positions there."""
    lines = []
    for utt, reference, hypothesis, row in zip(utts, references, hypotheses, probabilities.tolist(), strict=True):
        words = [utt, classes[reference], classes[hypothesis], *(f"{p:.6f}" for p in row)]
        lines.append(" ".join(words) + "\n")
    write_text(Path(folder) / "score" / "per_utt", "".join(lines))
    write_text(Path(folder) / "score" / "classes", "".join(f"{name}\n" for name in classes))

"""Scores of a trained model on the test speakers of its fold, as files and as a result line."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser.base.errors import UserError
from ser.base.files import write_text
from ser.data.feature_bank import load_bank
from ser.data.fold_data import FoldData
from ser.infer.choices import choices_of
from ser.infer.posteriors import posteriors
from ser.infer.results_file import NAME, Choices, Counts, FoldResults, result_line, write_results
from ser.model_dir.emotion_model import load_emotion_model
from ser.model_dir.model_card import write_card
from ser.stats.metrics import confusion_matrix


def score(model_dir: str | Path, data_dir: str | Path, device: torch.device) -> str:
    """Score the test part of a model's fold.

    Writes score/per_utt (`utt ref hyp p1 … pK`, in the order of score/classes), the model card README.md, results.json
    and, as the last, RESULT.

    Parameters
    ----------
    model_dir : str or Path
    data_dir : str or Path
        Data directory with the fold that the model was trained on.
    device : torch.device

    Returns
    -------
    str
        The result line.

    Raises
    ------
    UserError
        The model is damaged, or the data are not those that it was trained on.
    """
    model_dir = Path(model_dir)
    model, config = load_emotion_model(model_dir, device)
    data = FoldData.read(data_dir, config["options"]["fold"])
    _require_same_fold(model_dir, config, data)

    # Probabilities of the test utterances
    utts = data.parts["test"]
    bank = load_bank(data_dir, utts, config["options"]["feature_norm"], device)
    if bank.dimension != config["dimension"]:
        raise UserError(f"{data_dir}/feats.scp: has dimension {bank.dimension}, "
                        f"{model_dir} takes {config['dimension']}")
    probabilities = posteriors(model, bank, bank.indices(utts)).numpy()

    trained = choices_of(config)
    write_card(model_dir, config, trained.phrase, data, data.emotions(utts).numpy(), probabilities.argmax(1))
    return write_scores(model_dir, data, probabilities, trained, config["options"]["data_stamp"])


def write_scores(model_dir: str | Path, data: FoldData, probabilities: np.ndarray, trained: Choices,
                 data_stamp: str) -> str:
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

    Returns
    -------
    str
        The result line.
    """
    model_dir = Path(model_dir)
    utts = data.parts["test"]
    references = data.emotions(utts).numpy()
    hypotheses = probabilities.argmax(1)

    # What the model said of each utterance
    lines = []
    for utt, reference, hypothesis, row in zip(utts, references, hypotheses, probabilities.tolist(), strict=True):
        words = [utt, data.classes[reference], data.classes[hypothesis], *(f"{p:.6f}" for p in row)]
        lines.append(" ".join(words) + "\n")
    write_text(model_dir / "score" / "per_utt", "".join(lines))
    write_text(model_dir / "score" / "classes", "".join(f"{name}\n" for name in data.classes))

    # How good that is
    test = Counts.of(confusion_matrix(references, hypotheses, len(data.classes)), data.classes)
    write_results(model_dir / NAME, FoldResults(trained, data.name, data_stamp, test))
    line = result_line(test.scores, f"fold {data.name.removeprefix('fold_')}", trained, model_dir)
    write_text(model_dir / "RESULT", line)
    return line


def _require_same_fold(model_dir: Path, config: dict[str, Any], data: FoldData) -> None:
    if data.classes != config["classes"]:
        raise UserError(f"{data.data_dir}/utt2emo: has the labels {' '.join(data.classes)}, "
                        f"{model_dir} was trained with {' '.join(config['classes'])}")
    if set(data.training_speakers) != set(config["training_speakers"]):
        raise UserError(f"{data.data_dir}/folds/{data.name}: is not the fold that {model_dir} was trained on")

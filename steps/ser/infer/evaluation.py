"""Scores of a trained model on the test speakers of its fold, as files and as a result line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser.base.errors import UserError
from ser.base.files import write_text
from ser.data.feature_bank import load_bank
from ser.data.fold_data import FoldData
from ser.infer.choices import choices_of
from ser.infer.posteriors import logits_of
from ser.infer.results_file import NAME, Choices, Counts, FoldResults, result_line, write_results
from ser.model_dir.calibration import write_temperature
from ser.model_dir.emotion_config import require_held_out
from ser.model_dir.emotion_model import load_emotion_model
from ser.model_dir.model_card import Scored, write_card
from ser.stats.calibration import fit_temperature, reliability
from ser.stats.metrics import confusion_matrix


def score(model_dir: str | Path, data_dir: str | Path, device: torch.device) -> str:
    """Score the test part of a model's fold, with a temperature that the validation part has chosen.

    Writes calibration.json, score/per_utt (`utt ref hyp p1 … pK`, in the order of score/classes), the model card
    README.md, results.json and, as the last, RESULT.

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
    require_held_out(model_dir, config)
    data = FoldData.read(data_dir, config["options"]["fold"])
    _require_same_fold(model_dir, config, data)

    # Logits of both parts
    valid, test = data.parts["valid"], data.parts["test"]
    bank = load_bank(data_dir, valid + test, config["options"]["feature_norm"], device)
    if bank.dimension != config["dimension"]:
        raise UserError(f"{data_dir}/feats.scp: has dimension {bank.dimension}, "
                        f"{model_dir} takes {config['dimension']}")
    valid_logits, test_logits = (logits_of(model, bank, bank.indices(utts)) for utts in (valid, test))

    # Probabilities, with the temperature of speakers that neither trained nor test
    temperature = fit_temperature(valid_logits, data.emotions(valid))
    write_temperature(model_dir, temperature, part="valid", utterances=len(valid),
                      speakers=len({data.speakers[utt] for utt in valid}))
    probabilities = torch.softmax(test_logits, dim=1).numpy()
    calibrated = torch.softmax(test_logits / temperature, dim=1).numpy()

    trained = choices_of(config)
    references = data.emotions(test).numpy()
    scored = Scored(references, probabilities.argmax(1), np.array([data.speakers[utt] for utt in test]),
                    reliability(calibrated, references))
    write_card(model_dir, config, trained.phrase, data, scored, temperature)
    return write_scores(model_dir, data, probabilities, trained, config["options"]["data_stamp"], calibrated)


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
    references = data.emotions(utts).numpy()
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


def _require_same_fold(model_dir: Path, config: dict[str, Any], data: FoldData) -> None:
    if data.classes != config["classes"]:
        raise UserError(f"{data.data_dir}/utt2emo: has the labels {' '.join(data.classes)}, "
                        f"{model_dir} was trained with {' '.join(config['classes'])}")
    if set(data.training_speakers) != set(config["training_speakers"]):
        raise UserError(f"{data.data_dir}/folds/{data.name}: is not the fold that {model_dir} was trained on")

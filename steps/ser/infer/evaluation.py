"""Scores of a trained model on the test speakers of its fold, as files and as a result line."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser.base.errors import UserError
from ser.data.feature_bank import load_bank
from ser.data.fold_data import FoldData
from ser.infer.choices import choices_of
from ser.infer.posteriors import logits_of
from ser.infer.score_files import write_scores
from ser.model_dir.calibration import write_temperature
from ser.model_dir.emotion_config import require_held_out
from ser.model_dir.emotion_model import load_emotion_model
from ser.model_dir.model_card import Scored, write_card
from ser.stats.calibration import fit_temperature, reliability


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
    references = data.emotions(test)
    scored = Scored(references, probabilities.argmax(1), np.array([data.speakers[utt] for utt in test]),
                    reliability(calibrated, references))
    write_card(model_dir, config, trained.phrase, data, scored, temperature)
    return write_scores(model_dir, data, probabilities, trained, config["options"]["data_stamp"], calibrated)


def _require_same_fold(model_dir: Path, config: dict[str, Any], data: FoldData) -> None:
    if data.classes != config["classes"]:
        raise UserError(f"{data.data_dir}/utt2emo: has the labels {' '.join(data.classes)}, "
                        f"{model_dir} was trained with {' '.join(config['classes'])}")
    if set(data.training_speakers) != set(config["training_speakers"]):
        raise UserError(f"{data.data_dir}/folds/{data.name}: is not the fold that {model_dir} was trained on")

"""Scores of a trained emotion model on the test speakers of its fold, as files and as a result line."""

from pathlib import Path
from typing import Any

import torch

from ser.base.errors import UserError
from ser.base.files import write_text
from ser.data.feature_bank import load_bank
from ser.data.fold_data import FoldData
from ser.infer.choices import choices_of
from ser.infer.posteriors import posteriors
from ser.infer.results_file import NAME, Counts, FoldResults, result_line, write_results
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
    probabilities = posteriors(model, bank, bank.indices(utts))
    hypotheses = probabilities.argmax(1)
    references = data.emotions(utts)

    # What the network said of each of them
    lines = []
    for utt, reference, hypothesis, row in zip(utts, references, hypotheses, probabilities.tolist(), strict=True):
        words = [utt, data.classes[reference], data.classes[hypothesis], *(f"{p:.6f}" for p in row)]
        lines.append(" ".join(words) + "\n")
    write_text(model_dir / "score" / "per_utt", "".join(lines))
    write_text(model_dir / "score" / "classes", "".join(f"{name}\n" for name in data.classes))

    # How good that is
    trained = choices_of(config)
    test = Counts.of(confusion_matrix(references, hypotheses, len(data.classes)), data.classes)
    write_card(model_dir, config, trained.phrase, data, references.numpy(), hypotheses.numpy())
    write_results(model_dir / NAME, FoldResults(trained, data.name, config["options"]["data_stamp"], test))
    line = result_line(test.scores, f"fold {data.name.removeprefix('fold_')}", trained, model_dir)
    write_text(model_dir / "RESULT", line)
    return line


def _require_same_fold(model_dir: Path, config: dict[str, Any], data: FoldData) -> None:
    if data.classes != config["classes"]:
        raise UserError(f"{data.data_dir}/utt2emo: has the labels {' '.join(data.classes)}, "
                        f"{model_dir} was trained with {' '.join(config['classes'])}")
    if set(data.training_speakers) != set(config["training_speakers"]):
        raise UserError(f"{data.data_dir}/folds/{data.name}: is not the fold that {model_dir} was trained on")

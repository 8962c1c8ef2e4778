"""The model card: README.md of a model directory, which tells a stranger what the model is and how far to trust it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ser.base.files import write_text
from ser.data.data_dir import is_synthetic
from ser.data.feature_conf import is_filterbank
from ser.data.fold_data import FoldData
from ser.stats.calibration import Reliability
from ser.stats.metrics import confusion_matrix, scores_of
from ser.stats.significance import score_interval

# Kept, since a process may train hundreds of models.
_TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True,
                         keep_trailing_newline=True)


@dataclass(frozen=True)
class Scored:
    """Test utterances and what was said of them.

    Attributes
    ----------
    references, hypotheses : numpy.ndarray
        Classes, integers `[utterances]`.
    speakers : numpy.ndarray
        Names `[utterances]`.
    reliability : Reliability
        Of the probabilities as a user gets them.
    """

    references: np.ndarray
    hypotheses: np.ndarray
    speakers: np.ndarray
    reliability: Reliability


def write_card(model_dir: str | Path, config: dict[str, Any], choices: str, data: FoldData, scored: Scored,
               temperature: float, num_folds: int = 0, stop_epoch: int = 0) -> None:
    """Write MODEL_DIR/README.md.

    Parameters
    ----------
    model_dir : str or Path
    config : dict
        Its config.json.
    choices : str
        What was chosen where the paper is silent, in one phrase.
    data : FoldData
        Of the fold that the model was trained on, or of all.
    scored : Scored
        The fold's test utterances; of a final model those of all folds.
    temperature : float
    num_folds, stop_epoch : int
        Of a final model: how many folds were scored instead of it, and the epoch that they chose.
    """
    # Scores, by class and in all.
    counts = confusion_matrix(scored.references, scored.hypotheses, len(data.classes))
    by_class = list(zip(data.classes, counts.sum(1), np.diag(counts), strict=True))
    interval = score_interval(scored.references, scored.hypotheses[None], scored.speakers)
    # Corpora.
    pretraining = config["pretraining"]
    corpora = [config["dataset"]]
    if pretraining:
        corpora.append(pretraining["dataset"])
    parts = {part: (len(utts), len({data.speakers[utt] for utt in utts})) for part, utts in data.parts.items() if utts}
    # Environment.
    made_with = config.get("environment", {})
    environment = [f"{name} {made_with[name]}" for name in ("recipe", "torch", "device", "precision", "commit")
                   if made_with.get(name)]
    # The page.
    text = _TEMPLATES.get_template("model_card.md.j2").render(
        options=config["options"], classes=data.classes, dataset=config["dataset"], protocol=config["protocol"],
        fold=data.name, pretraining=pretraining, choices=choices, parts=parts,
        synthetic=[corpus for corpus in corpora if is_synthetic(corpus)],
        scores=scores_of(counts), by_class=by_class, most_frequent=counts.sum(1).max(), interval=interval,
        num_test_speakers=len(set(scored.speakers)), environment=environment, temperature=temperature,
        ece=scored.reliability.ece, num_folds=num_folds, stop_epoch=stop_epoch,
        takes_sound=is_filterbank(config["features"]))
    write_text(Path(model_dir) / "README.md", text)

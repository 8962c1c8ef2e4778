"""The model card: README.md of a model directory, which tells a stranger what the model is and how far to trust it."""

from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ser.base.files import write_text
from ser.data.data_dir import is_synthetic
from ser.data.feature_conf import is_filterbank
from ser.data.fold_data import FoldData
from ser.stats.metrics import confusion_matrix, scores_of
from ser.stats.significance import score_interval

_TEMPLATE = "model_card.md.j2"


def write_card(model_dir: str | Path, config: dict[str, Any], choices: str, data: FoldData, references: np.ndarray,
               hypotheses: np.ndarray) -> None:
    """Write MODEL_DIR/README.md.

    Parameters
    ----------
    model_dir : str or Path
    config : dict
        Its config.json.
    choices : str
        What was chosen where the paper is silent, in one phrase.
    data : FoldData
        Of the fold that the model was trained on.
    references, hypotheses : numpy.ndarray
        Classes of the fold's test utterances, integers `[utterances]`.
    """
    # Scores, by class and in all.
    counts = confusion_matrix(references, hypotheses, len(data.classes))
    by_class = list(zip(data.classes, counts.sum(1), np.diag(counts), strict=True))
    speakers = np.array([data.speakers[utt] for utt in data.parts["test"]])
    interval = score_interval(references, hypotheses[None], speakers)
    # Corpora.
    pretraining = config["pretraining"]
    corpora = [config["dataset"]]
    if pretraining:
        corpora.append(pretraining["dataset"])
    parts = {part: (len(utts), len({data.speakers[utt] for utt in utts})) for part, utts in data.parts.items()}
    # Environment.
    made_with = config.get("environment", {})
    environment = [f"{name} {made_with[name]}" for name in ("torch", "device", "precision", "commit")
                   if made_with.get(name)]
    # The page.
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined,
                            trim_blocks=True, keep_trailing_newline=True)
    text = templates.get_template(_TEMPLATE).render(
        options=config["options"], classes=data.classes, dataset=config["dataset"], protocol=config["protocol"],
        fold=data.name, pretraining=pretraining, choices=choices, parts=parts,
        synthetic=[corpus for corpus in corpora if is_synthetic(corpus)],
        scores=scores_of(counts), by_class=by_class, most_frequent=counts.sum(1).max(), interval=interval,
        environment=environment, takes_sound=is_filterbank(config["features"]))
    write_text(Path(model_dir) / "README.md", text)

"""The model card: README.md of a model directory, which tells a stranger what the model is and how far to trust it."""

from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ser.base.files import write_text
from ser.data.data_dir import is_synthetic
from ser.stats.metrics import confusion_matrix, scores_of
from ser.stats.significance import score_interval

_TEMPLATE = "model_card.md.j2"


def write_card(model_dir, config, choices, data, references, hypotheses):
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
    utts = data.parts["test"]
    counts = confusion_matrix(references, hypotheses, len(data.classes))
    by_class = list(zip(data.classes, counts.sum(1), np.diag(counts), strict=True))
    start = config["pretraining"]
    corpora = [config["dataset"], *([start["dataset"]] if start else [])]
    made_with = config.get("environment", {})
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined,
                            trim_blocks=True, keep_trailing_newline=True)
    text = templates.get_template(_TEMPLATE).render(
        options=config["options"], classes=data.classes, dataset=config["dataset"], protocol=config["protocol"],
        fold=data.name, pretraining=start, choices=choices,
        synthetic=[corpus for corpus in corpora if is_synthetic(corpus)],
        parts={part: (len(of_part), len({data.speakers[utt] for utt in of_part}))
               for part, of_part in data.parts.items()},
        scores=scores_of(counts), by_class=by_class,
        most_frequent=counts.sum(1).max(),
        interval=score_interval(references, hypotheses[None], np.array([data.speakers[utt] for utt in utts])),
        environment=[f"{name} {made_with[name]}" for name in ("torch", "device", "precision", "commit")
                     if made_with.get(name)])
    write_text(Path(model_dir) / "README.md", text)

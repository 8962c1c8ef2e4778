"""What models are scored on when that is another corpus, and whether it is done; without torch, as for planning."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from ser.base.errors import UserError
from ser.infer.cross_results import CrossResults
from ser.infer.results_file import NAME, read_results
from ser.model_dir.checkpoint import load_config
from ser.model_dir.data_stamp import digest, stamp_data
from ser.model_dir.finetune_config import FinetuneConfig


class CrossTask:
    """Utterances, and what labels of models count as.

    Parameters
    ----------
    data_dir : str or Path
    references : dict of str to str
        The utterances to score, and the class of each.
    label_map : dict of str to str
        Which class a label of the models counts as; its classes are those that are scored.

    Raises
    ------
    UserError
        There is no utterance, fewer than two classes, or a reference of none of them.
    """

    def __init__(self, data_dir: str | Path, references: Mapping[str, str], label_map: Mapping[str, str]):
        self.data_dir = Path(data_dir)
        self.references = dict(sorted(references.items()))
        self.label_map = label_map
        self.classes = sorted(set(label_map.values()))
        unknown = sorted(set(references.values()) - set(self.classes))
        if len(self.classes) < 2 or not references or unknown:
            raise UserError(f"{data_dir}: nothing to score: {len(references)} utterances, the classes "
                            f"{' '.join(self.classes) or 'none'}"
                            + (f", and {unknown[0]} is none of them" if unknown else ""))

    def made_from(self, model_dir: str | Path) -> str:
        """Checksum of all that the scores of a model depend on, its weights as the scores of its own fold show them."""
        own_scores = (Path(model_dir) / "score" / "per_utt").read_bytes()
        data = stamp_data(self.data_dir, "folds", FinetuneConfig.feature_norm).of_data
        return digest(load_config(model_dir)["identity"], hashlib.sha256(own_scores).hexdigest(), data, self.references,
                      dict(self.label_map))

    def is_done(self, model_dir: str | Path, out_dir: str | Path) -> bool:
        """Whether a directory holds the scores of just this."""
        if not (Path(out_dir) / "RESULT").is_file():
            return False
        try:
            before = read_results(Path(out_dir) / NAME, CrossResults, "")
        except UserError:
            return False
        return before.made_from == self.made_from(model_dir)

"""Trained models on the utterances of another corpus: probabilities of the classes that both have, as files."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser.base.conf import config_from
from ser.base.errors import UserError
from ser.base.files import write_text
from ser.data.data_dir import read_dataset
from ser.data.feature_bank import FeatureBank, load_bank
from ser.data.feature_conf import is_filterbank
from ser.infer.choices import FEATURES
from ser.infer.cross_results import CrossResults, merge_classes
from ser.infer.evaluation import write_per_utt
from ser.infer.posteriors import posteriors
from ser.infer.results_file import NAME, Counts, read_fold_results, read_results, result_line, write_results
from ser.model_dir.checkpoint import load_config
from ser.model_dir.data_stamp import digest, stamp_data
from ser.model_dir.emotion_model import load_emotion_model
from ser.model_dir.finetune_config import FinetuneConfig
from ser.model_dir.record import feature_configuration
from ser.stats.metrics import confusion_matrix


def require_same_features(model_dir: str | Path, config: Mapping[str, Any], data_dir: str | Path) -> None:
    """Raise UserError unless the features of a data directory were made as those that a model learned from."""
    now = feature_configuration(data_dir)
    before = config["features"]
    needed = ("fbank.conf", "vad.conf") if is_filterbank(before) else before
    for name, kind in FEATURES.items():
        if name not in needed:
            continue
        if name not in now:
            raise UserError(f"{data_dir}/conf/{name}: not there, so its features are others than {model_dir} learned "
                            "from; make both in the same way (run.sh: --feats-type)")
        if config_from(kind, before.get(name, ""), f"{model_dir}: {name}") != config_from(
                kind, now[name], f"{data_dir}/conf/{name}"):
            raise UserError(f"{data_dir}/conf/{name}: is not that of the features that {model_dir} learned from; make "
                            "both with the same one (run.sh: --fbank-config, --vad-config, --ssl-model, --ssl-layer)")


class CrossScorer:
    """Scores models on the same utterances.

    Parameters
    ----------
    data_dir : str or Path
    references : dict of str to str
        The utterances to score, and the class of each.
    label_map : dict of str to str
        Which class a label of the models counts as; its classes are those that are scored.
    device : torch.device

    Raises
    ------
    UserError
        There is no utterance, fewer than two classes, or a reference of none of them.
    """

    def __init__(self, data_dir: str | Path, references: Mapping[str, str], label_map: Mapping[str, str],
                 device: torch.device):
        self.data_dir = Path(data_dir)
        self.references = dict(sorted(references.items()))
        self.label_map = label_map
        self.classes = sorted(set(label_map.values()))
        self.device = device
        unknown = sorted(set(references.values()) - set(self.classes))
        if len(self.classes) < 2 or not references or unknown:
            raise UserError(f"{data_dir}: nothing to score: {len(references)} utterances, the classes "
                            f"{' '.join(self.classes) or 'none'}"
                            + (f", and {unknown[0]} is none of them" if unknown else ""))
        self._banks: dict[str, FeatureBank] = {}

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

    def network_probabilities(self, model_dir: str | Path) -> np.ndarray:
        """Of a network's labels, `[utterances, labels]`; raises UserError."""
        model, config = load_emotion_model(model_dir, self.device, calibrated=True)
        require_same_features(model_dir, config, self.data_dir)
        norm = config["options"]["feature_norm"]
        if norm not in self._banks:
            self._banks[norm] = load_bank(self.data_dir, self.references, norm, self.device)
        bank = self._banks[norm]
        if bank.dimension != config["dimension"]:
            raise UserError(f"{self.data_dir}/feats.scp: has dimension {bank.dimension}, {model_dir} takes "
                            f"{config['dimension']}")
        return posteriors(model, bank, bank.indices(self.references)).numpy()

    def score(self, model_dir: str | Path, out_dir: str | Path,
              find_probabilities: Callable[[str | Path], np.ndarray] | None = None) -> str:
        """Write score/per_utt (`utt ref hyp p1 … pK`, in the order of score/classes), results.json and, last, RESULT.

        Parameters
        ----------
        model_dir, out_dir : str or Path
        find_probabilities : callable, optional
            Takes the model directory, as network_probabilities() does, which is the default.

        Returns
        -------
        str
            The result line.

        Raises
        ------
        UserError
            The model is not finished or damaged, has none of the labels, or learned from other features.
        """
        out_dir = Path(out_dir)
        trained = read_fold_results(model_dir, load_config(model_dir)["options"]["data_dir"])
        made_from = self.made_from(model_dir)
        labels = trained.test.classes
        missing = sorted(set(self.label_map) - set(labels))
        if missing:
            raise UserError(f"{model_dir}: has no label {missing[0]}, only {' '.join(labels)}; is the label map of "
                            "another model?")

        # What the model says
        probabilities = (find_probabilities or self.network_probabilities)(model_dir)
        probabilities = merge_classes(probabilities, labels, self.label_map, self.classes)
        references = np.array([self.classes.index(name) for name in self.references.values()])
        hypotheses = probabilities.argmax(1)
        (out_dir / "RESULT").unlink(missing_ok=True)  # which may be of other scores than those that follow
        write_per_utt(out_dir, list(self.references), self.classes, references, hypotheses, probabilities)

        # How good that is
        test = Counts.of(confusion_matrix(references, hypotheses, len(self.classes)), self.classes)
        scored_on = read_dataset(self.data_dir)
        write_results(out_dir / NAME, CrossResults(trained.trained, trained.fold, scored_on, made_from, test))
        what = (f"fold {trained.fold.removeprefix('fold_')} scored on {scored_on}, "
                f"classes {'+'.join(self.classes)}")
        line = result_line(test.scores, what, trained.trained, out_dir)
        write_text(out_dir / "RESULT", line)
        return line

"""Trained models on the utterances of another corpus: probabilities of the classes that both have, as files."""

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
from ser.infer.cross_task import CrossTask
from ser.infer.posteriors import posteriors
from ser.infer.results_file import NAME, Counts, read_fold_results, result_line, write_results
from ser.infer.score_files import write_per_utt
from ser.model_dir.checkpoint import load_config
from ser.model_dir.emotion_model import load_emotion_model
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


class CrossScorer(CrossTask):
    """Scores models on the same utterances.

    Parameters
    ----------
    data_dir, references, label_map
        As those of CrossTask.
    device : torch.device
    """

    def __init__(self, data_dir: str | Path, references: Mapping[str, str], label_map: Mapping[str, str],
                 device: torch.device):
        super().__init__(data_dir, references, label_map)
        self.device = device
        self._banks: dict[str, FeatureBank] = {}

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

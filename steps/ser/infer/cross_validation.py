"""What the folds of a system say of the model that then learns from all speakers: for how long, how sure to be, and
what to expect of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ser.base.conf import from_options
from ser.base.errors import UserError
from ser.base.files import write_text
from ser.data.data_dir import read_list, read_table
from ser.data.fold_data import FoldData
from ser.data.folds import FINAL
from ser.infer.choices import choices_of
from ser.infer.results_file import NAME, read_fold_results
from ser.model_dir.calibration import read_temperature, write_temperature
from ser.model_dir.data_stamp import digest
from ser.model_dir.emotion_config import load_emotion_config
from ser.model_dir.finetune_config import FinetuneConfig
from ser.model_dir.model_card import Scored, write_card
from ser.stats.calibration import pooled
from ser.stats.metrics import confusion_matrix, scores_of
from ser.stats.significance import score_interval

_ITS_OWN = ("fold", "select")  # options in which a final model differs from the folds


@dataclass(frozen=True)
class CrossValidation:
    """The finished folds of a system and seed.

    Attributes
    ----------
    folds : list of str
    share : float
        At which share of a training the epoch was that was scored, as the mean over the folds; 1 is the end.
    temperature : float
        Geometric mean over the folds.
    scored : Scored
        The test utterances of all folds, sorted by name.
    identity : str
        Checksum of what the folds were made from and of what came out.
    """

    folds: list[str]
    share: float
    temperature: float
    scored: Scored
    identity: str

    def stop_epoch(self, epochs: int) -> int:
        """The epoch of so many after which a final model stops: the mean of the folds, rounded."""
        return max(1, math.floor(self.share * epochs + 0.5))


def read_cross_validation(folds_dir: str | Path, data_dir: str | Path, data_stamp: str,
                          options: Mapping[str, Any]) -> CrossValidation:
    """Read the model directories of all folds.

    Parameters
    ----------
    folds_dir : str or Path
        Holds one for each fold of the data directory.
    data_dir : str or Path
    data_stamp : str
        Checksum of the data, as in FoldResults.
    options : dict
        Those of network and training that the final model has.

    Raises
    ------
    UserError
        A fold is not finished, or it was trained with other options or on other data.
    """
    folds = read_list(Path(data_dir, "folds", "list"))
    speakers = read_table(Path(data_dir, "utt2spk"), columns=2)
    shares = []
    reliabilities = []
    temperatures = []
    made_from = []
    labels = {}
    for fold in folds:
        # What the fold was made from
        directory = Path(folds_dir, fold)
        results = read_fold_results(directory, data_dir)
        config = load_emotion_config(directory)
        for key, value in options.items():
            if key not in _ITS_OWN and config["options"].get(key) != value:
                raise UserError(f"{directory}: was trained with {key} {config['options'].get(key)}, its final model is "
                                f"to have {value}; train both with the same options")
        if results.data_stamp != data_stamp:
            raise UserError(f"{directory}: was trained on other data than {data_dir} holds now; train it again "
                            "(run.sh: stage 5)")
        if results.reliability is None:
            raise UserError(f"{directory}: has no temperature, as a version before scored it; score it again: "
                            f"steps/score.py {directory} {data_dir}")
        # What came out
        share = _selected_share(directory, config["options"]["select"])
        shares.append(share)
        temperatures.append(read_temperature(directory))
        reliabilities.append(results.reliability)
        made_from.append([config["identity"], share, (directory / NAME).read_text(encoding="utf-8")])
        columns = 3 + len(results.test.classes)
        for utt, values in read_table(directory / "score" / "per_utt", columns=columns).items():
            reference, hypothesis, *_ = values.split()
            labels[utt] = results.test.classes.index(reference), results.test.classes.index(hypothesis)
    utts = sorted(labels)
    references, hypotheses = np.array([labels[utt] for utt in utts]).T
    return CrossValidation(
        folds, share=float(np.mean(shares)), temperature=float(np.exp(np.mean(np.log(temperatures)))),
        scored=Scored(references, hypotheses, np.array([speakers[utt] for utt in utts]), pooled(reliabilities)),
        identity=digest(made_from))


def _selected_share(model_dir: Path, select: str) -> float:
    """At which share of its epochs a training had the weights that were scored; raises UserError."""
    path = model_dir / "log" / "epochs.tsv"
    try:
        valid = np.loadtxt(path, skiprows=1, ndmin=2)[:, 3]
    except (OSError, ValueError, IndexError):
        raise UserError(f"{path}: is no log of epochs; train the fold again (run.sh: --stage 5)") from None
    return 1.0 if select == "last" else (int(valid.argmax()) + 1) / len(valid)


def conclude_final(model_dir: str | Path, data_dir: str | Path, folds: CrossValidation) -> str:
    """Write calibration.json, the model card README.md and, as the last, TRAINED of a final model.

    Parameters
    ----------
    model_dir, data_dir : str or Path
    folds : CrossValidation

    Returns
    -------
    str
        The line of TRAINED; it begins with %FINAL, as there is no score of this model.
    """
    model_dir = Path(model_dir)
    config = load_emotion_config(model_dir)
    trained = choices_of(config)
    data = FoldData.read(data_dir, FINAL)
    scored = folds.scored
    epochs = from_options(FinetuneConfig, config["options"]).epochs_for(len(data.parts["train"]))
    stop_epoch = folds.stop_epoch(epochs)
    write_temperature(model_dir, folds.temperature, part="geometric mean of the folds", folds=len(folds.folds))
    write_card(model_dir, config, trained.phrase, data, scored, folds.temperature, num_folds=len(folds.folds),
               stop_epoch=stop_epoch)
    wf1 = scores_of(confusion_matrix(scored.references, scored.hypotheses, len(data.classes))).wf1
    low, high = score_interval(scored.references, scored.hypotheses[None], scored.speakers)
    line = (f"%FINAL {len(data.parts['train'])} utterances of {len(data.training_speakers)} speakers [ epoch "
            f"{stop_epoch} of {epochs}, its {len(folds.folds)} folds have WF1 {wf1:.2f} CI95 {low:.1f}-{high:.1f}, "
            f"seed {trained.seed}, {trained.dataset} {trained.protocol}, {trained.words} ] {model_dir}\n")
    write_text(model_dir / "TRAINED", line)
    return line

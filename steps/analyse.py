#!/usr/bin/env python3
"""Probe fine-tuned models: what their spaces F, IN(F), R, F+ and F- tell about emotion and speaker.

Reads finished model directories and the data directory and pre-trained model that they were made from; writes
DIR/analysis/probes.tsv, silhouette.tsv and embeddings.npz (spaces as the network pools them). Everything is measured
twice: "before" on the weights that fine-tuning started from, "after" on those of the selected epoch. A model without
AD has the space F alone. A model that has been analysed is left as it is.
"""

import recipe_environment

import functools
import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from options import OptionParser, natural, run, str2bool
from ser.analysis.ad_features import PooledSpace, pooled_spaces, vectors_of
from ser.base.device import DEVICES, explain_out_of_memory, pick_device
from ser.base.errors import UserError
from ser.base.files import atomic_path, write_text
from ser.base.log import counted, log, progress
from ser.data.feature_bank import FeatureBank, load_bank
from ser.data.fold_data import FoldData
from ser.model_dir.emotion_model import load_emotion_model
from ser.model_dir.record import is_analysed
from ser.nn.models import EmotionModel
from ser.stats.probes import Probe, cross_probe, probe, silhouette
from ser.train.finetuning import finished_task, initial_model

Key = TypeVar("Key", str, tuple[str, str])
Outcome = TypeVar("Outcome")

PROBES = ("moment", "space", "pooling", "target", "accuracy", "chance", "n_train", "n_test")
DRAWN = ("before F", "after F", "after F+", "after F-")  # the panels of Figure 1
SILHOUETTES = ("moment", "space", "pooling", "label", "utterances", "silhouette", "n")


def all_utterances(data: FoldData) -> list[str]:
    """Those of train, valid and test, in this order."""
    return [utt for part in ("train", "valid", "test") for utt in data.parts[part]]


def measure(vectors: np.ndarray, data: FoldData) -> tuple[dict[str, Probe], dict[tuple[str, str], tuple[float, int]]]:
    """Probe vectors for emotion and speaker.

    Parameters
    ----------
    vectors : numpy.ndarray
        `[N, dimension]`, of all_utterances().
    data : FoldData

    Returns
    -------
    probes : dict of str to Probe
        By target. emotion: trained on the part train, tested on test. speaker: all speakers, trained on one half of
        the utterances and tested on the other. unseen-speaker: the same among the speakers of valid and test.
    silhouettes : dict of (str, str) to (float, int)
        By label and utterances (all, or unseen: those of valid and test), with the number of utterances.

    What the labels do not allow, since there are too few, is left out and logged.

    Raises
    ------
    UserError
        A vector is not finite.
    """
    if not np.isfinite(vectors).all():
        raise UserError("the network makes embeddings that are not finite; train it again with a smaller --lr")
    utts = all_utterances(data)
    emotions = [data.labels[utt] for utt in utts]
    speakers = [data.speakers[utt] for utt in utts]
    train = range(len(data.parts["train"]))
    test = range(len(utts) - len(data.parts["test"]), len(utts))
    unseen = slice(len(train), None)
    probes = measured(data.name, {
        "emotion": lambda: probe(vectors, emotions, train, test),
        "speaker": lambda: cross_probe(vectors, speakers),
        "unseen-speaker": lambda: cross_probe(vectors[unseen], speakers[unseen]),
    })
    silhouettes = measured(data.name, {
        (label, utterances): functools.partial(lambda part, targets: (silhouette(vectors[part], targets), len(targets)),
                                               part, targets[part])
        for label, targets in (("emotion", emotions), ("speaker", speakers))
        for utterances, part in (("all", slice(None)), ("unseen", unseen))})
    return probes, silhouettes


@functools.cache
def log_once(message: str) -> None:
    """log(), but not again for the next space."""
    log(message)


def measured(fold: str, measurements: Mapping[Key, Callable[[], Outcome]]) -> dict[Key, Outcome]:
    """The outcomes of what can be measured; the others are logged."""
    outcomes = {}
    for key, measure_it in measurements.items():
        try:
            outcomes[key] = measure_it()
        except UserError as error:
            log_once(f"{fold}: not measured: {key if isinstance(key, str) else ' '.join(key)}: {error}")
    return outcomes


class Embedder:
    """The pooled_spaces() of all utterances of a bank.

    The last outcome is returned again for the same weights and features: folds of a system often start from the same
    network.
    """

    def __init__(self) -> None:
        self._key: tuple[str, str] | None = None
        self._spaces: dict[str, PooledSpace] = {}

    def __call__(self, model: EmotionModel, bank: FeatureBank) -> dict[str, PooledSpace]:
        weights = hashlib.sha256(str(model.extractor).encode())  # which has poolings without weights, too
        for tensor in model.extractor.state_dict().values():
            weights.update(tensor.cpu().numpy().tobytes())
        key = weights.hexdigest(), bank.fingerprint()
        if self._key != key:
            self._spaces = pooled_spaces(model, bank, bank.indices(bank.utts))
            self._key = key
        return self._spaces


@explain_out_of_memory()
def analyse(model_dir: str, device: torch.device, embed_initial: Embedder) -> None:
    """Measure a model before and after fine-tuning and write MODEL_DIR/analysis; raises UserError."""
    # Data, and the model before and after.
    task = finished_task(model_dir)
    data = FoldData.read(task.data_dir, task.fold)
    utts = all_utterances(data)
    bank = load_bank(task.data_dir, sorted(utts), task.config.feature_norm, device)
    before, pretraining = initial_model(task, data, bank)
    after, config = load_emotion_model(model_dir, device)
    if pretraining.get("identity") != config["pretraining"].get("identity"):
        raise UserError(f"{model_dir}: {task.pretrained_dir} has changed since it was trained; train it again "
                        "(run.sh: --stage 5)")
    # Measurements.
    embeddings: dict[str, Any] = {"utts": np.array(utts)}
    probe_rows: list[tuple] = [PROBES]
    silhouette_rows: list[tuple] = [SILHOUETTES]
    order = bank.indices(utts).cpu()
    for moment, model, embed in (("before", before, embed_initial), ("after", after, Embedder())):
        spaces = {name: pooled.of(order) for name, pooled in embed(model, bank).items()}
        log(f"{model_dir}: {moment} fine-tuning: {counted(len(utts), 'utterance')} embedded in {', '.join(spaces)}")
        for space, pooling, vectors in progress(list(vectors_of(spaces)), desc=moment):
            if pooling == "network" and f"{moment} {space}" in DRAWN:
                embeddings[f"{moment} {space}"] = vectors
            try:
                probes, silhouettes = measure(vectors, data)
            except UserError as error:
                raise UserError(f"{model_dir}: {moment} {space}: {error}") from None
            probe_rows += [(moment, space, pooling, target, f"{p.accuracy:.2f}", f"{p.chance:.2f}", p.n_train, p.n_test)
                           for target, p in probes.items()]
            silhouette_rows += [(moment, space, pooling, label, utterances, f"{value:.4f}", n)
                                for (label, utterances), (value, n) in silhouettes.items()]
    # Files, probes.tsv last: is_analysed() looks for it.
    out = Path(model_dir) / "analysis"
    with atomic_path(out / "embeddings.npz") as temporary, open(temporary, "wb") as file:
        np.savez(file, **embeddings)
    for name, rows in (("silhouette.tsv", silhouette_rows), ("probes.tsv", probe_rows)):
        write_text(out / name, "".join("\t".join(map(str, row)) + "\n" for row in rows))


def main() -> int:
    parser = OptionParser(__doc__, "steps/analyse.py --device cpu --dir exp/resnet18_pretrain_ad/fold_Ses01M")
    parser.add_argument("--device", default="auto", choices=DEVICES, help="(default: auto)")
    parser.add_argument("--num-threads", type=natural, default=0,
                        help="CPU threads; 0 leaves torch's choice (default: 0)")
    parser.add_argument("--restart", type=str2bool, default=False, metavar="true|false",
                        help="measure again what is there (default: false)")
    parser.add_argument("--dir", required=True, action="append", help="model directory of steps/finetune.py; may be "
                        "given several times")
    args = parser.parse_args()
    device = pick_device(args.device, args.num_threads)
    embed_initial = Embedder()
    failed = 0
    for number, model_dir in enumerate(args.dir, 1):
        if is_analysed(model_dir) and not args.restart:
            log(f"already there: {model_dir}/analysis")
            continue
        try:
            analyse(model_dir, device, embed_initial)
            log(f"{number} of {len(args.dir)}: made {model_dir}/analysis")
        except (UserError, OSError) as error:
            failed += 1
            print(f"{parser.prog}: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)

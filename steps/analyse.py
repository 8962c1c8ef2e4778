#!/usr/bin/env python3
"""Probe fine-tuned models: what their spaces F, IN(F), R, F+ and F- tell about emotion and speaker.

Reads finished model directories and the data directory and pre-trained model that they were made from; writes
DIR/analysis/probes.tsv, silhouette.tsv and embeddings.npz (mean-pooled spaces, for figures). Everything is measured
twice: "before" on the weights that fine-tuning started from, "after" on those of the selected epoch. A model without
AD has the space F alone. A model that has been analysed is left as it is.
"""

import hashlib
from pathlib import Path

import numpy as np

from options import OptionParser, natural, run, str2bool
from ser.analysis.ad_features import pooled_spaces, vectors_of
from ser.base.device import DEVICES, explain_out_of_memory, pick_device
from ser.base.errors import UserError
from ser.base.files import atomic_path, write_text
from ser.base.log import log, progress
from ser.data.feature_bank import load_bank
from ser.data.fold_data import FoldData
from ser.model_dir.emotion_model import load_emotion_model
from ser.stats.probes import cross_probe, probe, silhouette
from ser.train.finetuning import finished_task, initial_model

PROBES = ("moment", "space", "pooling", "target", "accuracy", "chance", "n_train", "n_test")
DRAWN = ("before F", "after F", "after F+", "after F-")  # the panels of Figure 1
SILHOUETTES = ("moment", "space", "pooling", "label", "utterances", "silhouette", "n")


def measure(vectors, data):
    """Probe vectors for emotion and speaker.

    Parameters
    ----------
    vectors : numpy.ndarray
        `[N, dimension]`, of the utterances of train, valid and test, in this order.
    data : FoldData

    Returns
    -------
    probes : dict of str to Probe
        By target. emotion: trained on the part train, tested on test. speaker: all speakers, trained on one half of
        the utterances and tested on the other. unseen-speaker: the same among the speakers of valid and test.
    silhouettes : dict of (str, str) to (float, int)
        By label and utterances (all, or unseen: those of valid and test), with the number of utterances.
    """
    utts = [utt for part in ("train", "valid", "test") for utt in data.parts[part]]
    emotions, speakers = ([table[utt] for utt in utts] for table in (data.labels, data.speakers))
    num_train, num_test = len(data.parts["train"]), len(data.parts["test"])
    parts = {"all": slice(None), "unseen": slice(num_train, None)}
    probes = {
        "emotion": probe(vectors, emotions, range(num_train), range(len(utts) - num_test, len(utts))),
        "speaker": cross_probe(vectors, speakers),
        "unseen-speaker": cross_probe(vectors[parts["unseen"]], speakers[parts["unseen"]]),
    }
    silhouettes = {(label, name): (silhouette(vectors[part], table[part]), len(table[part]))
                   for label, table in (("emotion", emotions), ("speaker", speakers)) for name, part in parts.items()}
    return probes, silhouettes


def embed(model, bank, known):
    """The pooled_spaces() of all utterances of a bank.

    Parameters
    ----------
    model : EmotionModel
    bank : FeatureBank
    known : dict
        Holds the last outcome, which is returned again for the same weights and features: folds of a system often
        start from the same network.
    """
    weights = hashlib.sha256()
    for tensor in model.extractor.state_dict().values():
        weights.update(tensor.cpu().numpy().tobytes())
    key = weights.hexdigest(), bank.fingerprint()
    if known.get("key") != key:
        known.update(key=key, spaces=pooled_spaces(model, bank, bank.indices(bank.utts)))
    return known["spaces"]


@explain_out_of_memory()
def analyse(model_dir, device, known):
    """Measure a model before and after fine-tuning and write MODEL_DIR/analysis; `known` is embed()'s.

    Raises
    ------
    UserError
    """
    task = finished_task(model_dir)
    data = FoldData.read(task.data_dir, task.fold)
    utts = [utt for part in ("train", "valid", "test") for utt in data.parts[part]]
    bank = load_bank(task.data_dir, sorted(utts), task.config.feature_norm, device)
    before, start = initial_model(task, data, bank)
    after, config = load_emotion_model(model_dir, device)
    if start != config["pretraining"]:
        raise UserError(f"{model_dir}: {task.pretrained_dir} has changed since it was trained; train it again "
                        "(run.sh: --stage 5)")
    embeddings, probe_rows, silhouette_rows = {"utts": np.array(utts)}, [PROBES], [SILHOUETTES]
    order = bank.indices(utts).cpu()
    for moment, model in (("before", before), ("after", after)):
        pooled = embed(model, bank, known if moment == "before" else {})
        spaces = {name: rows[order] for name, rows in pooled.items()}
        log(f"{model_dir}: {moment} fine-tuning: {len(utts)} utterances embedded in {', '.join(spaces)}")
        for space, pooling, vectors in progress(list(vectors_of(spaces)), desc=moment):
            if pooling == "mean" and f"{moment} {space}" in DRAWN:
                embeddings[f"{moment} {space}"] = vectors
            probes, silhouettes = measure(vectors, data)
            probe_rows += [(moment, space, pooling, target, f"{p.accuracy:.2f}", f"{p.chance:.2f}", p.n_train, p.n_test)
                           for target, p in probes.items()]
            silhouette_rows += [(moment, space, pooling, label, which, f"{value:.4f}", n)
                                for (label, which), (value, n) in silhouettes.items()]
    out = Path(model_dir) / "analysis"
    with atomic_path(out / "embeddings.npz") as temporary, open(temporary, "wb") as file:
        np.savez(file, **embeddings)
    for name, rows in (("silhouette.tsv", silhouette_rows), ("probes.tsv", probe_rows)):
        write_text(out / name, "".join("\t".join(map(str, row)) + "\n" for row in rows))


def is_analysed(model_dir):
    return (Path(model_dir) / "analysis" / "probes.tsv").exists()  # written last


def main():
    parser = OptionParser(__doc__, "steps/analyse.py --device cpu --dir exp/resnet18_pretrain_ad/fold_Ses01M")
    parser.add_argument("--device", default="auto", choices=DEVICES, help="(default: auto)")
    parser.add_argument("--num-threads", type=natural, default=0,
                        help="CPU threads; 0 leaves torch's choice (default: 0)")
    parser.add_argument("--restart", type=str2bool, default=False, metavar="true|false",
                        help="measure again what is there (default: false)")
    parser.add_argument("--dir", required=True, action="append", help="model directory of steps/finetune.py; may be "
                        "given several times")
    args = parser.parse_args()
    device, known = pick_device(args.device, args.num_threads), {}
    for model_dir in args.dir:
        if is_analysed(model_dir) and not args.restart:
            log(f"already there: {model_dir}/analysis")
        else:
            analyse(model_dir, device, known)
            log(f"made {model_dir}/analysis")


if __name__ == "__main__":
    run(main)

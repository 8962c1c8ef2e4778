"""Scores of a trained emotion model on the test speakers of its fold, as files and as a result line."""

import re
from dataclasses import asdict
from pathlib import Path

from ser.base.errors import UserError
from ser.base.files import write_text
from ser.data.feature_bank import load_bank
from ser.data.fold_data import FoldData
from ser.infer.posteriors import posteriors
from ser.model_dir.emotion_model import load_emotion_model
from ser.model_dir.finetune_config import FinetuneConfig
from ser.model_dir.model_card import write_card
from ser.nn.models import EmotionModelConfig
from ser.stats.metrics import confusion_matrix, scores_of


def choices(config):
    """The open points of the paper as this model took them, in one comma-free phrase for the result line."""
    options = {**asdict(EmotionModelConfig()), **asdict(FinetuneConfig()), **config["options"]}
    energy = re.search(r"^--use-energy=true", config["features"].get("fbank.conf", ""), re.MULTILINE)
    words = [options["backbone"], f"ad {options['ad_after'].replace(',', '+')}"]
    if options["ad_after"] != "none":
        words.append(f"{options['attention']} head {options['ad_head']}")
        words += [f"lambda {options['ad_weight']}"] if options["ad_weight"] != FinetuneConfig.ad_weight else []
        words += [f"ad-loss {options['ad_loss']}"] if options["ad_loss"] != "both" else []
    if options["pretrained_dir"]:
        words.append(f"pretrain {config['pretraining']['dataset']} {config['pretraining']['num_speakers']} spk")
    words += [f"train {options['train_extractor']}"] if options["train_extractor"] != "all" else []
    words += [f"adversary {options['adversary_weight']}"] if options["adversary_weight"] else []
    words += [f"{options['augment']} {options['neutral_class']}"] if options["augment"] != "none" else []
    words += [f"{config['dimension'] - 1}mel+energy" if energy else f"{config['dimension']}mel",
              f"norm {options['feature_norm']}", f"crop {options['crop']}", f"weights {options['class_weights']}",
              f"{options['epochs']} epochs", f"select {options['select']}"]
    return " ".join(words)


def result_line(confusion, what, config, where):
    """The line that users grep: `%WF1 x [ correct / total correct, UA y, WA z, … ] where`."""
    scores = scores_of(confusion)
    return (f"%WF1 {scores.wf1:.2f} [ {scores.correct} / {scores.total} correct, UA {scores.ua:.2f}, "
            f"WA {scores.wa:.2f}, {what}, seed {config['options']['seed']}, "
            f"{config['dataset']} {config['protocol']}, {choices(config)} ] {where}\n")


def score(model_dir, data_dir, device):
    """Score the test part of a model's fold; write score/per_utt (`utt ref hyp p1 … pK`, in the order of
    score/classes), the model card README.md, and at last RESULT.

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
    """
    model_dir = Path(model_dir)
    model, config = load_emotion_model(model_dir, device)
    data = FoldData.read(data_dir, config["options"]["fold"])
    if data.classes != config["classes"]:
        raise UserError(f"{data_dir}/utt2emo: has the labels {' '.join(data.classes)}, "
                        f"{model_dir} was trained with {' '.join(config['classes'])}")
    if set(data.training_speakers) != set(config["training_speakers"]):
        raise UserError(f"{data_dir}/folds/{data.name}: is not the fold that {model_dir} was trained on")
    utts = data.parts["test"]
    bank = load_bank(data_dir, utts, config["options"]["feature_norm"], device)
    if bank.dimension != config["dimension"]:
        raise UserError(f"{data_dir}/feats.scp: has dimension {bank.dimension}, "
                        f"{model_dir} takes {config['dimension']}")
    probabilities = posteriors(model, bank, bank.indices(utts))
    hypotheses, references = probabilities.argmax(1), data.emotions(utts)
    lines = []
    for utt, reference, hypothesis, row in zip(utts, references, hypotheses, probabilities.tolist(), strict=True):
        lines.append(f"{utt} {data.classes[reference]} {data.classes[hypothesis]} "
                     + " ".join(f"{p:.6f}" for p in row) + "\n")
    write_text(model_dir / "score" / "per_utt", "".join(lines))
    write_text(model_dir / "score" / "classes", "".join(f"{name}\n" for name in data.classes))
    fold = data.name.removeprefix("fold_")
    write_card(model_dir, config, choices(config), data, references.numpy(), hypotheses.numpy())
    line = result_line(confusion_matrix(references, hypotheses, len(data.classes)), f"fold {fold}", config, model_dir)
    write_text(model_dir / "RESULT", line)
    return line

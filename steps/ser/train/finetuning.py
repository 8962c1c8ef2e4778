"""Fine-tuning of one fold (section 4.2): from a data directory to a model directory with weights."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ser.base.conf import from_options
from ser.base.device import place
from ser.base.errors import UserError
from ser.data.data_dir import read_dataset
from ser.data.feature_bank import FeatureBank, load_bank
from ser.data.fold_data import FoldData
from ser.data.folds import FINAL
from ser.data.normalization import corpus_statistics
from ser.infer.choices import FINETUNING, options_digest
from ser.infer.posteriors import posteriors
from ser.model_dir.checkpoint import load_config, load_tensors
from ser.model_dir.data_stamp import stamp_data
from ser.model_dir.emotion_config import load_emotion_config, require_held_out
from ser.model_dir.finetune_config import FinetuneConfig
from ser.model_dir.record import (
    begin_model_dir,
    data_changes_since,
    feature_configuration,
    is_done,
    require_own,
)
from ser.nn.losses import overall_loss, speaker_loss
from ser.nn.models import EmotionModel
from ser.nn.options import EmotionModelConfig
from ser.stats.metrics import confusion_matrix, scores_of
from ser.train.augmentation import augmented
from ser.train.copypaste import CopyPaste
from ser.train.schedules import step_decay, warmup_cosine
from ser.train.task import Task
from ser.train.trainer import Plan, Trainer


def finished_task(model_dir: str | Path) -> Task:
    """The Task that a finished model directory was made from.

    Raises
    ------
    UserError
        The training is not finished, or the data is no longer what it was.
    """
    config = load_emotion_config(model_dir)
    require_held_out(model_dir, config)
    options = config["options"]
    if not (Path(model_dir) / "RESULT").exists():
        raise UserError(f"{model_dir}/RESULT: not there; train the model first (run.sh: stage 5)")
    data = stamp_data(options["data_dir"], f"folds/{options['fold']}", options["feature_norm"])
    changes = data_changes_since(config, data)
    if changes:
        raise UserError(f"{model_dir}: {options['data_dir']} has changed since it was trained: {', '.join(changes)}; "
                        "train it again (run.sh: stage 5)")
    return Task(model_dir=str(model_dir), data_dir=options["data_dir"], fold=options["fold"],
                model=from_options(EmotionModelConfig, options), config=from_options(FinetuneConfig, options),
                pretrained_dir=options["pretrained_dir"], seed=options["seed"])


def finetune(task: Task, *, device: torch.device, precision: str, restart: bool, fast: bool = True,
             save_every: float = 10.0) -> Trainer | None:
    """Train one fold, of whose test speakers no feature or label is used, or a final model.

    Parameters
    ----------
    task : Task
    device : torch.device
    precision : str
        `bf16` or `fp32`.
    restart : bool
        Begin again whatever the directory holds.
    fast : bool
        As in Plan.
    save_every : float
        Seconds between two states to resume from.

    Returns
    -------
    Trainer or None
        The finished trainer, whose state is to be forgotten once the scores are written; None when
        the directory already holds the RESULT of these options.

    Raises
    ------
    UserError
        Data, options or what the directory holds do not fit together.
    """
    # Options, and whether they are done.
    config = task.config
    made_from = task.made_from()
    require_own(task.model_dir)
    if not restart and is_done(task.model_dir, made_from):
        return None

    # Data.
    data = FoldData.read(task.data_dir, task.fold)
    bank = load_bank(task.data_dir, data.parts["train"] + data.parts["valid"], config.feature_norm, device)
    train = bank.indices(data.parts["train"])
    valid = bank.indices(data.parts["valid"])
    emotions = torch.from_numpy(data.emotions(bank.utts)).to(device)
    speakers = torch.from_numpy(data.speaker_targets(bank.utts)).to(device)
    crop_source = augmented(bank, config.augment,
                            {"copypaste": lambda source: CopyPaste(source, bank, data, config.neutral_class)})

    # Model.
    model, pretraining = initial_model(task, data, bank)

    # Loss of section 3.1.3, and WF1 on the validation part.
    num_classes = len(data.classes)
    class_weights = None
    if config.class_weights == "balanced":
        class_weights = _balanced_weights(emotions[train], num_classes)

    def loss(model: nn.Module, features: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        logits, dual, adversary = model(features)
        total = overall_loss(logits, dual, emotions[positions], speakers[positions], config.ad_weight, class_weights,
                             config.ad_loss, config.label_smoothing)
        return total if adversary is None else total + speaker_loss(adversary, speakers[positions])

    def validate() -> float:
        hypotheses = posteriors(model, bank, valid, precision).argmax(1)
        return scores_of(confusion_matrix(emotions[valid].cpu(), hypotheses, num_classes)).wf1

    # A final model has no validation part, and stops where the folds were best.
    epochs = config.epochs_for(len(train))
    stop_epoch = task.cross_validation().stop_epoch(epochs) if task.fold == FINAL else epochs

    # What the model is made from. Only now is removed what stood in its place.
    features = feature_configuration(task.data_dir)
    begin_model_dir(task.model_dir, made_from, restart=restart, precision=precision, device=device,
                    classes=data.classes, training_speakers=data.training_speakers, dimension=bank.dimension,
                    dataset=read_dataset(task.data_dir), protocol=data.protocol, features=features,
                    pretraining=pretraining, utterances={part: len(utts) for part, utts in data.parts.items()},
                    options_digest=options_digest(made_from.options, FINETUNING, features, precision, pretraining))

    # Training.
    schedule = step_decay(config.milestones, config.lr_decay)
    if config.lr_schedule == "cosine":
        schedule = warmup_cosine(warmup=0.05)
    plan = Plan(epochs=epochs, stop_epoch=stop_epoch, batch_size=config.batch_size, crop=config.crop, seed=task.seed,
                learning_rates={"": config.lr, "extractor.": config.lr * config.extractor_lr_factor,
                                "extractor.ad.": config.lr * config.ad_lr_factor},
                schedule=schedule, precision=precision, fast=fast, save_every=save_every,
                weight_decay=config.weight_decay)
    trainer = Trainer(model=model, bank=crop_source, positions=train, loss=loss,
                      validate=None if task.fold == FINAL else validate, plan=plan, model_dir=task.model_dir,
                      identity=made_from.identity(precision))
    trainer.run()
    return trainer


def initial_model(task: Task, data: FoldData, bank: FeatureBank) -> tuple[EmotionModel, dict[str, Any]]:
    """Build the network of a Task as it is before the first step of training.

    Parameters
    ----------
    task : Task
    data : FoldData
    bank : FeatureBank
        Holds at least the utterances that train; its device is the model's.

    Returns
    -------
    model : EmotionModel
    pretraining : dict
        Identity, dataset, num_speakers, seed, data_stamp and options_digest of the pre-training; empty for an extractor
        that starts at random.

    Raises
    ------
    UserError
        The pre-trained model does not fit.
    """
    torch.manual_seed(task.seed)
    model = EmotionModel(task.model, bank.dimension, len(data.classes), len(data.training_speakers))
    pretraining = {}
    if task.pretrained_dir:
        pretraining = _load_extractor(model, task, task.pretrained_dir)
    place(model, bank.device)
    if task.config.feature_norm == "corpus":
        model.extractor.set_feature_statistics(*corpus_statistics(bank, bank.indices(data.parts["train"])))
    return model, pretraining


def _balanced_weights(emotions: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Weights of the classes with which each counts alike, `[num_classes]`."""
    counts = torch.bincount(emotions, minlength=num_classes).clamp(min=1)
    return counts.sum() / (num_classes * counts.float())


def _load_extractor(model: EmotionModel, task: Task, pretrained_dir: str) -> dict[str, Any]:
    """Copy a speaker model's extractor into an emotion model; return what initial_model() says of it."""
    task.require_fitting_start()
    pretrained = load_config(pretrained_dir)
    # Its weights: all of an extractor but AD modules, their poolings and adapters. Another kind of pooling starts anew.
    # Weights in float16, as they are passed on, become float32 where load_state_dict() copies them.
    tensors, _ = load_tensors(f"{pretrained_dir}/best.safetensors")
    extractor = {name.removeprefix("extractor."): tensor for name, tensor in tensors.items()
                 if name.startswith("extractor.")}
    if pretrained["options"].get("pooling", "mean") != task.model.pooling:  # a version before had no other
        extractor = {name: tensor for name, tensor in extractor.items() if not name.startswith("pools.")}
    try:
        missing, unexpected = model.extractor.load_state_dict(extractor, strict=False)
    except RuntimeError:  # a tensor of another shape
        raise UserError(f"{pretrained_dir}: takes features of dimension {pretrained['dimension']}, those of "
                        f"{task.data_dir} have {len(model.extractor.get_buffer('feature_mean'))}; "
                        "pre-train again on such features") from None
    if unexpected or any(not name.startswith(("ad.", "pools.")) and ".adapter." not in name for name in missing):
        raise UserError(f"{pretrained_dir}/best.safetensors: does not fit the extractor {task.model.backbone}")
    return {**{key: pretrained[key] for key in ("identity", "dataset", "num_speakers")},
            **{key: pretrained["options"][key] for key in ("seed", "data_stamp")},
            "options_digest": pretrained.get("options_digest")}  # one of a version before has none

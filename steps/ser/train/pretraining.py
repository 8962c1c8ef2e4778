"""Speaker pre-training (section 2): an extractor that tells the speakers of a corpus apart."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ser.base.device import explain_out_of_memory, place
from ser.base.errors import UserError
from ser.base.files import write_text
from ser.base.log import log
from ser.base.processes import is_main, rank, world_size
from ser.data.data_dir import read_dataset, read_list, read_table
from ser.data.feature_bank import load_bank
from ser.data.folds import read_identification
from ser.data.normalization import corpus_statistics
from ser.infer.choices import choices_of, options_digest
from ser.infer.posteriors import posteriors
from ser.infer.results_file import NAME, PretrainResults, pretraining_line, write_results
from ser.infer.verification import held_out_eer
from ser.model_dir.checkpoint import load_config
from ser.model_dir.record import begin_model_dir, feature_configuration, is_done, require_own
from ser.nn.margin_softmax import angular_margin_loss
from ser.nn.models import SpeakerModel
from ser.train.augmentation import augmented
from ser.train.distributed import broadcast, total
from ser.train.pretrain_config import PretrainConfig
from ser.train.schedules import warmup_cosine
from ser.train.trainer import Plan, Trainer

# Crops that several GPUs must have to train on: with fewer, meeting takes them longer than they save.
WORTH_SEVERAL = 200_000


def is_too_small(data_dir: str | Path, config: PretrainConfig) -> bool:
    """Whether several GPUs would take longer than one; raises UserError when there is no list of utterances."""
    return config.epochs * len(read_list(Path(data_dir) / "identification" / "train")) < WORTH_SEVERAL


@explain_out_of_memory()
def pretrain(model_dir: str | Path, data_dir: str | Path, config: PretrainConfig, *, seed: int, device: torch.device,
             precision: str, restart: bool, fast: bool = True, save_every: float = 10.0) -> bool:
    """Train a speaker model on data_dir/identification/train; measure identification and verification on …/valid.

    Inside ser.train.distributed.group() it is called by every process; the first one writes.

    Parameters
    ----------
    model_dir, data_dir : str or Path
    config : PretrainConfig
    seed : int
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
    bool
        False when the directory already holds the RESULT of these options.

    Raises
    ------
    UserError
        Data, options or what the directory holds do not fit together.
    """
    # Options, and whether they are done.
    made_from = config.made_from(data_dir, seed)
    require_own(model_dir)
    if broadcast(is_main() and not restart and is_done(model_dir, made_from)):
        return False

    # Data.
    utt2spk = read_table(Path(data_dir) / "utt2spk", columns=2)
    parts = read_identification(Path(data_dir) / "identification", utt2spk)
    training_speakers = sorted({utt2spk[utt] for utt in parts["train"]})
    if len(training_speakers) < 2:
        raise UserError(f"{data_dir}: pre-training needs 2 or more speakers, found {len(training_speakers)}")
    bank = load_bank(data_dir, parts["train"] + parts["valid"], config.feature_norm, device, np.float16)
    train = bank.indices(parts["train"])
    valid = bank.indices(parts["valid"])
    target_of = {speaker: target for target, speaker in enumerate(training_speakers)}
    speakers = torch.tensor([target_of[utt2spk[utt]] for utt in bank.utts], device=device)

    # Model.
    torch.manual_seed(seed)
    model = SpeakerModel(config.backbone, bank.dimension, len(training_speakers), config.pooling,
                         is_cosine=config.margin > 0)
    place(model, device)
    if config.feature_norm == "corpus":
        model.extractor.set_feature_statistics(*corpus_statistics(bank, train))

    # Loss, and accuracy on the held-out utterances.
    def loss(model: nn.Module, features: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        scores = model(features)
        if config.margin:
            return angular_margin_loss(scores, speakers[positions], config.margin)
        return cross_entropy(scores.float(), speakers[positions])

    def validate() -> float:
        mine = valid[rank()::world_size()]
        correct = torch.zeros((), device=device)
        if len(mine):
            correct += (posteriors(model, bank, mine, precision).argmax(1) == speakers[mine].cpu()).sum().to(device)
        return 100 * float(total(correct)) / len(valid)

    # What the model is made from. Only now is removed what stood in its place.
    features = feature_configuration(data_dir)
    if is_main():
        begin_model_dir(model_dir, made_from, restart=restart, precision=precision, device=device,
                        num_speakers=len(training_speakers), dimension=bank.dimension, dataset=read_dataset(data_dir),
                        features=features, utterances={part: len(utts) for part, utts in parts.items()},
                        options_digest=options_digest(made_from.options, (PretrainConfig,), features, precision, {}))

    # Training.
    plan = Plan(epochs=config.epochs, batch_size=config.batch_size, crop=config.crop, seed=seed,
                learning_rates={"": config.lr}, schedule=warmup_cosine(config.warmup), precision=precision, fast=fast,
                save_every=save_every, weight_decay=config.weight_decay, global_batch=config.global_batch,
                sync_batch_norm=config.sync_batch_norm)
    trainer = Trainer(model=model, bank=augmented(bank, config.augment, {}), positions=train, loss=loss,
                      validate=validate, plan=plan, model_dir=model_dir,
                      identity=made_from.identity(precision) + config.of_processes())
    trainer.run()

    # Score.
    if is_main():
        trained = choices_of(load_config(model_dir), (PretrainConfig,), protocol="identification")
        model.load_state_dict(trainer.best_weights)
        eer, trials = held_out_eer(model, bank, valid, speakers[valid].cpu())
        if eer is None:
            log("no equal error rate: no speaker has two held-out utterances, or all are of one speaker")
        results = PretrainResults(trained, made_from.data.of_data, trainer.best, len(valid), len(training_speakers),
                                  eer, trials)
        write_results(Path(model_dir) / NAME, results)
        line = pretraining_line(results, model_dir)
        log(line.strip())
        write_text(Path(model_dir) / "RESULT", line)
        trainer.forget_state()
    return True

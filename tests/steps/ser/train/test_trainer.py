"""The training loop against a loop of plain torch that takes the same batches, and what it keeps of the epochs."""

import copy
import sys
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from ser.base.errors import UserError
from ser.data.feature_bank import FeatureBank
from ser.model_dir.checkpoint import load_tensors
from ser.train.schedules import step_decay, warmup_cosine
from ser.train.trainer import Plan, Trainer

EPOCHS, COUNT, BATCH, CROP, DIMENSION = 4, 10, 4, 6, 3
STEPS = 3  # 4 + 4 + 2 utterances
LENGTHS = range(20, 20 + COUNT)
FRAMES = np.random.default_rng(0).standard_normal((sum(LENGTHS), DIMENSION)).astype(np.float32)
TARGETS = torch.arange(COUNT) % 2
TAKEN = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
RATES = {"": 0.1, "extractor": 0.01, "extractor.norm": 0.03}

Batch = namedtuple("Batch", "positions features is_training autocast")


class Network(nn.Module):
    """Batch normalization and a linear classifier of the mean frame; no weight's gradient is rounding alone."""

    def __init__(self):
        super().__init__()
        self.extractor = nn.ModuleDict({"layer": nn.Linear(DIMENSION, 5, bias=False), "norm": nn.BatchNorm1d(5)})
        self.classifier = nn.Linear(5, 2)

    def forward(self, features):
        return self.classifier(self.extractor["norm"](self.extractor["layer"](features.mean(1))))


class Training:
    """A Trainer of a Network, the batches that its loss got, and what its validation saw."""

    def __init__(self, model_dir, scores=(1, 2, 3, 4), rates=RATES, identity="id", **plan):
        torch.manual_seed(0)
        self.model = Network().eval()
        self.start = copy.deepcopy(self.model)
        self.batches = []
        self.asked = []
        self.validated = []
        self.scores = iter(scores)
        options = {"epochs": EPOCHS, "batch_size": BATCH, "crop": CROP, "seed": 0, "precision": "fp32", "fast": True,
                   "save_every": 1e9, "schedule": self.schedule, **plan}
        self.trainer = Trainer(model=self.model, bank=FeatureBank("abcdefghij", LENGTHS, FRAMES), positions=TAKEN,
                               loss=self.loss, validate=self.validate, model_dir=model_dir, identity=identity,
                               plan=Plan(learning_rates=rates, **options))

    def schedule(self, epoch, progress):
        self.asked.append((epoch, progress))
        return 1 / (1 + 3 * progress)

    def loss(self, model, features, positions):
        self.batches.append(Batch(positions, features.clone(), model.training, torch.is_autocast_enabled("cpu")))
        return nn.functional.cross_entropy(model(features).float(), TARGETS[positions])

    def validate(self):
        self.validated.append(copy.deepcopy(self.model.state_dict()))
        score = next(self.scores)
        if score is None:
            raise KeyboardInterrupt
        return score

    def run(self):
        self.trainer.run()
        return self


def same(weights, others):
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def epochs_of(batches):
    return [batches[first : first + STEPS] for first in range(0, len(batches), STEPS)]


def crops_of(batches):
    """Crop of each utterance, from the batches of an epoch."""
    return {int(position): crop for batch in batches
            for position, crop in zip(batch.positions, batch.features, strict=True)}


def start_of(crop, position):
    """The frame of an utterance at which a crop begins."""
    own = torch.from_numpy(FRAMES)[sum(LENGTHS[:position]) : sum(LENGTHS[: position + 1])].unfold(0, CROP, 1)
    start, = torch.nonzero((own.transpose(1, 2) == crop).all((1, 2))).flatten().tolist()
    return start


def test_weights_and_losses_are_those_of_a_plain_loop(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch._dynamo", None)  # so that its import fails, which takes a second
        training = Training(tmp_path).run()
    model = training.start.train()
    groups = {"classifier": 0.1, "extractor.layer": 0.01, "extractor.norm": 0.03}
    optimizer = torch.optim.Adam([{"params": list(model.get_submodule(name).parameters())} for name in groups])
    losses = []
    for step, batch in enumerate(training.batches):
        for group, rate in zip(optimizer.param_groups, groups.values(), strict=True):
            group["lr"] = rate / (1 + 3 * step / (EPOCHS * STEPS))
        loss = nn.functional.cross_entropy(model(batch.features), TARGETS[batch.positions])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item() * len(batch.positions))
    for name, tensor in model.state_dict().items():
        assert torch.allclose(training.model.state_dict()[name], tensor, atol=1e-6), name
    means = np.reshape(losses, (EPOCHS, STEPS)).sum(1) / COUNT
    table = [line.split("\t") for line in (tmp_path / "log" / "epochs.tsv").read_text().splitlines()]
    assert table[0] == ["epoch", "step", "loss", "valid"]
    rows = [[float(word) for word in row] for row in table[1:]]
    assert rows == [[epoch, 3 * epoch, pytest.approx(loss, abs=2e-6), epoch] for epoch, loss in enumerate(means, 1)]


def test_every_epoch_takes_each_utterance_once_in_another_order_and_other_crops(tmp_path):
    training = Training(tmp_path / "a").run()
    epochs = epochs_of(training.batches)
    assert len(epochs) == EPOCHS and all(batch.is_training for batch in training.batches)
    orders = [tuple(torch.cat([batch.positions for batch in epoch]).tolist()) for epoch in epochs]
    assert all([len(batch.positions) for batch in epoch] == [4, 4, 2] for epoch in epochs)
    assert len(set(orders)) == EPOCHS and all(sorted(order) == TAKEN.tolist() for order in orders)
    crops = [crops_of(epoch) for epoch in epochs]
    for position in range(COUNT):
        assert len({start_of(crop[position], position) for crop in crops}) > 1
    # An example's place in the batch does not say where its crop begins.
    for row in range(BATCH):
        examples = [(int(batch.positions[row]), batch.features[row]) for batch in training.batches
                    if row < len(batch.positions)]
        starts = np.array([start_of(crop, position) for position, crop in examples])
        places = np.array([LENGTHS[position] - CROP + 1 for position, _ in examples])
        assert (starts / places).max() > ((starts + 1) / places).min()
    again, other = (epochs_of(Training(tmp_path / f"seed{seed}", seed=seed).run().batches)[0] for seed in (0, 1))
    assert all(torch.equal(*pair) for pair in zip(crops_of(again).values(), crops[0].values(), strict=True))
    assert [batch.positions.tolist() for batch in other] != [batch.positions.tolist() for batch in epochs[0]]


def test_the_schedule_is_asked_at_every_step(tmp_path):
    training = Training(tmp_path).run()
    assert training.asked == [(1 + step // STEPS, pytest.approx(step / (EPOCHS * STEPS)))
                              for step in range(EPOCHS * STEPS)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_loss_is_computed_in_the_precision(precision, tmp_path):
    batches = Training(tmp_path, precision=precision).run().batches
    assert {batch.autocast for batch in batches} == {precision == "bf16"}


def test_the_first_of_the_best_epochs_and_the_last_are_kept(tmp_path):
    training = Training(tmp_path, scores=(3, 5, 5, 4)).run()
    best, last = (load_tensors(tmp_path / f"{name}.safetensors")[0] for name in ("best", "last"))
    assert same(best, training.validated[1]) and same(last, training.validated[3])
    assert not same(best, last) and training.trainer.best == 5


@pytest.mark.parametrize("scores, end", [((3, 5, None), (4, 1)), ((5, 3, None), (4, 1)), ((1, None), (2, 3, 1))])
def test_a_killed_training_ends_as_a_whole_one(scores, end, tmp_path):
    whole = Training(tmp_path / "whole", scores=(*scores[:-1], *end)).run()
    with pytest.raises(KeyboardInterrupt):
        Training(tmp_path / "m", scores=scores, save_every=0).run()
    for leftover in (".tmpab12_x", ".best.safetensors.12"):
        (tmp_path / "m" / leftover).touch()
    training = Training(tmp_path / "m", scores=end).run()
    assert training.asked == whole.asked[-len(training.asked):] and len(training.asked) == STEPS * len(end)
    for name in ("best.safetensors", "last.safetensors", "log/epochs.tsv"):
        assert (tmp_path / "m" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert not list((tmp_path / "m").glob(".*"))
    training.trainer.forget_state()
    assert not (tmp_path / "m" / "state.safetensors").exists()


def test_the_state_is_kept_only_so_often(tmp_path):
    Training(tmp_path).run()
    assert not (tmp_path / "state.safetensors").exists()


def test_the_state_of_something_else_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        Training(tmp_path, scores=(1, None), save_every=0).run()
    with pytest.raises(UserError, match="state.safetensors: made from other data or options; remove "):
        Training(tmp_path, identity="other").run()


def test_a_loss_that_is_not_finite_is_said(tmp_path):
    with pytest.raises(UserError, match="the loss is (nan|inf) in epoch 2; lower --lr"):
        Training(tmp_path, schedule=lambda epoch, progress: 1.0 if epoch == 1 else float("inf")).run()


def test_what_does_not_learn_is_not_the_optimizers(tmp_path):
    training = Training(tmp_path)
    training.model.extractor["layer"].requires_grad_(False)
    trainer = Trainer(training.model, training.trainer.bank, TAKEN, training.loss, training.validate,
                      training.trainer.plan, tmp_path, "id")
    learning = {id(parameter) for group in trainer.optimizer.param_groups for parameter in group["params"]}
    assert learning == {id(parameter) for name, parameter in training.model.named_parameters() if "layer" not in name}


def test_step_decay_counts_epochs_from_1():
    factors = [step_decay([2, 4], 0.5)(epoch, 0.9) for epoch in (1, 2, 3, 4, 5)]
    assert factors == [1, 0.5, 0.5, 0.25, 0.25]


def test_warm_up_rises_linearly_and_a_cosine_falls_to_zero():
    scale = warmup_cosine(0.2)
    assert [scale(9, progress) for progress in (0, 0.05, 0.1, 0.2)] == pytest.approx([0, 0.25, 0.5, 1])
    halves = scale(1, 0.2 + 0.8 / 3), scale(1, 0.6), scale(1, 1.0)
    assert halves == pytest.approx([0.75, 0.5, 0])  # cosines of 60, 90 and 180 degrees

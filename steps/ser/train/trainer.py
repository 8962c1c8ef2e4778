"""The training loop of both networks: epochs, validation, the best weights, and resuming.

Whatever is random in an epoch is drawn from the seed and the epoch's number, so the state to resume
from is weights, optimizer and history. A killed run repeats the epoch it was in and ends with the
same weights.

Several processes (ser.train.distributed) draw the same batches, each works on its share, and the first one
validates, logs and saves. What they train is what one process would train, up to rounding.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from ser.base.errors import UserError
from ser.base.files import write_text
from ser.base.log import log, progress
from ser.base.processes import is_main, rank, world_size
from ser.model_dir.checkpoint import load_tensors, save_tensors
from ser.train import distributed
from ser.train.prefetch import prefetch
from ser.train.step import Adam, TrainingStep


@dataclass(frozen=True)
class Plan:
    """What a training run needs to know beside the network.

    Attributes
    ----------
    epochs : int
    batch_size : int
        Of all processes together.
    crop : int
        Frames of a training crop.
    seed : int
    learning_rates : dict of str to float
        By the first part of a parameter's name; the longest matching name counts.
    schedule : callable
        `(epoch, progress)` to a factor on the learning rates; progress is the share of steps done.
    precision : str
        `bf16` or `fp32`.
    save_every : float
        Seconds between two states to resume from.
    """

    epochs: int
    batch_size: int
    crop: int
    seed: int
    learning_rates: dict
    schedule: object
    precision: str
    save_every: float


class Trainer:
    """Train a model on crops from a bank.

    Parameters
    ----------
    model : torch.nn.Module
        On the bank's device.
    bank : FeatureBank
        Or what has its crops() and device, as CopyPaste does.
    positions : torch.Tensor
        Of the training utterances.
    loss : callable
        `(model, features [B, crop, dimension], positions [B])` to a scalar, a mean over the batch.
    validate : callable
        No argument; percent, higher is better. It leaves the model in the mode in which it was.
    plan : Plan
    model_dir : str or Path
    identity : str
        Names data and options; a state made from others is refused.
    """

    def __init__(self, model, bank, positions, loss, validate, plan, model_dir, identity):
        self.model, self.bank, self.which = model, bank, positions
        self.loss, self.validate, self.plan = loss, validate, plan
        self.model_dir, self.identity = Path(model_dir), identity
        self.state_path = self.model_dir / "state.safetensors"
        self.parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self.captured = bank.device.type == "cuda" and world_size() == 1
        groups = self._groups()
        self.rates = [group["lr"] for group in groups]
        if self.captured:  # a graph reads the rates of its step from memory
            groups = [{**group, "lr": torch.tensor(group["lr"], device=bank.device)} for group in groups]
        self.optimizer = Adam(groups, fused=True, capturable=self.captured)
        self.epoch, self.history, self.best, self.best_weights = 0, [], float("-inf"), {}

    def _groups(self):
        groups = {}
        for name, parameter in self.parameters.items():
            prefix = max((key for key in self.plan.learning_rates if name.startswith(key)), key=len)
            groups.setdefault(prefix, []).append(parameter)
        return [{"params": parameters, "lr": self.plan.learning_rates[prefix]}
                for prefix, parameters in groups.items()]

    @property
    def steps_per_epoch(self):
        return -(-len(self.which) // self.plan.batch_size)

    def run(self):
        """Train from the beginning or from the saved state; write best and last weights and the history.

        Raises
        ------
        UserError
            The saved state belongs to other data or options, or the loss is not finite.
        """
        self._resume()
        self.step = TrainingStep(distributed.distribute(self.model), self.loss, self.optimizer, self.plan.precision,
                                 self.captured)
        self.model.train()
        saved = time.monotonic()
        epochs = range(self.epoch + 1, self.plan.epochs + 1)
        for epoch in progress(epochs, initial=self.epoch, total=self.plan.epochs, unit="epoch"):
            started = time.monotonic()
            loss = self._train_epoch(epoch)
            speed = len(self.which) / (time.monotonic() - started)
            self.epoch = epoch
            if not is_main():
                continue
            score = self.validate()
            if score > self.best:
                self.best, self.best_weights = score, self._weights()
            self.history.append([epoch, epoch * self.steps_per_epoch, loss, score])
            log(f"epoch {epoch}/{self.plan.epochs} step {epoch * self.steps_per_epoch} loss {loss:.4f} "
                f"valid {score:.2f} best {self.best:.2f} ({speed:.0f} utterances/s)")
            if time.monotonic() - saved > self.plan.save_every:
                self._save()
                saved = time.monotonic()
        if is_main():
            self._write()

    def _write(self):
        write_text(self.model_dir / "log" / "epochs.tsv", "epoch\tstep\tloss\tvalid\n"
                   + "".join(f"{e}\t{s}\t{loss:.6f}\t{score:.4f}\n" for e, s, loss, score in self.history))
        save_tensors(self.model_dir / "last.safetensors", self.model.state_dict())
        save_tensors(self.model_dir / "best.safetensors", self.best_weights)

    def forget_state(self):
        """Remove the state to resume from, once everything that follows from it is written."""
        self.state_path.unlink(missing_ok=True)

    def _train_epoch(self, epoch):
        total = torch.zeros((), device=self.bank.device)
        for crops, positions, size, rate_factor in prefetch(self._batches(epoch), self.bank):
            self._set_rates(rate_factor)
            distributed.synchronize(self.model, size)
            _, weight = distributed.share(size)
            total += self.step(crops, positions, weight) * size
        mean = float(distributed.average(total)) / len(self.which)
        if mean != mean or mean in (float("inf"), float("-inf")):
            raise UserError(f"{self.model_dir}: the loss is {mean} in epoch {epoch}; "
                            "lower --lr or use --precision fp32")
        return mean

    def _batches(self, epoch):
        """Crops and positions of this process's part of each batch, the batch's size, and a factor on the rates."""
        plan = self.plan
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.which), generator=generator).to(self.which.device)
        for step, positions in enumerate(self.which[order].split(plan.batch_size)):
            done = ((epoch - 1) * self.steps_per_epoch + step) / (plan.epochs * self.steps_per_epoch)
            part, _ = distributed.share(len(positions))
            crops = self.bank.crops(positions, plan.crop, generator, part)
            yield crops, positions[part].to(self.bank.device), len(positions), plan.schedule(epoch, done)

    def _set_rates(self, factor):
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            if self.captured:
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    def _weights(self):
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def _save(self):
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
        for name, parameter in self.parameters.items():
            tensors |= {f"adam.{name}.{key}": value for key, value in self.optimizer.state[parameter].items()}
        save_tensors(self.state_path, tensors, {"identity": self.identity, "epoch": self.epoch, "best": self.best,
                                                "history": self.history})

    def _resume(self):
        if is_main():
            for pattern in (".*.safetensors.*", ".tmp??????"):  # ours and safetensors' own, of a run killed in saving
                for leftover in self.model_dir.glob(pattern):
                    leftover.unlink()
        if distributed.broadcast(self.state_path.exists()):
            self._load()

    def _load(self):
        tensors, metadata = load_tensors(self.state_path)
        if not isinstance(metadata, dict) or metadata.get("identity") != self.identity:
            raise UserError(f"{self.state_path}: made from other data or options; "
                            f"remove {self.model_dir} or give --restart true (run.sh: --stage N)")
        self.epoch, self.best, self.history = metadata["epoch"], metadata["best"], metadata["history"]
        if distributed.broadcast(self.epoch) != self.epoch:
            raise UserError(f"{self.state_path}: process {rank()} sees another file than the first one; "
                            "take a model directory that all nodes share")
        split = {"model": {}, "best": {}, "adam": {}}
        for name, tensor in tensors.items():
            kind, _, name = name.partition(".")
            split[kind][name] = tensor
        self.model.load_state_dict(split["model"])
        self.best_weights = split["best"]
        for name, parameter in self.parameters.items():
            state = {key: split["adam"][f"{name}.{key}"] for key in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {
                "step": split["adam"][f"{name}.step"].to(parameter.device),
                **{key: torch.empty_like(parameter).copy_(value) for key, value in state.items()}}
        log(f"continuing behind epoch {self.epoch} of {self.plan.epochs}")

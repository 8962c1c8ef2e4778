"""The training loop of both networks: epochs, validation, the best weights, and resuming.

Whatever is random in an epoch is drawn from the seed and the epoch's number, so the state to resume
from is weights, optimizer and history. A killed run repeats the epoch it was in and ends with the
same weights.

Several processes (ser.train.distributed) draw the same batches, each works on its share, and the first one logs and
saves. What they train is what one process would train with batches as large, up to rounding and, unless batch
normalization is synchronized, up to the statistics of batches.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from ser.base.errors import UserError
from ser.base.files import write_text
from ser.base.log import log, progress
from ser.base.processes import is_main, rank, world_size
from ser.model_dir.checkpoint import load_tensors, save_tensors
from ser.train import distributed
from ser.train.augmentation import CropSource
from ser.train.prefetch import prefetch
from ser.train.step import Adam, Loss, TrainingStep

try:
    from ser.nn.fast import prepare
except ModuleNotFoundError:  # nn/fast/ may be deleted
    def prepare(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        """Leave the model as it is."""
        return model


@dataclass(frozen=True)
class Plan:
    """What a training run needs to know beside the network.

    Attributes
    ----------
    epochs : int
    batch_size : int
        Of each process, or with `global_batch` of all together.
    crop : int
        Frames of a training crop.
    seed : int
    learning_rates : dict of str to float
        By the first part of a parameter's name; the longest matching name counts.
    schedule : callable
        `(epoch, progress)` to a factor on the learning rates; progress is the share of steps done.
    precision : str
        `bf16` or `fp32`.
    fast : bool
        Whether a GPU is to compute the same sooner, up to rounding: by ser.nn.fast and with CUDA graphs.
    save_every : float
        Seconds between two states to resume from.
    weight_decay : float
        Of all parameters, decoupled from the gradient (AdamW; Loshchilov and Hutter 2019).
    global_batch : bool
        Whether batch_size is that of all processes together. Else N processes make steps of N batches, at the square
        root of N times the learning rates: the rule for Adam (Malladi et al. 2022).
    sync_batch_norm : bool
        Whether batch normalization takes the statistics of all processes' batches together, not of each one's own.
    stop_epoch : int or None
        After which to stop, on the schedule of all `epochs`; None for the last.
    """

    epochs: int
    batch_size: int
    crop: int
    seed: int
    learning_rates: dict[str, float]
    schedule: Callable[[int, float], float]
    precision: str
    fast: bool
    save_every: float
    weight_decay: float = 0.0
    global_batch: bool = False
    sync_batch_norm: bool = False
    stop_epoch: int | None = None

    @property
    def total_batch_size(self) -> int:
        """Utterances of a step, of all processes together."""
        return self.batch_size if self.global_batch else self.batch_size * world_size()

    @property
    def rate_factor(self) -> float:
        """On the learning rates, for the size of the batches."""
        return math.sqrt(self.total_batch_size / self.batch_size)


class Trainer:
    """Train a model on crops from a bank.

    Parameters
    ----------
    model : torch.nn.Module
        On the bank's device.
    bank : CropSource
    positions : torch.Tensor
        Of the training utterances in the bank.
    loss : callable
        `(model, features [B, crop, dimension], positions [B])` to a scalar, a mean over the batch.
    validate : callable or None
        No argument; percent, higher is better. It leaves the model in the mode in which it was. Every process calls
        it, with the first one's running statistics. Without it no weights are the best.
    plan : Plan
    model_dir : str or Path
    identity : str
        Names data and options; a state made from others is refused.
    """

    def __init__(self, model: torch.nn.Module, bank: CropSource, positions: torch.Tensor, loss: Loss,
                 validate: Callable[[], float] | None, plan: Plan, model_dir: str | Path, identity: str):
        fast = plan.fast and bank.device.type == "cuda"
        self.model = prepare(model, bank.device) if fast else model
        self.bank = bank
        self.positions = positions
        self.loss = loss
        self.validate = validate
        self.plan = plan
        self.model_dir = Path(model_dir)
        self.identity = identity
        self.state_path = self.model_dir / "state.safetensors"
        self.parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self.captured = fast
        groups = self._groups()
        self.rates = [group["lr"] for group in groups]
        if self.captured:  # a graph reads the rates of its step from memory
            groups = [{**group, "lr": torch.tensor(group["lr"], device=bank.device)} for group in groups]
        self.optimizer = Adam(groups, weight_decay=plan.weight_decay, decoupled_weight_decay=True, fused=True,
                              capturable=self.captured)
        self.epoch = 0
        self.history: list[list[float]] = []
        self.best = float("-inf")
        self.best_weights: dict[str, torch.Tensor] = {}

    def _groups(self) -> list[dict]:
        groups: dict[str, list] = {}
        for name, parameter in self.parameters.items():
            prefix = max((key for key in self.plan.learning_rates if name.startswith(key)), key=len)
            groups.setdefault(prefix, []).append(parameter)
        return [{"params": parameters, "lr": self.plan.learning_rates[prefix] * self.plan.rate_factor}
                for prefix, parameters in groups.items()]

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch; the last one has the utterances that are left."""
        return math.ceil(len(self.positions) / self.plan.total_batch_size)

    def run(self) -> None:
        """Train from the beginning or from the saved state; write best and last weights and the history.

        Raises
        ------
        UserError
            The saved state belongs to other data or options, or the loss is not finite.
        """
        self._remove_leftovers()
        if distributed.broadcast(self.state_path.exists()):
            self._load_state()
        distributed.distribute(self.model, self.plan.sync_batch_norm)
        self.step = TrainingStep(self.model, self.loss, self.optimizer, self.plan.precision, self.captured)
        self.model.train()
        try:
            self._run_epochs()
        finally:
            self.step.release()
        if is_main():
            self._write_results()

    def _run_epochs(self) -> None:
        saved = time.monotonic()
        last = self.plan.stop_epoch or self.plan.epochs
        epochs = range(self.epoch + 1, last + 1)
        for epoch in progress(epochs, initial=self.epoch, total=last, unit="epoch",
                              in_log=False):  # which has a line of each epoch
            # Train on every utterance once.
            started = time.monotonic()
            loss = self._train_epoch(epoch)
            speed = len(self.positions) / (time.monotonic() - started)
            self.epoch = epoch

            # Validate, and keep the best weights.
            distributed.share_buffers(self.model)
            score = self.validate() if self.validate else math.nan
            if not is_main():
                continue
            if score > self.best:
                self.best = score
                self.best_weights = self._weights()
            step = epoch * self.steps_per_epoch
            self.history.append([epoch, step, loss, score])
            validated = f" valid {score:.2f} best {self.best:.2f}" if self.validate else ""
            log(f"epoch {epoch}/{last} step {step} loss {loss:.4f}{validated} ({speed:.0f} utterances/s)")

            # Save what a killed training resumes from.
            if time.monotonic() - saved > self.plan.save_every:
                self._save_state()
                saved = time.monotonic()

    def _write_results(self) -> None:
        rows = [f"{epoch}\t{step}\t{loss:.6f}\t{score:.4f}\n" for epoch, step, loss, score in self.history]
        write_text(self.model_dir / "log" / "epochs.tsv", "epoch\tstep\tloss\tvalid\n" + "".join(rows))
        save_tensors(self.model_dir / "last.safetensors", self.model.state_dict())
        if self.validate:
            save_tensors(self.model_dir / "best.safetensors", self.best_weights)

    def forget_state(self) -> None:
        """Remove the state to resume from, once everything that follows from it is written."""
        self.state_path.unlink(missing_ok=True)

    def _train_epoch(self, epoch: int) -> float:
        """Mean loss of the utterances."""
        total = torch.zeros((), device=self.bank.device)
        for crops, positions, size, rate_factor in prefetch(self._batches(epoch), self.bank):
            self._set_rates(rate_factor)
            distributed.synchronize(self.model, size)
            _, weight = distributed.share(size)
            total += self.step(crops, positions, weight) * size
        mean = float(distributed.average(total)) / len(self.positions)
        if not math.isfinite(mean):
            raise UserError(f"{self.model_dir}: the loss is {mean} in epoch {epoch}; "
                            "lower --lr or use --precision fp32")
        return mean

    def _batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, int, float]]:
        """Crops and positions of this process's part of each batch, the batch's size, and a factor on the rates."""
        plan = self.plan
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.positions), generator=generator).to(self.positions.device)
        for step, positions in enumerate(self.positions[order].split(plan.total_batch_size)):
            done = ((epoch - 1) * self.steps_per_epoch + step) / (plan.epochs * self.steps_per_epoch)
            part, _ = distributed.share(len(positions))
            crops = self.bank.crops(positions, plan.crop, generator, part)
            yield crops, positions[part].to(self.bank.device), len(positions), plan.schedule(epoch, done)

    def _set_rates(self, factor: float) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            if self.captured:
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def _save_state(self) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best_weights.items()}
        for name, parameter in self.parameters.items():
            tensors |= {f"adam.{name}.{key}": value for key, value in self.optimizer.state[parameter].items()}
        save_tensors(self.state_path, tensors, {"identity": self.identity, "epoch": self.epoch, "best": self.best,
                                                "history": self.history})

    def _remove_leftovers(self) -> None:
        """Remove what a run killed in saving has left, ours and safetensors' own."""
        if is_main():
            for pattern in (".*.safetensors.*", ".tmp??????"):
                for leftover in self.model_dir.glob(pattern):
                    leftover.unlink()

    def _load_state(self) -> None:
        tensors, metadata = load_tensors(self.state_path)
        if not isinstance(metadata, dict) or metadata.get("identity") != self.identity:
            raise UserError(f"{self.state_path}: made from other data or options; "
                            f"remove {self.model_dir} or give --restart true (run.sh: --stage N)")
        self.epoch = metadata["epoch"]
        self.best = metadata["best"]
        self.history = metadata["history"]
        if distributed.broadcast(self.epoch) != self.epoch:
            raise UserError(f"{self.state_path}: process {rank()} sees another file than the first one; "
                            "take a model directory that all nodes share")
        split: dict[str, dict[str, torch.Tensor]] = {"model": {}, "best": {}, "adam": {}}
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
        log(f"continuing after epoch {self.epoch} of {self.plan.epochs}")

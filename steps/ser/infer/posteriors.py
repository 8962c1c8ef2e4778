"""Logits and probabilities of whole utterances, in batches of similar length."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ser.data.feature_bank import FeatureBank

# Of a batch, by device and precision: as many as keep the processor busy, and no more than leave a place in its memory
# or caches. In float32 cuDNN takes gigabytes, and is slower, from 50000 on (BENCHMARKS.md).
_BATCH_FRAMES = {("cpu", "fp32"): 6000, ("cpu", "bf16"): 6000, ("cuda", "fp32"): 25000, ("cuda", "bf16"): 100000}


def logits_of(model: torch.nn.Module, bank: FeatureBank, positions: torch.Tensor,
              precision: str = "fp32") -> torch.Tensor:
    """Score whole utterances.

    Parameters
    ----------
    model : torch.nn.Module
        Takes features `[B, T, dimension]` and lengths `[B]`; gives logits `[B, classes]`, alone or
        as the first of a tuple. It is left in the mode in which it came.
    bank : FeatureBank
    positions : torch.Tensor
        Of the utterances in the bank.
    precision : str
        `bf16` or `fp32`, in which convolutions and matrix products are computed; fp32 is without TF32.

    Returns
    -------
    torch.Tensor
        Logits, float32 `[len(positions), classes]` on the CPU, in the order of `positions`.
    """
    was_training = model.training
    model.eval()
    order = torch.argsort(bank.lengths[positions], stable=True)
    rows, start, limit = [], 0, _BATCH_FRAMES[bank.device.type, precision]
    autocast = torch.autocast(bank.device.type, torch.bfloat16, enabled=precision == "bf16")
    with torch.inference_mode(), autocast, without_tf32() if precision == "fp32" else contextlib.nullcontext():
        while start < len(order):
            longest = bank.lengths[positions[order[start:]]]
            sizes = longest * torch.arange(1, len(longest) + 1, device=longest.device)
            count = max(1, int((sizes <= limit).sum()))
            logits = model(*bank.padded(positions[order[start : start + count]]))  # [B, classes]
            if isinstance(logits, tuple):
                logits = logits[0]
            rows.append(logits.float().cpu())
            start += count
    model.train(was_training)
    all_logits = torch.empty(len(order), rows[0].shape[1])
    all_logits[order.cpu()] = torch.cat(rows)
    return all_logits


def posteriors(model: torch.nn.Module, bank: FeatureBank, positions: torch.Tensor,
               precision: str = "fp32") -> torch.Tensor:
    """Probabilities `[len(positions), classes]`: the softmax of logits_of(), which has the same parameters."""
    return torch.softmax(logits_of(model, bank, positions, precision), dim=1)


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """Compute convolutions and matrix products of float32 as such; TF32, cuDNN's default, rounds to 10 bits."""
    operations = torch.backends.cudnn.conv, torch.backends.cuda.matmul  # type: ignore[attr-defined]
    before = [operation.fp32_precision for operation in operations]
    try:
        for operation in operations:
            operation.fp32_precision = "ieee"
        yield
    finally:
        for operation, precision in zip(operations, before, strict=True):
            operation.fp32_precision = precision


def collect_outputs(model: torch.nn.Module, bank: FeatureBank, positions: torch.Tensor, module: torch.nn.Module,
                    collect: Callable[[Any, Any], list]) -> list:
    """Collect something of a part of a network while whole utterances are scored, each as it would be alone.

    Parameters
    ----------
    model, bank, positions
        As in logits_of().
    module : torch.nn.Module
        Part of the model.
    collect : callable
        `(inputs, output)` of the module for a batch to a list with an item for each utterance.

    Returns
    -------
    list
        The items, in the order of `positions`.
    """
    items: list = []
    order = torch.argsort(bank.lengths[positions], stable=True)  # in which logits_of() takes these utterances
    hook = module.register_forward_hook(lambda _, inputs, output: items.extend(collect(inputs, output)))
    try:
        logits_of(model, bank, positions[order])
    finally:
        hook.remove()
    return [items[number] for number in torch.argsort(order).tolist()]

"""Several processes that train one model, as torchrun starts them: who is who, and what they exchange.

Without RANK and WORLD_SIZE in the environment there is one process, no process group, and nothing here
does anything. The first process (rank 0) reads and writes the model directory for all.
"""

import atexit
import contextlib
import ctypes
import functools
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from ser.base.errors import UserError
from ser.base.processes import is_main, rank, world_size

# How long a process waits for the others. The first one validates and writes while they wait, and the one that
# reads the features from the slowest disk comes last; a process that ends sooner is noticed by the launcher.
TIMEOUT = timedelta(hours=2)

# A broken connection of gloo's is a RuntimeError like any other but for its text.
_LOST = re.compile(r"by peer|Broken pipe|Timed out waiting")


@functools.cache
def _store() -> dist.Store:
    """The key-value store that the processes reach before there is a group, and when one of them has failed."""
    return next(rendezvous("env://"))[0]


def begin() -> None:
    """Tie this process to its launcher, and let the first process go ahead until it comes to group().

    What is wrong with the options or the machine is then said once and not by every process.
    """
    if world_size() == 1:
        return
    if sys.platform == "linux":  # a killed launcher leaves no process behind that trains on
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if is_main():
        atexit.register(_store().compare_set, "main", "", "gone")
        return
    try:
        if _store().get("main") == b"gone":
            sys.exit()
    except dist.DistError:  # the store went with the first process's node
        sys.exit(1)


@contextlib.contextmanager
def group(device: torch.device) -> Iterator[None]:
    """Connect the processes for the length of a block.

    When the block fails, only the first process to fail raises its exception; the others, most of
    which fail because that one is gone, exit with status 1 in silence.

    Parameters
    ----------
    device : torch.device
        `cuda` exchanges through NCCL, `cpu` through gloo.
    """
    if world_size() == 1:
        yield
        return
    store = _store()
    if is_main():
        store.set("main", "goes on")
    on_cuda = device.type == "cuda"
    try:
        dist.init_process_group("nccl" if on_cuda else "gloo", store=store, rank=rank(), world_size=world_size(),
                                timeout=TIMEOUT,
                                device_id=torch.device("cuda", torch.cuda.current_device()) if on_cuda else None)
        yield
        dist.barrier()
    except (Exception, KeyboardInterrupt) as error:
        others_have_failed = _others_have_failed(store)
        if not on_cuda and dist.is_initialized():  # else gloo's threads may abort the process as it ends
            dist.destroy_process_group()
        if others_have_failed:
            sys.exit(1)
        if _LOST.search(str(error)):
            raise UserError("lost the connection to another process, which was killed or is out of reach") from None
        raise
    dist.destroy_process_group()


def _others_have_failed(store: dist.Store) -> bool:
    try:
        return store.add("failed", 1) > 1
    except dist.DistError:  # the store went with the first process's node
        return True


def broadcast(value: Any) -> Any:
    """The first process's value of anything that can be pickled, in every process."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def average(tensor: torch.Tensor) -> torch.Tensor:
    """Mean of a tensor over the processes, in every process."""
    if world_size() > 1:
        dist.all_reduce(tensor)
        tensor = tensor / world_size()
    return tensor


def share(size: int) -> tuple[slice, float]:
    """This process's part of a batch.

    Parameters
    ----------
    size : int
        Utterances of the batch.

    Returns
    -------
    part : slice
        Every world_size()-th utterance; the whole batch where it has fewer utterances than there are processes.
    weight : float
        Factor on the part's mean loss with which the average over the processes is the batch's mean loss.
    """
    if size < world_size() or world_size() == 1:
        return slice(None), 1.0
    part = slice(rank(), None, world_size())
    return part, len(range(size)[part]) * world_size() / size


def synchronize(model: nn.Module, size: int) -> None:
    """Let the batch normalization of a distributed model take the statistics of all processes for a batch of `size`
    utterances, unless every process has the whole of it.

    On GPUs torch's nn.SyncBatchNorm takes them in any case. Of a batch that every process has, they are the batch's own
    but for the running variance, whose count of frames is that of all processes.
    """
    for module in model.modules():
        if isinstance(module, SynchronizedBatchNorm2d):
            module.synchronized = size >= world_size()


class _Sum(torch.autograd.Function):
    """Sum of a tensor over the processes, as a part of each one's loss."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _Sum.apply(gradient)


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization by the statistics of the batch of all processes together, on CPUs.

    torch's own nn.SyncBatchNorm raises ValueError on a CPU.

    Attributes
    ----------
    synchronized : bool
        False while every process has the whole batch.
    """

    synchronized = True
    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor
    momentum: float

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `[B, C, T, F]` to the same shape; B may differ between the processes."""
        if not (self.training and self.synchronized):
            return super().forward(x)
        self.num_batches_tracked.add_(1)
        x, dtype = x.permute(0, 2, 3, 1).to(self.weight.dtype), x.dtype  # [B, T, F, C]
        channels = x.shape[3]
        own_count = x.new_tensor([x.numel() // channels])
        sums, count = _Sum.apply(torch.cat([x.sum((0, 1, 2)), own_count])).split([channels, 1])
        mean = sums / count
        centred = x - mean
        variance = _Sum.apply(centred.square().sum((0, 1, 2))) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight / (variance + self.eps).sqrt()
        return torch.addcmul(self.bias, centred, scale).permute(0, 3, 1, 2).to(dtype)


def distribute(model: nn.Module) -> nn.Module:
    """The network to train: `model`, its gradients averaged over the processes and its batch normalization
    synchronized. Both share their parameters and buffers, and those of `model` keep their names."""
    if world_size() == 1:
        return model
    if next(model.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # in place
    else:
        for module in model.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = SynchronizedBatchNorm2d
    # Of a convolution of one channel, whose two memory layouts are the same bytes in the same order.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return DistributedDataParallel(model)

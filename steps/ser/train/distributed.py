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
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.modules._functions import SyncBatchNorm
from torch.nn.parallel import DistributedDataParallel

from ser.base.errors import UserError
from ser.base.processes import is_main, rank, world_size

# How long a process waits for the others. The first one validates and writes while they wait, and the one that
# reads the features from the slowest disk comes last; a process that ends sooner is noticed by the launcher.
TIMEOUT = timedelta(hours=2)

# A broken connection of gloo's is a RuntimeError like any other but for its text.
_LOST = re.compile(r"by peer|Broken pipe|Timed out waiting")


@functools.cache
def _store():
    """The key-value store that the processes reach before there is a group, and when one of them has failed."""
    return next(rendezvous("env://"))[0]


def begin():
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
def group(device):
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
    try:
        on_cuda = device.type == "cuda"
        dist.init_process_group("nccl" if on_cuda else "gloo", store=store, rank=rank(), world_size=world_size(),
                                timeout=TIMEOUT,
                                device_id=torch.device("cuda", torch.cuda.current_device()) if on_cuda else None)
        yield
        dist.barrier()
    except (Exception, KeyboardInterrupt) as error:
        if _others_have_failed(store):
            sys.exit(1)
        if _LOST.search(str(error)):
            raise UserError("lost the connection to another process, which was killed or is out of reach") from None
        raise
    dist.destroy_process_group()


def _others_have_failed(store):
    try:
        return store.add("failed", 1) > 1
    except dist.DistError:  # the store went with the first process's node
        return True


def broadcast(value):
    """The first process's value of anything that can be pickled, in every process."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def average(tensor):
    """Mean of a tensor over the processes, in every process."""
    if world_size() > 1:
        dist.all_reduce(tensor)
        tensor = tensor / world_size()
    return tensor


def share(size):
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


def synchronize(model, size):
    """Let the batch normalization of a distributed model take the statistics of all processes for a batch of `size`
    utterances, unless every process has the whole of it."""
    if world_size() > 1:
        for module in model.modules():
            if isinstance(module, SynchronizedBatchNorm2d):
                module.synchronized = size >= world_size()


class _Sum(torch.autograd.Function):
    """Sum of a tensor over the processes, as a part of each one's loss."""

    @staticmethod
    def forward(ctx, tensor):
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient):
        return _Sum.apply(gradient)


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization by the statistics of the batch of all processes together.

    torch's own nn.SyncBatchNorm is for GPUs alone.

    Attributes
    ----------
    synchronized : bool
        False while every process has the whole batch.
    """

    synchronized = True

    def forward(self, x):
        """Map `[B, C, T, F]` to the same shape; B may differ between the processes."""
        if not (self.training and self.synchronized):
            return super().forward(x)
        self.num_batches_tracked.add_(1)
        if x.is_cuda:
            return SyncBatchNorm.apply(x, self.weight, self.bias, self.running_mean, self.running_var, self.eps,
                                       self.momentum, dist.group.WORLD, world_size())
        x, dtype = x.permute(0, 2, 3, 1).to(self.weight.dtype), x.dtype
        count = x.new_tensor([x.numel() // x.shape[3]])
        total, count = _Sum.apply(torch.cat([x.sum((0, 1, 2)), count])).split([x.shape[3], 1])
        mean = total / count
        centred = x - mean
        variance = _Sum.apply(centred.square().sum((0, 1, 2))) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight / (variance + self.eps).sqrt()
        return torch.addcmul(self.bias, centred, scale).permute(0, 3, 1, 2).to(dtype)


def distribute(model):
    """The network to train: `model`, its gradients averaged over the processes and its batch normalization
    synchronized. Both share their parameters and buffers, and those of `model` keep their names."""
    if world_size() == 1:
        return model
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SynchronizedBatchNorm2d
    # Of a convolution of one channel, whose two memory layouts are the same bytes in the same order.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return DistributedDataParallel(model)

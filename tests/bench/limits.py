"""What this machine can do at most, each measured once, and how long some work takes at least because of it.

The limits are the speed of a copy in memory, of a product of large square matrices, and of reading a file from the
disk, the fastest of some tries. Work can pass them: that of memory where its numbers stay in the processor's caches,
that of arithmetic in convolutions of 3 x 3, which can be had with fewer multiplications (Winograd) than are counted.
"""

import functools
import os
import tempfile
import time

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

FILE_MB = 256


def fastest(work, device, threads=1):
    """Seconds of the fastest of twelve tries; of processor time where there is one thread, as rows of one have it."""
    torch.set_num_threads(threads)
    clock = time.process_time if device == "cpu" and threads == 1 else time.perf_counter
    seconds = []
    for _ in range(12):
        start = clock()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(clock() - start)
    return min(seconds)


@functools.cache
def memory(device, threads):
    """Bytes that a copy reads and writes a second."""
    source = torch.ones(2**26, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / fastest(lambda: target.copy_(source), device, threads)


@functools.cache
def arithmetic(dtype, device, threads):
    """Multiplications and additions a second."""
    size = 8192 if device == "cuda" else 1536
    matrix = torch.randn(size, size, device=device).to(dtype)
    return 2 * size**3 / fastest(lambda: matrix @ matrix, device, threads)


def forget(path):
    """Let the system drop a file from memory, so that it is read from the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@functools.cache
def disk():
    """Bytes of a new file that are read a second."""
    with tempfile.NamedTemporaryFile(buffering=0) as file:
        for _ in range(FILE_MB):
            file.write(os.urandom(2**20))

        def read():
            forget(file.name)
            with open(file.name, "rb", buffering=0) as again:
                while again.read(2**20):
                    pass

        return FILE_MB * 2**20 / fastest(read, "disk")


def least_seconds(operations=0, moved=0, read=0, dtype=torch.float32, device="cpu", threads=1):
    """Seconds of some operations, of bytes moved in memory and of bytes read from the disk: `{limit: seconds}`."""
    return {"arithmetic": operations / arithmetic(dtype, device, threads),
            "memory": moved / memory(device, threads),
            "disk": read and read / disk()}


class Moved(TorchDispatchMode):
    """Counts the bytes that torch's operations read and write, one after the other."""

    total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            tensors = (leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor))
            self.total += sum(tensor.nbytes for tensor in tensors)
        return result


def needs(work):
    """Operations in convolutions and matrix products, and bytes moved, of what torch does in `work`."""
    with FlopCounterMode(display=False) as operations, Moved() as moved:
        work()
    return {"operations": operations.get_total_flops(), "moved": moved.total}

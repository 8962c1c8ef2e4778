"""Where and in which precision to compute, and what makes it repeatable; torch is imported where it is needed."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ser.base.errors import UserError
from ser.base.processes import local_rank, local_world_size

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "bf16", "fp32")


def pick_device(name: str, num_threads: int = 0) -> torch.device:
    """Turn `auto`, `cpu` or `cuda` into a torch.device and make its results repeatable.

    Of several visible GPUs the process takes one that no other process has claimed.

    Parameters
    ----------
    name : str
        `auto` takes a GPU when there is one.
    num_threads : int
        CPU threads; 0 leaves torch's choice.

    Raises
    ------
    UserError
        A GPU was asked for and there is none, or fewer than this node has processes.
    """
    import torch

    if num_threads:
        torch.set_num_threads(num_threads)
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda: this machine shows no GPU; use --device cpu (run.sh: --ngpu 0)")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    make_deterministic()
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if count < local_world_size():
        raise UserError(f"device cuda: {local_world_size()} processes on this machine, visible GPUs: {count}; "
                        "give launch_distributed.py a smaller --nproc-per-node")
    if count > 1:
        names = [str(torch.cuda.get_device_properties(number).uuid) for number in range(count)]
        torch.cuda.set_device(claim_first_free(names, local_rank(), tempfile.gettempdir()))
    return torch.device("cuda")


def make_deterministic() -> None:
    """Let torch compute the same whenever it is run, and raise where it cannot."""
    import torch

    # As use_deterministic_algorithms(), which imports torch's compiler and so takes as long as importing torch.
    torch.set_deterministic_debug_mode("warn")
    # All of torch's warnings of this kind are errors but for one. It warns of max pooling's gradient on a GPU, because
    # windows that overlap add to it in any order; those of ser.nn.vgg do not overlap.
    warnings.filterwarnings("error", ".* does not have a deterministic implementation")
    warnings.filterwarnings("ignore", "max_pool2d_with_indices_backward_cuda does not have a deterministic")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # 3 to 11 % of a GPU's time
    torch.backends.cudnn.benchmark = False


@contextlib.contextmanager
def explain_out_of_memory() -> Iterator[None]:
    """Say what to lower when a block, or as a decorator a function, finds no memory; raises UserError."""
    import torch

    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        said = " ".join(str(error).split()).partition(" If reserved")[0]  # after it comes torch's advice
        raise UserError(f"the GPU's memory is full; lower --batch-size or --crop, let fewer jobs share it (run.sh: "
                        f"--jobs-per-gpu) or use --device cpu ({said})") from None
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "DefaultCPUAllocator" not in str(error):
            raise
        raise UserError("the memory is full; lower --batch-size or --crop, or run fewer jobs at a time (run.sh: --nj) "
                        "and give each more memory (cmd.sh: --mem)") from None


def claim_first_free(names: list[str], start: int, folder: str | Path) -> int:
    """Claim the first device that no process of this machine has claimed, for as long as this process lives.

    Parameters
    ----------
    names : list of str
        Names of the devices that hold for every process and user, such as UUIDs.
    start : int
        Position in `names` from which to look, around the end.
    folder : str or Path
        For the lock files.

    Returns
    -------
    int
        Position of the device in `names`; that of `start` when all are claimed or no file can be locked.
    """
    order = [(start + number) % len(names) for number in range(len(names))]
    return next((number for number in order if _claim(Path(folder) / f"ser-gpu-{names[number]}.lock")), order[0])


def _claim(path: Path) -> bool:
    """Lock a file until the process ends, and return whether that was possible."""
    try:
        try:  # another user's file in a sticky directory opens only without O_CREAT (fs.protected_regular)
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o666)
            os.fchmod(file, 0o666)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 in hardware."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return capabilities.get("avx512_bf16", False) or capabilities.get("amx_bf16", False)


def pick_precision(name: str, device: torch.device) -> str:
    """Turn `auto` into a precision of training and validation: `bf16` where the processor has it, else `fp32`."""
    if name != "auto":
        return name
    return "bf16" if has_bfloat16(device) else "fp32"


def place(network: torch.nn.Module, device: str | torch.device, to_score: bool = False) -> None:
    """Bring a network to a device, in place, in the layout in which convolutions are fastest.

    That is channels last; but channels first to score in float32 on a GPU, where cuDNN has no fast float32 of the other
    (BENCHMARKS.md).
    """
    import torch

    device = torch.device(device)
    layout = torch.contiguous_format if to_score and device.type == "cuda" else torch.channels_last
    network.to(device, memory_format=layout)  # type: ignore[call-overload]


@functools.cache
def side_stream() -> torch.cuda.Stream:
    """A CUDA stream beside the default one, on which steps are made before they become graphs.

    One for all trainings of a process, because torch keeps some memory for each that has multiplied matrices.
    """
    import torch

    return torch.cuda.Stream()


def send(tensor: torch.Tensor, device: str | torch.device) -> torch.Tensor:
    """Bring a tensor from the host's memory to a device, without waiting for what a GPU is doing."""
    import torch

    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)

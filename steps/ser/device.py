"""Where and in which precision to compute, and what makes it repeatable."""

import os

import torch

from ser.errors import UserError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "bf16", "fp32")


def pick_device(name, num_threads=0):
    """Turn `auto`, `cpu` or `cuda` into a torch.device and make its results repeatable.

    Parameters
    ----------
    name : str
        `auto` takes a GPU when there is one.
    num_threads : int
        CPU threads; 0 leaves torch's choice.

    Raises
    ------
    UserError
        A GPU was asked for and there is none.
    """
    if num_threads:
        torch.set_num_threads(num_threads)
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda: this machine shows no GPU; use --device cpu (run.sh: --ngpu 0)")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def has_bfloat16(device):
    """Whether the processor multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def pick_precision(name, device):
    """Turn `auto` into `bf16` where the processor has it, else `fp32`; only training uses it, scoring is fp32."""
    if name != "auto":
        return name
    return "bf16" if has_bfloat16(device) else "fp32"

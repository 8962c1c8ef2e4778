"""Batch normalization of a batch in training, the addition of a residual, and ReLU, in few passes over a GPU's memory.

torch passes over a map to take its statistics, to normalize, to add and to cut it at zero, and as often for gradients;
that is half of the time of a step with a large batch. Triton's kernels pass over it twice, and twice for gradients.
"""

import functools
import os
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from ser.base.log import log
from ser.nn.convolution import ConvBnRelu

_LEAST_BATCH = 64  # utterances for which it pays; below, most of a step is other work
_WIDTH = 128
_ROWS = 32  # of a tile
_REDUCED_ROWS = 16  # of a tile that is added to sums
_PROGRAMS = 512  # at most, that sum up a map; a power of two
_WARPS = 8  # of each of them


def _kernels() -> ModuleType:
    """The kernels, imported where they are needed: Triton takes a second, and torch for the CPU has none."""
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # as all versions so far round; Triton wants it said
    from ser.nn.fast import norm_kernels
    return norm_kernels


@functools.cache
def is_available(dtype: torch.dtype) -> bool:
    """Whether Triton compiles for this machine's GPU and maps of a type; a reason against it is logged once."""
    try:
        x = torch.ones(2, 16, 2, 2, dtype=dtype, device="cuda").to(memory_format=torch.channels_last).requires_grad_()
        for residual in (None, x):
            norm_relu(x, residual, nn.BatchNorm2d(16).cuda()).sum().backward()
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # there is no Triton or no C compiler, or Triton raises whatever its compiler does
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        log(f"normalizing with torch's kernels; Triton's, which are faster for large batches, cannot be had: {reason}")
        return False
    return True


def fits(x: torch.Tensor, norm: nn.Module) -> bool:
    """Whether the kernels take a map `[B, C, T, F]` and it pays: many utterances on a GPU, of one process's statistics,
    channels side by side in dense memory."""
    of_one_process = isinstance(norm, nn.BatchNorm2d)  # and not what ser.train.distributed makes of it
    if not (norm.training and of_one_process and x.is_cuda and len(x) >= _LEAST_BATCH and x.numel() < 2**31):
        return False
    order = (0, 3, 2, 1) if x.stride(2) < x.stride(3) else (0, 2, 3, 1)
    return x.permute(order).is_contiguous() and is_available(x.dtype)


class ConvFusedBnRelu(ConvBnRelu):
    """A ConvBnRelu that normalizes large batches in training by Triton's kernels, where there are any."""

    def norm_relu(self, x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
        """Map `[B, C, T, F]` to the same shape."""
        if fits(x, self.norm):
            return norm_relu(x, residual, self.norm)
        return super().norm_relu(x, residual)


def norm_relu(x: torch.Tensor, residual: torch.Tensor | None, norm: nn.BatchNorm2d) -> torch.Tensor:
    """Compute `relu(norm(x) + residual)` with the statistics of the batch, and update the running ones.

    Parameters
    ----------
    x : torch.Tensor
        `[B, C, T, F]` that fits().
    residual : torch.Tensor or None
        As x; None adds nothing.
    norm : torch.nn.BatchNorm2d

    Returns
    -------
    torch.Tensor
        As x. Computed again it has the same bits, and so have its gradients.
    """
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    return _NormRelu.apply(x, residual, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps,
                           norm.momentum)


class _NormRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, residual: torch.Tensor | None, weight: torch.Tensor, bias: torch.Tensor,
                running_mean: torch.Tensor, running_var: torch.Tensor, eps: float, momentum: float) -> torch.Tensor:
        grid, kernels = _Grid(x), _kernels()
        partial, moments = grid.partial_sums(), torch.empty(4, grid.channels, device=x.device)
        kernels.reduce_moments[grid.programs,](x, partial, grid.elements, grid.rows, grid.width, grid.block,
                                               _REDUCED_ROWS, num_warps=_WARPS)
        kernels.finish_moments[grid.channels,](partial, weight, bias, running_mean, running_var, moments, eps, momentum,
                                               grid.elements, grid.rows, grid.programs, grid.width, grid.channels,
                                               grid.block, _PROGRAMS)
        y = torch.empty_like(x)
        residual = None if residual is None else _laid_out_as(residual, x)
        kernels.normalize[grid.tiles,](x, residual, moments, y, grid.elements, grid.width, grid.channels,
                                       residual is not None, grid.block, _ROWS)
        ctx.save_for_backward(x, None if residual is None else y, moments)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, y, moments = ctx.saved_tensors
        gradient = _laid_out_as(gradient, x)
        grid, kernels = _Grid(x), _kernels()
        partial = grid.partial_sums()
        sums, of_x = torch.empty(2, grid.channels, device=x.device), torch.empty_like(x)
        of_residual = None if y is None else torch.empty_like(x)
        kernels.reduce_gradients[grid.programs,](x, y, gradient, moments, partial, grid.elements, grid.rows, grid.width,
                                                 grid.channels, y is not None, grid.block, _REDUCED_ROWS,
                                                 num_warps=_WARPS)
        kernels.finish_gradients[grid.channels,](partial, sums, grid.programs, grid.width, grid.channels, grid.block,
                                                 _PROGRAMS)
        kernels.propagate[grid.tiles,](x, y, gradient, moments, sums, of_x, of_residual, grid.elements, grid.width,
                                       grid.channels, y is not None, grid.block, _ROWS)
        return of_x, of_residual, sums[1], sums[0], None, None, None, None


def _laid_out_as(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    if tensor.stride() == like.stride() and tensor.dtype == like.dtype:
        return tensor
    return torch.empty_like(like).copy_(tensor)


class _Grid:
    """How the kernels share out a map: in tiles of `_ROWS` rows of `width` numbers, and to sum up, `rows` for each of
    some programs."""

    def __init__(self, x: torch.Tensor):
        self.device, self.elements, self.channels = x.device, x.numel(), x.shape[1]
        self.width = _WIDTH if _WIDTH % self.channels == 0 else self.channels
        self.block = 1 << (self.width - 1).bit_length()
        rows = -(-self.elements // self.width)
        self.tiles = -(-rows // _ROWS)
        self.rows = -(-rows // (_PROGRAMS * _REDUCED_ROWS)) * _REDUCED_ROWS
        self.programs = -(-rows // self.rows)

    def partial_sums(self) -> torch.Tensor:
        return torch.empty(2, self.block, self.programs, device=self.device)

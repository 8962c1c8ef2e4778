"""Batch normalization, the addition of a residual, and ReLU in few passes over a GPU's memory."""

import functools

import torch

from ser.base.log import log

_WIDTH = 128
_ROWS = 32  # of a tile
_REDUCED_ROWS = 16  # of a tile that is added to sums
_PROGRAMS = 512  # at most, that sum up a map; a power of two
_WARPS = 8  # of each of them


@functools.cache
def _kernels():
    """The module of kernels, imported where they are needed: Triton takes a second, and torch for the CPU has none."""
    from ser.nn import norm_kernels
    return norm_kernels


@functools.cache
def is_available():
    """Whether this machine has a GPU and what Triton needs to compile for it; a reason against it is logged once."""
    if not torch.cuda.is_available():
        return False
    try:
        with torch.inference_mode(False), torch.enable_grad():
            x = torch.ones(2, 16, 2, 2, device="cuda").to(memory_format=torch.channels_last).requires_grad_()
            batch_norm_relu(x, torch.nn.BatchNorm2d(16).cuda()).sum().backward()
    except Exception as error:  # there is no Triton, or it raises whatever its compiler does
        log(f"normalizing with torch's kernels, Triton's cannot be had: {str(error).strip().splitlines()[-1]}")
        return False
    return True


def fits(x, norm):
    """Whether the kernels can take a map `[B, C, T, F]`: in training, channels side by side in dense memory."""
    of_one_process = type(norm) is torch.nn.BatchNorm2d  # and not what ser.train.distributed makes of it
    if not (norm.training and of_one_process and x.is_cuda and x.numel() < 2**31):
        return False
    order = (0, 3, 2, 1) if x.stride(2) < x.stride(3) else (0, 2, 3, 1)
    return x.permute(order).is_contiguous() and is_available()


def batch_norm_relu(x, norm, residual=None):
    """Compute `relu(norm(x) + residual)` with the statistics of the batch, and update the running ones.

    Parameters
    ----------
    x : torch.Tensor
        `[B, C, T, F]` that fits().
    norm : torch.nn.BatchNorm2d
    residual : torch.Tensor, optional
        As x; None adds nothing.

    Returns
    -------
    torch.Tensor
        As x.
    """
    norm.num_batches_tracked.add_(1)
    return _BatchNormRelu.apply(x, residual, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps,
                                norm.momentum)


class _BatchNormRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, residual, weight, bias, running_mean, running_var, eps, momentum):
        grid = _Grid(x)
        partial, moments = grid.partial_sums(), torch.empty(4, grid.channels, device=x.device)
        kernels = _kernels()
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
    def backward(ctx, gradient):
        x, y, moments = ctx.saved_tensors
        gradient = _laid_out_as(gradient, x)
        grid = _Grid(x)
        partial = grid.partial_sums()
        sums, of_x = torch.empty(2, grid.channels, device=x.device), torch.empty_like(x)
        of_residual = None if y is None else torch.empty_like(x)
        kernels = _kernels()
        kernels.reduce_gradients[grid.programs,](x, y, gradient, moments, partial, grid.elements, grid.rows, grid.width,
                                                 grid.channels, y is not None, grid.block, _REDUCED_ROWS,
                                                 num_warps=_WARPS)
        kernels.finish_gradients[grid.channels,](partial, sums, grid.programs, grid.width, grid.channels, grid.block,
                                                 _PROGRAMS)
        kernels.propagate[grid.tiles,](x, y, gradient, moments, sums, of_x, of_residual, grid.elements, grid.width,
                                       grid.channels, y is not None, grid.block, _ROWS)
        return of_x, of_residual, sums[1], sums[0], None, None, None, None


def _laid_out_as(tensor, like):
    if tensor.stride() == like.stride() and tensor.dtype == like.dtype:
        return tensor
    return torch.empty_like(like).copy_(tensor)


class _Grid:
    """How the kernels share out a map: in tiles of `_ROWS` rows of `width` numbers, and to sum up, `rows` for each of
    some programs."""

    def __init__(self, x):
        self.device, self.elements, self.channels = x.device, x.numel(), x.shape[1]
        self.width = _WIDTH if _WIDTH % self.channels == 0 else self.channels
        self.block = 1 << (self.width - 1).bit_length()
        rows = -(-self.elements // self.width)
        self.tiles = -(-rows // _ROWS)
        self.rows = -(-rows // (_PROGRAMS * _REDUCED_ROWS)) * _REDUCED_ROWS
        self.programs = -(-rows // self.rows)

    def partial_sums(self):
        return torch.empty(2, self.block, self.programs, device=self.device)

"""Triton's kernels against torch's normalization; without a GPU they run in Triton's interpreter (conftest.py)."""

import copy

import pytest
import torch

from ser.nn import fused_norm
from ser.nn.fused_norm import batch_norm_relu, fits

pytest.importorskip("triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 1e-2}
# For the interpreter, with few and short rows: one channel after the other, and several in a row; more than one tile.
SMALL = [(3, 4, 17, 5), (1, 12, 2, 1), (2, 3, 13, 5)]
LARGE = [(3, 16, 7, 5), (1, 80, 2, 1), (8, 48, 60, 41), (5, 128, 19, 3), (2, 200, 9, 9), (16, 16, 300, 41)]


def error(result, exact):
    return (result.double() - exact).abs().max() / exact.abs().max().clamp(min=1)


def a_map(shape, dtype, turned):
    """Random numbers with the channels side by side in memory, and frames or frequencies beside them."""
    x = (2 * torch.randn(shape) + 5).to(DEVICE, dtype)
    order, back = ((0, 3, 2, 1), (0, 3, 2, 1)) if turned else ((0, 2, 3, 1), (0, 3, 1, 2))
    return x.permute(order).contiguous().permute(back).requires_grad_()


def a_norm(channels):
    norm = torch.nn.BatchNorm2d(channels).to(DEVICE)
    torch.nn.init.normal_(norm.weight, 1, 0.3)
    torch.nn.init.normal_(norm.bias)
    torch.nn.init.uniform_(norm.running_mean, -1, 1)
    torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm


def kernels(norm, x, residual=None):
    return batch_norm_relu(x, norm, residual)


def torchs(norm, x, residual=0):
    return (norm(x) + residual).relu()


def everything(function, norm, inputs, gradient):
    """Output, gradients and running statistics."""
    y = function(norm, *inputs)
    return [y, *torch.autograd.grad(y, [*inputs, norm.weight, norm.bias], gradient.to(y.dtype)), *norm.buffers()]


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", SMALL + LARGE * (DEVICE == "cuda"))
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_kernels_are_as_exact_as_torch(dtype, shape, turned, with_residual, monkeypatch):
    if shape in SMALL:
        monkeypatch.setattr(fused_norm, "_PROGRAMS", 4)
        monkeypatch.setattr(fused_norm, "_WIDTH", 8)
    torch.manual_seed(0)
    inputs = [a_map(shape, dtype, turned) for _ in range(1 + with_residual)]
    norm, gradient = a_norm(shape[1]), torch.randn(shape).to(DEVICE, dtype)
    double, single, again = copy.deepcopy(norm).double(), copy.deepcopy(norm), copy.deepcopy(norm)
    assert DEVICE == "cpu" or fits(inputs[0], norm)
    ours = everything(kernels, norm, inputs, gradient)
    assert all(torch.equal(*pair) for pair in zip(ours, everything(kernels, again, inputs, gradient), strict=True))
    exact = everything(torchs, double, [each.detach().double().requires_grad_() for each in inputs], gradient)
    for our, their, wanted in zip(ours, everything(torchs, single, inputs, gradient), exact, strict=True):
        assert error(our, wanted) <= max(TOLERANCE[dtype], 4 * error(their, wanted))

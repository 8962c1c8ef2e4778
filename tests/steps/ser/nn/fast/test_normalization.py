"""Triton's kernels against torch's normalization; without a GPU they run in Triton's interpreter (conftest.py)."""

import copy

import pytest
import torch

from ser.nn.convolution import ConvBnRelu
from ser.nn.fast import normalization
from ser.nn.fast.normalization import ConvFusedBnRelu, fits, norm_relu

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCE = {torch.float32: 3e-6, torch.bfloat16: 1e-2}
# For the interpreter, with few and short rows: one channel after the other, and several in a row; more than one tile.
SMALL = [(3, 4, 17, 5), (1, 12, 2, 1), (2, 3, 13, 5)]
LARGE = [(64, 16, 7, 5), (64, 80, 2, 1), (64, 48, 60, 41), (65, 128, 19, 3), (66, 200, 9, 9), (128, 16, 200, 41)]


def error(result, exact):
    return (result.double() - exact).abs().max() / exact.abs().max().clamp(min=1)


def a_map(shape, dtype, turned):
    """Random numbers with the channels side by side in memory, and frames or frequencies beside them."""
    x = (2 * torch.randn(shape) + 5).to(DEVICE, dtype)
    order, back = ((0, 3, 2, 1), (0, 3, 2, 1)) if turned else ((0, 2, 3, 1), (0, 3, 1, 2))
    return x.permute(order).contiguous().permute(back).requires_grad_()


def a_norm(channels):
    norm = torch.nn.BatchNorm2d(channels, eps=1e-3, momentum=0.3).to(DEVICE)
    torch.nn.init.normal_(norm.weight, 1, 0.3)
    torch.nn.init.normal_(norm.bias)
    torch.nn.init.uniform_(norm.running_mean, -1, 1)
    torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm


def kernels(norm, x, residual=None):
    return norm_relu(x, residual, norm)


def torchs(norm, x, residual=0):
    return (norm(x) + residual).relu()


def everything(function, norm, inputs, gradient):
    """Output, gradients and running statistics."""
    y = function(norm, *inputs)
    return [y, *torch.autograd.grad(y, [*inputs, norm.weight, norm.bias], gradient.to(y.dtype)), *norm.buffers()]


@pytest.mark.parametrize("turned, with_residual", [(False, True), (True, False)])
@pytest.mark.parametrize("shape", LARGE if DEVICE == "cuda" else SMALL)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_kernels_are_as_exact_as_torch(dtype, shape, turned, with_residual, monkeypatch):
    pytest.importorskip("triton")
    if DEVICE == "cpu":
        monkeypatch.setattr(normalization, "_PROGRAMS", 4)
        monkeypatch.setattr(normalization, "_WIDTH", 8)
    torch.manual_seed(0)
    inputs = [a_map(shape, dtype, turned) for _ in range(1 + with_residual)]
    norm, gradient = a_norm(shape[1]), torch.randn(shape).to(DEVICE, dtype)
    double, single, again = copy.deepcopy(norm).double(), copy.deepcopy(norm), copy.deepcopy(norm)
    assert fits(inputs[0], norm) == (DEVICE == "cuda")
    ours = everything(kernels, norm, inputs, gradient)
    assert all(torch.equal(*pair) for pair in zip(ours, everything(kernels, again, inputs, gradient), strict=True))
    exact = everything(torchs, double, [each.detach().double().requires_grad_() for each in inputs], gradient)
    for our, their, wanted in zip(ours, everything(torchs, single, inputs, gradient), exact, strict=True):
        assert error(our, wanted) <= max(TOLERANCE[dtype], 4 * error(their, wanted))


def test_what_is_not_a_number_stays_so():
    """Else the loss would not tell that a training has diverged."""
    pytest.importorskip("triton")
    x = torch.randn(3, 4, 6, 5).to(DEVICE, memory_format=torch.channels_last)
    x[1, 2, 3, 4] = torch.nan
    assert norm_relu(x, None, torch.nn.BatchNorm2d(4).to(DEVICE)).isnan().all(dim=(0, 2, 3)).tolist() == [0, 0, 1, 0]


def test_a_residual_of_another_type_and_order():
    """What AD gives to the next layer is float32."""
    pytest.importorskip("triton")
    torch.manual_seed(0)
    x, residual = a_map((3, 4, 6, 5), torch.bfloat16, turned=True), torch.randn(3, 4, 6, 5).to(DEVICE).requires_grad_()
    norm, gradient = a_norm(4), torch.randn(3, 4, 6, 5).to(DEVICE)
    ours = everything(kernels, copy.deepcopy(norm), [x, residual], gradient)
    inputs = [each.detach().double().requires_grad_() for each in (x, residual)]
    exact = everything(torchs, norm.double(), inputs, gradient)
    assert all(error(*pair) < 2e-2 for pair in zip(ours, exact, strict=True))


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("device_fits", [True, False])
def test_a_layer_takes_them_where_they_fit(device_fits, with_residual, monkeypatch):
    pytest.importorskip("triton")
    calls = []

    def noted(x, residual, norm):
        calls.append(norm)
        return norm_relu(x, residual, norm)

    monkeypatch.setattr(normalization, "fits", lambda x, norm: device_fits)
    monkeypatch.setattr(normalization, "norm_relu", noted)
    plain = ConvBnRelu(1, 4).to(DEVICE)
    layer = copy.deepcopy(plain)
    layer.__class__ = ConvFusedBnRelu
    x = torch.randn(2, 1, 9, 5, device=DEVICE)
    residual = torch.randn(2, 4, 9, 5, device=DEVICE) if with_residual else None
    for each in (plain, layer):
        each.to(memory_format=torch.channels_last)
    x = x.to(memory_format=torch.channels_last)
    theirs, ours = (each(x, None, residual)[0] for each in (plain, layer))
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert calls == [layer.norm] * device_fits


def test_what_does_not_fit(monkeypatch):
    """On a machine whose GPU has all: whatever else a map lacks is seen without one."""
    monkeypatch.setattr(normalization, "is_available", lambda dtype: dtype == torch.bfloat16)

    class OnGpu(torch.Tensor):
        is_cuda = True

    def a_gpus(shape):
        return torch.empty(shape, dtype=torch.bfloat16).to(memory_format=torch.channels_last).as_subclass(OnGpu)

    norm = torch.nn.BatchNorm2d(4)
    assert fits(a_gpus((64, 4, 6, 5)), norm)
    assert fits(a_gpus((64, 4, 5, 6)).transpose(2, 3), norm)
    assert not fits(a_gpus((63, 4, 6, 5)), norm)
    assert not fits(a_gpus((64, 4, 6, 5)).float(), norm)  # for which Triton does not compile here
    assert not fits(torch.empty(64, 4, 6, 5, dtype=torch.bfloat16).to(memory_format=torch.channels_last), norm)
    assert not fits(a_gpus((64, 8, 6, 5))[:, :4], norm)
    assert not fits(a_gpus((64, 4, 6, 5)).contiguous(memory_format=torch.contiguous_format), norm)
    assert not fits(a_gpus((64, 4, 6, 5)), torch.nn.SyncBatchNorm(4))
    assert not fits(a_gpus((64, 4, 6, 5)), torch.nn.BatchNorm2d(4).eval())


@pytest.fixture
def a_machine_with(monkeypatch):
    """A machine whose GPU is this machine's device, and on which the kernels may end in an exception."""
    def machine(failure=None):
        def fail(*args):
            raise failure

        ones = torch.ones
        monkeypatch.setattr(torch, "ones", lambda *sizes, dtype, device: ones(*sizes, dtype=dtype, device=DEVICE))
        monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self.to(DEVICE))
        if failure:
            monkeypatch.setattr(normalization, "norm_relu", fail)

    normalization.is_available.cache_clear()
    yield machine
    normalization.is_available.cache_clear()


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_machine_with_triton(a_machine_with, dtype, capsys):
    pytest.importorskip("triton")
    a_machine_with()
    assert normalization.is_available(dtype) and capsys.readouterr().err == ""


def test_a_machine_without_triton_says_so_once(a_machine_with, capsys):
    a_machine_with(RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable."))
    assert not normalization.is_available(torch.float32) and not normalization.is_available(torch.float32)
    said = [line for line in capsys.readouterr().err.splitlines() if "Triton" in line]
    assert len(said) == 1 and said[0].endswith("Please specify via CC environment variable.")


def test_a_full_memory_says_nothing_of_triton(a_machine_with):
    a_machine_with(torch.cuda.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        normalization.is_available(torch.float32)

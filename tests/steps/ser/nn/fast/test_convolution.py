"""Convolutions in blocks of frames, and layers that take either order of T and F, against torch's own."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from ser.nn.fast import BatchNormInMemoryOrder, MaxPoolInMemoryOrder
from ser.nn.fast.convolution import conv_in_blocks, shifted_taps

# inputs, outputs, kernel, stride, frames of a block; the first five are layers of the networks.
LAYERS = [(1, 16, 7, 1, 4), (16, 16, 3, 1, 4), (16, 32, 3, 2, 2), (32, 32, 3, 1, 2), (1, 16, 3, 1, 4), (2, 3, 5, 2, 3),
          (2, 3, 7, 1, 2), (3, 5, 3, 2, 1), (4, 4, 1, 1, 4)]


@pytest.mark.parametrize("inputs, outputs, kernel, stride, frames", LAYERS)
def test_a_convolution_in_blocks_is_that_convolution(inputs, outputs, kernel, stride, frames):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, inputs, 24, 11, dtype=torch.float64, generator=generator).requires_grad_()
    weight = torch.randn(outputs, inputs, kernel, kernel, dtype=torch.float64, generator=generator).requires_grad_()
    ours = conv_in_blocks(x, weight, shifted_taps(kernel, stride, frames).double())
    theirs = conv2d(x, weight, None, stride, kernel // 2)
    assert ours.stride(1) == 1 and torch.allclose(ours, theirs, atol=1e-12)
    gradient = torch.randn(theirs.shape, dtype=torch.float64, generator=generator)
    for our, their in zip(*(torch.autograd.grad(y, (x, weight), gradient) for y in (ours, theirs)), strict=True):
        assert torch.allclose(our, their, atol=1e-11)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("ours, theirs", [
    (BatchNormInMemoryOrder(3), nn.BatchNorm2d(3)),
    (MaxPoolInMemoryOrder(2, ceil_mode=True), nn.MaxPool2d(2, ceil_mode=True)),
], ids=["norm", "pool"])
def test_layers_and_their_gradients_are_those_of_torch(ours, theirs, turned):
    x = torch.randn(2, 3, 7, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = (0, 3, 2, 1) if turned else (0, 2, 3, 1)
    back = (0, 3, 2, 1) if turned else (0, 3, 1, 2)
    mine = x.permute(order).contiguous().permute(back).requires_grad_()
    x = x.requires_grad_()
    outputs = ours.double()(mine), theirs.double()(x)
    assert outputs[0].stride() != outputs[1].stride()
    assert torch.allclose(*outputs, atol=1e-12)
    gradients = (torch.autograd.grad(y.pow(3).sum(), each)[0] for y, each in zip(outputs, (mine, x), strict=True))
    assert torch.allclose(*gradients, atol=1e-12)

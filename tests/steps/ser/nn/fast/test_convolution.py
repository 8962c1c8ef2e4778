"""Convolutions in blocks of frames, and pooling, against torch's own."""

import pytest
import torch
from torch.nn.functional import conv2d, max_pool2d

from ser.nn.convolution import conv_in_blocks, in_memory_order, shifts
from ser.nn.vgg import MaxPool

# inputs, outputs, kernel, stride, frames of a block; the first five are layers of the networks.
LAYERS = [(1, 16, 7, 1, 4), (16, 16, 3, 1, 4), (16, 32, 3, 2, 2), (32, 32, 3, 1, 2), (1, 16, 3, 1, 4), (2, 3, 5, 2, 3),
          (2, 3, 7, 1, 2), (3, 5, 3, 2, 1)]


@pytest.mark.parametrize("inputs, outputs, kernel, stride, frames", LAYERS)
def test_a_convolution_in_blocks_is_that_convolution(inputs, outputs, kernel, stride, frames):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, inputs, 24, 11, dtype=torch.float64, generator=generator).requires_grad_()
    weight = torch.randn(outputs, inputs, kernel, kernel, dtype=torch.float64, generator=generator).requires_grad_()
    bias = torch.randn(outputs, dtype=torch.float64, generator=generator)
    ours = conv_in_blocks(x, weight, shifts(kernel, stride, frames).double(), bias)
    theirs = conv2d(x, weight, bias, stride, kernel // 2)
    assert ours.stride(1) == 1 and torch.allclose(ours, theirs, atol=1e-12)
    gradient = torch.randn(theirs.shape, dtype=torch.float64, generator=generator)
    for our, their in zip(*(torch.autograd.grad(y, (x, weight), gradient) for y in (ours, theirs)), strict=True):
        assert torch.allclose(our, their, atol=1e-11)


@pytest.mark.parametrize("turned", [False, True])
def test_pooling_and_its_gradient_are_those_of_torch(turned):
    x = torch.randn(2, 3, 7, 10, generator=torch.Generator().manual_seed(0))
    x = (x.mT.contiguous().mT if turned else x).requires_grad_()
    ours, theirs = in_memory_order(MaxPool.apply, x), max_pool2d(x, 2, ceil_mode=True)
    assert torch.equal(ours, theirs)
    assert torch.equal(*(torch.autograd.grad(y.square().sum(), x)[0] for y in (ours, theirs)))

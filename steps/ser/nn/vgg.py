"""The VGG5 of the paper's section 4.2: five 3x3 convolutions of 16, 32, 48, 64 and 80 channels."""

import torch
from torch import nn

from ser.nn.convolution import in_memory_order
from ser.nn.padding import ConvBnRelu, halved


class MaxPool(torch.autograd.Function):
    """2x2 max pooling of a map `[B, C, T, F]`, rounding T and F up.

    torch refuses the gradient of its own on GPUs when it is asked for deterministic algorithms, because windows that
    overlap add to it in any order. These do not overlap.
    """

    window = ([2, 2], [2, 2], [0, 0], [1, 1], True)

    @staticmethod
    def forward(ctx, x):
        y, places = torch.ops.aten.max_pool2d_with_indices(x, *MaxPool.window)
        ctx.save_for_backward(x, places)
        return y

    @staticmethod
    def backward(ctx, gradient):
        x, places = ctx.saved_tensors
        mode = torch.get_deterministic_debug_mode()
        torch.set_deterministic_debug_mode("default")
        try:
            return torch.ops.aten.max_pool2d_with_indices_backward(gradient, x, *MaxPool.window, places)
        finally:
            torch.set_deterministic_debug_mode(mode)


class ConvPool(nn.Module):
    """3x3 convolution, batch normalization, ReLU and 2x2 max pooling.

    The paper does not print VGG5's pooling. Four poolings bring T and F down by 16, as the four
    transitions of the ResNet do. Frames behind the end are zero and the others are not negative
    behind the ReLU, so pooling over the end changes nothing.
    """

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = ConvBnRelu(inputs, outputs)

    def forward(self, x, lengths):
        x, lengths = self.conv(x, lengths)
        return in_memory_order(MaxPool.apply, x), None if lengths is None else halved(lengths)


def vgg5():
    """Layers by name, and the channels behind each; `[B, 1, T, 41]` leaves as `[B, 80, ceil(T / 16), 3]`.

    Returns
    -------
    dict of str to (torch.nn.Module, int)
    """
    channels = (1, 16, 32, 48, 64)
    layers = {f"conv{i + 1}": (ConvPool(channels[i], channels[i + 1]), channels[i + 1]) for i in range(4)}
    layers["conv5"] = (ConvBnRelu(64, 80), 80)
    return layers

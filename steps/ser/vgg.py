"""The VGG5 of the paper's section 4.2: five 3x3 convolutions of 16, 32, 48, 64 and 80 channels."""

import torch
from torch import nn
from torch.nn.functional import max_pool2d, pad

from ser.masking import ConvBnRelu, halved


def max_pool(x):
    """2x2 max pooling of a map without negative values, rounding T and F up."""
    if not x.is_cuda:
        return max_pool2d(x, 2, ceil_mode=True)
    # The gradient of torch's own is not deterministic on GPUs.
    x = pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
    even, odd = x[:, :, 0::2], x[:, :, 1::2]
    return torch.maximum(torch.maximum(even[..., 0::2], even[..., 1::2]), torch.maximum(odd[..., 0::2], odd[..., 1::2]))


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
        return max_pool(x), None if lengths is None else halved(lengths)


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

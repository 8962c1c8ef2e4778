"""The VGG5 of the paper's section 4.2: five 3x3 convolutions of 16, 32, 48, 64 and 80 channels."""

import torch
from torch import nn

from ser.nn.convolution import ConvBnRelu
from ser.nn.padding import lengths_after


class ConvPool(nn.Module):
    """3x3 convolution, batch normalization, ReLU and 2x2 max pooling.

    The paper does not print VGG5's pooling. Four poolings bring T and F down by 16, as the four transitions of the
    ResNet do. After the ReLU no value is negative, so a window that reaches over an utterance's end, where all is zero,
    gives what it gives of the utterance alone.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = ConvBnRelu(inputs, outputs)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map `[B, inputs, T, F]`, `[B]` to `[B, outputs, ceil(T / 2), ceil(F / 2)]`, `[B]`."""
        x, lengths = self.conv(x, lengths)
        return self.pool(x), lengths_after(lengths, stride=2)


def vgg5(dimension: int) -> dict[str, tuple[nn.Module, int]]:
    """Layers by name, and the channels after each; they take features of any dimension.

    `[B, 1, T, F]` leaves as `[B, 80, ceil(T / 16), ceil(F / 16)]`, of the paper's 41 filters 3 are left.

    Returns
    -------
    dict of str to (torch.nn.Module, int)
    """
    return {
        "conv1": (ConvPool(1, 16), 16),
        "conv2": (ConvPool(16, 32), 32),
        "conv3": (ConvPool(32, 48), 48),
        "conv4": (ConvPool(48, 64), 64),
        "conv5": (ConvBnRelu(64, 80), 80),
    }

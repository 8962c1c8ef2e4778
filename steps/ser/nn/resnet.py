"""The ResNet18 of the paper's Table 1, thinner than ImageNet's and with its strides in the transitions."""

import torch
from torch import nn

from ser.nn.convolution import ConvBnRelu


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the input is added (He et al. 2016, figure 2)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = ConvBnRelu(channels, channels)
        self.conv2 = ConvBnRelu(channels, channels)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map `[B, C, T, F]` and `[B]` to the same shapes."""
        y, _ = self.conv1(x, lengths)
        return self.conv2(y, lengths, residual=x)


class Stage(nn.Module):
    """Two basic blocks."""

    def __init__(self, channels: int):
        super().__init__()
        self.block1 = BasicBlock(channels)
        self.block2 = BasicBlock(channels)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map `[B, C, T, F]` and `[B]` to the same shapes."""
        x, lengths = self.block1(x, lengths)
        return self.block2(x, lengths)


def resnet18(dimension: int) -> dict[str, tuple[nn.Module, int]]:
    """Layers of Table 1 by name, and the channels after each; they take features of any dimension.

    Returns
    -------
    dict of str to (torch.nn.Module, int)
        conv1 7x7; stage1 to stage4 with 16, 32, 64, 128 channels; each followed by a 3x3 transition of stride 2 to 32,
        64, 128, 128. A map `[B, 1, T, F]` leaves as `[B, 128, ceil(T / 16), ceil(F / 16)]`; of the paper's 41 filters 3
        are left.
    """
    layers: dict[str, tuple[nn.Module, int]] = {"conv1": (ConvBnRelu(1, 16, kernel=7), 16)}
    for number, (channels, following) in enumerate(((16, 32), (32, 64), (64, 128), (128, 128)), 1):
        layers[f"stage{number}"] = (Stage(channels), channels)
        layers[f"transition{number}"] = (ConvBnRelu(channels, following, stride=2), following)
    return layers

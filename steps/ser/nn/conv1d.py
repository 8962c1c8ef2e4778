"""1-D convolutions over time, a backbone for features whose dimensions have no order, as hidden states of a model.

Each dimension is a channel of its own. A map is still `[B, C, T, F]`, with F = 1, so AD, attentions and poolings are
those of the other backbones: equation 1 normalizes each channel of an utterance over time, which is the instance
normalization of one-shot voice conversion (Chou et al., Interspeech 2019); in TF-attention the strip along frequency is
one weight for each channel, and the strip along time is the residual itself.

A pooling right after AD sees even less than after a 2-D backbone (ser.nn.pooling): of IN(F) with F = 1 both mean and
deviation over time are constants. So an AD module belongs after conv1, where conv2 follows, and not after the last
layer, unless the pooling is attentive.
"""

import torch
from torch import nn

from ser.nn.padding import mask_frames

_CHANNELS = 128
_KERNEL = 5  # frames


class LinearBnRelu(nn.Module):
    """A linear layer on each frame, batch normalization and ReLU."""

    def __init__(self, dimension: int, outputs: int):
        super().__init__()
        self.linear = nn.Linear(dimension, outputs, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map features `[B, 1, T, dimension]`, `[B]` to `[B, outputs, T, 1]`, `[B]`."""
        x = self.linear(x).transpose(1, 3).contiguous()  # [B, outputs, T, 1]
        return mask_frames(self.norm(x).relu(), lengths), lengths


class Conv1dBnRelu(nn.Module):
    """1-D convolution over time, batch normalization and ReLU; keeps T."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map `[B, channels, T, 1]`, `[B]` to the same shapes."""
        x = self.conv(x[:, :, :, 0])[:, :, :, None]  # [B, channels, T, 1]
        return mask_frames(self.norm(x).relu(), lengths), lengths


def conv1d(dimension: int) -> dict[str, tuple[nn.Module, int]]:
    """Layers by name, and the channels after each; `[B, 1, T, dimension]` leaves as `[B, 128, T, 1]`.

    Parameters
    ----------
    dimension : int
        Features per frame.

    Returns
    -------
    dict of str to (torch.nn.Module, int)
        A linear layer on each frame, then two convolutions over five frames.
    """
    return {
        "linear": (LinearBnRelu(dimension, _CHANNELS), _CHANNELS),
        "conv1": (Conv1dBnRelu(_CHANNELS, _KERNEL), _CHANNELS),
        "conv2": (Conv1dBnRelu(_CHANNELS, _KERNEL), _CHANNELS),
    }

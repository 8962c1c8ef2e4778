"""Attentions that split the residual of an AD module: masks a_att in (0, 1) over `[B, C, T, F]`."""

import torch
from torch import nn

from ser.nn.padding import mean_over_time, mean_over_time_and_frequency


class TFAttention(nn.Module):
    """Time-frequency attention, the paper's equations 5 and 6 and Figure 3.

    The residual is averaged over frequency and, apart, over time; each strip goes through a 1x1 convolution from C to D
    and one from D to C, without a nonlinearity between (the equations have none); the two are broadcast, added and
    squashed. The strips have weights of their own, as in strip pooling, the paper's reference [24].

    Parameters
    ----------
    channels : int
        C.
    attention_dim : int
        D.
    """

    def __init__(self, channels: int, attention_dim: int):
        super().__init__()
        self.time_down = nn.Conv2d(channels, attention_dim, 1)
        self.time_up = nn.Conv2d(attention_dim, channels, 1)
        self.frequency_down = nn.Conv2d(channels, attention_dim, 1)
        self.frequency_up = nn.Conv2d(attention_dim, channels, 1)

    def forward(self, residual: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Map the residual `[B, C, T, F]`, zero after each utterance's end, to a mask of that shape."""
        over_frequency = residual.float().mean(dim=3, keepdim=True)  # R^F: [B, C, T, 1]
        over_time = mean_over_time(residual, lengths)  # R^T: [B, C, 1, F]
        along_time = self.time_up(self.time_down(over_frequency))  # [B, C, T, 1]
        along_frequency = self.frequency_up(self.frequency_down(over_time))  # [B, C, 1, F]
        return torch.sigmoid(along_time + along_frequency)  # [B, C, T, F]


class SEAttention(nn.Module):
    """Squeeze-and-excitation, the paper's reference [22]: one weight per channel, `[B, C, 1, 1]`."""

    def __init__(self, channels: int, attention_dim: int):
        super().__init__()
        self.down = nn.Linear(channels, attention_dim)
        self.up = nn.Linear(attention_dim, channels)

    def forward(self, residual: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Map the residual `[B, C, T, F]` to a mask `[B, C, 1, 1]`."""
        squeezed = mean_over_time_and_frequency(residual, lengths)  # [B, C]
        return torch.sigmoid(self.up(self.down(squeezed).relu()))[:, :, None, None]


ATTENTIONS: dict[str, type[TFAttention] | type[SEAttention]] = {
    "tf": TFAttention,
    "se": SEAttention,
}

"""Attentions that split the residual of an AD module: masks a_att in (0, 1) over `[B, C, T, F]`."""

import torch
from torch import nn

from ser.nn.padding import mean_over_time, mean_over_time_and_frequency


class TFAttention(nn.Module):
    """Time-frequency attention, the paper's equations 5 and 6 and Figure 3.

    The residual is averaged over frequency and, apart, over time; each strip goes through a 1x1
    convolution from C to D and one from D to C, without a nonlinearity between (the equations have
    none); the two are broadcast, added and squashed. The strips have weights of their own, as in
    strip pooling, the paper's reference [24].
    """

    def __init__(self, channels, reduced):
        super().__init__()
        self.time_down = nn.Conv2d(channels, reduced, 1)
        self.time_up = nn.Conv2d(reduced, channels, 1)
        self.frequency_down = nn.Conv2d(channels, reduced, 1)
        self.frequency_up = nn.Conv2d(reduced, channels, 1)

    def forward(self, residual, lengths):
        """Map the residual `[B, C, T, F]`, zero behind each utterance's end, to a mask of that shape."""
        over_frequency = residual.float().mean(dim=3, keepdim=True)  # R^F: [B, C, T, 1]
        over_time = mean_over_time(residual, lengths)  # R^T: [B, C, 1, F]
        return torch.sigmoid(self.time_up(self.time_down(over_frequency))
                             + self.frequency_up(self.frequency_down(over_time)))


class SEAttention(nn.Module):
    """Squeeze-and-excitation, the paper's reference [22]: one weight a channel, `[B, C, 1, 1]`."""

    def __init__(self, channels, reduced):
        super().__init__()
        self.down = nn.Linear(channels, reduced)
        self.up = nn.Linear(reduced, channels)

    def forward(self, residual, lengths):
        squeezed = mean_over_time_and_frequency(residual, lengths)
        return torch.sigmoid(self.up(self.down(squeezed).relu()))[:, :, None, None]


ATTENTIONS = {
    "tf": TFAttention,
    "se": SEAttention,
}

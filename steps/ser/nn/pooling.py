"""Poolings: a feature map of any length to one vector, `pool()` of the paper's equation 4.

The paper prints `FC(pool(F))` and not which pooling. The mean over time and frequency, which ResNets end in, leaves
nothing of attribute normalization when it follows right after: equation 1 gives each channel of IN(F) mean 0 and
deviation 1 over time and frequency before it scales by gamma and adds beta, so that for every utterance

    pool(IN(F)) = gamma * pool((F - mean) / deviation) + beta = gamma * 0 + beta = beta,

    pool(F+) = beta + pool(a * R).

The normalized path then tells nothing of the utterance; all that a classifier sees comes back through the attention's
residual, in which the speaker is, too. Style normalization and restitution (SNR; Jin et al., CVPR 2020), which has the
same equations, puts further convolutions between the module and the pooling. A pooling that keeps the frequencies apart
is another way out: IN takes away the mean of a channel, and its profile over frequency stays.

All compute in float32, from the valid frames alone. The order of a vector that keeps channels and frequencies is that
of `[C, F]`.
"""

import torch
from torch import nn

from ser.nn.padding import mask_frames, mean_over_time, mean_over_time_and_frequency, valid_frames

_ATTENTION_DIM = 64  # units of the hidden layer of attentive pooling
_SMALLEST_VARIANCE = 1e-8  # the root of 0 has no gradient


class Pooling(nn.Module):
    """Maps `[B, C, T, F]`, zero after each utterance's end, and lengths `[B]` or None to float32 `[B, outputs]`.

    Parameters
    ----------
    outputs : int
        Size of the vector.
    """

    def __init__(self, outputs: int):
        super().__init__()
        self.outputs = outputs


class MeanPooling(Pooling):
    """Mean over time and frequency: `[B, C]`."""

    def __init__(self, channels: int, frequencies: int):
        super().__init__(channels)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Map `[B, C, T, F]`, `[B]` to `[B, C]`."""
        return mean_over_time_and_frequency(x, lengths)


class TimePooling(Pooling):
    """Mean over time of each channel and frequency: `[B, C F]`."""

    def __init__(self, channels: int, frequencies: int):
        super().__init__(channels * frequencies)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Map `[B, C, T, F]`, `[B]` to `[B, C F]`."""
        return mean_over_time(x, lengths).flatten(1)


class StatisticsPooling(Pooling):
    """Mean and standard deviation over time of each channel and frequency (Snyder et al. 2018): `[B, 2 C F]`."""

    def __init__(self, channels: int, frequencies: int):
        super().__init__(2 * channels * frequencies)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Map `[B, C, T, F]`, `[B]` to `[B, 2 C F]`, means before deviations."""
        mean = mean_over_time(x, lengths)  # [B, C, 1, F]
        centered = mask_frames(x.float() - mean, lengths)
        variance = mean_over_time(centered**2, lengths)
        return torch.cat([mean.flatten(1), _root(variance).flatten(1)], dim=1)


class AttentivePooling(Pooling):
    """Attentive statistics pooling (Okabe, Koshinaka and Shinoda 2018): `[B, 2 C F]`.

    A frame h_t is all channels and frequencies of a step. Its weight is the softmax over time of v^T tanh(W h_t + b);
    weighted means and weighted standard deviations are pooled. The constant that the paper adds after v is left out,
    because the softmax does not see it.
    """

    def __init__(self, channels: int, frequencies: int):
        super().__init__(2 * channels * frequencies)
        self.hidden = nn.Linear(channels * frequencies, _ATTENTION_DIM)  # W and b
        self.score = nn.Linear(_ATTENTION_DIM, 1, bias=False)  # v

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Map `[B, C, T, F]`, `[B]` to `[B, 2 C F]`, means before deviations."""
        with torch.autocast(x.device.type, enabled=False):
            frames = x.float().transpose(1, 2).flatten(2)  # h: [B, T, C F]
            scores = self.score(self.hidden(frames).tanh())  # [B, T, 1]
            if lengths is not None:
                scores = scores.masked_fill(~valid_frames(x, lengths)[:, :, None], -torch.inf)
            weights = scores.softmax(dim=1)  # [B, T, 1], 0 after the end
            mean = (weights * frames).sum(dim=1, keepdim=True)  # [B, 1, C F]
            variance = (weights * (frames - mean) ** 2).sum(dim=1)  # [B, C F]
            return torch.cat([mean[:, 0], _root(variance)], dim=1)


def _root(variance: torch.Tensor) -> torch.Tensor:
    """Standard deviations, whose gradient is finite also where nothing varies."""
    return variance.clamp(min=_SMALLEST_VARIANCE).sqrt()


POOLINGS: dict[str, type[MeanPooling] | type[TimePooling] | type[StatisticsPooling] | type[AttentivePooling]] = {
    "mean": MeanPooling,
    "time": TimePooling,
    "stats": StatisticsPooling,
    "attentive": AttentivePooling,
}

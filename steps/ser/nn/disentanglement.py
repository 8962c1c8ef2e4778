"""The attribute-disentanglement (AD) module, the paper's equations 1 to 3."""

import torch
from torch import nn

from ser.nn.padding import mask_frames, mean_over_time_and_frequency


class InstanceNorm(nn.Module):
    """Equation 1: each channel of each utterance to mean 0 and deviation 1, then gamma and beta.

    The statistics cover the valid frames only.
    """

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Map `[B, C, T, F]`, zero after each utterance's end, to the same shape."""
        mean = mean_over_time_and_frequency(x, lengths)[:, :, None, None]  # [B, C, 1, 1]
        centered = mask_frames(x - mean, lengths)
        variance = mean_over_time_and_frequency(centered**2, lengths)[:, :, None, None]  # [B, C, 1, 1]
        scaled = centered * torch.rsqrt(variance + self.eps) * self.weight[:, None, None]
        return mask_frames(scaled + self.bias[:, None, None], lengths)


class AttributeDisentanglement(nn.Module):
    """Split a feature map into an emotion-relevant part F+ and an emotion-irrelevant part F-.

    Parameters
    ----------
    channels : int
        C of the feature map.
    attention : torch.nn.Module or None
        Maps the residual and the lengths to a mask in (0, 1). None is attribute normalization
        alone: nothing of the residual comes back, F+ = IN(F) and F- = IN(F) + R = F.
    """

    def __init__(self, channels: int, attention: nn.Module | None):
        super().__init__()
        self.norm = InstanceNorm(channels)
        self.attention = attention

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute F+ and F-.

        Parameters
        ----------
        x : torch.Tensor
            F, `[B, C, T, F]`, zero after each utterance's end.
        lengths : torch.Tensor, optional
            `[B]` valid frames.

        Returns
        -------
        tuple of torch.Tensor
            F+ and F-, float32 `[B, C, T, F]`.
        """
        # Statistics and small differences: bfloat16 would lose them.
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            normalized = self.norm(x, lengths)  # equation 1
            residual = x - normalized
            if self.attention is None:
                return normalized, x
            mask = self.attention(residual, lengths)
            relevant = mask * residual  # equation 2
            return normalized + relevant, normalized + (residual - relevant)  # equation 3

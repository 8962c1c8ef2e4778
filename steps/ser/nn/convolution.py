"""The layer that all backbones are made of: convolution, batch normalization and ReLU."""

import torch
from torch import nn

from ser.nn.padding import lengths_after, mask_frames


class ConvBnRelu(nn.Module):
    """Convolution, batch normalization and ReLU; halves T and F (rounding up) with stride 2.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel : int
        Odd size of the square kernel; padded so that stride 1 keeps T and F.
    stride : int
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.stride = stride

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None,
                residual: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map `[B, inputs, T, F]`, `[B]` to `[B, outputs, T', F']`, `[B]`; a residual is added before the ReLU."""
        x = self.norm_relu(self.conv(x), residual)  # [B, outputs, T', F']
        lengths = lengths_after(lengths, self.stride)
        return mask_frames(x, lengths), lengths

    def norm_relu(self, x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
        """What follows the convolution: `[B, outputs, T', F']` to the same shape."""
        x = self.norm(x)
        if residual is not None:
            x = residual + x
        return x.relu()

"""Batches of utterances of different lengths, each computed as it would be alone.

A feature map is `[B, C, T, F]`. `lengths` is an integer tensor `[B]` of valid frames, or None when all
T frames of every utterance are valid. Frames behind an utterance's end are kept at zero, which is what
the padding of a convolution shows the utterance when it is alone.
"""

import torch
from torch import nn

from ser.nn.convolution import Conv2d, in_memory_order
from ser.nn.fused_norm import batch_norm_relu, fits


def mask_frames(x, lengths):
    """Set the frames behind each utterance's end to zero."""
    if lengths is None:
        return x
    valid = torch.arange(x.shape[2], device=x.device) < lengths[:, None]
    return x * valid[:, None, :, None].to(x.dtype)


def mean_over_time_and_frequency(x, lengths):
    """Mean of the valid part of a masked map `[B, C, T, F]` in float32: `[B, C]`."""
    if lengths is None:
        return x.float().mean(dim=(2, 3))
    return x.float().sum(dim=(2, 3)) / (lengths * x.shape[3])[:, None]


def mean_over_time(x, lengths):
    """Mean over the valid frames of a masked map `[B, C, T, F]` in float32: `[B, C, 1, F]`."""
    if lengths is None:
        return x.float().mean(dim=2, keepdim=True)
    return x.float().sum(dim=2, keepdim=True) / lengths[:, None, None, None]


def factor_and_summand(norm):
    """What a batch normalization multiplies each channel by and adds to it in evaluation, `[C]` each."""
    factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return factor, norm.bias - norm.running_mean * factor


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

    def __init__(self, inputs, outputs, kernel=3, stride=1):
        super().__init__()
        self.conv = Conv2d(inputs, outputs, kernel, stride)
        self.norm = nn.BatchNorm2d(outputs)
        self.stride = stride

    def forward(self, x, lengths, residual=None):
        """Map `[B, inputs, T, F]`, `[B]` to `[B, outputs, T', F']`, `[B]`; a residual is added in front of the ReLU."""
        if not self.norm.training:
            x = self.conv.scaled(x, *factor_and_summand(self.norm))
            x = (x if residual is None else x.add_(residual)).relu_()
        elif fits(x := self.conv(x), self.norm):
            x = batch_norm_relu(x, self.norm, residual)
        else:
            x = in_memory_order(self.norm, x)
            x = (x if residual is None else residual + x).relu()
        if lengths is not None:
            lengths = halved(lengths, self.stride)
        return mask_frames(x, lengths), lengths


def halved(lengths, stride=2):
    """Valid frames after a layer of that stride: rounded up, as padded convolutions and ceil-mode pooling do."""
    return (lengths + stride - 1) // stride

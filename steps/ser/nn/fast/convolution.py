"""Convolutions of few channels that still fill a GPU's matrix units.

The networks have 16 and 32 channels where their maps are largest, and a GPU's convolutions compute as many outputs as
they would for 64. Neighbouring frames are therefore taken for channels of one position: the same sums, in a fraction of
the time. Maps then lie in memory in the order B, F, T, channels.
"""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import conv2d


class ConvInBlocks(nn.Conv2d):
    """A square convolution without bias, padded by half its kernel, that computes several frames per position.

    Attributes
    ----------
    taps : torch.Tensor
        Of shifted_taps().
    """

    taps: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `[B, inputs, T, F]` to `[B, outputs, T', F']`; stride 2 halves T and F, rounding up."""
        frames = len(self.taps)
        if frames > 1 and x.shape[2] % (frames * self.stride[0]) == 0:
            return conv_in_blocks(x, self.weight, self.taps)
        return conv2d(x.transpose(2, 3), self.weight.transpose(2, 3), None, self.stride, self.padding).transpose(2, 3)


def shifted_taps(kernel: int, stride: int, frames: int) -> torch.Tensor:
    """Where the taps of a kernel fall in a block of frames and its neighbours.

    Parameters
    ----------
    kernel, stride : int
    frames : int
        Output frames of a block; `frames * stride` go in.

    Returns
    -------
    torch.Tensor
        float32 `[frames, blocks, frames * stride, kernel]`: 1 where a tap of an output frame falls on an input frame of
        a block; the block itself is in the middle of `blocks`.
    """
    block, half = frames * stride, kernel // 2
    reach = math.ceil(half / block)  # neighbouring blocks to each side
    taps = torch.arange(frames)[:, None] * stride + torch.arange(kernel) - half + reach * block  # [frames, kernel]
    hits = taps[:, None] == torch.arange((2 * reach + 1) * block)[:, None]
    return hits.float().view(frames, 2 * reach + 1, block, kernel)


def conv_in_blocks(x: torch.Tensor, weight: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
    """A convolution, padded by half its kernel, of which each position computes several output frames.

    A block of input frames lies side by side in memory with its channels, so it is one position of many channels; the
    filters of a block hold the kernel once for each output frame, shifted, among zeros.

    Parameters
    ----------
    x : torch.Tensor
        `[B, inputs, T, F]`, of which T is a multiple of a block; fastest where its memory is in the order B, F, T,
        channels, as that of the result is.
    weight : torch.Tensor
        `[outputs, inputs, kernel, kernel]`, over time and frequency.
    taps : torch.Tensor
        Of shifted_taps().

    Returns
    -------
    torch.Tensor
        `[B, outputs, T / stride, F']`.
    """
    batch, inputs, time, frequencies = x.shape
    outputs, kernel = weight.shape[0], weight.shape[2]
    frames, reached, block, _ = taps.shape
    filters = torch.einsum("oitf,nrbt->nobifr", weight, taps)
    filters = filters.reshape(frames * outputs, block * inputs, kernel, reached)
    blocks = x.permute(0, 3, 2, 1).contiguous().view(batch, frequencies, time // block, block * inputs)
    blocks = blocks.permute(0, 3, 1, 2)  # [B, block * inputs, F, T / block]
    y = conv2d(blocks, filters, None, (block // frames, 1), (kernel // 2, reached // 2))
    y = y.permute(0, 2, 3, 1).reshape(batch, -1, time // block * frames, outputs)  # [B, F', T / stride, outputs]
    return y.permute(0, 3, 2, 1)


def in_memory_order(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Apply a function to maps `[B, C, T, F]` that treats T and F alike, such that the last of them varies faster."""
    if x.stride(2) < x.stride(3):
        return function(x.transpose(2, 3)).transpose(2, 3)
    return function(x)

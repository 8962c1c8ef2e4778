"""Convolutions of few channels that still fill a GPU's matrix units."""

import torch
from torch import nn
from torch.nn.functional import conv2d

# Output channels of a tile that the matrix units work on at full speed.
_TILE = 64


class Conv2d(nn.Conv2d):
    """A square convolution without bias; stride 1 keeps T and F.

    The networks have 16 and 32 channels where their maps are largest, and a GPU's convolutions compute as many
    outputs as they would for 64. On a GPU, `64 // outputs` neighbouring frames are therefore taken for channels of one
    position where T is a multiple of that: the same sums, in a fraction of the time. Maps then lie in memory in the
    order B, F, T, channels.
    """

    def __init__(self, inputs, outputs, kernel=3, stride=1):
        super().__init__(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.frames = max(1, _TILE // outputs)
        self.register_buffer("shifts", shifts(kernel, stride, self.frames), persistent=False)

    def forward(self, x):
        """Map `[B, inputs, T, F]` to `[B, outputs, T', F']`; stride 2 halves T and F, rounding up."""
        return self._convolve(x, self.weight)

    def scaled(self, x, factor, summand):
        """`factor * self(x) + summand` as one convolution; `[outputs]` each."""
        return self._convolve(x, self.weight * factor[:, None, None, None], summand)

    def _convolve(self, x, weight, bias=None):
        if not x.is_cuda:
            return conv2d(x, weight, bias, self.stride, self.padding)
        if self.frames > 1 and x.shape[2] % (self.frames * self.stride[0]) == 0:
            return conv_in_blocks(x, weight, self.shifts, bias)
        return conv2d(x.transpose(2, 3), weight.transpose(2, 3), bias, self.stride, self.padding).transpose(2, 3)


def shifts(kernel, stride, frames):
    """Where the taps of a kernel fall in a block of frames and its neighbours.

    Parameters
    ----------
    kernel, stride : int
    frames : int
        Output frames of a block; `frames * stride` go in.

    Returns
    -------
    torch.Tensor
        float32 `[frames, blocks, frames * stride, kernel]`: 1 where a tap of an output frame falls on an input frame
        of a block; the block itself is in the middle of `blocks`.
    """
    block, half = frames * stride, kernel // 2
    reach = -(-half // block)
    taps = torch.arange(frames)[:, None] * stride + torch.arange(kernel) - half + reach * block
    hits = taps[:, None] == torch.arange((2 * reach + 1) * block)[:, None]
    return hits.float().view(frames, 2 * reach + 1, block, kernel)


def conv_in_blocks(x, weight, shifts, bias=None):
    """A convolution, padded by half its kernel, of which each position computes several output frames.

    A block of input frames lies side by side in memory with its channels, so it is one position of many channels;
    the filters of a block hold the kernel once for each output frame, shifted, among zeros.

    Parameters
    ----------
    x : torch.Tensor
        `[B, inputs, T, F]`, of which T is a multiple of a block; fastest where its memory is in the order B, F, T,
        channels, as that of the result is.
    weight : torch.Tensor
        `[outputs, inputs, kernel, kernel]`, over time and frequency.
    shifts : torch.Tensor
        Of shifts().
    bias : torch.Tensor, optional
        `[outputs]`.

    Returns
    -------
    torch.Tensor
        `[B, outputs, T / stride, F']`.
    """
    batch, inputs, time, frequencies = x.shape
    outputs, kernel = weight.shape[0], weight.shape[2]
    frames, reached, block, _ = shifts.shape
    filters = torch.einsum("oitf,nrbt->nobifr", weight, shifts)
    filters = filters.reshape(frames * outputs, block * inputs, kernel, reached)
    blocks = x.permute(0, 3, 2, 1).contiguous().view(batch, frequencies, time // block, block * inputs)
    bias = None if bias is None else bias.repeat(frames)
    y = conv2d(blocks.permute(0, 3, 1, 2), filters, bias, (block // frames, 1), (kernel // 2, reached // 2))
    return y.permute(0, 2, 3, 1).reshape(batch, -1, time // block * frames, outputs).permute(0, 3, 2, 1)


def in_memory_order(function, x):
    """Apply a function to maps `[B, C, T, F]` that treats T and F alike, such that the last of them varies faster."""
    if x.stride(2) < x.stride(3):
        return function(x.transpose(2, 3)).transpose(2, 3)
    return function(x)

"""The same networks sooner on a GPU: one function, prepare(). Without this folder all works, slower."""

import torch
from torch import nn

from ser.nn.adapters import AdaptedConv2d
from ser.nn.convolution import ConvBnRelu
from ser.nn.fast.convolution import ConvInBlocks, in_memory_order, shifted_taps
from ser.nn.fast.normalization import ConvFusedBnRelu

_TILE = 64  # output channels at which a GPU's matrix units reach their full speed


class AdaptedConvInBlocks(AdaptedConv2d, ConvInBlocks):
    """An AdaptedConv2d, of which the frozen convolution is one in blocks."""


class BatchNormInMemoryOrder(nn.BatchNorm2d):
    """Batch normalization of maps `[B, C, T, F]` in either order of T and F, without a copy."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `[B, C, T, F]` to the same shape."""
        return in_memory_order(super().forward, x)


class MaxPoolInMemoryOrder(nn.MaxPool2d):
    """Max pooling with a square window of maps `[B, C, T, F]` in either order of T and F, without a copy."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `[B, C, T, F]` to `[B, C, T', F']`."""
        return in_memory_order(super().forward, x)


_FASTER = {
    ConvBnRelu: ConvFusedBnRelu,
    nn.Conv2d: ConvInBlocks,
    AdaptedConv2d: AdaptedConvInBlocks,
    nn.BatchNorm2d: BatchNormInMemoryOrder,
    nn.MaxPool2d: MaxPoolInMemoryOrder,
}


def prepare(model: nn.Module, device: torch.device) -> nn.Module:
    """Let a network compute the same sooner.

    Parameters
    ----------
    model : torch.nn.Module
        Its layers change their class in place; they keep their parameters, buffers and names.
    device : torch.device
        Where the model is. On a CPU nothing was found that pays, and the network stays as it is.

    Returns
    -------
    torch.nn.Module
        The model. Its outputs differ from those before by the rounding of another order of summation.
    """
    if device.type != "cuda":
        return model
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            if module.bias is not None:  # of the attentions, whose maps are small
                continue
            frames = max(1, _TILE // module.out_channels)
            taps = shifted_taps(module.kernel_size[0], module.stride[0], frames)
            module.register_buffer("taps", taps.to(module.weight.device), persistent=False)
        if type(module) in _FASTER:
            module.__class__ = _FASTER[type(module)]
    return model

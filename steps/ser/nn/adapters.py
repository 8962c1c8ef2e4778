"""Residual adapters, the paper's reference [16], in the parallel form of Rebuffi et al. 2018.

A 1x1 convolution is put beside each 3x3 convolution of the residual blocks, and their sum goes on to the batch
normalization. All pre-trained filters stay; adapters and all batch normalizations learn. Adapters start at zero, where
the network computes what the pre-trained one does.

Of [16] its abstract alone is at hand. Not known are: adapters beside the convolutions or after them, adapters with a
batch normalization of their own, and their learning rate.
"""

import torch
from torch import nn

from ser.base.errors import UserError
from ser.nn.resnet import BasicBlock


class AdaptedConv2d(nn.Conv2d):
    """A frozen convolution of as many channels out as in, and a 1x1 convolution beside it that learns."""

    def __init__(self, channels: int, kernel: int):
        super().__init__(channels, channels, kernel, padding=kernel // 2, bias=False)
        self.weight.requires_grad_(False)
        self.adapter = nn.Conv2d(channels, channels, 1, bias=False)
        nn.init.zeros_(self.adapter.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `[B, channels, T, F]` to the same shape."""
        return super().forward(x) + self.adapter(x)


def add_adapters(layers: nn.Module) -> None:
    """Put adapters into the residual blocks of a backbone that has yet to get its pre-trained weights.

    Parameters
    ----------
    layers : torch.nn.Module
        Of what it holds, adapters and batch normalization learn from now on. Weights keep their names.

    Raises
    ------
    UserError
        There is no residual block.
    """
    blocks = [module for module in layers.modules() if isinstance(module, BasicBlock)]
    if not blocks:
        raise UserError("train-extractor adapters: the backbone has no residual blocks; take resnet18")
    for module in layers.modules():
        module.requires_grad_(isinstance(module, nn.BatchNorm2d))
    for block in blocks:
        for unit in (block.conv1, block.conv2):
            unit.conv = AdaptedConv2d(unit.conv.in_channels, unit.conv.kernel_size[0])

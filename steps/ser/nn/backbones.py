"""The table of backbones. A new one is a file with a function like `resnet18()` and a line here."""

from collections.abc import Callable

from torch import nn

from ser.nn.conv1d import conv1d
from ser.nn.resnet import resnet18
from ser.nn.vgg import vgg5

# name -> layers for features of a dimension: by name, with the channels after each
BACKBONES: dict[str, Callable[[int], dict[str, tuple[nn.Module, int]]]] = {
    "resnet18": resnet18,
    "vgg5": vgg5,
    "conv1d": conv1d,
}

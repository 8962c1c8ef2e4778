"""The table of backbones. A new one is a file with a function like `resnet18()` and a line here."""

from collections.abc import Callable

from torch import nn

from ser.nn.resnet import resnet18
from ser.nn.vgg import vgg5

BACKBONES: dict[str, Callable[[], dict[str, tuple[nn.Module, int]]]] = {
    "resnet18": resnet18,
    "vgg5": vgg5,
}

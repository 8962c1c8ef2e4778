"""Augmentations: wrappers around what gives crops, in a table; each changes the crops of a batch at random.

All that is random follows from the generator that crops() is given. Numbers are drawn for the whole batch, so a process
that has a part of it gets what a single process would have. A change is a few operations on the batch where it lies.
"""

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import torch

from ser.base.device import send
from ser.train.augment_option import names_of


class CropSource(Protocol):
    """What gives training crops: a FeatureBank, or an augmentation of one."""

    device: torch.device

    @property
    def is_resident(self) -> bool:
        """Whether the features lie on the device."""

    def crops(self, positions: torch.Tensor, size: int, generator: torch.Generator,
              part: slice = slice(None)) -> torch.Tensor:
        """Gather crops, as FeatureBank.crops does: float32 `[B, size, dimension]`."""


class Augmentation:
    """Takes the place of the source of its crops.

    Parameters
    ----------
    source : CropSource
    """

    def __init__(self, source: CropSource):
        self.source = source
        self.device = source.device

    @property
    def is_resident(self) -> bool:
        return self.source.is_resident


class SpecAugment(Augmentation):
    """Masks over time and over frequency (Park et al. 2019), filled with zero, the mean of a normalized utterance.

    Two masks of up to 20 frames and two of up to 6 dimensions, none longer than a quarter of the crop or of a frame.
    There is no warping of time.
    """

    def crops(self, positions: torch.Tensor, size: int, generator: torch.Generator,
              part: slice = slice(None)) -> torch.Tensor:
        """Gather crops with masks."""
        crops = self.source.crops(positions, size, generator, part)
        draws = send(torch.rand(len(positions), 4, 2, generator=generator)[part], self.device)
        in_time = _in_bands(draws[:, :2], size, widest=min(20, size // 4))  # [B, size]
        in_frequency = _in_bands(draws[:, 2:], crops.shape[2], widest=min(6, crops.shape[2] // 4))  # [B, dimension]
        return crops.masked_fill(in_time[:, :, None] | in_frequency[:, None], 0.0)


class Noise(Augmentation):
    """Gaussian noise of deviation 0.1, that is a tenth of what a dimension of a normalized utterance varies.

    It is drawn on the device, from a seed that the generator gives; a GPU's noise is another one than a CPU's.
    """

    def crops(self, positions: torch.Tensor, size: int, generator: torch.Generator,
              part: slice = slice(None)) -> torch.Tensor:
        """Gather crops with noise."""
        crops = self.source.crops(positions, size, generator, part)
        seed = int(torch.randint(2**62, (), generator=generator))
        of_device = torch.Generator(self.device).manual_seed(seed)
        noise = torch.randn(len(positions), *crops.shape[1:], generator=of_device, device=self.device)
        return crops + 0.1 * noise[part]


class Speed(Augmentation):
    """Crops read at 0.9 to 1.1 of their speed (Ko et al. 2015).

    Frames are interpolated instead of samples, so that the tempo changes and the pitch does not.
    """

    def crops(self, positions: torch.Tensor, size: int, generator: torch.Generator,
              part: slice = slice(None)) -> torch.Tensor:
        """Gather crops of other speeds."""
        longer = self.source.crops(positions, math.ceil(1.1 * size), generator, part)
        rates = _factors(positions, generator, part, self.device)  # [B]
        frames = rates[:, None] * torch.arange(size, device=self.device)  # [B, size]
        return _interpolated(longer, frames, dim=1)


class Warp(Augmentation):
    """Vocal tract length perturbation (Jaitly and Hinton 2013): frequencies multiplied by 0.9 to 1.1.

    The dimensions are taken for mel filters from 20 Hz to 8 kHz, as those of conf/fbank.conf; each is read at the place
    of its frequency times the factor, and no further than the last.
    """

    def crops(self, positions: torch.Tensor, size: int, generator: torch.Generator,
              part: slice = slice(None)) -> torch.Tensor:
        """Gather crops of other vocal tracts."""
        crops = self.source.crops(positions, size, generator, part)
        factors = _factors(positions, generator, part, self.device)[:, None]  # [B, 1]
        dimension = crops.shape[2]
        lowest, highest = 1127 * math.log1p(20 / 700), 1127 * math.log1p(8000 / 700)  # mel, as Kaldi computes it
        width = (highest - lowest) / (dimension + 1)  # from one filter's centre to the next
        centres = lowest + width * torch.arange(1, dimension + 1, device=self.device)
        warped = 1127 * torch.log1p(factors * torch.expm1(centres / 1127))  # [B, dimension]
        return _interpolated(crops, ((warped - lowest) / width - 1).clamp(0, dimension - 1), dim=2)


AUGMENTATIONS: dict[str, Callable[[CropSource], CropSource]] = {
    "specaugment": SpecAugment,
    "noise": Noise,
    "speed": Speed,
    "warp": Warp,
}


def augmented(source: CropSource, augment: str,
              more: Mapping[str, Callable[[CropSource], CropSource]]) -> CropSource:
    """Wrap a source of crops in what the option --augment names, of AUGMENTATIONS and more; the first changes first."""
    table = {**AUGMENTATIONS, **more}
    for name in names_of(augment):
        source = table[name](source)
    return source


def _in_bands(draws: torch.Tensor, size: int, widest: int) -> torch.Tensor:
    """Which of `size` places lie in one of some bands of 0 to `widest` places, boolean `[B, size]`.

    `draws`, `[B, bands, 2]`, are width and start of each band as fractions in [0, 1).
    """
    widths = (draws[:, :, :1] * (widest + 1)).floor()  # [B, bands, 1]
    starts = (draws[:, :, 1:] * (size - widths + 1)).floor()
    places = torch.arange(size, device=draws.device)
    return ((places >= starts) & (places < starts + widths)).any(dim=1)


def _factors(positions: torch.Tensor, generator: torch.Generator, part: slice, device: torch.device) -> torch.Tensor:
    """Draw a factor from 0.9 to 1.1 for each utterance of a batch; `[B]` of the part."""
    return send(0.9 + 0.2 * torch.rand(len(positions), generator=generator)[part], device)


def _interpolated(crops: torch.Tensor, places: torch.Tensor, dim: int) -> torch.Tensor:
    """Read crops `[B, T, dimension]` along a dimension at places `[B, N]` that may lie between two values."""
    places = places.unsqueeze(3 - dim)
    before = places.long()
    after = (before + 1).clamp(max=crops.shape[dim] - 1)
    return torch.lerp(crops.take_along_dim(before, dim), crops.take_along_dim(after, dim), places - before)

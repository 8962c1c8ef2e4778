"""The spaces of an AD module, F, IN(F), R, F+ and F-, pooled to vectors per utterance for probes and pictures."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ser.data.feature_bank import FeatureBank
from ser.infer.posteriors import collect_outputs
from ser.nn.disentanglement import AttributeDisentanglement
from ser.nn.models import EmotionModel
from ser.nn.padding import mask_frames, mean_over_time

SPACES = ("F", "IN(F)", "R", "F+", "F-")
POOLINGS = ("network", "mean+std")

# Of float32 means, relative to mean and deviation of what is averaged. On four networks those of IN(F) varied by up to
# 1e-7 of it, the others by more than 1e-5.
_ROUNDING = 2e-6


class PooledSpace(NamedTuple):
    """A space of N utterances, in float32 on the CPU.

    Attributes
    ----------
    network : torch.Tensor
        As the network pools it, `[N, outputs]`.
    statistics : torch.Tensor
        Mean and standard deviation over time of each channel and frequency, `[N, 2, C, F']`.
    """

    network: torch.Tensor
    statistics: torch.Tensor

    def of(self, positions: torch.Tensor) -> "PooledSpace":
        """The same of some utterances, in that order."""
        return PooledSpace(self.network[positions], self.statistics[positions])


def pooled_spaces(model: EmotionModel, bank: FeatureBank, positions: torch.Tensor) -> dict[str, PooledSpace]:
    """Embed whole utterances in evaluation mode, each as it would be alone.

    Parameters
    ----------
    model : EmotionModel
    bank : FeatureBank
    positions : torch.Tensor
        Of the utterances in the bank.

    Returns
    -------
    dict of str to PooledSpace
        For each of SPACES. Of several AD modules it is the last one's spaces; without one there is only F, the
        extractor's last map.
    """
    extractor = model.extractor
    name = extractor.last_ad or extractor.last_layer
    layer = extractor.ad[name] if extractor.last_ad else extractor.layers[name]
    pool = extractor.pools[name]

    def collect(inputs: tuple, output: tuple) -> list[dict[str, tuple[torch.Tensor, torch.Tensor]]]:
        maps, lengths = _maps(layer, inputs, output)
        pooled = {space: zip(pool(x, lengths).cpu(), _statistics(x, lengths).cpu(), strict=True)
                  for space, x in maps.items()}
        return [dict(zip(pooled, rows, strict=True)) for rows in zip(*pooled.values(), strict=True)]

    items = collect_outputs(model, bank, positions, layer, collect)
    spaces = {}
    for space in items[0]:
        network, statistics = zip(*(item[space] for item in items), strict=True)
        spaces[space] = PooledSpace(torch.stack(network), torch.stack(statistics))
    return spaces


def _maps(module: nn.Module, inputs: tuple, output: tuple) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The spaces of a layer that has just been computed, `{name: [B, C, T, F]}`, and their lengths."""
    if not isinstance(module, AttributeDisentanglement):
        x, lengths = output
        return {"F": x}, lengths
    x, lengths = inputs
    normalized = module.norm(x, lengths)
    relevant, rejected = output
    return {"F": x, "IN(F)": normalized, "R": x - normalized, "F+": relevant, "F-": rejected}, lengths


def _statistics(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Mean and deviation over the valid frames of a masked map `[B, C, T, F]`: `[B, 2, C, F]`."""
    mean = mean_over_time(x, lengths)
    variance = mean_over_time(mask_frames(x - mean, lengths) ** 2, lengths)
    return torch.stack([mean[:, :, 0], variance[:, :, 0].sqrt()], dim=1)


def _without_rounding(pooled: PooledSpace) -> torch.Tensor:
    """What the network pools, `[N, outputs]`; 0 where a value differs between utterances by rounding alone."""
    channels, frequencies = pooled.statistics.shape[2:]
    kept = 1 if pooled.network.shape[1] == channels else frequencies
    vectors = pooled.network.unflatten(1, (-1, channels, kept))  # one of each channel, or of each and frequency
    size = pooled.statistics.abs().mean(dim=(0, 3)).sum(dim=0)  # of what is averaged in a channel
    return (vectors * (vectors.std(dim=0) > _ROUNDING * size[:, None])).flatten(1)


def vectors_of(spaces: dict[str, PooledSpace]) -> Iterator[tuple[str, str, np.ndarray]]:
    """The vectors that probes see, each of POOLINGS of each space.

    `network` is what the network itself pools and all that its heads see. A value that is constant up to rounding is
    0, since a probe would standardize and read the rounding errors. With pooling by the mean over time and frequency
    that is all of IN(F), which by equation 1 has the mean beta in every utterance.
    `mean+std` is the mean and standard deviation over time of each channel and frequency, `[N, 2 C F']`: what the
    map holds beyond that.

    Parameters
    ----------
    spaces : dict of str to PooledSpace
        Of pooled_spaces(), at least two utterances.

    Yields
    ------
    tuple of str, str, numpy.ndarray
        Space, pooling, and float32 vectors.
    """
    for space, pooled in spaces.items():
        for pooling, vectors in zip(POOLINGS, (_without_rounding(pooled), pooled.statistics.flatten(1)), strict=True):
            yield space, pooling, vectors.numpy()

"""The spaces of an AD module, F, IN(F), R, F+ and F-, pooled to vectors per utterance for probes and pictures."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from ser.data.feature_bank import FeatureBank
from ser.infer.posteriors import collect_outputs
from ser.nn.disentanglement import AttributeDisentanglement
from ser.nn.models import EmotionModel
from ser.nn.padding import mask_frames, mean_over_time

SPACES = ("F", "IN(F)", "R", "F+", "F-")

# Of float32 means, relative to mean and deviation of what is averaged. On four networks those of IN(F) varied by up to
# 1e-7 of it, the others by more than 1e-5.
_ROUNDING = 2e-6


def pooled_spaces(model: EmotionModel, bank: FeatureBank, positions: torch.Tensor) -> dict[str, torch.Tensor]:
    """Embed whole utterances in evaluation mode, each as it would be alone.

    Parameters
    ----------
    model : EmotionModel
    bank : FeatureBank
    positions : torch.Tensor
        Of the utterances in the bank.

    Returns
    -------
    dict of str to torch.Tensor
        For each of SPACES, float32 `[len(positions), 2, C, F']` on the CPU: mean and standard deviation over the valid
        frames of each channel and frequency of the map. Of several AD modules it is the last one's spaces; without
        one there is only F, the extractor's last map.
    """
    extractor = model.extractor
    layer = extractor.ad[extractor.last_ad] if extractor.last_ad else list(extractor.layers.values())[-1]

    def collect(inputs: tuple, output: tuple) -> list[dict[str, torch.Tensor]]:
        maps, lengths = _maps(layer, inputs, output)
        pooled = {name: _statistics(x, lengths).cpu() for name, x in maps.items()}
        return [dict(zip(pooled, rows, strict=True)) for rows in zip(*pooled.values(), strict=True)]

    items = collect_outputs(model, bank, positions, layer, collect)
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


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


def _channel_means(pooled: torch.Tensor) -> torch.Tensor:
    """Mean over time and frequency, `[N, C]`; 0 where a channel's means differ by rounding alone."""
    mean = pooled[:, 0].mean(dim=2)
    size = pooled.abs().mean(dim=(0, 3)).sum(dim=0)
    return mean * (mean.std(dim=0) > _ROUNDING * size)


POOLINGS = {"mean": _channel_means, "mean+std": lambda pooled: pooled.flatten(1)}


def vectors_of(spaces: dict[str, torch.Tensor]) -> Iterator[tuple[str, str, np.ndarray]]:
    """The vectors that probes see, in two poolings of each space.

    `mean` is the mean over time and frequency, `[N, C]`: what the network itself pools and all that its heads see.
    A channel in which it is constant up to rounding is 0, since a probe would standardize and read the rounding
    errors. That is all of IN(F), which by equation 1 has the mean beta in every utterance.
    `mean+std` is the mean and standard deviation over time of each channel and frequency, `[N, 2 C F']`: what the
    map holds beyond that.

    Parameters
    ----------
    spaces : dict of str to torch.Tensor
        Of pooled_spaces(), at least two utterances.

    Yields
    ------
    tuple of str, str, numpy.ndarray
        Space, pooling, and float32 vectors.
    """
    for space, pooled in spaces.items():
        for pooling, pool in POOLINGS.items():
            yield space, pooling, pool(pooled).numpy()

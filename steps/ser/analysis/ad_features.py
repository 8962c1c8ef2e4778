"""The spaces of an AD module, F, IN(F), R, F+ and F-, pooled to vectors an utterance for probes and pictures."""

import torch

from ser.infer.posteriors import collect_outputs
from ser.nn.disentanglement import AttributeDisentanglement
from ser.nn.padding import mask_frames, mean_over_time

SPACES = ("F", "IN(F)", "R", "F+", "F-")

# Of float32 means, relative to mean and deviation of what is averaged. On four networks those of IN(F) varied by up to
# 1e-7 of it, the others by more than 1e-5.
_ROUNDING = 2e-6


def pooled_spaces(model, bank, which):
    """Embed whole utterances in evaluation mode, each as it would be alone.

    Parameters
    ----------
    model : torch.nn.Module
        With an `extractor` (ser.nn.models).
    bank : FeatureBank
    which : torch.Tensor
        Positions of the utterances in the bank.

    Returns
    -------
    dict of str to torch.Tensor
        For each of SPACES, float32 `[len(which), 2, C, F']` on the CPU: mean and standard deviation over the valid
        frames of each channel and frequency of the map. Of several AD modules it is the last one's spaces; without
        one there is only F, the extractor's last map.
    """
    extractor = model.extractor
    place = extractor.ad[extractor.last_ad] if extractor.last_ad else list(extractor.layers.values())[-1]

    def look(inputs, output):
        maps, lengths = _maps(place, inputs, output)
        pooled = {name: _statistics(x, lengths).cpu() for name, x in maps.items()}
        return [dict(zip(pooled, rows, strict=True)) for rows in zip(*pooled.values(), strict=True)]

    items = collect_outputs(model, bank, which, place, look)
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


def _maps(module, inputs, output):
    """The spaces of a layer that has just been computed, `{name: [B, C, T, F]}`, and their lengths."""
    if not isinstance(module, AttributeDisentanglement):
        x, lengths = output
        return {"F": x}, lengths
    x, lengths = inputs
    normalized = module.norm(x, lengths)
    return dict(zip(SPACES, (x, normalized, x - normalized, *output), strict=True)), lengths


def _statistics(x, lengths):
    """Mean and deviation over the valid frames of a masked map `[B, C, T, F]`: `[B, 2, C, F]`."""
    mean = mean_over_time(x, lengths)
    variance = mean_over_time(mask_frames(x - mean, lengths) ** 2, lengths)
    return torch.stack([mean[:, :, 0], variance[:, :, 0].sqrt()], dim=1)


def _mean(pooled):
    mean = pooled[:, 0].mean(dim=2)
    size = pooled.abs().mean(dim=(0, 3)).sum(dim=0)
    return mean * (mean.std(dim=0) > _ROUNDING * size)


def _mean_and_deviation(pooled):
    return pooled.flatten(1)


POOLINGS = {"mean": _mean, "mean+std": _mean_and_deviation}


def vectors_of(spaces):
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

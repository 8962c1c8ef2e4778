"""The option --augment: which augmentations there are, and whether they suit the features; without torch."""

import functools
from pathlib import Path

from ser.base.log import log
from ser.data.feature_conf import is_filterbank
from ser.model_dir.record import feature_configuration

AUGMENTATIONS = ("specaugment", "noise", "speed", "warp")  # keys of the table in augmentation.py


def names_of(augment: str) -> list[str]:
    """The names in the option."""
    return [] if augment == "none" else augment.split(",")


def check_augment(augment: str, feature_norm: str, *more: str) -> None:
    """Check the option --augment.

    Parameters
    ----------
    augment : str
        Names with commas between, or `none`.
    feature_norm : str
        Normalization of the features.
    *more : str
        Names beside those of AUGMENTATIONS.

    Raises
    ------
    ValueError
        There is no such augmentation, it is named twice, or the features are not what it takes.
    """
    known = (*AUGMENTATIONS, *more)
    names = names_of(augment)
    for name in names:
        if name not in known:
            raise ValueError(f"augment: no {name!r}; there are {' '.join(known)}, several with commas between, or none")
        if names.count(name) > 1:
            raise ValueError(f"augment: {name} is named twice")
    if "specaugment" in names and feature_norm not in ("utterance", "utterance-mean"):
        raise ValueError("augment: specaugment fills masks with 0, the mean of an utterance that is normalized; take "
                         f"feature-norm utterance or utterance-mean, not {feature_norm}")


@functools.cache  # of many trainings on one data directory it is said once
def suited_augment(augment: str, data_dir: str | Path) -> str:
    """The option --augment without what the features of a data directory cannot take, which is said in a line.

    That is `warp`, which moves mel filters. `speed` reads frames at other places in time, `noise` and `specaugment`
    change values of normalized features, so they are for features of any kind.
    """
    names = names_of(augment)
    if "warp" not in names or is_filterbank(feature_configuration(data_dir)):
        return augment
    log(f"augment: warp is left out, for it moves mel filters, and the features of {data_dir} are others")
    return ",".join(name for name in names if name != "warp") or "none"

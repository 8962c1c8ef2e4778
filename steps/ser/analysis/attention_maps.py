"""The masks a_att of an AD module's attention, of whole utterances."""

import math

import numpy as np
import torch
from torch import nn

from ser.base.errors import UserError
from ser.data.feature_bank import FeatureBank
from ser.infer.posteriors import collect_outputs
from ser.nn.models import EmotionModel


def last_module(model: EmotionModel) -> tuple[str, nn.Module]:
    """Name of the layer after which a model's last AD module sits, and that module.

    Parameters
    ----------
    model : EmotionModel

    Raises
    ------
    UserError
        There is no AD module, or it has no attention.
    """
    extractor = model.extractor
    name = extractor.last_ad
    if name is None or extractor.ad[name].attention is None:
        raise UserError("the network has no AD module with an attention, so it makes no mask; "
                        "take one that was trained with --ad-after LAYER and --attention tf or se")
    return name, extractor.ad[name]


def attention_masks(model: EmotionModel, bank: FeatureBank, positions: torch.Tensor) -> list[np.ndarray]:
    """The masks of the last AD module in evaluation mode, each as the utterance alone would have it.

    Parameters
    ----------
    model : EmotionModel
        It is left in the mode in which it came.
    bank : FeatureBank
    positions : torch.Tensor
        Of the utterances in the bank.

    Returns
    -------
    list of numpy.ndarray
        In the order of `positions`, float32 `[C, T', F']` with the T' valid steps of the utterance. What gives less
        than that, such as one weight per channel, is repeated.

    Raises
    ------
    UserError
        The model has no AD module with an attention.
    """
    _, module = last_module(model)

    def collect(inputs: tuple, mask: torch.Tensor) -> list[np.ndarray]:
        residual, lengths = inputs
        return [one[:, :length].float().cpu().numpy()
                for one, length in zip(mask.expand_as(residual), lengths.tolist(), strict=True)]

    return collect_outputs(model, bank, positions, module.get_submodule("attention"), collect)


def step_size(model: EmotionModel) -> tuple[int, int]:
    """Frames and dimensions of the features that a step of these masks covers, of a model in evaluation mode.

    Layers halve dimensions, rounding up, or make one of all.
    """
    last, _ = last_module(model)
    mean = model.extractor.get_buffer("feature_mean")
    x = mean.new_zeros(1, 1, 256, len(mean))
    with torch.inference_mode():
        for name, layer in model.extractor.layers.items():
            x, _ = layer(x, None)
            if name == last:
                break
    return 256 // x.shape[2], 2 ** math.ceil(math.log2(len(mean) / x.shape[3]))

"""The masks a_att of an AD module's attention, of whole utterances."""

import torch

from ser.base.errors import UserError
from ser.infer.posteriors import collect_outputs


def last_module(model):
    """Name of the layer behind which a model's last AD module sits, and that module.

    Parameters
    ----------
    model : torch.nn.Module
        With an `extractor` (ser.nn.models).

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


def attention_masks(model, bank, which):
    """The masks of the last AD module in evaluation mode, each as the utterance alone would have it.

    Parameters
    ----------
    model : torch.nn.Module
        With an `extractor` (ser.nn.models); it is left in the mode in which it came.
    bank : FeatureBank
    which : torch.Tensor
        Positions of the utterances in the bank.

    Returns
    -------
    list of numpy.ndarray
        In the order of `which`, float32 `[C, T', F']` with the T' valid steps of the utterance. Of an attention that
        gives less than that, such as one weight a channel, it is repeated.

    Raises
    ------
    UserError
        The model has no AD module with an attention.
    """
    _, module = last_module(model)

    def look(inputs, mask):
        residual, lengths = inputs
        return [one[:, :length].float().cpu().numpy()
                for one, length in zip(mask.expand_as(residual), lengths.tolist(), strict=True)]

    return collect_outputs(model, bank, which, module.attention, look)


def step_size(model):
    """How many frames and how many dimensions of the features a step of these masks stands for.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode, with an AD module with an attention.

    Returns
    -------
    tuple of int
    """
    last, _ = last_module(model)
    x = torch.zeros(1, 1, 256, 256, device=model.extractor.feature_mean.device)
    with torch.inference_mode():
        for name, layer in model.extractor.layers.items():
            x, _ = layer(x, None)
            if name == last:
                return 256 // x.shape[2], 256 // x.shape[3]

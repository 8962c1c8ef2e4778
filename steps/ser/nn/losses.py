"""The overall loss of section 3.1.3: L = L_Emo + lambda * (L_AD+ + L_AD-)."""

import torch
from torch.nn.functional import cross_entropy

from ser.nn.options import AD_LOSSES


def overall_loss(logits: torch.Tensor, dual: list[tuple[torch.Tensor, torch.Tensor]], emotions: torch.Tensor,
                 speakers: torch.Tensor, weight: float, class_weights: torch.Tensor | None = None,
                 terms: str = "both", label_smoothing: float = 0.0) -> torch.Tensor:
    """Compute L for a batch; equation 4 summed over the AD modules.

    Parameters
    ----------
    logits : torch.Tensor
        Emotion logits `[B, num_emotions]`.
    dual : list of tuple of torch.Tensor
        f+ and f- of each AD module.
    emotions, speakers : torch.Tensor
        Integer targets `[B]`.
    weight : float
        lambda.
    class_weights : torch.Tensor, optional
        `[num_emotions]`, for the two emotion terms.
    terms : str
        Key of AD_LOSSES.
    label_smoothing : float
        Of the two emotion terms (Szegedy et al. 2016).

    Returns
    -------
    torch.Tensor
        Scalar.
    """
    plus, minus = AD_LOSSES[terms]
    loss = cross_entropy(logits.float(), emotions, class_weights, label_smoothing=label_smoothing)
    for relevant, rejected in dual:
        loss = loss + weight * plus * cross_entropy(relevant.float(), emotions, class_weights,
                                                    label_smoothing=label_smoothing)
        loss = loss + weight * minus * cross_entropy(rejected.float(), speakers)
    return loss


def speaker_loss(logits: torch.Tensor, speakers: torch.Tensor) -> torch.Tensor:
    """Cross entropy of speaker logits `[B, num_speakers]` over the known speakers; -1 is unknown, and 0 the loss of
    a batch that knows none."""
    total = cross_entropy(logits.float(), speakers, ignore_index=-1, reduction="sum")
    return total / (speakers >= 0).sum().clamp(min=1)

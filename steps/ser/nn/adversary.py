"""Speaker-adversarial training by gradient reversal, after the paper's reference [20].

A linear speaker classifier learns on the embedding, and the extractor learns against it. [20] adds an entropy loss to
the reversal; this is the reversal alone, with a weight that does not change over the epochs.
"""

from typing import Any

import torch
from torch import nn


class GradientReversal(torch.autograd.Function):
    """Identity; backward multiplies by -weight (Ganin and Lempitsky 2015)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: float) -> torch.Tensor:
        """Give x and remember the weight."""
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Multiply by -weight."""
        return -ctx.weight * gradient, None


class SpeakerAdversary(nn.Module):
    """Speaker classifier after a gradient reversal: maps the embedding `[B, inputs]` to `[B, num_speakers]`."""

    def __init__(self, inputs: int, num_speakers: int, weight: float):
        super().__init__()
        self.classifier = nn.Linear(inputs, num_speakers)
        self.weight = weight

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """Speaker logits, whose gradient reaches the embedding reversed."""
        return self.classifier(GradientReversal.apply(embedding, self.weight))

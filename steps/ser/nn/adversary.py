"""Speaker-adversarial training by gradient reversal, after the paper's reference [20].

A linear speaker classifier learns on the embedding, and the extractor learns against it. [20] adds an
entropy loss to the reversal; this is the reversal alone, with a weight that does not change over the epochs.
"""

import torch
from torch import nn


class GradientReversal(torch.autograd.Function):
    """The identity, with a gradient times minus `weight` (Ganin and Lempitsky 2015)."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.weight * gradient, None


class SpeakerAdversary(nn.Module):
    """Speaker classifier behind a gradient reversal: maps the embedding `[B, channels]` to `[B, num_speakers]`."""

    def __init__(self, channels, num_speakers, weight):
        super().__init__()
        self.classifier = nn.Linear(channels, num_speakers)
        self.weight = weight

    def forward(self, embedding):
        return self.classifier(GradientReversal.apply(embedding, self.weight))

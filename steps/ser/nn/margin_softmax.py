"""Additive angular margin softmax, a loss of speaker identification (ArcFace; Deng et al. 2019).

Embeddings and the vectors that stand for speakers have length 1, so that their products are cosines of angles. In the
cross entropy the angle to the true speaker counts as larger than it is by the margin:

    L = -log e^{s cos(theta_y + m)} / (e^{s cos(theta_y + m)} + sum_{j != y} e^{s cos theta_j})
"""

import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear, normalize

_SCALE = 30.0  # s
_SMALLEST_ANGLE = 1e-3  # of which the gradient is still finite


class CosineClassifier(nn.Module):
    """Cosines of the angles between embeddings and one vector for each class, in float32.

    Parameters
    ----------
    inputs, num_classes : int
    """

    def __init__(self, inputs: int, num_classes: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, inputs))
        nn.init.xavier_normal_(self.weight)

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """Map `[B, inputs]` to cosines `[B, num_classes]`."""
        with torch.autocast(embedding.device.type, enabled=False):
            return linear(normalize(embedding.float()), normalize(self.weight))


def angular_margin_loss(cosines: torch.Tensor, targets: torch.Tensor, margin: float) -> torch.Tensor:
    """Compute L for a batch.

    Parameters
    ----------
    cosines : torch.Tensor
        Of CosineClassifier, `[B, num_classes]`.
    targets : torch.Tensor
        Integers `[B]`.
    margin : float
        m, in radians.

    Returns
    -------
    torch.Tensor
        Scalar.
    """
    is_target = targets[:, None] == torch.arange(cosines.shape[1], device=cosines.device)  # [B, num_classes]
    largest = math.cos(_SMALLEST_ANGLE)
    angles = cosines.clamp(-largest, largest).acos()
    with_margin = (angles + margin).clamp(max=math.pi).cos()
    return cross_entropy(_SCALE * torch.where(is_target, with_margin, cosines), targets)

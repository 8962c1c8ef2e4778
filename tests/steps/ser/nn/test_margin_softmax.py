"""The additive angular margin softmax against its equation in numpy."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from ser.nn.margin_softmax import CosineClassifier, angular_margin_loss


def cosines(seed=0):
    torch.manual_seed(seed)
    return torch.rand(6, 4, dtype=torch.float64) * 1.9 - 0.95, torch.tensor([0, 1, 2, 3, 0, 2])


def test_the_classifier_gives_cosines_in_float32_also_amid_bfloat16():
    torch.manual_seed(0)
    classifier, embedding = CosineClassifier(5, 3), torch.randn(4, 5) * 10
    expected = cosine_similarity(embedding[:, None], classifier.weight[None], dim=2)
    assert torch.allclose(classifier(embedding), expected, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(classifier(embedding), classifier(embedding.float()))
        assert torch.allclose(classifier(embedding), expected, atol=1e-6)


@pytest.mark.parametrize("margin", [0.1, 0.2, 0.5])
def test_the_loss_is_its_equation(margin):
    scores, targets = cosines()
    angles = np.arccos(scores.numpy())
    assert (angles + margin).max() < np.pi + margin  # no angle passes pi unseen
    losses = []
    for row, target in zip(angles, targets.tolist(), strict=True):
        true = np.exp(30 * np.cos(min(row[target] + margin, np.pi)))
        others = sum(np.exp(30 * np.cos(angle)) for number, angle in enumerate(row) if number != target)
        losses.append(-np.log(true / (true + others)))
    assert angular_margin_loss(scores, targets, margin).item() == pytest.approx(np.mean(losses), rel=1e-6)


def test_without_a_margin_it_is_a_scaled_cross_entropy_and_a_margin_makes_it_larger():
    scores, targets = cosines()
    assert angular_margin_loss(scores, targets, 0.0).item() == pytest.approx(cross_entropy(30 * scores, targets).item())
    assert angular_margin_loss(scores, targets, 0.2) > angular_margin_loss(scores, targets, 0.1) + 0.1


@pytest.mark.parametrize("cosine", [1.0, -1.0, 1.0000001])
def test_gradients_are_finite_where_an_angle_is_0_or_pi(cosine):
    scores = torch.full((2, 3), cosine, requires_grad=True)
    loss = angular_margin_loss(scores, torch.tensor([0, 1]), 0.2)
    loss.backward()
    assert loss.isfinite() and scores.grad.isfinite().all()

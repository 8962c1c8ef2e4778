"""The backbone of 1-D convolutions against torch's own, and AD on its maps against torch's instance normalization."""

import pytest
import torch

from ser.nn.backbones import BACKBONES
from ser.nn.disentanglement import AttributeDisentanglement, InstanceNorm
from ser.nn.models import EmotionModel
from ser.nn.options import EmotionModelConfig

DIMENSION = 24


def test_it_is_a_linear_layer_and_two_convolutions_over_time():
    torch.manual_seed(0)
    layers = [layer for layer, _ in BACKBONES["conv1d"](DIMENSION).values()]
    features = torch.randn(3, 50, DIMENSION)
    own = torch.nn.Sequential(torch.nn.Conv1d(DIMENSION, 128, 1, bias=False), torch.nn.BatchNorm1d(128),
                              torch.nn.ReLU(),
                              torch.nn.Conv1d(128, 128, 5, padding=2, bias=False), torch.nn.BatchNorm1d(128),
                              torch.nn.ReLU(), torch.nn.Conv1d(128, 128, 5, padding=2, bias=False),
                              torch.nn.BatchNorm1d(128), torch.nn.ReLU())
    with torch.no_grad():
        own[0].weight.copy_(layers[0].linear.weight[:, :, None])
        own[3].weight.copy_(layers[1].conv.weight)
        own[6].weight.copy_(layers[2].conv.weight)
        x = features[:, None]
        for layer in layers:  # in training mode, with the statistics of the batch
            x, _ = layer(x, None)
        assert x.shape == (3, 128, 50, 1)
        assert torch.allclose(x[:, :, :, 0], own(features.transpose(1, 2)), atol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 40])
def test_the_order_of_the_dimensions_does_not_matter(size):
    torch.manual_seed(0)
    first, second = (EmotionModel(EmotionModelConfig(backbone="conv1d", ad_after="conv1"), DIMENSION, 4, 8).eval()
                     for _ in range(2))
    order = torch.randperm(DIMENSION)
    weights = first.state_dict()
    weights["extractor.layers.linear.linear.weight"] = weights["extractor.layers.linear.linear.weight"][:, order]
    second.load_state_dict(weights)
    features = torch.randn(2, size, DIMENSION)
    assert torch.allclose(first(features)[0], second(features[:, :, order])[0], atol=1e-5)


def test_instance_normalization_runs_over_time():
    torch.manual_seed(0)
    x = torch.randn(4, 128, 60, 1) * 3 + 5
    norm = InstanceNorm(128)
    assert torch.allclose(norm(x, None)[:, :, :, 0], torch.nn.InstanceNorm1d(128)(x[:, :, :, 0]), atol=1e-5)
    # Of it mean and deviation over time are the same for every utterance, which is why AD is not put last here.
    normalized, _ = AttributeDisentanglement(128, None)(x)
    assert torch.allclose(normalized.mean((2, 3)), torch.zeros(4, 128), atol=1e-5)
    assert torch.allclose(normalized.var((2, 3), unbiased=False), torch.ones(4, 128), atol=1e-4)


def test_ad_before_the_last_convolution_leaves_the_normalized_path_to_the_classifier():
    """With attribute normalization alone, nothing else is left that could differ between utterances."""
    torch.manual_seed(0)
    features = torch.randn(2, 40, DIMENSION)
    spread = {}
    for place in ("conv1", "last"):
        torch.manual_seed(0)
        config = EmotionModelConfig(backbone="conv1d", ad_after=place, attention="none")
        logits = EmotionModel(config, DIMENSION, 4, 8).eval()(features)[0]
        spread[place] = (logits[0] - logits[1]).abs().max().item()
    assert spread["last"] < 1e-5 and spread["conv1"] > 1e-3

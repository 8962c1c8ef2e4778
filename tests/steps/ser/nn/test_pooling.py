"""Poolings against numpy; exact in padded batches, in float32, with finite gradients; nothing waits for the GPU."""

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ser.nn.backbones import BACKBONES
from ser.nn.disentanglement import InstanceNorm
from ser.nn.models import EmotionModel, SpeakerModel
from ser.nn.options import EmotionModelConfig
from ser.nn.padding import mask_frames
from ser.nn.pooling import POOLINGS

CHANNELS, FREQUENCIES = 6, 3
LENGTHS = torch.tensor([9, 1, 4, 7])


def pooling(name, channels=CHANNELS, frequencies=FREQUENCIES):
    torch.manual_seed(0)
    return POOLINGS[name](channels, frequencies)


@pytest.fixture
def maps():
    """Maps of different lengths, zero after each end."""
    torch.manual_seed(1)
    return mask_frames(torch.randn(4, CHANNELS, 9, FREQUENCIES) * 2 + 3, LENGTHS)


def by_numpy(name, module, x):
    """The vector of one map `[C, T, F]`."""
    x = x.double().numpy()
    if name == "mean":
        return x.mean((1, 2))
    if name == "time":
        return x.mean(1).ravel()
    weights = np.full(x.shape[1], 1 / x.shape[1])
    if name == "attentive":
        hidden, bias, score = (tensor.detach().double().numpy() for tensor in
                               (module.hidden.weight, module.hidden.bias, module.score.weight))
        exponents = [math.exp(float(score[0] @ np.tanh(hidden @ x[:, step].ravel() + bias))) for step in
                     range(x.shape[1])]
        weights = np.array(exponents) / sum(exponents)
    mean = np.einsum("t,ctf->cf", weights, x)
    deviation = np.sqrt(np.einsum("t,ctf->cf", weights, (x - mean[:, None]) ** 2))
    return np.concatenate([mean.ravel(), deviation.ravel()])


@pytest.mark.parametrize("name", POOLINGS)
def test_each_utterance_is_pooled_over_its_own_frames(name, maps):
    module = pooling(name)
    found = module(maps, LENGTHS).detach()
    assert found.shape == (4, module.outputs) and found.dtype == torch.float32
    for row, length in enumerate(LENGTHS.tolist()):
        alone = maps[row, :, :length]
        np.testing.assert_allclose(found[row], by_numpy(name, module, alone), atol=2e-4 if length == 1 else 1e-5)
        assert torch.allclose(found[row], module(alone[None], None)[0], atol=1e-6)


def test_attention_weighs_frames_unequally(maps):
    equal, unequal = (pooling(name)(maps, LENGTHS) for name in ("stats", "attentive"))
    assert equal.shape == unequal.shape and (equal - unequal).abs().max() > 0.1


@pytest.mark.parametrize("name", POOLINGS)
def test_statistics_are_taken_in_float32_also_amid_bfloat16(name, maps):
    module, x = pooling(name), maps.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = module(x, LENGTHS)
    assert found.dtype == torch.float32 and found.equal(module(x.float(), LENGTHS))


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "padded"])
@pytest.mark.parametrize("name", POOLINGS)
def test_gradients_are_finite_where_nothing_varies(name, lengths):
    module, x = pooling(name), torch.ones(4, CHANNELS, 9, FREQUENCIES, requires_grad=True)
    module(mask_frames(x, lengths), lengths).sum().backward()
    assert x.grad.isfinite().all() and x.grad.any()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_the_mean_of_what_equation_1_normalizes_is_beta_and_other_poolings_tell_utterances_apart(maps):
    norm = InstanceNorm(CHANNELS)
    torch.nn.init.normal_(norm.bias)
    normalized = norm(maps, LENGTHS)
    assert torch.allclose(pooling("mean")(normalized, LENGTHS), norm.bias.expand(4, -1), atol=1e-5)
    for name in POOLINGS.keys() - {"mean"}:
        assert pooling(name)(normalized, LENGTHS).std(dim=0).min() > 0.01


class Operations(TorchDispatchMode):
    """Notes which operations run."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function._schema.name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", POOLINGS)
def test_a_cuda_graph_can_hold_it(name, maps):
    """No value is read on the CPU, and no shape depends on one."""
    with Operations() as operations:
        pooling(name)(maps, LENGTHS)
    assert operations.names and not operations.names & {
        "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::unique_dim", "aten::is_nonzero"}


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("backbone, ad_after", [(backbone, ad) for backbone in BACKBONES for ad in ("none", "last")]
                         + [("vgg5", "conv2,last")])
def test_utterances_score_in_a_batch_as_alone(name, backbone, ad_after):
    torch.manual_seed(0)
    model = EmotionModel(EmotionModelConfig(backbone=backbone, ad_after=ad_after, pooling=name), 41, 4, 8)
    model(torch.randn(8, 64, 41))  # give batch normalization other statistics than 0 and 1
    model.eval()
    utterances = [torch.randn(size, 41) * 2 + 3 for size in (1, 2, 16, 33, 181)]
    lengths = torch.tensor([len(utterance) for utterance in utterances])
    with torch.no_grad():
        together, dual, _ = model(torch.nn.utils.rnn.pad_sequence(utterances, batch_first=True), lengths)
        for row, utterance in enumerate(utterances):
            alone, alone_dual, _ = model(utterance[None])
            assert torch.allclose(together[row], alone[0], atol=1e-4)
            for (plus, minus), (alone_plus, alone_minus) in zip(dual, alone_dual, strict=True):
                assert torch.allclose(plus[row], alone_plus[0], atol=1e-4)
                assert torch.allclose(minus[row], alone_minus[0], atol=1e-4)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("dimension", [1, 13, 41, 768])
def test_heads_take_what_the_backbone_leaves_of_the_features(name, backbone, dimension):
    config = EmotionModelConfig(backbone=backbone, ad_after=f"{list(BACKBONES[backbone](dimension))[-2]},last",
                                pooling=name, adversary_weight=0.1)
    logits, dual, adversary = EmotionModel(config, dimension, 4, 8)(torch.randn(3, 40, dimension))
    assert logits.shape == (3, 4) and adversary.shape == (3, 8)
    assert [(plus.shape, minus.shape) for plus, minus in dual] == [((3, 4), (3, 8))] * 2
    assert SpeakerModel(backbone, dimension, 10, name)(torch.randn(3, 40, dimension)).shape == (3, 10)


@pytest.mark.parametrize("name", POOLINGS)
def test_with_ad_after_the_last_layer_both_heads_and_the_classifier_see_one_function(name):
    torch.manual_seed(0)
    config = EmotionModelConfig(backbone="vgg5", ad_after="last", pooling=name)
    model, maps = EmotionModel(config, 41, 4, 8).eval(), []
    assert list(model.extractor.pools) == ["conv5"]
    model.extractor.ad["conv5"].register_forward_hook(lambda module, inputs, outputs: maps.extend(outputs))
    logits, [(plus, minus)], _ = model(torch.randn(3, 40, 41))
    pool = model.extractor.pools["conv5"]
    assert torch.equal(logits, model.classifier(pool(maps[0], None)))
    assert torch.equal(plus, model.emotion_heads["conv5"](pool(maps[0], None)))
    assert torch.equal(minus, model.speaker_heads["conv5"](pool(maps[1], None)))


def test_building_a_network_leaves_its_batch_statistics_and_its_mode_alone():
    model = SpeakerModel("resnet18", 41, 10, "attentive")
    assert all(module.training for module in model.modules())
    statistics = {name: tensor for name, tensor in model.state_dict().items() if "running" in name or "num_b" in name}
    assert statistics and all(tensor.eq(1 if "running_var" in name else 0).all() for name, tensor in statistics.items())

"""Table 1, VGG5, equations 1 to 6, and utterances that score in a batch as they do alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ser.base.errors import UserError
from ser.nn import options
from ser.nn.attention import ATTENTIONS, SEAttention, TFAttention
from ser.nn.backbones import BACKBONES
from ser.nn.disentanglement import AttributeDisentanglement, InstanceNorm
from ser.nn.losses import overall_loss, speaker_loss
from ser.nn.models import EmotionModel, SpeakerModel
from ser.nn.options import EmotionModelConfig
from ser.nn.padding import mask_frames, mean_over_time, mean_over_time_and_frequency
from ser.nn.pooling import POOLINGS
from ser.train import augment_option
from ser.train.augmentation import AUGMENTATIONS


def layers_of(module, kind):
    return [layer for layer in module.modules() if isinstance(layer, kind)]


def random_statistics(model):
    """Give batch normalization and IN values as after a training, so that nothing cancels by being 0 or 1."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in model.state_dict().items():
        if name.endswith(("norm.weight", "running_var")):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif name.endswith(("norm.bias", "running_mean")):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    return model.eval()


def emotion_model(**options):
    torch.manual_seed(0)
    return random_statistics(EmotionModel(EmotionModelConfig(**options), 41, 4, 8))


def test_options_name_all_that_there_is():
    assert [options.BACKBONES, options.ATTENTIONS, options.POOLINGS, augment_option.AUGMENTATIONS] == [
        tuple(table) for table in (BACKBONES, ATTENTIONS, POOLINGS, AUGMENTATIONS)]


def test_resnet_is_table_1():
    model = SpeakerModel("resnet18", 41, 10)
    convolutions = [(c.kernel_size[0], c.out_channels, c.stride[0]) for c in layers_of(model, torch.nn.Conv2d)]
    stages = [[(3, 16, 1)] * 4, [(3, 32, 2)], [(3, 32, 1)] * 4, [(3, 64, 2)], [(3, 64, 1)] * 4, [(3, 128, 2)],
              [(3, 128, 1)] * 4, [(3, 128, 2)]]
    assert convolutions == [(7, 16, 1)] + [layer for stage in stages for layer in stage]
    weights = 49 * 16 + sum(9 * before * after for before, after in zip(
        [16] * 5 + [32] * 5 + [64] * 5 + [128] * 5, [16] * 4 + [32] * 5 + [64] * 5 + [128] * 6, strict=True))
    assert sum(c.weight.numel() for c in layers_of(model, torch.nn.Conv2d)) == weights


def test_vgg5_has_the_five_convolutions_of_section_4_2():
    model = SpeakerModel("vgg5", 41, 10)
    convolutions = [(c.kernel_size[0], c.out_channels, c.stride[0]) for c in layers_of(model, torch.nn.Conv2d)]
    assert convolutions == [(3, 16, 1), (3, 32, 1), (3, 48, 1), (3, 64, 1), (3, 80, 1)]


@pytest.mark.parametrize("backbone", ["resnet18", "vgg5"])
@pytest.mark.parametrize("dimension", [1, 13, 41, 80])
@pytest.mark.parametrize("frames", [1, 2, 15, 16, 17, 300])
def test_map_is_a_sixteenth(backbone, dimension, frames):
    x, lengths = torch.randn(1, 1, frames, dimension), torch.tensor([frames])
    for layer, channels in BACKBONES[backbone](dimension).values():
        x, lengths = layer.eval()(x, lengths)
        assert x.shape[1] == channels
    assert x.shape[2:] == (-(-frames // 16), -(-dimension // 16)) and lengths.item() == x.shape[2]


def test_instance_norm_is_torchs_and_equation_1():
    x, norm = torch.randn(3, 5, 7, 4) * 3 + 1, InstanceNorm(5)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(5))
        norm.bias.copy_(torch.rand(5))
    theirs = torch.nn.functional.instance_norm(x, weight=norm.weight, bias=norm.bias, eps=norm.eps)
    assert torch.allclose(norm(x, None), theirs, atol=1e-5)


@pytest.fixture
def spaces():
    torch.manual_seed(1)
    module = AttributeDisentanglement(12, TFAttention(12, 8))
    with torch.no_grad():
        module.norm.weight.uniform_(0.5, 1.5)
        module.norm.bias.normal_()
    x = torch.randn(4, 12, 9, 3) * 2 + 0.5
    return module, x, module.norm(x, None)


def test_the_two_spaces_share_the_residual(spaces):
    module, x, normalized = spaces
    plus, minus = module(x)
    assert torch.allclose(plus + minus, 2 * normalized + (x - normalized), atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_mask(spaces, value):
    module, x, normalized = spaces
    del module.attention
    module.attention = lambda residual, lengths: torch.full_like(residual, value)
    plus, minus = module(x)
    kept, rejected = (plus, minus) if value else (minus, plus)
    assert torch.allclose(kept, x, atol=1e-5) and torch.allclose(rejected, normalized, atol=1e-5)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_mask_lies_between_0_and_1(name):
    torch.manual_seed(2)
    residual = torch.randn(3, 16, 11, 3)
    mask = ATTENTIONS[name](16, 8)(residual, None)
    assert mask.expand_as(residual).shape == residual.shape and 0 < mask.min() and mask.max() < 1


def test_tf_attention_is_equations_5_and_6():
    torch.manual_seed(3)
    attention, residual = TFAttention(6, 2).double(), torch.randn(1, 6, 5, 3).double()
    weights = {name: tensor.detach().numpy() for name, tensor in attention.state_dict().items()}
    r = residual[0].numpy()

    def strip(values, axis):
        down = weights[f"{axis}_down.weight"][:, :, 0, 0] @ values + weights[f"{axis}_down.bias"][:, None]
        return weights[f"{axis}_up.weight"][:, :, 0, 0] @ down + weights[f"{axis}_up.bias"][:, None]

    logit = strip(r.mean(2), "time")[:, :, None] + strip(r.mean(1), "frequency")[:, None, :]
    ours = attention.to(torch.float32)(residual.float(), None)[0]
    assert np.allclose(ours.detach().numpy(), 1 / (1 + np.exp(-logit)), atol=1e-6)


def test_se_attention_is_one_weight_a_channel():
    assert SEAttention(16, 8)(torch.randn(2, 16, 7, 3), None).shape == (2, 16, 1, 1)


def test_attribute_normalization_alone_brings_nothing_back():
    module, x = AttributeDisentanglement(4, None), torch.randn(2, 4, 6, 3)
    plus, minus = module(x)
    assert torch.equal(plus, module.norm(x, None)) and torch.equal(minus, x)


def test_an_ad_module_is_computed_in_float32_also_amid_bfloat16(spaces):
    module, x, _ = spaces
    x = x.bfloat16()
    normalized = module.norm(x.float(), None)
    residual = x.float() - normalized
    relevant = module.attention(residual, None) * residual
    with torch.autocast("cpu", torch.bfloat16):
        plus, minus = module(x)
    assert plus.equal(normalized + relevant) and minus.equal(normalized + (residual - relevant))


@pytest.mark.parametrize("lengths", [None, torch.tensor([50, 30])], ids=["whole", "padded"])
@pytest.mark.parametrize("mean", [mean_over_time, mean_over_time_and_frequency])
def test_means_of_bfloat16_are_taken_in_float32(mean, lengths):
    x = mask_frames(torch.rand(2, 3, 50, 4), lengths).bfloat16()
    assert mean(x, lengths).dtype == torch.float32
    assert mean(x, lengths).equal(mean(x.float(), lengths))


def test_speaker_loss_reaches_the_mask_and_not_the_classifier():
    model = emotion_model(ad_after="last").train()
    logits, dual, _ = model(torch.randn(6, 40, 41))
    torch.nn.functional.cross_entropy(dual[0][1], torch.arange(6)).backward()
    reached = {name for name, parameter in model.named_parameters()
               if parameter.grad is not None and parameter.grad.abs().max() > 0}
    assert {name for name in model.state_dict() if "attention" in name and "weight" in name} <= reached
    assert {"extractor.ad.transition4.norm.weight", "extractor.layers.conv1.conv.weight"} <= reached
    assert not any(name.startswith(("classifier", "emotion_heads")) for name in reached)


def test_overall_loss_is_equation_4_and_its_sum():
    torch.manual_seed(4)
    model = emotion_model(ad_after="last")
    emotions, speakers = torch.tensor([0, 1, 2]), torch.tensor([7, 0, 3])
    logits, dual, _ = model(torch.randn(3, 40, 41))
    entropy = torch.nn.functional.cross_entropy
    by_hand = entropy(logits, emotions) + 0.5 * (entropy(dual[0][0], emotions) + entropy(dual[0][1], speakers))
    assert torch.allclose(overall_loss(logits, dual, emotions, speakers, 0.5), by_hand)


def test_each_head_reads_its_own_part_and_the_emotion_relevant_one_goes_on():
    model = emotion_model(backbone="vgg5", ad_after="conv2,last")
    maps, taken_on = {}, {}
    for name, module in model.extractor.ad.items():
        module.register_forward_hook(lambda module, inputs, outputs, name=name: maps.update({name: outputs}))
    model.extractor.layers["conv3"].register_forward_pre_hook(lambda module, inputs: taken_on.update(conv3=inputs[0]))
    logits, dual, _ = model(torch.randn(3, 40, 41))
    assert list(maps) == ["conv2", "conv5"] and len(dual) == 2
    for (name, (plus, minus)), (emotions, speakers) in zip(maps.items(), dual, strict=True):
        assert not torch.allclose(plus.mean((2, 3)), minus.mean((2, 3)), atol=0.01)
        assert torch.allclose(emotions, model.emotion_heads[name](plus.mean((2, 3))), atol=1e-6)
        assert torch.allclose(speakers, model.speaker_heads[name](minus.mean((2, 3))), atol=1e-6)
    assert torch.equal(taken_on["conv3"], maps["conv2"][0])
    assert torch.allclose(logits, model.classifier(maps["conv5"][0].mean((2, 3))), atol=1e-6)


def test_of_a_frozen_extractor_only_the_ad_modules_learn():
    model = emotion_model(backbone="vgg5", ad_after="last", train_extractor="none").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    logits, dual, _ = model(torch.randn(4, 40, 41) + 1)
    overall_loss(logits, dual, torch.arange(4), torch.arange(4), 0.5).backward()
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.data -= 0.1 * parameter.grad
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert any("running_mean" in name for name in before) and not any(".layers." in name for name in changed)
    assert {"extractor.ad.conv5.norm.weight", "extractor.ad.conv5.attention.time_up.weight", "classifier.weight",
            "emotion_heads.conv5.weight", "speaker_heads.conv5.weight"} <= changed


def test_adapters_and_batch_normalization_learn_and_no_pretrained_filter():
    model = emotion_model(ad_after="last", train_extractor="adapters")
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name in model.state_dict() if ".layers." in name and name.endswith(".conv.weight")}


@pytest.mark.parametrize("which", range(4))
def test_losses_of_bfloat16_are_computed_in_float32(which):
    torch.manual_seed(4)
    outputs = [torch.randn(5, size) for size in (4, 4, 8, 8)]
    emotions, speakers = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([7, 0, 3, 1, 2])

    def loss(logits, plus, minus, adversary):
        return overall_loss(logits, [(plus, minus)], emotions, speakers, 0.5) + speaker_loss(adversary, speakers)

    rounded = [output.bfloat16() if number == which else output for number, output in enumerate(outputs)]
    assert loss(*rounded).equal(loss(*(output.float() for output in rounded)))


def test_shared_head_is_the_classifier():
    logits, dual, _ = emotion_model(ad_after="last", ad_head="shared")(torch.randn(3, 40, 41))
    assert torch.equal(dual[0][0], logits)
    with pytest.raises(UserError, match="ad-head shared"):
        emotion_model(ad_after="stage1", ad_head="shared")


@pytest.mark.parametrize("options", [
    {"backbone": "resnet18"}, {"backbone": "resnet18", "ad_after": "last"}, {"backbone": "vgg5", "ad_after": "last"},
    {"backbone": "resnet18", "ad_after": "conv1,stage2,transition3,last"}, {"backbone": "vgg5", "ad_after": "conv2"},
    {"backbone": "resnet18", "ad_after": "last", "attention": "se"},
    {"backbone": "resnet18", "ad_after": "last", "attention": "none"},
    {"backbone": "conv1d"}, {"backbone": "conv1d", "ad_after": "linear,conv1,last"},
    {"backbone": "conv1d", "ad_after": "conv1", "attention": "se", "pooling": "attentive"},
], ids=str)
def test_utterances_score_in_a_batch_as_alone(options):
    model = emotion_model(**options)
    generator = torch.Generator().manual_seed(5)
    utterances = [torch.randn(size, 41, generator=generator) * 2 + 3 for size in (1, 2, 7, 16, 33, 100, 181, 300)]
    lengths = torch.tensor([len(utterance) for utterance in utterances])
    batch = torch.nn.utils.rnn.pad_sequence(utterances, batch_first=True)
    with torch.no_grad():
        together, dual, _ = model(batch, lengths)
        for row, utterance in enumerate(utterances):
            alone, alone_dual, _ = model(utterance[None])
            assert torch.allclose(together[row], alone[0], atol=1e-4)
            for (plus, minus), (alone_plus, alone_minus) in zip(dual, alone_dual, strict=True):
                assert torch.allclose(plus[row], alone_plus[0], atol=1e-4)
                assert torch.allclose(minus[row], alone_minus[0], atol=1e-4)


@pytest.mark.parametrize("options", [
    {"backbone": "resnet18", "ad_after": "last", "train_extractor": "adapters", "adversary_weight": 0.1},
    {"backbone": "vgg5", "ad_after": "conv2,last", "attention": "se"},
], ids=lambda options: options["backbone"])
def test_weights_of_before_fit(options):
    """Names and shapes, in order, as the code wrote them when these files were made (commit c134417)."""
    weights = emotion_model(**options).state_dict()
    lines = [f"{name} {'x'.join(map(str, tensor.shape))}\n" for name, tensor in weights.items()]
    assert lines == (Path(__file__).parent / f"weights_{options['backbone']}.txt").open().readlines()


def test_unknown_layer_is_named():
    with pytest.raises(UserError, match="no layer 'stage9'; it has conv1, stage1"):
        emotion_model(ad_after="stage9")

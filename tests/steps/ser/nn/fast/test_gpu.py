"""What only GPUs do: convolutions in blocks against torch's own, and captured steps against those that are not."""

import pytest
import torch

from ser.nn.convolution import Conv2d
from ser.nn.losses import overall_loss
from ser.nn.models import EmotionModel, EmotionModelConfig
from ser.train.step import TrainingStep

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")


def is_near(ours, theirs, tolerance):
    return (ours.double() - theirs).abs().max() <= tolerance * theirs.abs().max().clamp(min=1)


@pytest.mark.parametrize("inputs, outputs, kernel, stride, frames", [
    (1, 16, 7, 1, 60), (16, 32, 3, 2, 60), (16, 16, 3, 1, 59), (32, 64, 3, 2, 75), (48, 64, 3, 1, 37)])
def test_convolutions_of_the_networks_are_torchs(inputs, outputs, kernel, stride, frames, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    layer, x = Conv2d(inputs, outputs, kernel, stride).cuda(), torch.randn(4, inputs, frames, 41, device="cuda")
    ours, theirs = layer(x), torch.nn.functional.conv2d(x, layer.weight, None, stride, kernel // 2)
    gradient = torch.randn_like(theirs)
    assert is_near(ours, theirs.double(), 1e-5)
    assert is_near(*(torch.autograd.grad(y, layer.weight, gradient)[0].double() for y in (ours, theirs)), 1e-4)


@pytest.mark.parametrize("options", [{"backbone": "resnet18", "train_extractor": "adapters"}, {"backbone": "vgg5"}])
def test_utterances_score_as_on_a_cpu(options, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    network = EmotionModel(EmotionModelConfig(ad_after="last", **options), 41, 4, 3)
    network(torch.randn(8, 80, 41))  # statistics that are not those at the start
    network.eval()
    features, lengths = torch.randn(5, 72, 41), torch.tensor([72, 71, 40, 8, 1])
    with torch.inference_mode():
        theirs = network(features, lengths)[0].double()
        ours = network.cuda()(features.cuda(), lengths.cuda())[0].cpu()
    assert is_near(ours, theirs, 1e-4)


@pytest.mark.parametrize("backbone", ["resnet18", "vgg5"])
def test_captured_steps_are_those_that_are_not(backbone):
    torch.set_deterministic_debug_mode("error")
    trained = []
    for captured in (False, True, True):
        torch.manual_seed(0)
        network = EmotionModel(EmotionModelConfig(backbone=backbone, ad_after="last"), 41, 4, 3).cuda()
        rate = torch.tensor(1e-3, device="cuda")
        optimizer = torch.optim.Adam([{"params": network.parameters(), "lr": rate}], fused=True, capturable=True)
        targets = torch.arange(40, device="cuda") % 3

        def loss(model, features, positions, targets=targets):
            logits, dual, _ = model(features)
            return overall_loss(logits, dual, targets[positions], targets[positions], 0.5)

        step = TrainingStep(network, loss, optimizer, "bf16", captured)
        losses = []
        for number in range(12):
            rate.fill_(1e-3 / (1 + number))
            positions = torch.randint(40, (16 if number % 3 else 5,), generator=torch.Generator().manual_seed(number))
            features = torch.randn(len(positions), 80, 41, generator=torch.Generator().manual_seed(number))
            losses.append(float(step(features.cuda(), positions.cuda(), 1.0)))
        trained.append((losses, network.state_dict()))
    for losses, weights in trained[1:]:
        assert losses == trained[0][0]
        assert all(torch.equal(weights[name], value) for name, value in trained[0][1].items())

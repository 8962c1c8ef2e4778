"""What only GPUs do: prepared networks, captured steps, their memory, and what is not deterministic."""

import pytest
import torch

from ser.base.device import make_deterministic, place
from ser.data.feature_bank import FeatureBank
from ser.nn.fast import normalization, prepare
from ser.nn.losses import overall_loss
from ser.nn.models import EmotionModel
from ser.nn.options import EmotionModelConfig
from ser.nn.pooling import POOLINGS
from ser.train.augmentation import AUGMENTATIONS, augmented
from ser.train.step import TrainingStep

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")


@pytest.fixture(autouse=True)
def _small_batches_as_large_ones(monkeypatch):
    """Triton's normalization for the batches of these tests, too."""
    monkeypatch.setattr(normalization, "_LEAST_BATCH", 1)


def is_near(ours, theirs, tolerance):
    return (ours.double() - theirs).abs().max() <= tolerance * theirs.abs().max().clamp(min=1)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("options", [
    {"backbone": "resnet18", "train_extractor": "adapters"},
    *({"backbone": "vgg5", "pooling": name} for name in POOLINGS)], ids=lambda options: "-".join(options.values()))
def test_utterances_score_as_on_a_cpu(options, fast, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    network = EmotionModel(EmotionModelConfig(ad_after="last", **options), 41, 4, 3)
    network(torch.randn(8, 80, 41))  # statistics that are not those at the start
    network.eval()
    features, lengths = torch.randn(5, 72, 41), torch.tensor([72, 71, 40, 8, 1])
    with torch.inference_mode():
        theirs = network(features, lengths)[0].double()
    place(network, "cuda")
    if fast:
        network = prepare(network, torch.device("cuda"))
    with torch.inference_mode():
        ours = network(features.cuda(), lengths.cuda())[0].cpu()
    assert is_near(ours, theirs, 1e-4)


def train(backbone, fast, captured, steps=12, precision="bf16", pooling="mean"):
    """Losses and weights of some steps with batches of two sizes."""
    torch.manual_seed(0)
    network = EmotionModel(EmotionModelConfig(backbone=backbone, ad_after="last", pooling=pooling), 41, 4, 3)
    place(network, "cuda")
    if fast:
        network = prepare(network, torch.device("cuda"))
    rate = torch.tensor(1e-3, device="cuda")
    optimizer = torch.optim.Adam([{"params": network.parameters(), "lr": rate}], fused=True, capturable=True)
    targets = torch.arange(40, device="cuda") % 3

    def loss(model, features, positions):
        logits, dual, _ = model(features)
        return overall_loss(logits, dual, targets[positions], targets[positions], 0.5)

    step = TrainingStep(network, loss, optimizer, precision, captured)
    losses = []
    for number in range(steps):
        rate.fill_(1e-3 / (1 + number))
        positions = torch.randint(40, (16 if number % 3 else 5,), generator=torch.Generator().manual_seed(number))
        features = torch.randn(len(positions), 80, 41, generator=torch.Generator().manual_seed(number))
        losses.append(float(step(features.cuda(), positions.cuda(), 1.0)))
    step.release()
    return losses, network.state_dict()


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("backbone, pooling", [("resnet18", "mean"), *(("vgg5", name) for name in POOLINGS)])
def test_captured_steps_are_those_that_are_not(backbone, pooling, fast):
    make_deterministic()
    expected_losses, expected = train(backbone, fast, captured=False, steps=24, pooling=pooling)
    for _ in range(2):
        losses, weights = train(backbone, fast, captured=True, steps=24, pooling=pooling)
        assert losses == expected_losses
        assert all(torch.equal(weights[name], value) for name, value in expected.items())


@pytest.mark.parametrize("backbone", ["resnet18", "vgg5"])
def test_a_prepared_network_learns_what_a_plain_one_does(backbone, monkeypatch):
    """The first losses, before Adam makes steps of differences in rounding."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    make_deterministic()
    (plain, _), (fast, _) = (train(backbone, fast, captured=False, steps=4, precision="fp32") for fast in (False, True))
    assert fast == pytest.approx(plain, rel=1e-3)


def test_memory_stays_flat_over_trainings():
    held = []
    for _ in range(30):
        train("vgg5", fast=True, captured=True)
        held.append((torch.cuda.memory_allocated(), torch.cuda.memory_reserved()))
    for each in zip(*held, strict=True):
        assert max(each[10:]) <= max(each[:10])


@pytest.mark.parametrize("augment", [*AUGMENTATIONS, "speed,warp,specaugment,noise"])
def test_an_augmentation_waits_for_no_gpu_and_gives_the_same_again(augment):
    frames = torch.randn(4000, 41, generator=torch.Generator().manual_seed(0)).numpy()
    source = augmented(FeatureBank([f"u{n}" for n in range(10)], [400] * 10, frames, "cuda"), augment, {})
    positions = torch.arange(10, device="cuda")

    def crops():
        return source.crops(positions, 100, torch.Generator().manual_seed(1))

    expected = crops()  # what is allocated once is there from now on
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = crops()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found, expected) and found.shape == (10, 100, 41)


def test_what_is_not_deterministic_raises():
    make_deterministic()
    x = torch.randn(2, 3, 8, 8, device="cuda", requires_grad=True)
    torch.nn.functional.max_pool2d(x, 2).sum().backward()  # windows do not overlap
    with pytest.raises((UserWarning, RuntimeError), match="does not have a deterministic implementation"):
        torch.nn.functional.interpolate(x, scale_factor=2, mode="bicubic").sum().backward()

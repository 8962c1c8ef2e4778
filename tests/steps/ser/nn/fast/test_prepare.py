"""prepare() against the network that it was given, and everything without it."""

import copy
import os
import shutil

import pytest
import torch

from conftest import ROOT
from scripts import run_script
from ser.nn.fast import prepare
from ser.nn.fast.convolution import ConvInBlocks
from ser.nn.fast.normalization import ConvFusedBnRelu
from ser.nn.losses import overall_loss
from ser.nn.models import EmotionModel
from ser.nn.options import EmotionModelConfig

SYSTEMS = [{"backbone": "resnet18"}, {"backbone": "vgg5"}, {"backbone": "resnet18", "train_extractor": "adapters"},
           {"backbone": "conv1d"}]


def steps(network, frames):
    """Losses and gradients of a step, then logits of utterances of different lengths."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(6, frames, 41, generator=generator, dtype=torch.float64)
    targets = torch.arange(6) % 3
    logits, dual, _ = network.train()(features)
    loss = overall_loss(logits, dual, targets, targets, 0.5)
    loss.backward()
    learning = [parameter.grad for parameter in network.parameters() if parameter.requires_grad]
    with torch.no_grad():
        scores = network.eval()(features, torch.tensor([frames, frames - 1, 40, 17, 2, 1]))[0]
    return [loss, *learning, scores, *network.state_dict().values()]


@pytest.mark.parametrize("frames", [96, 75])
@pytest.mark.parametrize("options", SYSTEMS, ids=str)
def test_a_prepared_network_computes_and_learns_the_same(options, frames, monkeypatch):
    """In float64, on a CPU: the layers of a GPU are only slower there. 75 is no multiple of any block."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.manual_seed(0)
    plain = EmotionModel(EmotionModelConfig(ad_after="last", **options), 41, 4, 3).double()
    if "train_extractor" in options:  # adapters begin at zero
        for name, parameter in plain.named_parameters():
            if "adapter" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    network = prepare(copy.deepcopy(plain), torch.device("cuda")).double()
    has_blocks = any(isinstance(module, ConvInBlocks) for module in network.modules())
    assert has_blocks == (options["backbone"] != "conv1d")  # which has no 2-D convolution
    assert any(isinstance(module, ConvFusedBnRelu) for module in network.modules()) == has_blocks
    assert list(network.state_dict()) == list(plain.state_dict())
    for ours, theirs in zip(steps(network, frames), steps(plain, frames), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-7, atol=1e-10)


def test_on_a_cpu_a_network_stays_as_it_is():
    network = EmotionModel(EmotionModelConfig(), 41, 4, 3)
    classes = [type(module) for module in network.modules()]
    assert [type(module) for module in prepare(network, torch.device("cpu")).modules()] == classes


def test_without_the_folder_all_trains_and_scores(tiny, tmp_path):
    """Of a copy of the recipe nn/fast/ is deleted; on a CPU the weights are then the same to the last bit."""
    copied = tmp_path / "recipe"
    shutil.copytree(ROOT / "steps", copied / "steps", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", copied)  # by which the scripts know their Python
    shutil.rmtree(copied / "steps" / "ser" / "nn" / "fast")
    words = ["--epochs", "1", "--backbone", "vgg5", "--ad-after", "last", "--batch-size", "16", "--crop", "40",
             "--device", "cpu", "--num-threads", "1", "--data", tiny, "--fold", "fold_s1"]

    def train(root, name, *more):
        environment = {**os.environ, "PYTHONPATH": str(root / "steps")}
        command = ["steps/finetune.py", *map(str, words), *more, "--dir", str(tmp_path / name)]
        done = run_script(command, root, environment)
        assert done.returncode == 0, done.stderr
        result = (tmp_path / name / "RESULT").read_text().replace(str(tmp_path / name), "DIR")
        return result, (tmp_path / name / "last.safetensors").read_bytes()

    deleted = train(copied, "deleted")
    assert deleted[0].startswith("%WF1")
    assert deleted == train(ROOT, "whole") == train(ROOT, "slow", "--fast", "false")

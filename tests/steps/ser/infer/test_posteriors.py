"""Scores are computed in full float32: TF32, which a GPU takes for convolutions unless told otherwise, is off."""

import shutil
import warnings

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from ser.data.feature_bank import FeatureBank
from ser.infer.evaluation import score
from ser.infer.posteriors import posteriors
from ser.nn.models import SpeakerModel

DEFAULT = ("tf32", "none")  # of torch: cuDNN may, matrix products do not
OFF = ("ieee", "ieee")


def precisions():
    return torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision


@pytest.fixture
def seen():
    """The settings at every call of any module on utterances from now on; a network is made with one of a frame."""
    calls = []

    def record(module, inputs):
        if inputs[0].shape[2:3] != (1,):
            calls.append(precisions())

    hook = register_module_forward_pre_hook(record)
    yield calls
    hook.remove()


@pytest.fixture
def bank():
    frames = np.random.default_rng(0).standard_normal((60, 41)).astype(np.float32)
    return FeatureBank("abc", [30, 20, 10], frames)


@pytest.mark.parametrize("precision, expected", [("fp32", OFF), ("bf16", DEFAULT)])
def test_tf32_is_off_while_the_network_scores_in_fp32_and_as_before_afterwards(precision, expected, bank, seen):
    assert precisions() == DEFAULT
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        posteriors(SpeakerModel("vgg5", 41, 4), bank, torch.arange(3), precision)
    assert seen and set(seen) == {expected} and precisions() == DEFAULT


@pytest.mark.parametrize("allowed", [True, False])
def test_what_the_user_has_set_comes_back_also_when_the_network_raises(allowed, bank, seen):
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
        with pytest.raises(RuntimeError, match="must match the size"):
            posteriors(SpeakerModel("vgg5", 40, 4), bank, torch.arange(3))
        assert seen and set(seen) == {OFF}
        assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == allowed
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_a_fold_is_scored_without_tf32(trained, tiny, tmp_path, seen):
    model = shutil.copytree(trained / "vgg5_ad" / "fold_s1", tmp_path / "m")
    score(model, tiny, torch.device("cpu"))
    assert seen and set(seen) == {OFF}

"""No two different experiments have the same result line, and the same experiment has the same one anywhere."""

import json
import re
from dataclasses import asdict, fields

import pytest

from conftest import run
from ser.audio.fbank import FbankConfig
from ser.audio.vad import VadConfig
from ser.infer.choices import FINETUNING, choices_of, options_digest
from ser.infer.results_file import PretrainResults, read_results
from ser.train.pretrain_config import PretrainConfig

DEFAULTS = {field.name: field.default for kind in FINETUNING for field in fields(kind)}
FEATURES = {"fbank.conf": "--num-mel-bins=41\n", "vad.conf": "--aggressiveness=2\n"}


def named(precision="fp32", features=FEATURES, pretraining=None, kinds=FINETUNING, **options):
    """What is said of a training with some options; the rest is at its default."""
    defaults = {field.name: field.default for kind in kinds for field in fields(kind)}
    return choices_of({"dataset": "d", "protocol": "loso", "dimension": 41, "features": features,
                       "environment": {"precision": precision, "device": "cpu x 2"}, "pretraining": pretraining or {},
                       "options": {**defaults, "seed": 0, "fold": "f", "data_dir": "data", **options}}, kinds)


def other(field):
    """A value of an option that is not its default."""
    if "choices" in field.metadata:
        return next(value for value in field.metadata["choices"] if value != field.default)
    return {int: 7, float: 0.3, bool: not field.default, str: "7,9"}[field.type]


@pytest.mark.parametrize("kinds", [FINETUNING, (PretrainConfig,)], ids=["fine-tuning", "pre-training"])
def test_every_option_that_is_not_at_its_default_is_named_and_makes_another_digest(kinds):
    usual, digests = named(kinds=kinds), set()
    for field in (field for kind in kinds for field in fields(kind)):
        value = other(field)
        choices = named(kinds=kinds, **{field.name: value})
        word = str(value).lower() if field.type is bool else str(value).replace(",", "+")
        assert f" {field.name.replace('_', '-')} {word} " in f" {choices.phrase} ", field.name
        assert choices.options[field.name] == value and "," not in choices.phrase
        digests.add(choices.options_digest)
    assert len(digests) == sum(len(fields(kind)) for kind in kinds) and usual.options_digest not in digests


def test_what_is_at_its_default_is_not_named():
    assert named().phrase == ("backbone resnet18 ad-after none pooling mean 41mel feature-norm utterance-mean crop 300 "
                              "epochs 50 select best")
    assert named(kinds=(PretrainConfig,)).phrase == ("backbone resnet18 pooling mean 41mel feature-norm "
                                                     "utterance-mean crop 200 epochs 24")


@pytest.mark.parametrize("kind, file", [(FbankConfig, "fbank.conf"), (VadConfig, "vad.conf")])
def test_features_that_are_not_at_their_default_are_named(kind, file):
    values = {"frame_shift": 12.5, "low_freq": 60.0, "high_freq": 7600.0, "window_type": "povey",
              "preemphasis_coefficient": 0.5, "remove_dc_offset": False, "frame_length": 25.0, "aggressiveness": 3,
              "voiced_share": 0.7}
    for field in fields(kind):
        if field.name in values:
            value = str(values[field.name]).lower()
            choices = named(features={**FEATURES, file: f"--{field.name.replace('_', '-')}={value}\n"})
            assert choices.phrase.endswith(f" {field.name.replace('_', '-')} {value}")
            assert choices.options_digest != named().options_digest
    energy = named(features={**FEATURES, "fbank.conf": "--num-mel-bins=40\n--use-energy=true\n"})
    assert " 40mel+energy feature-norm " in energy.phrase and energy.phrase.endswith(" select best")


def test_precision_pretraining_and_features_are_in_the_digest_and_nothing_else_is():
    start = {"dataset": "vox", "num_speakers": 9, "identity": "1" * 64, "options_digest": "3f9c2a"}
    usual = named().options_digest
    assert re.fullmatch("[0-9a-f]{6}", usual)
    assert usual != named("bf16").options_digest != named("bf16", pretraining=start).options_digest
    assert named(pretraining=start).options_digest != named(
        pretraining={**start, "options_digest": "3f9c2b"}).options_digest
    for same in ({"seed": 5}, {"fold": "g"}, {"data_dir": "/elsewhere"}, {"features": {
            "fbank.conf": "# the paper's\n--num-mel-bins=41  # filters\n", "vad.conf": ""}}):
        assert named(**same).options_digest == usual
    assert named(pretraining=start).phrase.endswith(" pretrain vox 9 spk 3f9c2a")
    of_seed = named(pretraining={**start, "seed": 3, "identity": "2" * 64})
    assert of_seed.phrase.endswith(" pretrain vox 9 spk 3f9c2a seed 3")
    assert of_seed.options_digest == named(pretraining={**start, "seed": 0}).options_digest


def test_a_configuration_of_features_that_is_not_the_recipes_is_named_line_by_line():
    choices = named(features={"fbank.conf": "--allow-downsample=true # wide\n\n--dither=0\n"})
    assert choices.phrase.endswith(" allow-downsample true dither 0")
    assert choices.options_digest != named(features={"fbank.conf": "--dither=1\n"}).options_digest


def test_missing_options_count_as_their_defaults():
    assert options_digest({}, FINETUNING, {}, "fp32", {}) == options_digest(DEFAULTS, FINETUNING, {}, "fp32", {})


def test_a_pretraining_says_the_same_in_both_files_wherever_it_is(tiny, tmp_path):
    words = ("steps/pretrain.py", "--epochs", "1", "--batch-size", "16", "--crop", "40", "--lr", "0.002", "--backbone",
             "vgg5", "--num-threads", "1", "--precision", "fp32")
    for name in ("a", "b/c"):
        run(*words, tiny, tmp_path / name)
    path = tmp_path / "a" / "results.json"
    results = read_results(path, PretrainResults, "")
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    line = (tmp_path / "a" / "RESULT").read_text()
    assert line == (f"%IDACC {results.accuracy:.2f} [ best of 1 epochs on {results.utterances} held-out utterances, "
                    "4 speakers, EER none, seed 0, source-2 identification, backbone vgg5 pooling mean 41mel "
                    "feature-norm utterance-mean crop 40 epochs 1 batch-size 16 lr 0.002, fp32 cpu, "
                    f"options {config['options_digest']} ] {tmp_path}/a\n")
    assert results.data_stamp == config["options"]["data_stamp"] and results.trained.pretraining == {}
    assert results.trained.options_digest == config["options_digest"]
    assert asdict(results.trained)["options"] == {name: config["options"][name] for name in results.trained.options}
    assert (tmp_path / "b/c" / "results.json").read_bytes() == path.read_bytes()
    assert (tmp_path / "b/c" / "RESULT").read_text() == line.replace(f"{tmp_path}/a", f"{tmp_path}/b/c")

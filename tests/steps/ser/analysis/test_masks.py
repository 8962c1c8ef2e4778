"""Attention masks against the equation on each utterance alone, and the files that show them."""

import csv
import shutil
import sys

import numpy as np
import pytest
import torch

import plot_masks
from conftest import read_vectors, run
from options import run as run_main
from ser.analysis.attention_maps import attention_masks, step_size
from ser.base.errors import UserError
from ser.data.data_dir import read_list, read_table
from ser.data.feature_bank import FeatureBank, load_bank
from ser.model_dir.checkpoint import save_tensors
from ser.model_dir.emotion_model import load_emotion_model
from ser.nn.models import EmotionModel
from ser.nn.options import EmotionModelConfig

LENGTHS = [70, 33, 120, 16, 5]


@pytest.fixture(scope="module")
def bank():
    rng = np.random.default_rng(0)
    return FeatureBank([f"u{n}" for n in range(5)], LENGTHS, rng.standard_normal((sum(LENGTHS), 41), np.float32))


def model_of(**options):
    """A network whose attentions are far from constant."""
    torch.manual_seed(0)
    model = EmotionModel(EmotionModelConfig(**{"backbone": "vgg5", **options}), 41, 4, 8)
    for module in model.extractor.ad.values():
        torch.nn.init.uniform_(module.norm.weight, 0.5, 1.5)
        torch.nn.init.uniform_(module.norm.bias, -0.5, 0.5)
        for parameter in module.attention.parameters() if module.attention else ():
            torch.nn.init.uniform_(parameter, -0.3, 0.3)
    return model


def spaces_alone(model, features):
    """F, F+ `[C, T', F']` of the last AD module, and the module, of one utterance `[T, 41]`."""
    x = features[None, None]
    with torch.no_grad():
        for name, layer in model.extractor.layers.items():
            x, _ = layer(x, None)
            if name in model.extractor.ad:
                module, before = model.extractor.ad[name], x
                x, _ = module(x)
                last = before[0].numpy(), x[0].numpy(), module
    return last


def equation(attention, residual):
    """Equations 5 and 6, or squeeze-and-excitation, on a residual `[C, T, F]`."""
    weights = {name: parameter.detach().double().numpy().squeeze() for name, parameter in attention.named_parameters()}

    def layer(name, x):
        return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"][(slice(None),) + (None,) * (x.ndim - 1)]

    if hasattr(attention, "time_down"):
        along_time = layer("time_up", layer("time_down", residual.mean(axis=2)))
        along_frequency = layer("frequency_up", layer("frequency_down", residual.mean(axis=1)))
        scores = along_time[:, :, None] + along_frequency[:, None, :]
    else:
        squeezed = layer("up", np.maximum(layer("down", residual.mean(axis=(1, 2))), 0))
        scores = np.broadcast_to(squeezed[:, None, None], residual.shape)
    return 1 / (1 + np.exp(-scores))


@pytest.mark.parametrize("options", [{"ad_after": "last"}, {"ad_after": "conv3,conv1"}, {"ad_after": "conv2"},
                                     {"ad_after": "last", "attention": "se"},
                                     {"ad_after": "stage2", "backbone": "resnet18"}], ids=str)
def test_masks_are_the_equation_on_each_utterance_alone(bank, options):
    model, which = model_of(**options).eval(), torch.tensor([2, 0, 4, 3, 1])
    masks = attention_masks(model, bank, which)
    for position, mask in zip(which.tolist(), masks, strict=True):
        features, _ = bank.padded(torch.tensor([position]))
        before, relevant, module = spaces_alone(model, features[0])
        mean, variance = (getattr(before.astype(np.float64), name)(axis=(1, 2), keepdims=True)
                          for name in ("mean", "var"))
        gamma, beta = (x.detach().numpy()[:, None, None] for x in (module.norm.weight, module.norm.bias))
        normalized = (before - mean) / np.sqrt(variance + module.norm.eps) * gamma + beta
        assert mask.dtype == np.float32 and mask.shape == before.shape
        assert 0 < mask.min() < mask.max() < 1 and mask.std() > 0.05
        np.testing.assert_allclose(mask, equation(module.attention, before - normalized), atol=2e-5)
        np.testing.assert_allclose(relevant, normalized + mask * (before - normalized), atol=2e-4)


def test_mode_and_hooks_are_as_before_and_no_attention_is_refused(bank):
    model = model_of(ad_after="last").train()
    attention_masks(model, bank, torch.arange(2))
    assert model.training and not any(module._forward_hooks for module in model.modules())
    for options in ({}, {"ad_after": "last", "attention": "none"}):
        with pytest.raises(UserError, match="has no AD module with an attention"):
            attention_masks(model_of(**options), bank, torch.arange(2))


@pytest.mark.parametrize("options, expected", [
    ({"ad_after": "last"}, 16), ({"ad_after": "conv2,conv1"}, 4), ({"ad_after": "stage1", "backbone": "resnet18"}, 1),
    ({"ad_after": "transition3", "backbone": "resnet18"}, 8)], ids=str)
def test_a_step_covers_what_the_strides_say(bank, options, expected):
    model = model_of(**options).eval()
    assert step_size(model) == (expected, expected)
    for length, mask in zip(LENGTHS, attention_masks(model, bank, torch.arange(5)), strict=True):
        assert mask.shape[1:] == (-(-length // expected), -(-41 // expected))
        edges = plot_masks.edges(mask.shape[1], expected, length)
        assert edges[0] == 0 and edges[-1] == length and (np.diff(edges) > 0).all()


def test_the_median_utterance_of_each_class():
    lengths = {"a": 5, "b": 3, "c": 4, "d": 9, "e": 1, "f": 9, "g": 1}
    labels = {"a": "sad", "b": "sad", "c": "sad", "d": "ang", "e": "ang", "f": "ang", "g": "ang"}
    assert plot_masks.median_utterances(labels, lengths) == ["g", "c"]


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    directory = tmp_path_factory.mktemp("exp") / "ad"
    run("steps/finetune.py", "--backbone", "vgg5", "--ad-after", "last", "--device", "cpu", "--num-threads", "1",
        "--epochs", "1", "--crop", "40", "--fold", "fold_s2", "--data", tiny, "--dir", directory)
    return directory


def edit_config(directory, old, new):
    text = (directory / "config.json").read_text()
    assert old in text
    (directory / "config.json").write_text(text.replace(old, new))


def plot(directory, monkeypatch):
    """Run the script; returns its exit status."""
    monkeypatch.setattr(sys, "argv", ["steps/plot_masks.py", "--device", "cpu", "--dir", str(directory)])
    with pytest.raises(SystemExit) as ended:
        run_main(plot_masks.main)
    return ended.value.code or 0


def read_rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_files_hold_the_masks_of_the_median_utterances_and_the_same_bytes_again(tiny, trained, monkeypatch):
    assert plot(trained, monkeypatch) == 0
    out = trained / "analysis"
    files = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(files) == {"masks.png", "masks.svg", "masks.tsv"} and files["masks.png"].startswith(b"\x89PNG")
    test, vad = read_list(tiny / "folds" / "fold_s2" / "test"), read_table(tiny / "vad.scp")
    voiced = {utt: int(x.sum()) for utt, x in read_vectors({utt: vad[utt] for utt in test})}
    by_class = [sorted((voiced[utt], utt) for utt in test if emotion in utt) for emotion in ("ang", "sad")]
    utts = [members[2][1] for members in by_class]  # of six the third
    rows = read_rows(out / "masks.tsv")
    assert list(dict.fromkeys(row["utt"] for row in rows)) == utts
    model, _ = load_emotion_model(trained)
    for utt in utts:
        bank = load_bank(tiny, [utt], "utterance-mean")
        mask, = attention_masks(model, bank, torch.tensor([0]))
        for axis, mean in (("time", mask.mean(axis=(0, 2))), ("frequency", mask.mean(axis=(0, 1)))):
            mine = [row for row in rows if (row["utt"], row["axis"]) == (utt, axis)]
            assert [int(row["position"]) for row in mine] == [16 * step for step in range(len(mean))]
            np.testing.assert_allclose([float(row["mask_mean"]) for row in mine], mean, atol=2e-6)
    assert plot(trained, monkeypatch) == 0
    assert files == {path.name: path.read_bytes() for path in out.iterdir()}


def test_the_picture_shows_features_and_profiles_of_what_was_asked_for(tiny, trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "m")
    edit_config(tmp_path / "m", '"dataset": "', '"dataset": "synthetic-')
    figures, draw = [], plot_masks.draw
    monkeypatch.setattr(plot_masks, "draw", lambda *words: figures.append(draw(*words)) or figures[0])
    utts = ["s2-sad1", "s2-ang0", "s2-ang5"]
    plot_masks.plot_masks(str(tmp_path / "m"), utts, torch.device("cpu"))
    rows = read_rows(tmp_path / "m" / "analysis" / "masks.tsv")
    assert list(dict.fromkeys(row["utt"] for row in rows)) == utts
    assert "SYNTHETIC" in figures[0].get_suptitle()
    per_utt, limits = read_table(tmp_path / "m" / "score" / "per_utt"), set()
    for utt, panels in zip(utts, figures[0].subfigs, strict=True):
        above, corner, image, beside, _ = panels.axes
        features = load_bank(tiny, [utt], "utterance-mean").frames_of(torch.tensor([0])).numpy()
        reference, hypothesis = per_utt[utt].split()[:2]
        assert above.get_title(loc="left") == f"{utt}, reference {reference}, hypothesis {hypothesis}"
        assert not corner.get_visible() and above.get_ylabel() == beside.get_xlabel() == "mean mask"
        np.testing.assert_array_equal(image.images[0].get_array(), features.T)
        assert image.get_xlim() == above.get_xlim() == (0, len(features)) and image.get_ylim() == beside.get_ylim()
        for axis, name, end in ((above, "time", len(features)), (beside, "frequency", 41)):
            values, edges, _ = axis.patches[0].get_data()
            mine = [row for row in rows if (row["utt"], row["axis"]) == (utt, name)]
            np.testing.assert_allclose(values, [float(row["mask_mean"]) for row in mine], atol=1e-6)
            assert edges.tolist() == [*(int(row["position"]) for row in mine), end]
        limits |= {above.get_ylim(), beside.get_xlim()}
        assert image.get_xlabel() == "voiced speech in s" and image.get_ylabel() == "frequency in Hz"
        seconds = [float(label.get_text()) for label in image.get_xticklabels()]
        np.testing.assert_allclose(image.get_xticks(), [100 * second for second in seconds], atol=1e-6)
        hertz = {int(label.get_text()): place for label, place in
                 zip(image.get_yticklabels(), image.get_yticks(), strict=True)}
        mel = {frequency: 1127 * np.log(1 + frequency / 700) for frequency in (20, *hertz, 8000)}
        for frequency, place in hertz.items():  # filter 0 is drawn from 0 to 1, so its centre is at 0.5
            assert place == pytest.approx((mel[frequency] - mel[20]) / (mel[8000] - mel[20]) * 42 - 0.5)
    assert len(limits) == 1


def test_what_does_not_fit_is_refused(trained, tmp_path, monkeypatch, capsys):
    with pytest.raises(UserError, match="--utts: s1-ang0 is no test utterance of .*/folds/fold_s2; see "):
        plot_masks.plot_masks(str(trained), ["s2-ang0", "s1-ang0"], torch.device("cpu"))
    shutil.copytree(trained, tmp_path / "linear")
    edit_config(tmp_path / "linear", '"ad_after": "last"', '"ad_after": "none"')
    save_tensors(tmp_path / "linear" / "best.safetensors",
                 EmotionModel(EmotionModelConfig(backbone="vgg5"), 41, 2, 2).state_dict())
    assert plot(tmp_path / "linear", monkeypatch) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"plot_masks.py: {tmp_path}/linear: the network has no AD module with an attention")
    assert error.count("\n") == 1
    shutil.copytree(trained, tmp_path / "m")
    per_utt = tmp_path / "m" / "score" / "per_utt"
    per_utt.write_text("".join(line for line in per_utt.read_text().splitlines(True) if "s2-sad1" not in line))
    with pytest.raises(UserError, match="per_utt: has no s2-sad1; run steps/score.py again"):
        plot_masks.plot_masks(str(tmp_path / "m"), ["s2-sad1"], torch.device("cpu"))
    edit_config(tmp_path / "m", '"features": "', '"features": "0')
    with pytest.raises(UserError, match="has changed since it was trained"):
        plot_masks.finished_task(tmp_path / "m")
    (tmp_path / "m" / "RESULT").unlink()
    with pytest.raises(UserError, match="RESULT: not there; train the model first"):
        plot_masks.finished_task(tmp_path / "m")

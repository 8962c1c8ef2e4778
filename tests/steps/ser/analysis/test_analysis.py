"""The spaces of a network, the model that fine-tuning starts from, and what analysis makes of a finished directory."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import analyse
from conftest import run
from local.results.make_figure1 import choose
from local.results.make_figure1 import draw as draw_figure1
from local.results.make_probes import compare, read_rows
from made_up_results import write_fold
from ser.analysis.ad_features import SPACES, pooled_spaces, vectors_of
from ser.analysis.figures import NARROW, WIDTH
from ser.base.errors import UserError
from ser.data.data_dir import read_list, read_table
from ser.data.feature_bank import FeatureBank
from ser.data.fold_data import FoldData
from ser.infer.posteriors import posteriors
from ser.model_dir.checkpoint import load_tensors
from ser.nn.models import EmotionModel
from ser.nn.options import EmotionModelConfig
from ser.nn.pooling import POOLINGS

VGG5 = ("--backbone", "vgg5", "--device", "cpu", "--num-threads", "1")
ANALYSE = ("steps/analyse.py", "--device", "cpu", "--num-threads", "1")


@pytest.fixture(scope="module")
def bank():
    rng = np.random.default_rng(0)
    lengths = [70, 33, 120, 16, 5]
    return FeatureBank([f"u{n}" for n in range(5)], lengths, rng.standard_normal((sum(lengths), 41), np.float32))


def model_of(**options):
    """A network whose AD modules have trained values of gamma and beta."""
    torch.manual_seed(0)
    model = EmotionModel(EmotionModelConfig(backbone="vgg5", **options), 41, 4, 8)
    for module in model.extractor.ad.values():
        torch.nn.init.uniform_(module.norm.weight, 0.5, 1.5)
        torch.nn.init.uniform_(module.norm.bias, -0.5, 0.5)
    return model


@pytest.mark.parametrize("ad_after", ["last", "conv5,conv3", "conv2"])
def test_spaces_are_those_of_the_last_ad_module_alone_or_in_a_batch(bank, ad_after):
    model = model_of(ad_after=ad_after).eval()
    spaces = pooled_spaces(model, bank, torch.arange(5))
    assert tuple(spaces) == SPACES
    for position in range(5):
        features, _ = bank.padded(torch.tensor([position]))
        x, maps = features[:, None], {}
        with torch.no_grad():
            for name, layer in model.extractor.layers.items():
                x, _ = layer(x, None)
                if name in model.extractor.ad:
                    norm = model.extractor.ad[name].norm
                    normalized = torch.nn.functional.instance_norm(x, weight=norm.weight, bias=norm.bias, eps=norm.eps)
                    residual = x - normalized
                    mask = model.extractor.ad[name].attention(residual, None)
                    maps = {"F": x, "IN(F)": normalized, "R": residual, "F+": normalized + mask * residual,
                            "F-": normalized + (1 - mask) * residual}
                    x = maps["F+"]
        for name, expected in maps.items():
            expected = expected[0].numpy()  # [C, T, F]
            mean, deviation = spaces[name].statistics[position]
            np.testing.assert_allclose(mean, expected.mean(1), rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(deviation, expected.std(1), rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(spaces[name].network[position], expected.mean((1, 2)), rtol=1e-4, atol=1e-4)


def test_order_mode_and_hooks_are_as_before(bank):
    model = model_of(ad_after="last").train()
    which = torch.tensor([3, 0, 4])
    spaces = pooled_spaces(model, bank, which)
    for position, number in enumerate(which.tolist()):
        alone = pooled_spaces(model, bank, torch.tensor([number]))["F-"].of(torch.tensor([0]))
        for ours, theirs in zip(spaces["F-"].of(torch.tensor([position])), alone, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert model.training and not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("ad_after, space", [("last", "F+"), ("none", "F")])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_space_behind_the_extractor_is_pooled_to_what_the_classifier_sees(bank, pooling, ad_after, space):
    model, which = model_of(ad_after=ad_after, pooling=pooling), torch.arange(5)
    vectors = {(name, pooling): x for name, pooling, x in vectors_of(pooled_spaces(model, bank, which))}
    with torch.no_grad():
        expected = torch.softmax(model.classifier(torch.from_numpy(vectors[space, "network"])), dim=1)
    # The smallest deviation, of a channel that is always 0, is a constant and left out.
    np.testing.assert_allclose(posteriors(model, bank, which), expected, atol=1e-5)
    assert vectors[space, "mean+std"].shape == (5, 2 * 80 * 3)


def test_spaces_before_an_early_layer_are_pooled_by_the_pooling_of_that_place(bank):
    model, maps = model_of(ad_after="conv2", pooling="attentive").eval(), []
    spaces = pooled_spaces(model, bank, torch.arange(5))
    hook = model.extractor.ad["conv2"].register_forward_hook(lambda module, inputs, output: maps.append(output[1]))
    posteriors(model, bank, torch.tensor([2]))
    hook.remove()
    expected = model.extractor.pools["conv2"](maps[0], None).detach()
    np.testing.assert_allclose(spaces["F-"].network[2], expected[0], atol=1e-5)


def test_a_network_of_the_same_weights_and_another_pooling_is_embedded_again(bank):
    embed = analyse.Embedder()
    sizes = [embed(model_of(pooling=pooling), bank)["F"].network.shape[1] for pooling in ("mean", "time", "stats")]
    assert sizes == [80, 240, 480]


@pytest.mark.parametrize("attention", ["tf", "none"])
def test_a_mean_that_is_beta_by_equation_1_is_no_rounding_error_to_read(bank, attention):
    model = model_of(ad_after="last", attention=attention)
    constant = {name: not x.any() for name, pooling, x in vectors_of(pooled_spaces(model, bank, torch.arange(5)))
                if pooling == "network"}
    assert constant == {"F": False, "IN(F)": True, "R": False, "F+": attention == "none", "F-": False}


@pytest.fixture(scope="module")
def models(tiny, tmp_path_factory):
    """A pre-trained network, and two that were fine-tuned with learning rate 0, with AD from it and at random."""
    exp = tmp_path_factory.mktemp("exp")
    run("steps/pretrain.py", *VGG5, "--epochs", "1", "--batch-size", "16", "--crop", "40", tiny, exp / "pretrain_vgg5")
    for name, words in (("pretrained", ("--pretrained-dir", exp / "pretrain_vgg5", "--ad-after", "last")),
                        ("random", ("--feature-norm", "corpus", "--seed", "3"))):
        run("steps/finetune.py", *VGG5, *words, "--epochs", "1", "--lr", "0", "--crop", "40", "--fold", "fold_s1",
            "--data", tiny, "--dir", exp / name)
    return exp


@pytest.mark.parametrize("name", ["pretrained", "random"])
def test_the_initial_model_is_what_fine_tuning_starts_from(name, tiny, models):
    task = analyse.finished_task(models / name)
    data = FoldData.read(task.data_dir, task.fold)
    bank = analyse.load_bank(tiny, data.parts["train"] + data.parts["valid"] + data.parts["test"],
                             task.config.feature_norm)
    model, _ = analyse.initial_model(task, data, bank)
    trained, _ = load_tensors(models / name / "last.safetensors")  # with learning rate 0 no parameter has moved
    for key, parameter in model.named_parameters():
        assert torch.equal(parameter, trained[key]), key
    if name == "random":
        assert torch.equal(model.extractor.feature_mean, trained["extractor.feature_mean"])
        return
    for key, value in load_tensors(models / "pretrain_vgg5" / "best.safetensors")[0].items():
        if key.startswith("extractor."):
            assert torch.equal(model.state_dict()[key], value), key


def test_files_of_an_analysis_and_the_same_bytes_again(models):
    directory = models / "pretrained"
    run(*ANALYSE, "--dir", directory)
    files = {path.name: path.read_bytes() for path in (directory / "analysis").iterdir()}
    assert set(files) == {"probes.tsv", "silhouette.tsv", "embeddings.npz"}
    probes = read_rows(directory / "analysis" / "probes.tsv")
    assert len(probes) == 2 * 5 * 2 * 3
    assert all(row["accuracy"] == row["chance"] for row in probes
               if (row["space"], row["pooling"]) == ("IN(F)", "network"))
    sizes = {row["target"]: tuple(row[key] for key in ("chance", "n_train", "n_test")) for row in probes}
    assert sizes == {"emotion": ("50.00", "24", "12"), "speaker": ("25.00", "24", "48"),
                     "unseen-speaker": ("50.00", "12", "24")}
    rows = read_rows(directory / "analysis" / "silhouette.tsv")
    assert {(row["utterances"], row["n"]) for row in rows} == {("all", "48"), ("unseen", "24")}
    with np.load(directory / "analysis" / "embeddings.npz") as arrays:
        assert set(arrays) == {"utts", *analyse.DRAWN}
        assert arrays["after F+"].shape == (48, 80) and len(set(arrays["utts"])) == 48
    assert "already there" in run(*ANALYSE, "--dir", directory).stderr
    run(*ANALYSE, "--restart", "true", "--dir", directory)
    assert files == {path.name: path.read_bytes() for path in (directory / "analysis").iterdir()}


def test_a_directory_that_is_not_finished_or_no_longer_fits_is_refused(models, tmp_path):
    shutil.copytree(models / "random", tmp_path / "m")
    (tmp_path / "m" / "RESULT").unlink()
    with pytest.raises(UserError, match="RESULT: not there; train the model first"):
        analyse.finished_task(tmp_path / "m")
    (tmp_path / "m" / "RESULT").touch()
    config = tmp_path / "m" / "config.json"
    config.write_text(config.read_text().replace('"labels": "', '"labels": "0'))
    with pytest.raises(UserError, match=r"has changed since it was trained: labels \(utt2emo\); train it again"):
        analyse.finished_task(tmp_path / "m")


def test_another_pretraining_than_the_one_trained_on_is_refused(models, tmp_path):
    shutil.copytree(models / "pretrained", tmp_path / "m", ignore=shutil.ignore_patterns("analysis"))
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    config["pretraining"]["identity"] = "of another one"
    path.write_text(json.dumps(config))
    result = run(*ANALYSE, "--dir", tmp_path / "m", check=False)
    assert result.returncode == 1 and "pretrain_vgg5 has changed since it was trained" in result.stderr


def test_probes_tell_emotion_from_speaker(tiny):
    data, rng = FoldData.read(tiny, "fold_s1"), np.random.default_rng(0)
    utts = [utt for part in ("train", "valid", "test") for utt in data.parts[part]]

    def measure(table):
        names = sorted(set(table.values()))
        return analyse.measure(np.eye(len(names))[[names.index(table[utt]) for utt in utts]]
                               + 0.05 * rng.standard_normal((len(utts), len(names))), data)

    of_emotion, silhouettes = measure(data.labels)
    assert of_emotion["emotion"].accuracy == 100 and of_emotion["speaker"].accuracy < 45
    assert silhouettes["emotion", "unseen"][0] > 0.8 > 0.1 > silhouettes["speaker", "unseen"][0]
    of_speaker, silhouettes = measure(data.speakers)
    assert of_speaker["speaker"].accuracy == of_speaker["unseen-speaker"].accuracy == 100
    assert of_speaker["emotion"].accuracy == pytest.approx(50, abs=17)
    assert silhouettes["speaker", "all"][0] > 0.8 > 0.1 > silhouettes["emotion", "all"][0]


def test_probes_on_the_mini_corpora_see_what_ad_does(tmp_path):
    """Trained long, AD's loss puts the speaker into F-, and into F+ less; without AD there is less of it anywhere."""
    data = tmp_path / "data"
    run("local/mini/make_mini_corpora.py", "--speakers", "2", "--utterances-per-speaker", "2", tmp_path)
    run("local/iemocap_data_prep.py", tmp_path / "IEMOCAP_full_release", data)
    run("steps/make_fbank.sh", "--nj", "2", data)
    run("steps/compute_vad.sh", "--nj", "2", data)
    run("local/make_folds.py", "--protocol", "5fold", data)

    def train_and_probe(name, *words):
        run("steps/finetune.py", *VGG5, *words, "--config", "conf/mini/finetune.conf", "--epochs", "40",
            "--lr-milestones", "20,30,35", "--extractor-lr-factor", "1", "--ad-lr-factor", "1",
            "--select", "last", "--precision", "fp32", "--fold", "fold_Ses01M",
            "--data", data, "--dir", tmp_path / name)
        run(*ANALYSE, "--dir", tmp_path / name)
        return {(row["moment"], row["space"]): float(row["accuracy"])
                for row in read_rows(tmp_path / name / "analysis" / "probes.tsv")
                if (row["target"], row["pooling"]) == ("speaker", "network")}

    with ThreadPoolExecutor(2) as pool:
        linear, ad = pool.map(lambda words: train_and_probe(*words), [("linear",), ("ad", "--ad-after", "last")])
    assert linear["before", "F"] == ad["before", "F"] < ad["after", "F+"] - 10
    assert linear["after", "F"] < ad["after", "F+"] < ad["after", "F-"]


def test_compare_says_better_only_when_it_is_clear():
    plus, minus = [60, 70, 55, 80, 65], [50, 59, 44, 71, 55]
    assert compare(plus, minus) == "F+" and compare(minus, plus) == "F-"
    assert compare([60, 70, 55, 80, 65], [70, 60, 65, 70, 66]) is None
    assert compare(plus, plus) is None and compare([60], [50]) is None


def made_up_analysis(data, exp, name, plus, minus):
    """Analysis directories of a system in which emotion reads `plus` from F+ and `minus` from F-, speaker reversed."""
    rng = np.random.default_rng(0)
    speakers, emotions = read_table(data / "utt2spk"), read_table(data / "utt2emo")
    corners = {"before F": speakers, "after F": emotions, "after F+": emotions, "after F-": speakers}
    for fold in read_list(data / "folds" / "list"):
        write_fold(exp / name / fold, ["ang", "sad"], {"a": ("ang", "sad"), "b": ("sad", "sad")}, "source-2")
        folder = exp / name / fold / "analysis"
        folder.mkdir(parents=True)
        probes, silhouettes = ["\t".join(analyse.PROBES)], ["\t".join(analyse.SILHOUETTES)]
        for space, emotion, speaker in (("F", 50, 50), ("F+", plus, minus), ("F-", minus, plus)):
            for target, accuracy in (("emotion", emotion), ("speaker", speaker), ("unseen-speaker", speaker)):
                probes += [f"{moment}\t{space}\t{pooling}\t{target}\t{accuracy + rng.normal():.2f}\t25.00\t24\t12"
                           for moment in ("before", "after") for pooling in ("network", "mean+std")]
            silhouettes += [f"{moment}\t{space}\t{pooling}\t{label}\tunseen\t0.5\t24"
                            for label in ("emotion", "speaker")
                            for moment in ("before", "after") for pooling in ("network", "mean+std")]
        (folder / "probes.tsv").write_text("\n".join(probes) + "\n")
        (folder / "silhouette.tsv").write_text("\n".join(silhouettes) + "\n")
        utts, arrays = sorted(speakers), {}
        for key, table in corners.items():
            names = sorted(set(table.values()))
            arrays[key] = np.eye(4)[[names.index(table[utt]) for utt in utts]] + 0.05 * rng.standard_normal((48, 4))
        np.savez(folder / "embeddings.npz", utts=np.array(utts), **arrays)


def test_table_and_verdict(tiny, tmp_path):
    made_up_analysis(tiny, tmp_path, "vgg5_ad", 80, 40)
    made_up_analysis(tiny, tmp_path, "resnet18_pretrain_ad", 40, 80)
    words = ("local/results/make_probes.py", "--systems", "vgg5_ad resnet18_pretrain_ad", tiny, tmp_path)
    run(*words)
    text = (tmp_path / "analysis" / "PROBES").read_text()
    assert "vgg5_ad, after fine-tuning: DISENTANGLED: emotion reads better from F+ than from F- (8" in text
    assert "resnet18_pretrain_ad, after fine-tuning: NOT DISENTANGLED: emotion reads worse" in text
    assert max(map(len, text.splitlines())) <= 120
    rows = read_rows(tmp_path / "analysis" / "probes.tsv")
    assert len(rows) == 2 * 4 * 36 and {row["fold"] for row in rows} == {f"fold_s{n}" for n in (1, 2, 3, 4)}
    wanted = ("vgg5_ad", "after", "F+", "network", "emotion")
    mean = np.mean([float(row["accuracy"]) for row in rows
                    if tuple(row[key] for key in ("system", "moment", "space", "pooling", "target")) == wanted])
    assert re.search(rf"^vgg5_ad +after +F\+ +{mean:.2f} ± ", text, re.MULTILINE)
    (tmp_path / "vgg5_ad" / "fold_s3" / "analysis" / "probes.tsv").unlink()
    result = run(*words, check=False)
    assert result.returncode == 1 and f"run steps/analyse.py --dir {tmp_path}/vgg5_ad/fold_s3 (" in result.stderr


def test_figure_shows_the_clusters_of_each_panel_and_is_the_same_again(tiny, tmp_path):
    for name in ("vgg5_baseline", "vgg5_ad"):
        made_up_analysis(tiny, tmp_path, name, 80, 40)
    words = ("local/results/make_figure1.py", "--systems", "vgg5_ad vgg5_baseline", "--max-utterances", "40", tiny,
             tmp_path)
    run(*words)
    files = {path.name: path.read_bytes() for path in Path(tmp_path / "analysis").iterdir()}
    assert files["figure1.png"].startswith(b"\x89PNG") and files["figure1.pdf"].startswith(b"%PDF")
    rows = read_rows(tmp_path / "analysis" / "figure1.tsv")
    panels = {panel: [row for row in rows if row["panel"] == panel] for panel in "abcd"}
    shown = [row["utt"] for row in panels["a"]]
    assert len(set(shown)) == 40 and all([row["utt"] for row in panel] == shown for panel in panels.values())
    for panel, label in (("a", "speaker"), ("b", "emotion"), ("c", "emotion"), ("d", "speaker")):
        points = np.array([[float(row["x"]), float(row["y"])] for row in panels[panel]])
        distances = np.linalg.norm(points[:, None] - points, axis=2) + np.diag(np.full(len(points), np.inf))
        labels = np.array([row[label] for row in panels[panel]])
        assert (labels[distances.argmin(1)] == labels).mean() > 0.9, panel
    run(*words)
    assert files == {path.name: path.read_bytes() for path in Path(tmp_path / "analysis").iterdir()}


@pytest.mark.parametrize("width", [WIDTH, NARROW])
def test_emotions_of_figure_1_have_shapes_beside_colours(width):
    classes = ["ang", "hap", "neu", "sad"]
    emotions = classes * 5
    points = np.random.default_rng(0).standard_normal((20, 2))
    figure = draw_figure1([(name, points) for name in "abcd"], emotions, ["1"] * 20, classes, "t", "c", width)
    looks = {text.get_text(): (line.get_marker(), line.get_color()) for text, line in
             zip(figure.legends[0].get_texts(), figure.legends[0].get_lines(), strict=True)}
    assert len({marker for marker, _ in looks.values()}) == len({colour for _, colour in looks.values()}) == 4
    for axis in figure.axes:
        assert [(line.get_marker(), line.get_color()) for line in axis.lines] == [looks[name] for name in emotions]
    assert figure.axes[0].get_gridspec().ncols == (2 if width == WIDTH else 1)


def test_chosen_utterances_keep_the_shares():
    strata = np.repeat(["a", "b", "c"], [100, 50, 10])
    chosen = choose(strata, 80, seed=0)
    assert [int((strata[chosen] == name).sum()) for name in "abc"] == [50, 25, 5]
    assert np.array_equal(choose(strata, 1000, seed=0), np.arange(160))
    assert not np.array_equal(choose(strata, 80, seed=1), chosen)

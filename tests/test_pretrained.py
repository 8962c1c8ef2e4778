"""run.sh with an extractor that is trained already: the recipe's own, which is in the repository, or another one."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from conftest import ROOT, SHORT, run
from ser.model_dir.checkpoint import load_config, load_tensors
from stages import DATA, files_of, spoken

OWN = "local/pretrained/speech_commands_resnet18"
FOLDS = 4


def run_recipe(place, *words, check=True):
    """A short run.sh on a corpus of four speakers, of one system that keeps the extractor's weights as they are."""
    (place / "finetune.conf").write_text("\n".join(SHORT) + "\n")
    return run("./run.sh", "--ser-data", place / "source", "--systems", "resnet18_frozen", "--finetune-config",
               place / "finetune.conf", "--data-dir", place / "data", "--exp-dir", place / "exp", "--nj", "1",
               "--stop-stage", "6", *words, check=check)


@pytest.fixture(scope="module")
def place(whole, tmp_path_factory):
    """A run of two seeds without a word of pre-training; the tests of this file follow one another in it."""
    place = tmp_path_factory.mktemp("pretrained")
    shutil.copytree(whole(DATA) / "source", place / "source")
    said = run_recipe(place, "--seeds", "0 3").stdout
    (place / "said").write_text(said)
    return place


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another extractor: the recipe's own with other weights."""
    folder = tmp_path_factory.mktemp("other") / "extractor"
    shutil.copytree(ROOT / OWN, folder)
    weights = load_file(folder / "best.safetensors")
    save_file({name: np.negative(weight) if name.endswith("conv.weight") else weight
               for name, weight in weights.items()}, folder / "best.safetensors", {"json": "null"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "identity": "0" * 64, "dataset": "voices",
                                                    "num_speakers": 9}))
    return folder


def weights_of(model_dir):
    tensors, _ = load_tensors(model_dir / "best.safetensors")
    return {name: tensor for name, tensor in tensors.items() if name.startswith("extractor.")}


def test_all_seeds_start_from_the_recipes_own_extractor(place):
    said = (place / "said").read_text()
    assert f"pre-trained systems start from {OWN}: resnet18 of 449 speakers of speech_commands (" in said
    assert f"stage 4: extractor of {OWN}, nothing to pre-train\n%IDACC 67.04 [ " in said
    exp = place / "exp"
    assert not (exp / "pretrain_resnet18_seed3").exists() and not list(exp.glob("log/pretrain*"))
    theirs = weights_of(ROOT / OWN)
    assert {tensor.dtype for tensor in theirs.values()} == {torch.float16, torch.int64}
    for name in ("resnet18_frozen", "resnet18_frozen_seed3"):
        folds = sorted((exp / name).glob("fold_*"))
        assert len(folds) == FOLDS
        for fold in folds:
            ours = weights_of(fold)
            assert ours.keys() == theirs.keys()
            assert all(tensor.dtype != torch.float16 and torch.equal(tensor, theirs[name].to(tensor.dtype))
                       for name, tensor in ours.items())
            assert load_config(fold)["pretraining"]["identity"] == load_config(ROOT / OWN)["identity"]
            assert " pretrain speech_commands 449 spk 1dd3fb, " in (fold / "RESULT").read_text()
            assert "| speech_commands, 449 speakers |" in (fold / "README.md").read_text()
    assert ", seeds 0 3, one pre-trained extractor (speech_commands, 449 speakers)\n" in (exp / "RESULTS").read_text()


def test_a_second_run_does_nothing_and_a_dry_run_says_so(place):
    before = files_of(place / "exp" / "pretrain_resnet18")
    said = run_recipe(place, "--seeds", "0 3", "--dry-run").stdout
    assert f"stage 4: extractor of {OWN}, nothing to pre-train: already there\n" in said
    assert f"stage 5: fine-tuning and scoring: 0 of {2 * FOLDS} trainings" in said
    assert "0 trainings to do" in run_recipe(place, "--seeds", "0 3", "--stop-stage", "5").stdout
    assert files_of(place / "exp" / "pretrain_resnet18") == before


def test_stage_4_copies_it_anew_and_the_same_extractor_makes_nothing_again(place):
    (place / "exp" / "pretrain_resnet18" / "RESULT").unlink()  # as after a kill
    run_recipe(place, "--stop-stage", "4")
    before = files_of(place / "exp" / "pretrain_resnet18")
    assert {"RESULT", "README.md", "best.safetensors", "config.json", "log/epochs.tsv", "results.json"} == set(before)
    said = run_recipe(place, "--stage", "4", "--stop-stage", "4", "--dry-run").stdout
    assert "nothing to pre-train: to be copied, since --stage 4 asks for it" in said
    run_recipe(place, "--stage", "4", "--stop-stage", "4")
    assert files_of(place / "exp" / "pretrain_resnet18") == before
    assert "0 trainings to do" in run_recipe(place, "--seeds", "0 3").stdout


def test_the_report_says_what_the_extractor_knows(place):
    data, = place.glob("data/source_*")
    run("local/results/make_report.py", "--systems", "resnet18_frozen", data, place / "exp")
    page = (place / "exp" / "report.html").read_text()
    assert "IDACC 67.04, EER 8.18 over 258121 trials" in page and ">speech_commands<" in page


def test_another_extractor_makes_all_that_starts_from_it_again(place, other, outcome):
    said = run_recipe(place, "--pretrained", other, "--dry-run").stdout
    assert "nothing to pre-train: to be copied\n" in said and f"up to {FOLDS} of {FOLDS} trainings" in said
    result = run_recipe(place, "--pretrained", other)
    outcome("another --pretrained", "4 pre-training", result.returncode, spoken(result, "which was another", place))
    assert f"pretrain_resnet18: was copied from {OWN}, which was another extractor; it is copied again" in result.stderr
    assert f"fold_s1 and {FOLDS - 1} more: changed since made: pre-trained model; made again" in result.stderr
    fold = place / "exp" / "resnet18_frozen" / "fold_s1"
    assert torch.equal(weights_of(fold)["extractor.layers.conv1.conv.weight"],
                       -weights_of(ROOT / OWN)["extractor.layers.conv1.conv.weight"].float())
    assert ", seed 0, one pre-trained extractor (voices, 9 speakers)\n" in (place / "exp" / "RESULTS").read_text()


def test_a_pretraining_is_not_replaced(place, tmp_path, outcome):
    model = place / "exp" / "pretrain_resnet18"
    config = json.loads((model / "config.json").read_text())
    del config["copied_from"]
    (model / "config.json").write_text(json.dumps(config))
    before = files_of(model)
    result = run_recipe(place, check=False)
    outcome("a pre-training where the copy would be", "4 pre-training", result.returncode, spoken(result, "there, on",
                                                                                                  place))
    assert result.returncode == 1 and "pretrain_resnet18: was pre-trained there, on " in result.stderr
    assert files_of(model) == before
    result = run_recipe(place, "--pretrained", model, "--stage", "4", check=False)
    assert result.returncode == 1 and "pretrain_resnet18: is where its copy would be; give another" in result.stderr
    assert files_of(model) == before
    assert run_recipe(place, "--pretrained", model, "--exp-dir", tmp_path / "exp", "--stop-stage", "4").returncode == 0
    assert files_of(tmp_path / "exp" / "pretrain_resnet18")["best.safetensors"] == before["best.safetensors"]


def damaged(folder, name):
    """A copy of the recipe's own extractor with something wrong; `name` says what."""
    shutil.copytree(ROOT / OWN, folder)
    config = json.loads((folder / "config.json").read_text())
    if name == "unfinished":
        (folder / "RESULT").unlink()
    elif name == "cut":
        with open(folder / "best.safetensors", "r+b") as file:
            file.truncate(1000000)
    elif name == "emotion":
        del config["num_speakers"]
    elif name == "vgg5":
        config["options"]["backbone"] = "vgg5"
    elif name == "norm":
        config["options"]["feature_norm"] = "none"
    (folder / "config.json").write_text(json.dumps(config))
    return folder


WRONG = {
    "none": r"--pretrained \S+: no such directory",
    "empty": r"config.json: no such file; is \S+ a model directory\?",
    "unfinished": r"has no RESULT, so its pre-training is not finished; name one that is",
    "cut": r"best.safetensors: cut short or damaged",
    "emotion": r"is no pre-trained extractor; name a model directory of steps/pretrain.py",
    "vgg5": r"resnet18_frozen starts from pretrain_resnet18, and \S+ is a vgg5; name a corpus to pre-train on",
    "norm": r"pre-trained with feature_norm=none, fine-tuning asks for utterance",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_folder_is_refused_in_one_line(name, place, tmp_path, outcome):
    folder = tmp_path / "wrong"
    if name == "empty":
        folder.mkdir()
    elif name != "none":
        damaged(folder, name)
    result = run_recipe(place, "--pretrained", folder, "--exp-dir", tmp_path / "exp", check=False)
    outcome(f"--pretrained, {name}", "4 pre-training", result.returncode, spoken(result, WRONG[name], tmp_path))
    own = [line for line in result.stderr.splitlines() if not re.match(r"[\d-]+ [\d:]+ \(", line)]
    assert result.returncode == 1 and len(own) == 1 and re.search(WRONG[name], own[0]), result.stderr
    assert not list(tmp_path.glob("exp/resnet18_frozen/*/*.safetensors"))
    if name in ("none", "empty", "unfinished", "emotion", "vgg5"):
        assert not (tmp_path / "exp").exists()
    if name == "cut":
        assert not (tmp_path / "exp" / "pretrain_resnet18").exists()


REFUSED = {
    ("--pretrain-seeds", "1"): rf"--pretrain-seeds 1: nothing is pre-trained, as {OWN} is one extractor for all seeds",
    ("--pretrain-config", "conf/pretrain.conf"): r"--pretrain-config conf/pretrain.conf: nothing is pre-trained, as ",
    ("--pretrained", OWN, "--pretrain-data", "/"): r"--pretrain-data and --pretrained exclude each other",
    ("--fbank-config", "{}/energy.conf"): rf"{OWN}: was trained on filterbanks of other options than --fbank-config ",
    ("--feats-type", "extracted"): rf"{OWN}: was trained on filterbanks, and --feats-type is extracted; name a corpus",
}


@pytest.mark.parametrize("words", REFUSED, ids=lambda words: words[0])
def test_what_does_not_go_with_an_extractor(words, place, tmp_path):
    (tmp_path / "energy.conf").write_text((ROOT / "conf/fbank.conf").read_text().replace("bins=41", "bins=40"))
    result = run_recipe(place, *(word.format(tmp_path) for word in words), "--exp-dir", tmp_path / "exp", check=False)
    assert result.returncode == 1 and re.search(REFUSED[words], result.stderr), result.stderr
    assert len(result.stderr.splitlines()) == 1 and not (tmp_path / "exp").exists()


def test_comments_of_a_configuration_make_no_other_features(place, tmp_path):
    (tmp_path / "fbank.conf").write_text("# of ours\n" + (ROOT / "conf/fbank.conf").read_text() + "\n# end\n")
    run_recipe(place, "--fbank-config", tmp_path / "fbank.conf", "--exp-dir", tmp_path / "exp", "--stop-stage", "4")
    data, = (conf.parents[1] for conf in place.glob("data/*/conf/fbank.conf") if "# of ours" in conf.read_text())
    run("steps/finetune.py", *SHORT, "--backbone", "resnet18", "--train-extractor", "none", "--pretrained-dir",
        tmp_path / "exp" / "pretrain_resnet18", "--data", data, "--fold", "fold_s1", "--dir", tmp_path / "model")
    assert (tmp_path / "model" / "RESULT").exists()


def test_systems_without_pretraining_and_the_synthetic_corpora_take_no_extractor(place, tmp_path):
    said = run_recipe(place, "--systems", "vgg5_ad", "--exp-dir", tmp_path / "exp", "--dry-run").stdout
    assert "extractor" not in said and "stage 4" not in said
    said = run("./run.sh", "--dry-run", "--exp-dir", tmp_path / "exp", "--data-dir", tmp_path / "data").stdout
    assert "extractor" not in said and "stage 4: speaker pre-training: 1 of 1 model to make" in said


def test_the_folder_is_small_and_says_whose_speech_it_is():
    assert sum(len(content) for content in files_of(ROOT / OWN).values()) < 3e6
    for page in (ROOT / OWN / "README.md", ROOT / "NOTICE"):
        text = " ".join(page.read_text().split())
        assert "CC BY 4.0" in text and "https://creativecommons.org/licenses/by/4.0/" in text
        assert "Speech Commands v0.02" in text and "Warden" in text and "arXiv:1804.03209" in text
    card = " ".join((ROOT / OWN / "README.md").read_text().split())
    results = json.loads((ROOT / OWN / "results.json").read_text())
    for figure in (f"{results['accuracy']:.2f} %", f"{results['eer']:.2f} %", f"{results['trials']} pairs"):
        assert figure in card
    assert not re.search(rb"/(tmp|root|work|home)/", b"".join(files_of(ROOT / OWN).values()))

"""run.sh with a pre-trained model for each seed: which are made, what starts from which, and what is done again."""

import re
import shutil
import subprocess
import time

import pytest
import torch

from conftest import ROOT
from ser.model_dir.checkpoint import load_config, load_tensors
from stages import DATA, files_of, spoken
from test_kills import kill_all

FOLDS = 4


def words_of(place, *words):
    """The command line of a short run.sh for seeds 0 and 3; all that it makes is below a place."""
    short = "--epochs=1\n--batch-size=16\n--crop=15\n"
    (place / "finetune.conf").write_text(short)
    (place / "pretrain.conf").write_text(short + "--epochs=3\n--save-every=0\n")
    return [str(word) for word in (
        "./run.sh", "--ser-data", place / "source", "--pretrain-data", place / "source", "--systems", "resnet18_frozen",
        "--pretrain-config", place / "pretrain.conf", "--finetune-config", place / "finetune.conf", "--data-dir",
        place / "data", "--exp-dir", place / "exp", "--nj", "2", "--stop-stage", "6", "--seeds", "0 3", *words)]


def run_recipe(place, *words):
    return subprocess.run(words_of(place, *words), cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def place(whole, tmp_path_factory):
    """A run that was killed in the second pre-training; the tests of this file follow one another in it."""
    place = tmp_path_factory.mktemp("seeds")
    shutil.copytree(whole(DATA) / "source", place / "source")
    process = subprocess.Popen(words_of(place), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (place / "exp" / "pretrain_resnet18_seed3" / "state.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.005)
    kill_all(process)
    return place


def extractor(model_dir):
    tensors, _ = load_tensors(model_dir / "best.safetensors")
    return {name: tensor for name, tensor in tensors.items() if name.startswith("extractor.")}


def starts_from(fold, pretrained):
    """Whether the frozen extractor of a fold is that of a pre-training, which its config.json says, too."""
    theirs = extractor(pretrained)
    ours = extractor(fold)
    said = load_config(fold)["pretraining"]
    assert said["identity"] == load_config(fold)["options"]["pretrained_identity"]
    return (ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
            and said["identity"] == load_config(pretrained)["identity"])


def test_each_seed_starts_from_its_own_pretraining_after_a_kill(place, outcome):
    exp = place / "exp"
    first = files_of(exp / "pretrain_resnet18")
    assert not (exp / "pretrain_resnet18_seed3" / "RESULT").exists()
    result = run_recipe(place)
    outcome("kill -9 in the second pre-training", "4 pre-training", result.returncode,
            spoken(result, "pre-trained models", place))
    assert result.returncode == 0, result.stderr
    assert files_of(exp / "pretrain_resnet18") == first
    assert "continuing after epoch " in (exp / "log" / "pretrain.2.log").read_text()
    for seed, name in ((0, ""), (3, "_seed3")):
        assert load_config(exp / f"pretrain_resnet18{name}")["options"]["seed"] == seed
        folds = sorted((exp / f"resnet18_frozen{name}").glob("fold_*"))
        assert len(folds) == FOLDS and all(starts_from(fold, exp / f"pretrain_resnet18{name}") for fold in folds)
    assert not starts_from(folds[0], exp / "pretrain_resnet18")
    lines = [(exp / name / "fold_s1" / "RESULT").read_text() for name in ("resnet18_frozen", "resnet18_frozen_seed3")]
    starts, digests = zip(*(re.search(r" pretrain source 4 spk (.*), \w+ cpu, options (\w+) \]", line).groups()
                            for line in lines), strict=True)
    assert starts[1] == f"{starts[0]} seed 3" and digests[0] == digests[1]
    assert ", seeds 0 3, a pre-trained extractor per seed\n" in (exp / "RESULTS").read_text()
    assert result.stdout.count("%IDACC ") == 2


def test_other_pretrain_seeds_make_just_what_starts_from_another_model_again(place, outcome):
    exp = place / "exp"
    before = files_of(exp)
    result = run_recipe(place, "--pretrain-seeds", "0")
    outcome("--pretrain-seeds changed", "5 training", result.returncode, spoken(result, "changed since made", place))
    assert result.returncode == 0, result.stderr
    assert f"fold_s1 and {FOLDS - 1} more: changed since made: pre-trained model; made again" in result.stderr
    assert f"{FOLDS} trainings to do" in result.stdout
    after = files_of(exp)
    kept = ("pretrain_", "resnet18_frozen/fold_")
    assert all(after[name] == content for name, content in before.items() if name.startswith(kept))
    assert starts_from(exp / "resnet18_frozen_seed3" / "fold_s1", exp / "pretrain_resnet18")
    assert ", seeds 0 3, one pre-trained extractor\n" in (exp / "RESULTS").read_text()
    assert "0 trainings to do" in run_recipe(place, "--pretrain-seeds", "0 0").stdout

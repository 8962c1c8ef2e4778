"""run.sh with a pre-trained model for each seed: which are made, what starts from which, and what is done again."""

import re
import shlex
import shutil
import subprocess
import time

import pytest
import torch

from conftest import ROOT
from ser.model_dir.checkpoint import load_config, load_tensors
from stages import DATA, files_of, spoken
from test_dry_run import told
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
        place / "data", "--exp-dir", place / "exp", "--nj", "1", "--stop-stage", "6", "--seeds", "0 3", *words)]


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
    assert "continuing after epoch " in (exp / "log" / "pretrain.1.log").read_text()
    for seed, name in ((0, ""), (3, "_seed3")):
        assert load_config(exp / f"pretrain_resnet18{name}")["options"]["seed"] == seed
        folds = sorted((exp / f"resnet18_frozen{name}").glob("fold_*"))
        assert len(folds) == FOLDS and all(starts_from(fold, exp / f"pretrain_resnet18{name}") for fold in folds)
    assert not starts_from(folds[0], exp / "pretrain_resnet18")
    lines = [(exp / name / "fold_s1" / "RESULT").read_text() for name in ("resnet18_frozen", "resnet18_frozen_seed3")]
    starts, digests = zip(*(re.search(r" pretrain source 4 spk (.*), \w+ cpu, options (\w+) \]", line).groups()
                            for line in lines), strict=True)
    assert starts[1] == f"{starts[0]} seed 3" and digests[0] == digests[1]
    assert ", seeds 0 3, a pre-trained extractor per seed (source, 4 speakers)\n" in (exp / "RESULTS").read_text()
    assert result.stdout.count("%IDACC ") == 2


def test_other_pretrain_seeds_make_just_what_starts_from_another_model_again(place, outcome):
    exp = place / "exp"
    before = files_of(exp)
    (exp / "log" / "pretrain.1.log").unlink()
    result = run_recipe(place, "--pretrain-seeds", "0")
    outcome("--pretrain-seeds changed", "5 training", result.returncode, spoken(result, "changed since made", place))
    assert result.returncode == 0, result.stderr
    assert f"fold_s1 and {FOLDS - 1} more: changed since made: pre-trained model; made again" in result.stderr
    assert "pretrain_resnet18; 0 to make;" in result.stdout and not (exp / "log" / "pretrain.1.log").exists()
    assert f"{FOLDS} trainings to do" in result.stdout
    after = files_of(exp)
    kept = ("pretrain_", "resnet18_frozen/fold_")
    assert all(after[name] == content for name, content in before.items() if name.startswith(kept))
    assert starts_from(exp / "resnet18_frozen_seed3" / "fold_s1", exp / "pretrain_resnet18")
    assert ", seeds 0 3, one pre-trained extractor (source, 4 speakers)\n" in (exp / "RESULTS").read_text()
    said = dict(told(run_recipe(place, "--pretrain-seeds", "0 0", "--dry-run")))
    assert said["4"].startswith("speaker pre-training: 0 of 1 model to make;")
    assert said["5"].startswith(f"fine-tuning and scoring: 0 of {2 * FOLDS} trainings to do;")


MODELS = "resnet18 0 pretrain_resnet18\nresnet18 3 pretrain_resnet18_seed3"
LAUNCH = "steps/launch_distributed.py --nproc-per-node 2"
PLANS = {  # models, options of run.sh: what the runner is asked for, and what starts the jobs
    "several on the CPU": (MODELS, "ngpu=0 nj=8 num_threads=4", "--num-threads 4 --max-jobs-run 2", ""),
    "one after another": (MODELS, "ngpu=0 nj=4 num_threads=8", "--num-threads 8 --max-jobs-run 1", ""),
    "one on the CPU": (MODELS.split("\n")[0], "ngpu=0 nj=8 num_threads=", "--num-threads 8 --max-jobs-run 1", ""),
    "one on two GPUs": (MODELS.split("\n")[0], "ngpu=2", "--gpu 2 --num-threads 2", LAUNCH),
    "several on two GPUs": (MODELS, "ngpu=2", "--gpu 1 --max-jobs-run 2", ""),
    "several that share": (MODELS, "ngpu=2 jobs_per_gpu=3", "--gpu 1 --max-jobs-run 6 --jobs-per-gpu 3", ""),
    "several on two nodes": (MODELS, "ngpu=2 num_nodes=2 cmd_backend=slurm", "--gpu 1 --max-jobs-run 4", ""),
}


@pytest.mark.parametrize("plan", PLANS)
def test_several_pretrainings_take_a_gpu_each_and_one_takes_all(plan, tmp_path):
    models, settings, resources, launch = PLANS[plan]
    code = f"""set -euo pipefail
      . local/run/functions.sh
      . local/run/training.sh
      require_gpus() {{ :; }}  # of which this machine may have none
      nj=2 num_nodes=1 jobs_per_gpu=1 num_threads= cmd_backend=local cuda_cmd=echo
      pretrain_config='a b.conf' speaker_data=data exp_dir=$0
      {settings.replace(' ', '; ')}
      models_to_pretrain=$1
      plan_training
      local/experiment/plan_pretraining.py() {{ command cat; }}
      cat() {{ :; }}
      pretrain"""
    result = subprocess.run(["bash", "-c", code, tmp_path, models], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = models.split("\n")
    assert result.stdout.splitlines()[-1] == (f"{resources} JOB=1:{len(lines)} {tmp_path}/log/pretrain.JOB.log "
                                              f"bash -x {tmp_path}/tasks/pretrain.JOB.sh")
    for number, line in enumerate(lines, 1):
        backbone, seed, name = line.split()
        threads, device = (resources.split()[1], "cpu") if "ngpu=0" in settings else ("1", "cuda")
        assert shlex.split((tmp_path / "tasks" / f"pretrain.{number}.sh").read_text()) == [
            "exec", *launch.split(), "steps/pretrain.py", "--config", "a b.conf", "--backbone", backbone,
            "--seed", seed, "--device", device, "--num-threads", threads, "data", f"{tmp_path}/{name}"]

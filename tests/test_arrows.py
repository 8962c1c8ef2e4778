"""Who may import whom: the arrows of pyproject.toml hold, and a wrong import of each kind is found."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT


def lint(place):
    """Run import-linter on the packages below a place."""
    return subprocess.run([Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=place, text=True,
                          env={**os.environ, "PYTHONPATH": f"{place}/steps:{place}", "NO_COLOR": "1", "COLUMNS": "300"},
                          capture_output=True)


@pytest.fixture
def copy(tmp_path):
    """The recipe's packages without what git ignores, to be changed."""
    for name in ("steps", "local"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


WITHOUT_TENSORS = ("experiment/plan_pretraining", "experiment/plan_finetuning", "experiment/plan_analysis",
                   "experiment/undo_stages", "results/make_claims", "results/make_ablations", "results/make_probes",
                   "results/make_report", "experiment/use_pretrained", "experiment/plan_cross")


def test_scripts_without_tensors_start_without_torch():
    """It takes a second to load, and run.sh starts each of them; some of them start without more."""
    code = f"""import runpy, sys
for script in ('list_source', 'experiment/list_systems'):
    runpy.run_path(f'local/{{script}}.py')
    assert 'numpy' not in sys.modules, script
for script in {WITHOUT_TENSORS}:
    runpy.run_path(f'local/{{script}}.py')
    assert not {{'torch', 'tqdm'}} & sys.modules.keys(), script"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_trainings_are_planned_without_what_trains_them():
    """For which plan_finetuning.py imports the scripts of the trainings."""
    code = ("import sys, finetune, train_classical, pretrain; assert finetune.Task and train_classical.ClassicalTask; "
            "assert not {'torch', 'scipy.optimize', 'sklearn'} & sys.modules.keys()")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


WRONG = [
    ("steps/ser/base/errors.py", "ser.data.folds"),
    ("steps/ser/stats/metrics.py", "ser.data.folds"),
    ("steps/ser/nn/losses.py", "ser.stats.metrics"),
    ("steps/ser/model_dir/record.py", "ser.train.distributed"),
    ("steps/ser/infer/prediction.py", "ser.train.trainer"),
    ("steps/ser/train/trainer.py", "ser.analysis.figures"),
    ("steps/ser/data/data_dir.py", "options"),
    ("steps/ser/data/data_dir.py", "argparse"),
    ("steps/ser/data/data_dir.py", "local.iemocap_published"),
    ("local/emodb_data_prep.py", "local.results.tables"),
    ("local/prep_common.py", "local.experiment.systems"),
    ("local/experiment/systems.py", "local.results.tables"),
    ("local/make_folds.py", "local.mini.synthesis"),
]


def test_wrong_imports_are_found(copy):
    """Each of them is named by itself and not as a part of a chain, so that none stands for another."""
    for importer, imported in WRONG:
        path = copy / importer
        path.write_text(f"{path.read_text()}\nimport {imported}\n")
    result = lint(copy)
    assert result.returncode == 1 and "0 broken" not in result.stdout, result.stdout + result.stderr
    for importer, imported in WRONG:
        module = importer.removeprefix("steps/").removesuffix(".py").replace("/", ".")
        assert re.search(rf"^- +{module} -> {imported} \(l\.", result.stdout, re.MULTILINE), result.stdout


def test_arrows_hold(copy):
    result = lint(copy)
    assert result.returncode == 0 and "0 broken" in result.stdout, result.stdout + result.stderr


MODULES = """
import sys
import ser
ser.load_model
print(*sys.modules)
import torch
with_torch = set(sys.modules)
import ser.infer.probability_network
print(*set(sys.modules) - with_torch)
"""


def test_load_model_loads_no_trainer():
    result = subprocess.run([sys.executable, "-c", MODULES], capture_output=True, text=True, check=True)
    before, of_networks = (line.split() for line in result.stdout.splitlines())
    assert "ser.infer.prediction" in before and not [name for name in before if name.startswith(("torch", "scipy"))]
    assert "ser.nn.models" in of_networks
    unwanted = ("ser.train", "torch.distributed", "torch.nn.parallel", "torch._dynamo", "matplotlib")
    assert [name for name in of_networks if name.startswith(unwanted)] == []

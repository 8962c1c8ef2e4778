"""What --stage N takes back, and what it leaves alone."""

import re

import pytest

from conftest import run

MODELS = ("pretrain_resnet18", "pretrain_resnet18_seed2", "resnet18_pretrain/fold_1", "resnet18_pretrain_seed2/fold_1",
          "vgg5_baseline/fold_1")
ABLATION = "resnet18_ad_an/fold_1"
FILES = {
    "data/.source.json", "data/.done.2", *(f"{model}/{name}" for model in (*MODELS, ABLATION)
                                           for name in ("config.json", "RESULT", "log/epochs.tsv")),
    "resnet18_pretrain/RESULT", "resnet18_pretrain_seed2/RESULT", "vgg5_baseline/RESULT", "RESULTS", "results.json",
    "CLAIMS", "claims.json", "analysis/wf1.svg",
    "resnet18_pretrain/fold_1/analysis/probes.tsv", "analysis/PROBES", "report.html", "ABLATIONS",
}
OF_USER = {"analysis/notes.txt", "resnet18_pretrain/fold_1.old/RESULT", "resnet18_pretrain/notes.txt",
           "resnet18_pretrain/fold_1/notes.txt", "thesis/config.json"}
CONFIG = '{"format_version": 1, "options": {}}'


def below(*folders):
    return {name for name in FILES if name.startswith(tuple(f"{folder}/" for folder in folders))}


SEED_0 = below("resnet18_pretrain/fold_1")
RESULTS = {"resnet18_pretrain/RESULT", "RESULTS", "results.json", "CLAIMS", "claims.json"}
ANALYSIS = {"resnet18_pretrain/fold_1/analysis/probes.tsv", "analysis/PROBES", "analysis/wf1.svg", "report.html"}
GONE = {
    (2, 3): {"data/.done.2"},
    (1, 4): {"data/.source.json", "data/.done.2", *below("pretrain_resnet18"), *RESULTS},
    (5, 5): {*SEED_0, *RESULTS},
    (6, 6): RESULTS,
    (7, 7): ANALYSIS,
    (5, 8): {*SEED_0, *RESULTS, *ANALYSIS, *below(ABLATION), "ABLATIONS"},
}


def files_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("stages", GONE, ids=str)
def test_just_these_stages_of_this_system_and_seed(stages, tmp_path):
    for name in FILES | OF_USER:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(CONFIG)
    markers = [f"--marker={tmp_path}/data/{name}" for number, name in ((1, ".source.json"), (2, ".done.2"))
               if number in range(stages[0], stages[1] + 1)]
    run("local/experiment/undo_stages.py", "--stage", stages[0], "--stop-stage", stages[1], "--systems",
        "resnet18_pretrain", "--ablations", "resnet18_ad_an", *markers, tmp_path)
    assert FILES - files_in(tmp_path) == GONE[stages]
    assert OF_USER <= files_in(tmp_path)


@pytest.mark.parametrize("words, gone", [
    (("--seeds", "2"), below("pretrain_resnet18_seed2")),
    (("--seeds", "0 2"), below("pretrain_resnet18", "pretrain_resnet18_seed2")),
    (("--seeds", "0 2", "--pretrain-seeds", "0"), below("pretrain_resnet18")),
    (("--seeds", "0 7", "--pretrain-seeds", "2 2"), below("pretrain_resnet18_seed2")),
])
def test_the_pretrainings_of_just_these_seeds(words, gone, tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(CONFIG)
    run("local/experiment/undo_stages.py", "--stage", "4", "--stop-stage", "4", "--systems",
        "resnet18_pretrain resnet18_frozen vgg5_ad", *words, tmp_path)
    seeds = words[1].split()
    tables = {f"resnet18_pretrain{'' if seed == '0' else f'_seed{seed}'}/RESULT" for seed in seeds} & FILES
    assert FILES - files_in(tmp_path) == gone | tables | RESULTS - {"resnet18_pretrain/RESULT"}


def test_a_config_of_something_else_is_refused(tmp_path, outcome):
    fold = tmp_path / "vgg5_ad" / "fold_1"
    fold.mkdir(parents=True)
    (fold / "config.json").write_text('{"architectures": ["Wav2Vec2"]}')
    (fold / "README.md").write_text("mine")
    result = run("local/experiment/undo_stages.py", "--stage", "5", "--stop-stage", "5", "--systems", "vgg5_ad",
                 tmp_path, check=False)
    outcome("--stage 5, a model of something else", "run.sh", 1, result.stderr.replace(f"{tmp_path}/", "").strip())
    assert result.returncode == 1 and (fold / "README.md").exists()
    assert re.fullmatch(rf"undo_stages.py: {fold}/config.json: .* of a training; .*\n", result.stderr)


def test_a_model_that_is_a_link_is_emptied(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "exp" / "vgg5_ad").mkdir(parents=True)
    (tmp_path / "disk" / "config.json").write_text(CONFIG)
    (tmp_path / "exp" / "vgg5_ad" / "fold_1").symlink_to(tmp_path / "disk")
    run("local/experiment/undo_stages.py", "--stage", "5", "--stop-stage", "5", "--systems", "vgg5_ad",
        tmp_path / "exp")
    assert not list((tmp_path / "disk").iterdir()) and (tmp_path / "exp" / "vgg5_ad" / "fold_1").is_symlink()

"""Training curves as a picture and as TensorBoard sees them."""

import argparse
import json
import os
import sys

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import run
from local.experiment.experiment import add_experiment_options, open_experiment
from local.results import make_curves
from local.results.make_curves import HEADING, read_curves, read_epochs
from made_up_results import write_fold
from ser.base.errors import UserError
from ser.data.data_dir import read_list
from ser.data.feature_bank import FeatureBank
from ser.train.trainer import Plan, Trainer

SYSTEMS, SEEDS = ("resnet18_pretrain", "vgg5_baseline"), ("0", "2")


def write_epochs(model_dir, table):
    (model_dir / "log").mkdir(parents=True)
    (model_dir / "log" / "epochs.tsv").write_text("\t".join(HEADING) + "\n" + "".join(
        f"{epoch:.0f}\t{step:.0f}\t{loss:.6f}\t{score:.4f}\n" for epoch, step, loss, score in table))


@pytest.fixture
def trained(tiny, tmp_path):
    """Made-up logs of two systems and the pre-training of one: `{run: [epochs, 4]}`, and the experiment directory."""
    rng, tables = np.random.default_rng(0), {}
    runs = [("pretrain_resnet18", 6), *((f"{system}{'' if seed == '0' else f'_seed{seed}'}/{fold}", 4)
            for system in SYSTEMS for seed in SEEDS for fold in read_list(tiny / "folds" / "list"))]
    for number, (name, epochs) in enumerate(runs):
        table = np.column_stack([np.arange(epochs) + 1, 7 * (np.arange(epochs) + 1), rng.uniform(0, 3, epochs),
                                 rng.uniform(0, 100, epochs)])
        write_epochs(tmp_path / name, table)
        if "/" in name:
            write_fold(tmp_path / name, ["ang", "sad"], {"a": ("ang", "sad"), "b": ("sad", "sad")}, "source-2")
        os.utime(tmp_path / name / "log" / "epochs.tsv", (1.8e9 + number, 1.8e9 + number))
        tables[name] = table
    return tmp_path, tables


def words(tiny, exp):
    return ["local/results/make_curves.py", "--systems", " ".join(SYSTEMS), "--seeds", " ".join(SEEDS), str(tiny),
            str(exp)]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_tensorboard_shows_what_the_logs_hold(tiny, trained):
    exp, tables = trained
    stale = exp / "analysis" / "tensorboard" / "vgg5_baseline" / "fold_s1"
    stale.mkdir(parents=True)
    (stale / "events.out.tfevents.1700000000.epochs").touch()
    (exp / "analysis" / ".tensorboard.new").mkdir()  # of a run that was killed
    run(*words(tiny, exp))
    root = exp / "analysis" / "tensorboard"
    files = [path for path in root.rglob("*") if path.is_file()]
    assert sorted(str(path.parent.relative_to(root)) for path in files) == sorted(tables)
    for number, (name, table) in enumerate(tables.items()):
        events = EventAccumulator(str(root / name))
        events.Reload()
        score = "valid_accuracy" if name == "pretrain_resnet18" else "valid_wf1"
        assert set(events.Tags()["scalars"]) == {"loss", score}
        for tag, column in (("loss", 2), (score, 3)):
            scalars = events.Scalars(tag)
            assert [scalar.step for scalar in scalars] == table[:, 0].tolist()
            np.testing.assert_allclose([scalar.value for scalar in scalars], table[:, column], rtol=1e-6, atol=5e-5)
            assert {scalar.wall_time for scalar in scalars} == {1.8e9 + number}
    before = contents(exp / "analysis")
    run(*words(tiny, exp))
    assert before == contents(exp / "analysis")
    assert {path.name for path in (exp / "analysis").iterdir()} == {"curves.png", "tensorboard"}


def test_other_event_files_are_not_removed(tiny, trained, outcome):
    exp, _ = trained
    own = exp / "analysis" / "tensorboard" / "mine" / "events.out.tfevents.1700000000.host.1.0"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    result = run(*words(tiny, exp), check=False)
    outcome("event files of the user's own", "7 analysis", result.returncode, result.stderr.replace(f"{exp}/", ""))
    assert result.returncode == 1 and own.read_text() == "mine"
    assert result.stderr == (f"make_curves.py: {own}: is not of the recipe's curves, and {exp}/analysis/tensorboard is "
                             "made anew each time; move it elsewhere\n")


@pytest.mark.parametrize("dataset", ["synthetic-mini", "recorded"])
def test_the_picture_shows_every_model_and_their_mean(dataset, tiny, trained, monkeypatch):
    exp, tables = trained
    figures = []
    monkeypatch.setattr(make_curves, "save", lambda figure, path: figures.append(figure))
    monkeypatch.setattr("local.experiment.experiment.read_dataset", lambda data: dataset)
    monkeypatch.setattr(sys, "argv", words(tiny, exp))
    make_curves.main()
    assert ("SYNTHETIC" in figures[0].get_suptitle()) == (dataset != "recorded")
    panels = figures[0].axes
    assert [axis.get_title(loc="left") for axis in panels[::2]] == [
        "pretrain_resnet18", "resnet18_pretrain (8 models)", "vgg5_baseline (8 models)"]
    for row, name in enumerate(("pretrain_resnet18", *SYSTEMS)):
        models = np.array([table for run_name, table in tables.items()
                           if run_name == name or run_name.startswith((f"{name}/", f"{name}_"))])
        for axis, column in zip(panels[2 * row : 2 * row + 2], (2, 3), strict=True):
            *each, mean = axis.lines
            assert np.array_equal(mean.get_xdata(), models[0, :, 0])
            np.testing.assert_allclose([line.get_ydata() for line in each], models[:, :, column], atol=1e-4)
            np.testing.assert_allclose(mean.get_ydata(), models[:, :, column].mean(axis=0), atol=1e-4)
            assert mean.get_linewidth() > 2 * each[0].get_linewidth()
    assert panels[3].get_ylim() == panels[5].get_ylim()


def test_the_pretrainings_of_the_seeds_are_one_row(tiny, trained):
    """As the models say it: seed 2 starts from the pre-training with seed 5."""
    exp, tables = trained
    write_epochs(exp / "pretrain_resnet18_seed5", tables["pretrain_resnet18"] + [0, 0, 1, 1])
    for path in (exp / "resnet18_pretrain_seed2").glob("fold_*/results.json"):
        data = json.loads(path.read_text())
        data["trained"]["pretraining"] = {"identity": "a", "seed": 5}
        path.write_text(json.dumps(data))
    parser = argparse.ArgumentParser()
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args(words(tiny, exp)[1:]))
    curves, = make_curves.pretraining_curves(experiment)
    assert curves.name == "pretrain_resnet18"
    assert curves.model_dirs == {name: exp / name for name in ("pretrain_resnet18", "pretrain_resnet18_seed5")}
    np.testing.assert_allclose(curves.losses[1] - curves.losses[0], 1, atol=1e-5)


def test_many_systems_stand_in_several_columns(trained):
    exp, _ = trained
    one = read_curves("a", "wf1", {"a": exp / "vgg5_baseline" / "fold_s1"})
    assert {make_curves.draw([one] * count, "t").axes[0].get_gridspec().ncols for count in (1, 6)} == {2}
    figure = make_curves.draw([one] * 35, "t")
    assert figure.axes[0].get_gridspec().get_geometry() == (18, 4)
    assert sum(axis.get_visible() for axis in figure.axes) == 70


def test_logs_that_are_missing_damaged_or_of_other_options_are_named(tiny, trained):
    exp, _ = trained
    path = exp / "vgg5_baseline_seed2" / "fold_s3" / "log" / "epochs.tsv"
    text = path.read_text()
    path.unlink()
    result = run(*words(tiny, exp), check=False)
    assert result.returncode == 1
    note, = (exp / "analysis").iterdir()  # for the report
    assert note.name == "curves.left_out" and f"{path}: not there" in note.read_text()
    assert result.stderr == (f"make_curves.py: {path}: not there; train the model first (run.sh: stages 4 and 5)\n")
    for damaged, message in (("", "is not a log of epochs"), ("\t".join(HEADING) + "\n", "is not a log of epochs"),
                             (text.replace("\t14\t", "\t"), "epochs.tsv:3: expected four numbers, found '2"),
                             (text + "5\t35\t0.1\tbest\n", "epochs.tsv:6: expected four numbers")):
        path.write_text(damaged)
        with pytest.raises(UserError, match=message):
            read_epochs(path)
    path.write_text(text + "5\t35\t0.1\t50.0\n")
    with pytest.raises(UserError, match="epochs.tsv: has 5 epochs, .*/fold_s1/log/epochs.tsv has 4"):
        read_curves("vgg5_baseline", "wf1", {fold: path.parents[2] / fold / "" for fold in ("fold_s1", "fold_s3")})


def test_what_training_writes_is_read(tmp_path):
    bank = FeatureBank(["a", "b", "c"], [4, 4, 4], np.ones((12, 5), np.float32))
    scores = iter([20.0, 30.0])
    plan = Plan(epochs=2, batch_size=2, crop=4, seed=0, learning_rates={"": 0.01},
                schedule=lambda epoch, progress: 1.0, precision="fp32", fast=True, save_every=10.0)
    Trainer(torch.nn.Linear(5, 1), bank, torch.arange(3), loss=lambda model, x, _: (model(x) ** 2).mean(),
            validate=lambda: next(scores), plan=plan, model_dir=tmp_path, identity="").run()
    table = read_epochs(tmp_path / "log" / "epochs.tsv")
    assert table[:, [0, 1, 3]].tolist() == [[1, 2, 20], [2, 4, 30]] and (table[:, 2] > 0).all()

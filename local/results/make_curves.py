#!/usr/bin/env python3
"""Draw the training curves of some systems, and of the pre-training that they start from; write them for TensorBoard.

Reads log/epochs.tsv of each model directory; writes EXP/analysis/curves.png (training loss, and weighted F1 of the
validation speakers; of a pre-training the identification accuracy) and event files under EXP/analysis/tensorboard, for
`tensorboard --logdir EXP/analysis/tensorboard`.
"""

import recipe_environment

import math
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from local.experiment.experiment import Experiment, add_experiment_options, open_experiment
from local.experiment.systems import of_seed
from local.results.same_origin import require_one_origin
from options import OptionParser, run
from ser.analysis.figures import PALETTE, WIDTH, put_title, save, title_of
from ser.analysis.left_out import Undrawable, parts
from ser.base.errors import UserError
from ser.infer.results_file import read_fold_results

EVENTS = re.compile(r"events\.out\.tfevents\.\d{10,}\.epochs")  # names that TensorBoard looks for, with our ending
HEADING = ["epoch", "step", "loss", "valid"]


@dataclass(frozen=True)
class Curves:
    """The trainings of a system, or a pre-training.

    Attributes
    ----------
    name : str
    score : str
        What is measured on the validation utterances: `wf1` or `accuracy`.
    model_dirs : dict of str to path
        By their directory below EXP.
    epochs, losses, scores : numpy.ndarray
        `[epochs]`, and `[models, epochs]` twice.
    """

    name: str
    score: str
    model_dirs: Mapping[str, str | Path]
    epochs: np.ndarray
    losses: np.ndarray
    scores: np.ndarray


def read_epochs(path: str | Path) -> np.ndarray:
    """Read log/epochs.tsv as float64 `[epochs, 4]`, the columns of HEADING; raises UserError."""
    try:
        heading, *lines = Path(path).read_text(encoding="utf-8").splitlines() or [""]
    except FileNotFoundError:
        raise UserError(f"{path}: not there; train the model first (run.sh: stages 4 and 5)") from None
    if heading.split("\t") != HEADING or not lines:
        raise UserError(f"{path}: is not a log of epochs; train the model again (run.sh: --stage 5)")
    rows = []
    for number, line in enumerate(lines, 2):
        try:
            epoch, step, loss, valid = map(float, line.split("\t"))
        except ValueError:  # another number of words, too
            raise UserError(f"{path}:{number}: expected four numbers, found {line!r}; "
                            "train the model again (run.sh: --stage 5)") from None
        rows.append([epoch, step, loss, valid])
    return np.array(rows)


def read_curves(name: str, score: str, model_dirs: Mapping[str, str | Path]) -> Curves:
    """The Curves of models that were trained alike; raises UserError."""
    paths = [Path(directory) / "log" / "epochs.tsv" for directory in model_dirs.values()]
    tables = [read_epochs(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if not np.array_equal(table[:, 0], tables[0][:, 0]):
            raise UserError(f"{path}: has {len(table)} epochs, {paths[0]} has {len(tables[0])}; they were trained with "
                            "different options, train one of them again")
    _, _, losses, scores = np.moveaxis(np.array(tables), 2, 0)
    return Curves(name, score, model_dirs, tables[0][:, 0], losses, scores)


def pretraining_curves(experiment: Experiment) -> list[Curves]:
    """The Curves of the pre-trained models that the seeds of systems start from, as these say; raises UserError."""
    models: dict[str, dict[str, Path]] = {}
    for system in experiment.systems:
        for seed in experiment.seeds if system.pretrained else []:
            results = read_fold_results(experiment.models(system)[seed, experiment.folds[0]], experiment.data)
            name = of_seed(str(system.pretrained), results.trained.pretraining.get("seed", 0))
            models.setdefault(str(system.pretrained), {})[name] = Path(experiment.exp, name)
    return [read_curves(name, "accuracy", model_dirs) for name, model_dirs in models.items()]


def draw(curves: Sequence[Curves], title: str) -> Figure:
    """Draw two panels for each of a list of Curves; return the figure."""
    columns = 1 if len(curves) <= 6 else 2
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(WIDTH, rows * 1.45 + 1), layout="constrained")
    grid = figure.subplots(rows, 2 * columns, squeeze=False)
    wf1 = np.concatenate([one.scores.ravel() for one in curves if one.score == "wf1"])
    limits = wf1.min() - 2, wf1.max() + 2
    thin: dict[str, Any] = {"color": PALETTE[1], "linewidth": 0.7, "alpha": 0.7}
    thick: dict[str, Any] = {"color": PALETTE[0], "linewidth": 1.8}
    panels = grid.reshape(rows, columns, 2).swapaxes(0, 1).reshape(-1, 2)  # column by column
    for axis in panels[len(curves):].flat:
        axis.set_visible(False)
    for number, (one, pair) in enumerate(zip(curves, panels, strict=False)):
        is_lowest = (number + 1) % rows == 0 or number == len(curves) - 1
        labels = "loss", {"wf1": "valid WF1 %", "accuracy": "valid acc. %"}[one.score]
        dot: dict[str, Any] = {"marker": "o", "markersize": 3} if len(one.epochs) == 1 else {}
        for axis, label, values in zip(pair, labels, (one.losses, one.scores), strict=True):
            axis.plot(one.epochs, values.T, **thin, **dot)
            axis.plot(one.epochs, values.mean(axis=0), **thick, **dot)
            axis.set_ylabel(label, fontsize=8.5)
            axis.tick_params(labelsize=8)
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axis.grid(color="0.9", linewidth=0.6)
            if is_lowest:
                axis.set_xlabel("epoch", fontsize=8.5)
        loss_axis, score_axis = pair
        count = len(one.model_dirs)
        loss_axis.set_title(one.name + (f" ({count} models)" if count > 1 else ""), fontsize=9, loc="left")
        if one.score == "wf1" and np.isfinite(limits).all():
            score_axis.set_ylim(limits)
    handles = [Line2D([], [], label="a fold and seed", **thin), Line2D([], [], label="mean", **thick)]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8.5, frameon=False)
    put_title(figure, title)
    return figure


def write_events(directory: Path, epochs: np.ndarray, scalars: dict[str, np.ndarray], wall_time: float) -> None:
    """Write the one event file of a TensorBoard run, the same bytes for the same arguments.

    TensorBoard's EventFileWriter would put time, host and process into the name and the first event.

    Parameters
    ----------
    directory : Path
        Of the run; made.
    epochs : numpy.ndarray
        `[epochs]`
    scalars : dict of str to numpy.ndarray
        Values `[epochs]` by tag.
    wall_time : float
        Seconds since 1970, of all events.
    """
    directory.mkdir(parents=True)
    events = [Event(wall_time=wall_time, file_version="brain.Event:2")]
    for number, epoch in enumerate(epochs):
        values = [Summary.Value(tag=tag, simple_value=float(column[number])) for tag, column in scalars.items()]
        events.append(Event(wall_time=wall_time, step=int(epoch), summary=Summary(value=values)))
    with open(directory / f"events.out.tfevents.{int(wall_time):010d}.epochs", "wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString(deterministic=True))


def write_tensorboard(out: Path, curves: Sequence[Curves]) -> None:
    """Replace the directory `out` by one that holds a run for each model of a list of Curves.

    Raises UserError, and removes nothing, when it holds another file than such runs.
    """
    strangers = sorted(path for path in out.rglob("*") if not (path.is_dir() or EVENTS.fullmatch(path.name)))
    if strangers:
        raise UserError(f"{strangers[0]}: is not of the recipe's curves, and {out} is made anew each time; "
                        "move it elsewhere")
    new = out.with_name(f".{out.name}.new")
    old = out.with_name(f".{out.name}.old")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    for one in curves:
        for number, (name, model_dir) in enumerate(one.model_dirs.items()):
            wall_time = (Path(model_dir) / "log" / "epochs.tsv").stat().st_mtime
            write_events(new / name, one.epochs, {"loss": one.losses[number], f"valid_{one.score}": one.scores[number]},
                         wall_time)
    if out.exists():
        out.rename(old)
    new.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def main() -> None:
    parser = OptionParser(__doc__, 'local/results/make_curves.py --systems "vgg5_baseline vgg5_ad" data/iemocap exp')
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args())
    require_one_origin(experiment)
    out = Path(experiment.exp) / "analysis"
    with parts(out / "curves.png"):
        make_curves(experiment, out)


def make_curves(experiment: Experiment, out: Path) -> None:
    """Write curves.png and tensorboard into a folder; raises UserError."""
    if not experiment.networks:
        raise Undrawable("no system has a network")
    exp = Path(experiment.exp)
    curves = pretraining_curves(experiment)
    for system in experiment.networks:
        directories = experiment.models(system).values()
        curves.append(read_curves(system.name, "wf1", {str(Path(directory).relative_to(exp)): directory
                                                       for directory in directories}))
    write_tensorboard(out / "tensorboard", curves)
    title = title_of(f"training curves, {experiment.heading}", experiment.dataset)
    save(draw(curves, title), out / "curves.png")
    print(f"make_curves.py: made {out}/curves.png and {out}/tensorboard")


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Draw which emotions each system takes for which, and how well it does on each test speaker.

Reads EXP/SYSTEM/FOLD/score; writes EXP/analysis/confusions.tsv (system seed reference hypothesis utterances) and
confusions.png, speakers.tsv (system seed speaker fold utterances correct wf1 ua wa; ua is the mean recall of the
classes that the speaker has) and speakers.png. Pictures show the mean over the seeds; the test utterances of all folds
are pooled.
"""

import recipe_environment

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from local.experiment.experiment import Experiment, add_experiment_options, open_experiment
from local.results.predictions import Predictions, read_predictions
from local.results.tables import as_tsv
from options import OptionParser, run
from ser.analysis.figures import MARKERS, WIDTH, palette, put_title, save, title_of
from ser.analysis.left_out import parts
from ser.base.files import write_text
from ser.stats.metrics import confusion_matrix, scores_of


def confusions_by_group(predictions: Predictions, groups: np.ndarray) -> np.ndarray:
    """Confusion matrices of each run in each group of utterances.

    Parameters
    ----------
    predictions : Predictions
        Of R runs and K classes.
    groups : numpy.ndarray
        A number for each utterance, 0 to G - 1.

    Returns
    -------
    numpy.ndarray
        Counts `[R, G, K, K]`, row = reference, column = hypothesis.
    """
    members = [groups == number for number in range(groups.max() + 1)]
    return np.array([[confusion_matrix(predictions.references[part], hypotheses[part], len(predictions.classes))
                      for part in members] for hypotheses in predictions.hypotheses])


def percent_of_reference(confusion: np.ndarray) -> np.ndarray:
    """Percent of each row of counts `[..., K, K]`; nan in the row of a class that has no utterance."""
    total = confusion.sum(axis=-1, keepdims=True)
    return np.where(total > 0, 100 * confusion / np.maximum(total, 1), np.nan)


def arrange(num_systems: int, num_classes: int) -> tuple[int, int]:
    """Rows and columns of panels whose cells have room for their numbers."""
    most = int(np.clip(WIDTH // (0.32 * num_classes + 0.3), 1, 4))
    rows = math.ceil(num_systems / most)
    return rows, math.ceil(num_systems / rows)


def draw_confusions(percents: dict[str, np.ndarray], classes: list[str], title: str) -> Figure:
    """Draw `{system: [K, K]}`; return the figure."""
    rows, columns = arrange(len(percents), len(classes))
    side = min((WIDTH - 0.8) / columns, 4.5)  # inches of a panel
    figure = Figure(figsize=(WIDTH, rows * (side + 0.2) + 1.1), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axis in grid.flat[len(percents):]:
        axis.set_visible(False)

    # A panel per system, with the percentage in each cell
    cell_size = min(10, 0.38 * 72 * (side - 0.2) / len(classes))  # points
    title_size = min(9.5, 72 * side / (0.64 * max(map(len, percents))))
    rotation = 90 if max(map(len, classes)) > 4 else 0
    for number, (axis, (name, percent)) in enumerate(zip(grid.flat, percents.items(), strict=False)):
        image = axis.imshow(percent, cmap="Blues", vmin=0, vmax=100)
        for (row, column), value in np.ndenumerate(percent):
            if not np.isnan(value):
                axis.text(column, row, f"{value:.0f}", fontsize=cell_size, ha="center", va="center",
                          color="white" if value > 65 else "black")
        is_lowest = number + columns >= len(percents)
        is_leftmost = number % columns == 0
        axis.set_title(name, fontsize=title_size)
        axis.set_xticks(range(len(classes)), classes if is_lowest else [], rotation=rotation, fontsize=8.5)
        axis.set_yticks(range(len(classes)), classes if is_leftmost else [], fontsize=8.5)
        axis.tick_params(length=2)

    # What all panels share
    bar = figure.colorbar(image, ax=grid, aspect=30, pad=0.02, fraction=0.04, shrink=min(1, 2 / rows))
    bar.set_label("% of the reference class", fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    figure.supxlabel("hypothesis", fontsize=9)
    figure.supylabel("reference", fontsize=9)
    put_title(figure, title)
    return figure


def draw_speakers(scores: dict[str, np.ndarray], speakers: list[str], title: str) -> Figure:
    """Draw `{system: weighted F1 [speakers]}`, a line of dots for each of the named speakers; return the figure."""
    values = np.array(list(scores.values()))
    label_length = max(map(len, scores)) + 4
    columns = max(1, min(len(scores), 110 // label_length))
    row = min(0.34, 200 / len(speakers))  # inches
    height = row * len(speakers) + 1.2 + 0.19 * math.ceil(len(scores) / columns)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axis = figure.subplots()

    # From the worst system of a speaker to the best, and a marker per system
    axis.hlines(range(len(speakers)), values.min(axis=0), values.max(axis=0), color="0.75", linewidth=1, zorder=1)
    dodge = np.linspace(-0.27, 0.27, len(scores)) if len(scores) > 1 else [0]
    handles = []
    for number, (name, colour) in enumerate(palette(list(scores)).items()):
        look: dict[str, Any] = {"color": colour, "marker": MARKERS[number % len(MARKERS)], "markersize": 5.5,
                                "linestyle": "", "markeredgecolor": "black", "markeredgewidth": 0.4}
        axis.plot(scores[name], np.arange(len(speakers)) + dodge[number], **look)
        handles.append(Line2D([], [], label=name, **look))

    # Axes and legend
    for line in np.arange(len(speakers) - 1) + 0.5:
        axis.axhline(line, color="0.9", linewidth=0.6, zorder=0)
    axis.set_yticks(range(len(speakers)), speakers, fontsize=8.5)
    axis.set_ylim(len(speakers) - 0.5, -0.5)
    axis.set_xlabel("weighted F1 in percent", fontsize=9)
    axis.tick_params(axis="x", labelsize=8.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color="0.9", linewidth=0.6)
    axis.set_axisbelow(True)
    put_title(figure, title)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8.5, frameon=False,
                  handletextpad=0.2, columnspacing=1)
    return figure


def main() -> None:
    parser = OptionParser(__doc__, 'local/results/make_confusions.py --systems "vgg5_baseline vgg5_ad" data/iemocap '
                          "exp")
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args())
    out = Path(experiment.exp) / "analysis"
    with parts(out / "confusions.png", out / "speakers.png"):
        make_confusions(experiment, out)
    print(f"make_confusions.py: made {out}/confusions.tsv, confusions.png, speakers.tsv and speakers.png")


def make_confusions(experiment: Experiment, out: Path) -> None:
    """Write tables and pictures into a folder; raises UserError."""
    runs = [(system.name, seed) for system in experiment.systems for seed in experiment.seeds]
    directories = [experiment.directories(system) for system in experiment.systems]
    predictions = read_predictions(directories, experiment.folds, experiment.data)
    classes = predictions.classes

    # Confusion matrices of each run, by test speaker (and fold) and pooled
    (speakers, folds), groups = np.unique([predictions.speakers, predictions.folds], axis=1, return_inverse=True)
    confusions = dict(zip(runs, confusions_by_group(predictions, groups.ravel()), strict=True))
    pooled = {key: by_speaker.sum(axis=0) for key, by_speaker in confusions.items()}
    scores = {key: [scores_of(confusion) for confusion in by_speaker] for key, by_speaker in confusions.items()}

    # Tables
    write_text(out / "confusions.tsv", as_tsv(
        [("system", "seed", "reference", "hypothesis", "utterances")]
        + [(*key, reference, hypothesis, matrix[row, column]) for key, matrix in pooled.items()
           for row, reference in enumerate(classes) for column, hypothesis in enumerate(classes)]))
    write_text(out / "speakers.tsv", as_tsv(
        [("system", "seed", "speaker", "fold", "utterances", "correct", "wf1", "ua", "wa")]
        + [(*key, speaker, fold, one.total, one.correct, f"{one.wf1:.2f}", f"{one.ua:.2f}", f"{one.wa:.2f}")
           for key in runs for speaker, fold, one in zip(speakers, folds, scores[key], strict=True)]))

    # Pictures, as the mean over the seeds
    percents = {system.name: np.mean([percent_of_reference(pooled[system.name, seed]) for seed in experiment.seeds],
                                     axis=0) for system in experiment.systems}
    title = title_of(f"confusion matrices, {experiment.heading}", experiment.dataset)
    save(draw_confusions(percents, classes, title), out / "confusions.png")
    wf1 = {system.name: np.mean([[one.wf1 for one in scores[system.name, seed]] for seed in experiment.seeds], axis=0)
           for system in experiment.systems}
    labels = [f"{speaker} ({count})" for speaker, count in zip(speakers, np.bincount(groups.ravel()), strict=True)]
    title = title_of(f"weighted F1 by test speaker (utterances), {experiment.heading}", experiment.dataset)
    save(draw_speakers(wf1, labels, title), out / "speakers.png")


if __name__ == "__main__":
    run(main)

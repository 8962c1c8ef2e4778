#!/usr/bin/env python3
"""Say how far the probabilities of each system can be trusted.

Reads results.json and calibration.json of each fold; writes EXP/analysis/CALIBRATION, with the same as data in
calibration.json, and reliability.png: how often a system is right when it is so and so sure.
"""

import recipe_environment

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from local.experiment.experiment import Experiment, Setting, add_experiment_options, open_experiment
from local.experiment.systems import System
from local.results.blocks import Block, as_text
from local.results.same_origin import checked_setting
from local.results.tables import mean_and_spread
from options import OptionParser, run
from ser.analysis.figures import MARKERS, PALETTE, WIDTH, put_title, save_both, title_of
from ser.analysis.left_out import Undrawable, parts
from ser.base.files import write_text
from ser.infer.results_file import read_fold_results, write_results
from ser.model_dir.calibration import read_temperature
from ser.stats.calibration import NUM_BINS, Reliability, pooled

HEADING = ["system", "ECE", "ECE before", "NLL", "NLL before", "temperature"]
DEFINITION = f"""\
ECE is the expected calibration error in percent (Guo et al. 2017, equation 3): the test utterances of all folds are put
into {NUM_BINS} bins of equal width by the largest of their probabilities; the distance between its mean and the
share that is correct is averaged over the bins, each weighted by its utterances. NLL is the mean negative logarithm of
the probability of the right class, in nats. Both are of the probabilities in score/per_utt, whose logits are divided by
a temperature that each fold's validation speakers have chosen; 'before' is without it. It changes no decision, and so
no other table. The temperature is the geometric mean over the folds; - stands for a system without a network, which has
none. With several seeds: mean and standard deviation."""


@dataclass(frozen=True)
class SystemCalibration:
    """A row of the table; lists have a figure for each seed.

    Attributes
    ----------
    system : str
    reliability : list of Reliability
        Of the test utterances of all folds.
    before : list of Reliability
        Without a temperature; empty of a system that has none.
    temperature : list of float
        Geometric mean over the folds; empty of a system that has none.
    """

    system: str
    reliability: list[Reliability]
    before: list[Reliability]
    temperature: list[float]


@dataclass(frozen=True)
class CalibrationTable:
    """calibration.json beside CALIBRATION."""

    setting: Setting
    systems: list[SystemCalibration]


def gather(system: System, experiment: Experiment) -> SystemCalibration:
    """Pool the folds of each seed of a system; raises UserError."""
    row = SystemCalibration(system.name, [], [], [])
    models = experiment.models(system)
    for seed in experiment.seeds:
        directories = [models[seed, fold] for fold in experiment.folds]
        results = [read_fold_results(directory, experiment.data) for directory in directories]
        measured = [each.reliability for each in results if each.reliability]
        before = [each.reliability_uncalibrated for each in results if each.reliability_uncalibrated]
        if len(measured) < len(results):
            raise Undrawable(f"{system.name}: a version of the recipe before this one scored it; its folds are scored "
                             "again by steps/score.py, or trained again by run.sh --stage 5")
        row.reliability.append(pooled(measured))
        if before:
            row.before.append(pooled(before))
            temperatures = [read_temperature(directory) for directory in directories]
            row.temperature.append(float(np.exp(np.mean(np.log(temperatures)))))
    return row


def blocks_of(table: CalibrationTable) -> list[Block]:
    """What CALIBRATION says, for its text and for the report."""
    rows = [HEADING]
    for row in table.systems:
        figures = [[each.ece for each in row.reliability], [each.ece for each in row.before],
                   [each.nll for each in row.reliability], [each.nll for each in row.before], row.temperature]
        rows.append([row.system, *(mean_and_spread(some) if some else "-" for some in figures)])
    return [Block.table(rows), Block.paragraph(DEFINITION)]


def curve(seeds: list[Reliability]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, share of correct utterances and number of utterances, of each bin that holds any."""
    together = pooled(seeds)
    utterances = np.array(together.utterances)
    filled = utterances > 0
    counts = utterances[filled]
    return np.array(together.confidence)[filled] / counts, np.array(together.correct)[filled] / counts, counts


def draw(systems: list[SystemCalibration], title: str, width: float = WIDTH) -> Figure:
    """Draw a reliability diagram for each system; the area of a mark is the share of utterances in its bin."""
    columns = min(round(width / 1.75), len(systems))
    rows = math.ceil(len(systems) / columns)
    side = min((width - 0.4) / columns, 3.0)  # inches
    figure = Figure(figsize=(width, rows * (side + 0.35) + 0.9), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    after: dict[str, Any] = {"color": PALETTE[0], "marker": MARKERS[0], "linewidth": 1.2, "zorder": 3}
    without: dict[str, Any] = {"color": PALETTE[1], "marker": MARKERS[1], "linewidth": 1.2, "zorder": 2}
    diagonal: dict[str, Any] = {"color": "0.5", "linewidth": 0.8, "linestyle": "--", "zorder": 1}
    for axis in grid.flat[len(systems):]:
        axis.set_visible(False)
    for axis, row in zip(grid.flat, systems, strict=False):
        axis.plot([0, 1], [0, 1], **diagonal)
        curves = [(row.before, without), (row.reliability, after)] if row.before else [(row.reliability, without)]
        for seeds, look in curves:
            confidence, correct, counts = curve(seeds)
            axis.plot(confidence, correct, **{**look, "marker": ""})
            axis.scatter(confidence, correct, s=120 * counts / counts.sum(), color=look["color"],
                         marker=look["marker"], zorder=look["zorder"])
        axis.set_title(row.system, fontsize=min(9, 72 * side / (0.64 * len(row.system))))
        axis.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
        axis.tick_params(labelsize=8)
        axis.grid(color="0.9", linewidth=0.6)
    for number, axis in enumerate(grid.flat[:len(systems)]):
        if number + columns >= len(systems):
            axis.set_xlabel("largest probability", fontsize=8.5)
    figure.supylabel("share of correct utterances", fontsize=9)
    handles = [Line2D([], [], label="with the temperature", **after), Line2D([], [], label="without", **without),
               Line2D([], [], label="as sure as right", **diagonal)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3 if width == WIDTH else 2, fontsize=8.5,
                  frameon=False)
    put_title(figure, title)
    return figure


def main() -> None:
    parser = OptionParser(__doc__, 'local/results/make_calibration.py --systems "vgg5_baseline vgg5_ad" data/iemocap '
                          "exp")
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args())
    setting = checked_setting(experiment)
    out = Path(experiment.exp) / "analysis"
    also = [out / "CALIBRATION", out / "reliability.svg"]
    with parts(out / "calibration.json", out / "reliability.png", also=also):
        make_calibration(experiment, setting, out)


def make_calibration(experiment: Experiment, setting: Setting, out: Path) -> None:
    """Write table and picture into a folder; raises UserError."""
    table = CalibrationTable(setting, [gather(system, experiment) for system in experiment.systems])
    write_results(out / "calibration.json", table)
    write_text(out / "CALIBRATION", as_text(table.setting, blocks_of(table)))
    title = title_of(f"reliability, {experiment.heading}", experiment.dataset)
    save_both(lambda width: draw(table.systems, title, width), out / "reliability.png")
    print(f"make_calibration.py: made {out}/CALIBRATION and {out}/reliability.png")


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Draw the weighted F1 of each system with its intervals, beside chance and the most frequent class.

Reads EXP/results.json; writes EXP/analysis/wf1.svg, narrow enough for a telephone.
"""

import recipe_environment

import statistics
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from local.experiment.experiment import add_experiment_options, open_experiment
from local.results.make_results import ResultsTable, SystemResults
from options import OptionParser, run
from ser.analysis.figures import MARKERS, NARROW, palette, save, title_of
from ser.analysis.left_out import parts
from ser.infer.results_file import NAME, read_results

MAJORITY = "majority"  # the system that always says the most frequent class of the training part


def chance_wf1(utterances: dict[str, int]) -> float:
    """Weighted F1 in percent of guessing each class equally often, as expected of many utterances.

    With share s of a class among the utterances and 1/K among the guesses, precision is s and recall 1/K.
    """
    shares = np.array(list(utterances.values())) / sum(utterances.values())
    f1 = 2 * shares / (shares * len(shares) + 1)
    return float(100 * (shares * f1).sum())


def majority_wf1(utterances: dict[str, int]) -> float:
    """Weighted F1 in percent of always saying the most frequent class: its precision is its share s, its recall 1."""
    share = max(utterances.values()) / sum(utterances.values())
    return 100 * share * 2 * share / (share + 1)


def draw(table: ResultsTable) -> Figure:
    """Draw a row for each system; return the figure."""
    systems = table.systems
    figure = Figure(figsize=(NARROW, 0.42 * len(systems) + 1.35), layout="constrained")
    axis = figure.subplots()
    families = [each.family for each in systems]
    looks = {family: {"color": colour, "marker": MARKERS[number % len(MARKERS)]}
             for number, (family, colour) in enumerate(palette(list(dict.fromkeys(families))).items())}

    # What needs no network and no features
    chance = chance_wf1(table.utterances)
    majority = next((statistics.fmean(each.wf1) for each in systems if each.system == MAJORITY),
                    majority_wf1(table.utterances))
    lines: list[dict[str, Any]] = [{"color": "0.35", "linestyle": ":", "linewidth": 1.3},
                                   {"color": "0.35", "linestyle": "--", "linewidth": 1}]
    for value, line in zip((chance, majority), lines, strict=True):
        axis.axvline(value, zorder=0, **line)

    # Intervals, seeds and mean of each system, below its name
    for number, each in enumerate(systems):
        draw_row(axis, number, each, looks[each.family])
        if number and families[number] != families[number - 1]:
            axis.axhline(number - 0.62, color="0.8", linewidth=0.8)
    axis.set_ylim(len(systems) - 0.6, -0.75)
    axis.set_yticks([])
    axis.set_xlabel("weighted F1 in percent", fontsize=9)
    axis.tick_params(axis="x", labelsize=9)
    axis.grid(axis="x", color="0.92", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.margins(x=0.03)
    for side in ("left", "right", "top"):
        axis.spines[side].set_visible(False)

    # What the lines are
    over_speakers = Line2D([], [], color="0.2", linewidth=1, label="95 %, speakers")
    handles = [Line2D([], [], color="0.2", linewidth=3, label="95 %, utterances"),
               *([over_speakers] if any(each.interval_speakers for each in systems) else []),
               Line2D([], [], label=f"chance {chance:.1f}", **lines[0]),
               Line2D([], [], label=f"most frequent class {majority:.1f}", **lines[1])]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8.5, frameon=False,
                  handlelength=1.8, columnspacing=1)
    if title := title_of("", table.setting.dataset).rstrip(": "):
        figure.suptitle(title, fontsize=9)
    return figure


def draw_row(axis: Any, number: int, results: SystemResults, look: dict[str, Any]) -> None:
    """Draw the intervals, the seeds and the mean of a system, with its name and figure above."""
    mean = statistics.fmean(results.wf1)
    colour = look["color"]
    if results.interval_speakers:
        axis.plot(results.interval_speakers, [number, number], color=colour, linewidth=1)
    axis.plot(results.interval, [number, number], color=colour, linewidth=3, solid_capstyle="butt")
    if len(results.wf1) > 1:
        axis.plot(results.wf1, [number] * len(results.wf1), color=colour, marker="|", markersize=9, linestyle="")
    axis.plot(mean, number, markersize=7, markeredgecolor="white", markeredgewidth=0.8, **look)
    across = axis.get_yaxis_transform()
    text: dict[str, Any] = {"transform": across, "fontsize": 9, "va": "center",
                            "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.5}}
    axis.text(0, number - 0.36, results.system, **text)
    axis.text(1, number - 0.36, f"{mean:.1f}", ha="right", **text)


def main() -> None:
    parser = OptionParser(__doc__, 'local/results/make_wf1.py --systems "vgg5_baseline vgg5_ad" data/iemocap exp')
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args())
    out = Path(experiment.exp) / "analysis"
    with parts(out / "wf1.svg"):
        table = read_results(f"{experiment.exp}/{NAME}", ResultsTable,
                             "run local/results/make_results.py (run.sh: stage 6)")
        save(draw(table), out / "wf1.svg")
    print(f"make_wf1.py: made {out}/wf1.svg")


if __name__ == "__main__":
    run(main)

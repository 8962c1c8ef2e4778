#!/usr/bin/env python3
"""Gather the probes of all folds of some systems into one table, and say of each AD module whether it disentangles.

Reads EXP/SYSTEM/FOLD/analysis, which steps/analyse.py makes; writes EXP/analysis/probes.tsv and silhouette.tsv, one row
a measurement, EXP/analysis/PROBES, the table, and the same as data in probes.json.
"""

import recipe_environment

import csv
import statistics
from dataclasses import dataclass
from pathlib import Path

from local.experiment.experiment import Experiment, Setting, add_experiment_options, open_experiment
from local.results.blocks import Block, as_text
from local.results.same_origin import checked_setting
from local.results.tables import as_tsv, mean_and_spread
from options import OptionParser, run
from ser.analysis import POOLINGS
from ser.analysis.left_out import Undrawable, parts
from ser.base.errors import UserError
from ser.base.files import write_text
from ser.infer.results_file import write_results

TARGETS = ("emotion", "speaker", "unseen-speaker")
LABELS = ("emotion", "speaker")
HEADING = ["system", "moment", "space", "emotion", "speaker", "unseen speaker", "silh. emotion", "silh. speaker"]
DEFINITION = [
    Block.paragraph("""\
A probe is a linear classifier (multinomial logistic regression, L2 penalty, standardized dimensions) that reads a label
from the pooled space of a whole utterance. Figures are its mean recall over the labels (UA) in percent, on utterances
that it was not trained on; chance is 100 / number of labels. Mean and standard deviation over folds and seeds."""),
    Block("definitions", [
        ("emotion", "trained on the training speakers of the fold, tested on the test speakers"),
        ("speaker", "all speakers; trained on one half of the utterances of each, tested on the other, and the "
                    "reverse"),
        ("unseen speaker", "the same among validation and test speakers only"),
        ("silhouette", "-1 to 1, by emotion and by speaker; Euclidean, standardized dimensions, validation and test "
                       "utterances"),
    ]),
    Block.paragraph("""\
The network was fine-tuned on the training utterances with their emotions and, where it has AD, their speakers; the
validation speakers chose its epoch. So 'speaker' is mostly about utterances that it knows, 'unseen speaker' is about
voices that it does not; there are few of them, so its chance is high. Whatever else the recordings of a speaker have
in common, such as a microphone, helps to tell speakers."""),
    Block("definitions", [
        ("before", "the weights that fine-tuning starts from: the pre-trained extractor, or a random one, and a fresh "
                   "AD module"),
        ("after", "the weights of the epoch that is scored"),
        ("F", "map that enters the AD module (of several the last one); without AD the last map, whose mean is the "
              "embedding"),
        ("IN(F)", "equation 1; R = F - IN(F); F+ and F-: equation 3"),
    ]),
    Block("definitions", [
        ("network", "pooled as in the network (--pooling): all that its heads see. By the mean over time and frequency "
                    "R differs\nfrom F by the constant beta and reads alike, and IN(F) is beta in every utterance, so "
                    "it tells nothing."),
        ("mean+std", "mean and deviation over time of each channel and frequency: what the map holds beyond that. "
                     "F+ and F- both\ncontain IN(F), so they share what can be read from it."),
    ]),
]
DASH = "-: not measured, since the utterances have fewer than two labels, or no two utterances have the same one."
RULE = """\
Disentangled means: emotion reads better from F+ than from F-, and speaker better from F- than from F+ (pooling
'network'). 'Better' is said for p < 0.05 in a paired t-test over folds and seeds, else 'about as well'. Folds have
utterances in common, so the test is lenient; how much better, the figures tell."""


@dataclass(frozen=True)
class SpaceRow:
    """How well labels read from a space; lists of figures have one for each fold and seed.

    Attributes
    ----------
    system, moment, space, pooling : str
    accuracy : dict of str to list of float
        UA in percent by TARGETS.
    silhouette : dict of str to list of float
        By LABELS.
    """

    system: str
    moment: str
    space: str
    pooling: str
    accuracy: dict[str, list[float]]
    silhouette: dict[str, list[float]]


@dataclass(frozen=True)
class Reading:
    """Mean UA of a target from F+ and from F-, in percent; from which of them it is clearly better, if from either."""

    plus: float
    minus: float
    better: str | None


@dataclass(frozen=True)
class Verdict:
    """What reads from F+ and F- of a fine-tuned system, by those of TARGETS that were measured."""

    system: str
    readings: dict[str, Reading]


@dataclass(frozen=True)
class ProbesTable:
    """probes.json; chance is in percent, by those of TARGETS that were measured."""

    setting: Setting
    chance: dict[str, float]
    rows: list[SpaceRow]
    verdicts: list[Verdict]


Rows = list[dict[str, str]]  # of a tab-separated file, cells by column


def read_rows(path: str | Path) -> Rows:
    """Read a tab-separated file with a heading; raises UserError when it is not there."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))
    except FileNotFoundError:
        model_dir = Path(path).parent.parent
        raise UserError(f"{path}: not there; run steps/analyse.py --dir {model_dir} (run.sh: stage 7)") from None


def gather(name: str, models: dict[tuple[str, str, str], str]) -> Rows:
    """Rows of the file `name` of each model directory, with system, fold and seed in front."""
    return [{"system": system, "fold": fold, "seed": seed, **row} for (system, seed, fold), directory in models.items()
            for row in read_rows(f"{directory}/analysis/{name}")]


def write_rows(path: Path, rows: Rows) -> None:
    write_text(path, as_tsv([*(row.keys() for row in rows[:1]), *(row.values() for row in rows)]))


def values(rows: Rows, column: str, **wanted: str) -> list[float]:
    """The figures of a column in the rows that have what is wanted, over folds and seeds."""
    return [float(row[column]) for row in rows if all(row[key] == value for key, value in wanted.items())]


def space_rows(probes: Rows, silhouettes: Rows) -> list[SpaceRow]:
    """The figures of each system, moment, space and pooling."""
    rows = []
    for system, moment, space, pooling in dict.fromkeys(
            (row["system"], row["moment"], row["space"], row["pooling"]) for row in probes):
        one = {"system": system, "moment": moment, "space": space, "pooling": pooling}
        accuracy = {target: values(probes, "accuracy", target=target, **one) for target in TARGETS}
        silhouette = {label: values(silhouettes, "silhouette", label=label, utterances="unseen", **one)
                      for label in LABELS}
        rows.append(SpaceRow(system, moment, space, pooling, accuracy, silhouette))
    return rows


def compare(plus: list[float], minus: list[float]) -> str | None:
    """Which of two spaces reads better, from paired figures: "F+", "F-", or None when that is not clear."""
    from scipy.stats import ttest_rel  # half a second, which the report does without

    if len({one - other for one, other in zip(plus, minus, strict=True)}) < 2:
        return None  # a single fold, or no difference in any
    test = ttest_rel(plus, minus)
    if test.pvalue >= 0.05:
        return None
    return "F+" if test.statistic > 0 else "F-"


def judge(rows: list[SpaceRow], system: str) -> Verdict:
    """Compare F+ and F- of a fine-tuned system."""
    spaces = {row.space: row for row in rows
              if (row.system, row.moment, row.pooling) == (system, "after", "network")}
    readings = {}
    for target in TARGETS:
        plus = spaces["F+"].accuracy[target]
        minus = spaces["F-"].accuracy[target]
        if plus and minus:
            readings[target] = Reading(statistics.fmean(plus), statistics.fmean(minus), compare(plus, minus))
    return Verdict(system, readings)


def sentence(verdict: Verdict) -> str:
    """From which space what reads better, and whether that is disentangled."""
    clauses = []
    for target, reading in verdict.readings.items():
        how = {"F+": "better from F+ than from F-", "F-": "worse from F+ than from F-",
               None: "about as well from F+ as from F-"}[reading.better]
        clauses.append(f"{target.replace('-', ' ')} reads {how} ({reading.plus:.2f} against {reading.minus:.2f})")
    better = {target: reading.better for target, reading in verdict.readings.items()}
    emotion = better.get("emotion") == "F+"
    speaker = better.get("speaker") == "F-"
    if not {"emotion", "speaker"} <= better.keys():
        outcome = "NOT MEASURED"
    elif emotion and speaker:
        outcome = "DISENTANGLED"
    elif emotion or speaker:
        outcome = f"IN PART, for {'emotion' if emotion else 'speaker'} only"
    else:
        outcome = "NOT DISENTANGLED"
    return f"{verdict.system}, after fine-tuning: {outcome}: {', '.join(clauses) or '-'}."


def table_of(table: ProbesTable, pooling: str) -> Block:
    """The table of one pooling."""
    chance = [f"{table.chance[target]:.2f}" if target in table.chance else "-" for target in TARGETS]
    rows = [HEADING, ["chance", "", "", *chance, "", ""]]
    for row in table.rows:
        if row.pooling == pooling:
            figures = [*(row.accuracy[target] for target in TARGETS), *(row.silhouette[label] for label in LABELS)]
            cells = [mean_and_spread(some) if some else "-" for some in figures]
            rows.append([row.system, row.moment, row.space, *cells])
    return Block.table(rows, f"Pooling '{pooling}'")


def blocks_of(table: ProbesTable) -> list[Block]:
    """What PROBES says, for its text and for the report."""
    blocks = [table_of(table, pooling) for pooling in POOLINGS]
    if table.verdicts:
        blocks = [Block.paragraph(RULE), Block("list", [sentence(verdict) for verdict in table.verdicts]), *blocks]
    measured = [figures for row in table.rows for figures in (*row.accuracy.values(), *row.silhouette.values())]
    return [*blocks, *([] if all(measured) else [Block.paragraph(DASH)]), *DEFINITION]


def main() -> None:
    parser = OptionParser(__doc__, 'local/results/make_probes.py --systems "vgg5_baseline vgg5_ad" data/iemocap exp')
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args())
    setting = checked_setting(experiment)
    out = Path(experiment.exp) / "analysis"
    with parts(out / "probes.json", also=[out / name for name in ("PROBES", "probes.tsv", "silhouette.tsv")]):
        make_probes(experiment, setting, out)


def make_probes(experiment: Experiment, setting: Setting, out: Path) -> None:
    """Write the tables into a folder; raises UserError."""
    models = {(system.name, *key): directory for system in experiment.networks
              for key, directory in experiment.models(system).items()}
    if not models:
        raise Undrawable("no system has a network")
    probes = gather("probes.tsv", models)
    if not probes:
        raise Undrawable("no fold has two labels to tell apart")
    silhouettes = gather("silhouette.tsv", models)
    chances = {target: values(probes, "chance", target=target) for target in TARGETS}
    chance = {target: statistics.fmean(some) for target, some in chances.items() if some}
    rows = space_rows(probes, silhouettes)
    with_ad = dict.fromkeys(row.system for row in rows if row.space == "F+")
    table = ProbesTable(setting, chance, rows, [judge(rows, system) for system in with_ad])

    write_rows(out / "probes.tsv", probes)
    write_rows(out / "silhouette.tsv", silhouettes)
    write_results(out / "probes.json", table)
    write_text(out / "PROBES", as_text(table.setting, blocks_of(table)))
    print(f"make_probes.py: made {out}/PROBES")


if __name__ == "__main__":
    run(main)

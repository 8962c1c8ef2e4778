#!/usr/bin/env python3
"""Compare each ablation with the system that it changes: EXP/ABLATIONS, a row each; as data EXP/ablations.json.

The comparison is that of local/results/compare.py. Since many rows are tested at once, the p over speakers is also
given as adjusted for that (Benjamini and Hochberg 1995, false discovery rate).
"""

import recipe_environment

import textwrap
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from local.experiment.experiment import Experiment, Setting, add_experiment_options, open_experiment
from local.experiment.systems import System, find_systems
from local.results.blocks import Block, as_text
from local.results.compare import Comparison, compare, p_text, range_text
from local.results.predictions import read_predictions
from local.results.same_origin import checked_setting
from local.results.tables import mean_and_spread
from options import OptionParser, run
from ser.base.errors import UserError
from ser.base.files import write_text
from ser.infer.results_file import write_results
from ser.stats.significance import mean_weighted_f1

HEADING = ["system", "method", "WF1 pooled", "difference", "CI95 speakers", "p speakers", "p adjusted",
           "speakers better", "CI95 utterances", "p utterances"]
DEFINITION = """\
WF1 is pooled over the folds, its mean and standard deviation over the seeds. The difference is that from the system at
the head of the block, in points of WF1; intervals and tests are those of local/results/compare.py. 'p adjusted' is
'p speakers' with the false discovery rate controlled over all rows (Benjamini and Hochberg)."""


@dataclass(frozen=True)
class SystemScore:
    """A system, and its pooled weighted F1 of each seed in percent."""

    system: str
    method: str
    wf1: list[float]


@dataclass(frozen=True)
class Ablation:
    """An ablation, the system that it changes, how they compare, and p over speakers adjusted for many ablations."""

    ablation: SystemScore
    reference: SystemScore
    comparison: Comparison
    p_adjusted: float


@dataclass(frozen=True)
class AblationsTable:
    """ablations.json; ablations of the same system follow one another."""

    setting: Setting
    ablations: list[Ablation]


def score_of(system: System, references: np.ndarray, hypotheses: np.ndarray) -> SystemScore:
    return SystemScore(system.name, system.method, [mean_weighted_f1(references, seed[None]) for seed in hypotheses])


def compare_with_reference(system: System, experiment: Experiment) -> Ablation:
    """Compare an ablation with the system that it changes; p is not yet adjusted."""
    reference, = find_systems([str(system.reference)])
    directories = [experiment.directories(system), experiment.directories(reference)]
    predictions = read_predictions(directories, experiment.folds, experiment.data)
    first, second = np.split(predictions.hypotheses, 2)
    result = compare(predictions.references, first, second, predictions.speakers)
    return Ablation(ablation=score_of(system, predictions.references, first),
                    reference=score_of(reference, predictions.references, second),
                    comparison=result, p_adjusted=result.p_speakers)


def cells_of(row: Ablation) -> list[str]:
    """The cells of an ablation under HEADING."""
    result = row.comparison
    p_utterances, p_speakers, p_adjusted = (p_text(p).removeprefix("p ").removeprefix("= ") for p in (
        result.p_utterances, result.p_speakers, row.p_adjusted))
    of_speakers = "-" if result.interval_speakers is None else range_text(result.interval_speakers)
    return [row.ablation.system, row.ablation.method, mean_and_spread(row.ablation.wf1), f"{result.difference:+.2f}",
            of_speakers, p_speakers, p_adjusted, f"{result.better_speakers} of {len(result.by_speaker)}",
            range_text(result.interval_utterances), p_utterances]


def verdict(ablations: list[Ablation]) -> str:
    """Which ablations differ significantly over speakers, in a sentence."""
    significant = [row.ablation.system for row in ablations if row.p_adjusted < 0.05]
    which = ", ".join(significant) or "no ablation"
    return textwrap.fill(f"At a false discovery rate of 5 % the difference is significant over speakers for {which}, "
                         f"of {len(ablations)} tested.", 118)


def blocks_of(table: AblationsTable) -> list[Block]:
    """What ABLATIONS says, for its text and for the report."""
    rows = [HEADING]
    for reference, ablations in groupby(table.ablations, lambda row: row.reference):
        rows.append([reference.system, reference.method, mean_and_spread(reference.wf1), *[""] * (len(HEADING) - 3)])
        rows += map(cells_of, ablations)
    return [Block.table(rows), Block.paragraph(verdict(table.ablations)), Block.paragraph(DEFINITION)]


def main() -> None:
    from scipy.stats import false_discovery_control  # half a second, which the report does without

    parser = OptionParser(__doc__, 'local/results/make_ablations.py --systems "vgg5_ad_se vgg5_ad_plus" data/iemocap '
                          "exp")
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args())
    for system in experiment.systems:
        if not system.reference:
            raise UserError(f"--systems: {system.name} is no ablation; name systems of conf/ablations.conf")
    setting = checked_setting(experiment)
    systems = sorted(experiment.systems, key=lambda system: str(system.reference))
    rows = [compare_with_reference(system, experiment) for system in systems]
    adjusted = false_discovery_control([row.p_adjusted for row in rows])
    rows = [replace(row, p_adjusted=float(p)) for row, p in zip(rows, adjusted, strict=True)]
    table = AblationsTable(setting, rows)
    write_results(f"{experiment.exp}/ablations.json", table)
    write_text(f"{experiment.exp}/ABLATIONS", as_text(table.setting, blocks_of(table)))
    print(f"make_ablations.py: made {experiment.exp}/ABLATIONS")


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Compare each ablation with the system that it changes: EXP/ABLATIONS, a row each.

The comparison is that of local/results/compare.py. Since many rows are tested at once, the p over speakers is also
given as adjusted for that (Benjamini and Hochberg 1995, false discovery rate).
"""

import textwrap

import numpy as np
from scipy.stats import false_discovery_control

from local.experiment.experiment import add_experiment_options, open_experiment
from local.experiment.systems import find_systems
from local.results.compare import compare, p_text
from local.results.predictions import read_predictions
from local.results.tables import as_table, mean_and_spread
from options import OptionParser, run
from ser.base.errors import UserError
from ser.base.files import write_text
from ser.stats.significance import mean_weighted_f1

HEADING = ["system", "method", "WF1 pooled", "difference", "CI95", "p utterances", "speakers better", "p speakers",
           "p adjusted"]
DEFINITION = """\
WF1 is pooled over the folds, its mean and standard deviation over the seeds. The difference is that from the system at
the head of the block, in points of WF1; CI95 is its 95 % bootstrap interval over utterances within speakers; the tests
are those of local/results/compare.py. 'p adjusted' is 'p speakers' with the false discovery rate controlled over all
rows (Benjamini and Hochberg).
"""


def wf1_of(references, hypotheses):
    """Pooled WF1 over the seeds of hypotheses `[seeds, utterances]`, as text."""
    return mean_and_spread([mean_weighted_f1(references, one[None]) for one in hypotheses])


def compare_with_reference(system, experiment):
    """The Comparison of an ablation with the system that it changes, and WF1 of both as text."""
    whole, = find_systems([system.reference])
    directories = [*experiment.directories(system), *experiment.directories(whole)]
    predictions = read_predictions(directories, experiment.folds, experiment.data)
    first, second = np.split(predictions.hypotheses, 2)
    return (compare(predictions.references, first, second, predictions.speakers),
            wf1_of(predictions.references, first), wf1_of(predictions.references, second))


def make_table(systems, results, adjusted):
    """Rows of ablations, each block behind the system that it changes."""
    rows, block = [HEADING], None
    for system, (result, wf1, wf1_whole), p in zip(systems, results, adjusted, strict=True):
        if system.reference != block:
            block = system.reference
            rows.append([block, find_systems([block])[0].method, wf1_whole, *[""] * 6])
        low, high = result.interval
        better = f"{(result.by_speaker > 0).sum()} of {len(result.by_speaker)}"
        rows.append([system.name, system.method, wf1, f"{result.difference:+.2f}", f"{low:.2f} to {high:.2f}",
                     p_text(result.p_utterances).removeprefix("p ").removeprefix("= "), better,
                     p_text(result.p_speakers).removeprefix("p ").removeprefix("= "), f"{p:.3f}"])
    return as_table(rows)


def verdict(systems, adjusted):
    """Which ablations differ significantly over speakers, in a sentence."""
    significant = [system.name for system, p in zip(systems, adjusted, strict=True) if p < 0.05]
    what = f"significant over speakers for {', '.join(significant)}" if significant else \
        "significant over speakers for no ablation"
    return textwrap.fill(f"At a false discovery rate of 5 % the difference is {what}, of {len(systems)} tested.", 118)


def main():
    parser = OptionParser(__doc__, 'local/results/make_ablations.py --systems "vgg5_ad_se vgg5_ad_plus" data/iemocap '
                          "exp")
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args())
    whole = [system.name for system in experiment.systems if not system.reference]
    if whole:
        raise UserError(f"--systems: {whole[0]} is no ablation; name systems of conf/ablations.conf")
    systems = sorted(experiment.systems, key=lambda system: system.reference)
    results = [compare_with_reference(system, experiment) for system in systems]
    adjusted = false_discovery_control([result.p_speakers for result, *_ in results])
    write_text(f"{experiment.exp}/ABLATIONS", f"{experiment.title}\n{make_table(systems, results, adjusted)}\n"
               f"{verdict(systems, adjusted)}\n\n{DEFINITION}")
    print(f"make_ablations.py: made {experiment.exp}/ABLATIONS")


if __name__ == "__main__":
    run(main)

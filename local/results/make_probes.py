#!/usr/bin/env python3
"""Gather the probes of all folds of some systems into one table, and say of each AD module whether it disentangles.

Reads EXP/SYSTEM/FOLD/analysis, which steps/analyse.py makes; writes EXP/analysis/probes.tsv and silhouette.tsv, one row
a measurement, and EXP/analysis/PROBES, the table.
"""

import csv
import statistics
import textwrap
from pathlib import Path

from scipy.stats import ttest_rel

from local.experiment.experiment import add_experiment_options, open_experiment
from local.results.tables import as_table, as_tsv, mean_and_spread
from options import OptionParser, run
from ser.analysis.ad_features import POOLINGS
from ser.base.errors import UserError
from ser.base.files import write_text

TARGETS = ("emotion", "speaker", "unseen-speaker")
DEFINITION = """\
A probe is a linear classifier (multinomial logistic regression, L2 penalty, standardized dimensions) that reads a label
from the pooled space of a whole utterance. Figures are its mean recall over the labels (UA) in percent, on utterances
that it was not trained on; chance is 100 / number of labels. Mean and standard deviation over folds and seeds.

emotion         trained on the training speakers of the fold, tested on the test speakers
speaker         all speakers; trained on one half of the utterances of each, tested on the other, and the reverse
unseen speaker  the same among validation and test speakers only
silhouette      -1 to 1, by emotion and by speaker; Euclidean, standardized dimensions, validation and test utterances

The network was fine-tuned on the training utterances with their emotions and, where it has AD, their speakers; the
validation speakers chose its epoch. So 'speaker' is mostly about utterances that it knows, 'unseen speaker' is about
voices that it does not; there are few of them, so its chance is high. Whatever else the recordings of a speaker have
in common, such as a microphone, helps to tell speakers.

before  the weights that fine-tuning starts from: the pre-trained extractor, or a random one, and a fresh AD module
after   the weights of the epoch that is scored
F       map that enters the AD module (of several the last one); without AD the last map, whose mean is the embedding
IN(F)   equation 1; R = F - IN(F); F+ and F-: equation 3

mean      pooled over time and frequency as in the network: all that its heads see. R differs from F by the constant
          beta and reads alike; IN(F) is beta in every utterance, so it tells nothing.
mean+std  mean and deviation over time of each channel and frequency: what the map holds beyond its mean. F+ and F- both
          contain IN(F), so they share what can be read from it.
"""
RULE = """\
Disentangled means: emotion reads better from F+ than from F-, and speaker better from F- than from F+ (pooling 'mean').
'Better' is said for p < 0.05 in a paired t-test over folds and seeds, else 'about as well'. Folds have utterances in
common, so the test is lenient; how much better, the figures tell.
"""


def read_rows(path):
    """Rows of a tab-separated file with a heading, as dicts; raises UserError when it is not there."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))
    except FileNotFoundError:
        model_dir = Path(path).parent.parent
        raise UserError(f"{path}: not there; run steps/analyse.py --dir {model_dir} (run.sh: stage 7)") from None


def gather(name, models):
    """Rows of the file `name` of each model directory, with system, fold and seed in front."""
    return [{"system": system, "fold": fold, "seed": seed, **row} for (system, seed, fold), directory in models.items()
            for row in read_rows(f"{directory}/analysis/{name}")]


def write_rows(path, rows):
    write_text(path, as_tsv([rows[0].keys(), *(row.values() for row in rows)]))


def values(rows, column, **wanted):
    """The figures of a column in the rows that have what is wanted, over folds and seeds."""
    return [float(row[column]) for row in rows if all(row[key] == value for key, value in wanted.items())]


def table(probes, silhouettes, pooling):
    """The text table of one pooling."""
    head = ["system", "moment", "space", "emotion", "speaker", "unseen speaker", "silh. emotion", "silh. speaker"]
    chance = [f"{statistics.fmean(values(probes, 'chance', target=target)):.2f}" for target in TARGETS]
    rows = [head, ["chance", "", "", *chance, "", ""]]
    for system, moment, space in dict.fromkeys((row["system"], row["moment"], row["space"]) for row in probes
                                               if row["pooling"] == pooling):
        one = {"system": system, "moment": moment, "space": space, "pooling": pooling}
        cells = [values(probes, "accuracy", target=target, **one) for target in TARGETS]
        cells += [values(silhouettes, "silhouette", label=label, utterances="unseen", **one)
                  for label in ("emotion", "speaker")]
        rows.append([system, moment, space, *map(mean_and_spread, cells)])
    return as_table(rows)


def compare(plus, minus):
    """Which of two spaces reads better, from paired figures: "F+", "F-", or None when that is not clear."""
    if len({one - other for one, other in zip(plus, minus, strict=True)}) < 2:
        return None  # a single fold, or no difference in any
    test = ttest_rel(plus, minus)
    return None if test.pvalue >= 0.05 else "F+" if test.statistic > 0 else "F-"


def verdict(probes, system):
    """One sentence on the fine-tuned models: from which space what reads better, and whether that is disentangled."""
    better, clauses = {}, []
    for target in TARGETS:
        plus, minus = (values(probes, "accuracy", system=system, moment="after", target=target, pooling="mean",
                              space=space) for space in ("F+", "F-"))
        better[target] = compare(plus, minus)
        words = {"F+": "better from F+ than from F-", "F-": "worse from F+ than from F-",
                 None: "about as well from F+ as from F-"}[better[target]]
        clauses.append(f"{target.replace('-', ' ')} reads {words} ({statistics.fmean(plus):.2f} against "
                       f"{statistics.fmean(minus):.2f})")
    emotion, speaker = better["emotion"] == "F+", better["speaker"] == "F-"
    so = ("DISENTANGLED" if emotion and speaker else "IN PART, for emotion only" if emotion
          else "IN PART, for speaker only" if speaker else "NOT DISENTANGLED")
    return textwrap.fill(f"{system}, after fine-tuning: {so}: {', '.join(clauses)}.", 118, subsequent_indent="  ")


def main():
    parser = OptionParser(__doc__, 'local/results/make_probes.py --systems "vgg5_baseline vgg5_ad" data/iemocap exp')
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args())
    models = {(system.name, *key): directory for system in experiment.systems
              for key, directory in experiment.models(system).items()}
    probes, silhouettes = gather("probes.tsv", models), gather("silhouette.tsv", models)
    out = Path(experiment.exp) / "analysis"
    write_rows(out / "probes.tsv", probes)
    write_rows(out / "silhouette.tsv", silhouettes)
    with_ad = dict.fromkeys(row["system"] for row in probes if row["space"] == "F+")
    verdicts = [verdict(probes, system) for system in with_ad]
    tables = [f"Pooling '{pooling}'\n{table(probes, silhouettes, pooling)}" for pooling in POOLINGS]
    words = ["\n".join([RULE, *verdicts, ""])] if verdicts else []
    write_text(out / "PROBES", "\n".join([experiment.title, *words, *tables, DEFINITION]))
    print(f"make_probes.py: made {out}/PROBES")


if __name__ == "__main__":
    run(main)

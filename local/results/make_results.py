#!/usr/bin/env python3
"""Pool the folds of each system, and put the systems into one table.

Writes EXP/SYSTEM/RESULT (pooled over the folds, and their mean) for each seed, and EXP/RESULTS. On the paper's data the
published figures stand in the table, and the paper's Table 3 below it; on other data they are left out.
"""

import numpy as np

from local.experiment.experiment import add_experiment_options, open_experiment
from local.results.predictions import read_predictions
from local.results.published import PROPOSED, TABLE_2, TABLE_3, is_the_papers
from local.results.tables import as_table, mean_and_spread
from options import OptionParser, run
from ser.base.files import write_text
from ser.infer.evaluation import result_line
from ser.model_dir.checkpoint import load_config
from ser.stats.metrics import confusion_matrix, scores_of
from ser.stats.significance import RANDOM_SEED, RESAMPLES, score_interval

HEADING = ["system", "backbone", "method", "WF1 pooled", "CI95", "WF1 folds", "UA", "WA"]
DEFINITION = f"""\
WF1 is the F1 of each class weighted by its share of the utterances (scikit-learn's average='weighted'), UA the mean
recall of the classes, WA the share of correct utterances, all in percent. 'pooled' scores the test utterances of all
folds together, 'folds' is the mean over the folds; every test speaker is unseen, and the epoch is picked on another
speaker. With several seeds: mean and standard deviation.
CI95 is a 95 % interval of the pooled WF1: percentiles of {RESAMPLES} bootstrap resamples, random seed {RANDOM_SEED}.
Resampled are utterances, with replacement within each speaker, so that every speaker keeps the same number of them. An
utterance is drawn with its predictions of all seeds, and a resample is scored as the mean over the seeds. It says how
the figure of these trained models would vary with other utterances of the same speakers, NOT with other speakers.
"""


def interval_text(references, hypotheses, speakers):
    low, high = score_interval(references, hypotheses, speakers)
    return f"{low:.1f}-{high:.1f}"


def pool(directory, predictions, number, folds):
    """Write the RESULT of one system and seed, row `number` of the predictions; return its scores.

    Returns
    -------
    tuple
        Pooled Scores, and the mean weighted F1 of the folds.
    """
    hypotheses = predictions.hypotheses[number]
    confusions = [confusion_matrix(predictions.references[part], hypotheses[part], predictions.num_classes)
                  for part in (predictions.folds == fold for fold in folds)]
    each, pooled = [scores_of(confusion).wf1 for confusion in confusions], np.sum(confusions, axis=0)
    interval = interval_text(predictions.references, hypotheses[None], predictions.speakers)
    line = result_line(pooled, f"CI95 {interval}, pooled over {len(folds)} folds, mean of folds {np.mean(each):.2f} "
                       f"from {min(each):.2f} to {max(each):.2f}", load_config(f"{directory}/{folds[0]}"), directory)
    write_text(f"{directory}/RESULT", line)
    return scores_of(pooled), float(np.mean(each))


def make_row(system, experiment):
    """Write the RESULT of each seed of a system; return its cells under HEADING."""
    directories, folds = experiment.directories(system), experiment.folds
    predictions = read_predictions(directories, folds, experiment.data)
    runs = [pool(directory, predictions, number, folds) for number, directory in enumerate(directories)]
    cells = [[scores.wf1 for scores, _ in runs], [mean for _, mean in runs], [scores.ua for scores, _ in runs],
             [scores.wa for scores, _ in runs]]
    wf1, *others = map(mean_and_spread, cells)
    interval = interval_text(predictions.references, predictions.hypotheses, predictions.speakers)
    return [system.name, system.backbone, system.method, wf1, interval, *others]


def make_table_3(rows):
    """The paper's Table 3 and, below it, this run of PROPOSED when it is among the rows of the table of systems."""
    this_run = [[name, wf1, f"this run, WF1 pooled, CI95 {interval}"]
                for name, _, _, wf1, interval, *_ in rows if name == PROPOSED]
    published = [[model, figure, "that paper's own number, on its own protocol"] for model, figure in TABLE_3.items()]
    proposed = ["Proposed", TABLE_2[PROPOSED], "the number of the paper that this recipe follows"]
    return f"\nTable 3 of the paper\n\n{as_table([['model', 'F1', 'whose figure'], *published, proposed, *this_run])}"


def main():
    parser = OptionParser(__doc__, 'local/results/make_results.py --systems "vgg5_baseline vgg5_ad" data/iemocap exp')
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args())
    rows = [make_row(system, experiment) for system in experiment.systems]
    heading, table_3 = HEADING, ""
    if is_the_papers(experiment.dataset):
        table_3 = make_table_3(rows)
        heading, rows = [*HEADING, "paper, Table 2"], [[*row, TABLE_2.get(row[0], "")] for row in rows]
    write_text(f"{experiment.exp}/RESULTS",
               f"{experiment.title}\n{as_table([heading, *rows])}{table_3}\n{DEFINITION}")
    print(f"make_results.py: made {experiment.exp}/RESULTS")


if __name__ == "__main__":
    run(main)

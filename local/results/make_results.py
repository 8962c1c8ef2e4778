#!/usr/bin/env python3
"""Pool the folds of each system, and put the systems into one table.

Writes EXP/SYSTEM/RESULT (pooled over the folds, and their mean) for each seed, and EXP/RESULTS; the same as data in
results.json beside each. On the paper's data the published figures are in the table, and the paper's Table 3 below it;
on other data they are left out.
"""

import recipe_environment

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from local.experiment.experiment import Experiment, Setting, add_experiment_options, open_experiment
from local.experiment.systems import System
from local.results.blocks import Block, as_text
from local.results.families import describe_family, family_of
from local.results.predictions import Predictions, read_predictions
from local.results.published import PROPOSED, TABLE_2, TABLE_3, is_the_papers
from local.results.same_origin import checked_setting
from local.results.tables import mean_and_spread
from options import OptionParser, run
from ser.base.files import write_text
from ser.infer.results_file import NAME, Choices, Counts, result_line, write_results
from ser.stats.metrics import confusion_matrix
from ser.stats.significance import MIN_SPEAKERS, RANDOM_SEED, RESAMPLES, score_interval, speaker_score_interval

HEADING = ["system", "backbone", "method", "WF1 pooled", "CI95", "CI95 speakers", "WF1 folds", "UA", "WA"]
SPARE = (1, 2)  # on a telephone the name of the system says them
DEFINITION = ("""\
WF1 is the F1 of each class weighted by its share of the utterances (scikit-learn's average='weighted'), UA the mean
recall of the classes, WA the share of correct utterances, all in percent. 'pooled' scores the test utterances of all
folds together, 'folds' is the mean over the folds; every test speaker is unseen, and the epoch of a network is picked
on another speaker or is the last (select, in its result lines). With several seeds: mean and standard
deviation.""", f"""\
CI95 is a 95 % interval of the pooled WF1: percentiles of {RESAMPLES} bootstrap resamples, random seed {RANDOM_SEED}.
Resampled are utterances, with replacement within each speaker, so that every speaker keeps the same number of them. An
utterance is drawn with its predictions of all seeds, and a resample is scored as the mean over the seeds. It says how
the figure of these trained models would vary with other utterances of the same speakers, NOT with other speakers.""",
f"""\
CI95 speakers says that: speakers are drawn, each with all utterances; - stands for fewer than {MIN_SPEAKERS} speakers.
The intervals of two systems may overlap and one still be the better: CLAIMS compares them on the same speakers.""")


@dataclass(frozen=True)
class FoldScore:
    """Weighted F1 of a fold in percent, and the checksum of the data that it was trained on."""

    wf1: float
    data_stamp: str


@dataclass(frozen=True)
class PooledResults:
    """results.json of one system and seed: the test utterances of all folds together.

    Attributes
    ----------
    trained : Choices
    pooled : Counts
    interval : list of float
        Both ends of the 95 % interval of the pooled weighted F1.
    folds : dict of str to FoldScore
    mean_of_folds : float
        Of their weighted F1.
    """

    trained: Choices
    pooled: Counts
    interval: list[float]
    folds: dict[str, FoldScore]
    mean_of_folds: float


@dataclass(frozen=True)
class SystemResults:
    """A row of the table; lists of figures have one for each seed.

    Attributes
    ----------
    system, backbone, method : str
    family : str
        What systems with the same backbone and configuration are called; empty of one without a network.
    options : dict
        What was trained: the options of its results.json, pre-training, precision and device.
    wf1, wf1_folds, ua, wa : list of float
        Pooled weighted F1, its mean over the folds, pooled UA and WA, in percent.
    interval : list of float
        Both ends of the 95 % interval of the mean of `wf1`, for other utterances of the same speakers.
    interval_speakers : list of float or None
        The same for other speakers; None for fewer than MIN_SPEAKERS.
    """

    system: str
    backbone: str
    method: str
    family: str
    options: dict[str, Any]
    wf1: list[float]
    interval: list[float]
    interval_speakers: list[float] | None
    wf1_folds: list[float]
    ua: list[float]
    wa: list[float]


@dataclass(frozen=True)
class ResultsTable:
    """results.json beside RESULTS; `utterances` has the number of test utterances of each class."""

    setting: Setting
    utterances: dict[str, int]
    systems: list[SystemResults]


def interval_text(interval: list[float]) -> str:
    low, high = interval
    return f"{low:.1f}-{high:.1f}"


def pool(predictions: Predictions, number: int, folds: list[str]) -> PooledResults:
    """Pool the folds of one system and seed, row `number` of the predictions."""
    classes = predictions.classes
    results = predictions.results[number]
    references = predictions.references
    hypotheses = predictions.hypotheses[number]
    confusions = [confusion_matrix(references[part], hypotheses[part], len(classes))
                  for part in (predictions.folds == fold for fold in folds)]
    wf1_of_folds = [Counts.of(confusion, classes).scores.wf1 for confusion in confusions]
    devices = sorted({of_fold.trained.device for of_fold in results.values()})
    return PooledResults(
        trained=replace(results[folds[0]].trained, device="+".join(devices)),
        pooled=Counts.of(np.sum(confusions, axis=0), classes),
        interval=list(score_interval(references, hypotheses[None], predictions.speakers)),
        folds={fold: FoldScore(wf1, results[fold].data_stamp) for fold, wf1 in zip(folds, wf1_of_folds, strict=True)},
        mean_of_folds=float(np.mean(wf1_of_folds)))


def write_pooled(directory: str, results: PooledResults) -> None:
    """Write results.json and RESULT of one system and seed."""
    write_results(Path(directory) / NAME, results)
    of_folds = [fold.wf1 for fold in results.folds.values()]
    what = (f"CI95 {interval_text(results.interval)}, pooled over {len(of_folds)} folds, mean of folds "
            f"{results.mean_of_folds:.2f} from {min(of_folds):.2f} to {max(of_folds):.2f}")
    write_text(Path(directory) / "RESULT", result_line(results.pooled.scores, what, results.trained, directory))


def what_was_trained(trained: Choices) -> dict[str, Any]:
    """The options of a system that tell it from others of its backbone, by name."""
    start = trained.pretraining
    pretraining = "none"
    if start:
        pretraining = f"{start['dataset']} {start['num_speakers']} spk {start.get('options_digest', '')}".strip()
    options = {name: value for name, value in trained.options.items() if name != "backbone"}
    return {"pretraining": pretraining, **options, "precision": trained.precision, "device": trained.device}


def gather(system: System, experiment: Experiment) -> tuple[SystemResults, dict[str, int]]:
    """Write the results of each seed of a system; return its row of the table, and its test utterances by class."""
    directories = experiment.directories(system)
    predictions = read_predictions([directories], experiment.folds, experiment.data)
    runs = [pool(predictions, number, experiment.folds) for number in range(len(directories))]
    for directory, pooled in zip(directories, runs, strict=True):
        write_pooled(directory, pooled)
    scored = predictions.references, predictions.hypotheses, predictions.speakers
    results = SystemResults(
        system.name, system.backbone, system.method, family_of(system), what_was_trained(runs[0].trained),
        wf1=[each.pooled.scores.wf1 for each in runs], interval=list(score_interval(*scored)),
        interval_speakers=speaker_score_interval(*scored),
        wf1_folds=[each.mean_of_folds for each in runs], ua=[each.pooled.scores.ua for each in runs],
        wa=[each.pooled.scores.wa for each in runs])
    return results, {name: scores.utterances for name, scores in runs[0].pooled.by_class.items()}


def row_of(results: SystemResults) -> list[str]:
    """The cells of a system under HEADING."""
    of_speakers = "-" if results.interval_speakers is None else interval_text(results.interval_speakers)
    return [results.system, results.backbone, results.method, mean_and_spread(results.wf1),
            interval_text(results.interval), of_speakers,
            *map(mean_and_spread, (results.wf1_folds, results.ua, results.wa))]


def family_block(systems: list[SystemResults]) -> list[Block]:
    """In what the rows of each family differ; no block when each is of another."""
    families: dict[str, dict[str, dict[str, Any]]] = {}
    for each in systems:
        families.setdefault(each.family, {})[each.system] = each.options
    lines = [describe_family(family, options) for family, options in families.items() if family and len(options) > 1]
    return [Block("list", lines)] if lines else []


def table_3(systems: list[SystemResults]) -> Block:
    """The paper's Table 3 and, below it, this run of PROPOSED when it is among the systems."""
    rows = [["model", "F1", "whose figure"]]
    rows += [[model, figure, "that paper's own number, on its own protocol"] for model, figure in TABLE_3.items()]
    rows += [["Proposed", TABLE_2[PROPOSED], "the number of the paper that this recipe follows"]]
    rows += [[each.system, mean_and_spread(each.wf1), f"this run, WF1 pooled, CI95 {interval_text(each.interval)}"]
             for each in systems if each.system == PROPOSED]
    return Block.table(rows)


def blocks_of(table: ResultsTable) -> list[Block]:
    """What RESULTS says, for its text and for the report."""
    heading, rows = HEADING, [row_of(each) for each in table.systems]
    of_the_paper: list[Block] = []
    if is_the_papers(table.setting.dataset):
        heading = [*HEADING, "paper, Table 2"]
        rows = [[*row, TABLE_2.get(each.system, "")] for row, each in zip(rows, table.systems, strict=True)]
        of_the_paper = [Block.paragraph("Table 3 of the paper"), table_3(table.systems)]
    return [*family_block(table.systems), Block.table([heading, *rows], spare_columns=SPARE), *of_the_paper,
            Block.paragraph(*DEFINITION)]


def main() -> None:
    parser = OptionParser(__doc__, 'local/results/make_results.py --systems "vgg5_baseline vgg5_ad" data/iemocap exp')
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args())
    setting = checked_setting(experiment)
    rows = [gather(system, experiment) for system in experiment.systems]
    table = ResultsTable(setting, utterances=rows[0][1], systems=[results for results, _ in rows])
    write_results(f"{experiment.exp}/{NAME}", table)
    write_text(f"{experiment.exp}/RESULTS", as_text(table.setting, blocks_of(table)))
    print(f"make_results.py: made {experiment.exp}/RESULTS")


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Put the scores of models on other corpora beside those of the corpora's own models.

Reads CROSS/plan.json and the scores that it names (local/experiment/plan_cross.py, steps/score_cross.py); writes
CROSS/CROSS, the same as data in cross.json, a matrix of weighted F1 for each system in cross.svg, and all of it in
report.html.
"""

import recipe_environment

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from local.experiment.cross import Corpus, CrossPlan, Pair, left_out_words, read_plan
from local.experiment.experiment import Experiment
from local.results.blocks import Block, Section, as_text
from local.results.compare import (
    compare,
    details_text,
    difference_text,
    p_over_seeds,
    p_text,
    speakers_text,
)
from local.results.cross_matrix import draw
from local.results.cross_scores import read_cross, read_within
from local.results.families import family_of, find_pairs
from local.results.make_claims import Claim
from local.results.make_report import render
from local.results.make_results import interval_text
from local.results.make_wf1 import chance_wf1, majority_wf1
from local.results.pictures import read_picture
from local.results.predictions import read_predictions
from local.results.report_making import command_blocks
from local.results.same_origin import require_one_origin
from local.results.tables import mean_and_spread
from options import OptionParser, run
from ser.analysis.figures import save
from ser.base.files import write_text
from ser.base.log import counted
from ser.infer.results_file import write_results
from ser.stats.metrics import confusion_matrix, scores_of
from ser.stats.significance import MIN_SPEAKERS, holm, score_interval, speaker_score_interval

HEADING = ["trained on", "scored on", "system", "WF1", "CI95", "CI95 speakers", "UA", "WA", "averaged", "own WF1",
           "own CI95", "own CI95 speakers"]
SPARE = (6, 7, 8)
DEFINITION = ("""\
WF1, UA and WA are those of RESULTS. The models of all folds of a system score every utterance of the other corpus, for
none of them has met its speakers; the figure is the mean over these models, each by itself, as the figures of RESULTS
are of single models, too. With several seeds: mean and standard deviation. 'averaged' is of the mean probabilities of
a seed's models, as steps/predict.py makes them of the system's directory; beside 'own' it is no fair comparison.""",
"""\
'own' is of the scored corpus's own models, each on the test speakers of its fold: the same utterances and classes.
Where a class is left out, the most probable of the classes that both corpora have is the hypothesis, in both.""", f"""\
CI95 is a 95 % interval: percentiles of bootstrap resamples of the utterances of each speaker, all models together; CI95
speakers resamples speakers, and is - for fewer than {MIN_SPEAKERS}. Both take the trained models as they are, so how
much chance does to a training is not in them, nor is another corpus.""")
COMPARED = """\
Compared is the mean weighted F1 of the models on the same utterances; local/results/compare.py --help says how. The
same models score all speakers, so what chance does to a training is not in p over speakers; p over seeds, Student's t
of the differences of the seeds, says that, and is 1 for a single seed. Clear is a difference of which the larger of
both is below 0.05, adjusted for the number of comparisons of this file (Holm)."""


@dataclass(frozen=True)
class CrossScores:
    """A row of the table; lists of figures have one for each seed.

    Attributes
    ----------
    trained_on, scored_on, system : str
    wf1, ua, wa : list of float
        Mean over the models of a seed, in percent.
    interval : list of float
        Both ends of the 95 % interval of the mean of `wf1`, for other utterances of the same speakers.
    interval_speakers : list of float or None
        The same for other speakers; None for fewer than MIN_SPEAKERS.
    wf1_averaged : list of float
        Of the mean probabilities of a seed's models.
    own_wf1, own_interval, own_interval_speakers
        Of the scored corpus's own models on the same utterances.
    """

    trained_on: str
    scored_on: str
    system: str
    wf1: list[float]
    ua: list[float]
    wa: list[float]
    interval: list[float]
    interval_speakers: list[float] | None
    wf1_averaged: list[float]
    own_wf1: list[float]
    own_interval: list[float]
    own_interval_speakers: list[float] | None


@dataclass(frozen=True)
class WithinScores:
    """A system on the corpus that it learned from, all of its classes: the diagonal of the matrix."""

    corpus: str
    system: str
    wf1: list[float]
    interval: list[float]


@dataclass(frozen=True)
class CrossClaim:
    """A comparison of two systems that were trained on one corpus and scored on another.

    Attributes
    ----------
    trained_on, scored_on : str
    claim : Claim
        Its adjusted p is of the larger one of those over speakers and over seeds.
    p_seeds : float
        That other trainings would give no difference; 1 for a single seed.
    """

    trained_on: str
    scored_on: str
    claim: Claim
    p_seeds: float

    @property
    def sentence(self) -> str:
        """The answer with its figures."""
        claim = self.claim
        return (f"{self.trained_on} on {self.scored_on}: {claim.verdict}: "
                f"{difference_text(claim.first, claim.second, claim.comparison)}; {speakers_text(claim.comparison)}; "
                f"over seeds {p_text(self.p_seeds)}; both, adjusted {p_text(claim.p_adjusted)}; "
                f"{details_text(claim.comparison)}.")


@dataclass(frozen=True)
class CrossTable:
    """cross.json"""

    plan: CrossPlan
    scores: list[CrossScores]
    within: list[WithinScores]
    claims: list[CrossClaim]

    @property
    def heading(self) -> str:
        return self.plan.heading

    @property
    def warning(self) -> str | None:
        return self.plan.warning


def score_rows(references: np.ndarray, hypotheses: np.ndarray, num_seeds: int,
               num_classes: int) -> dict[str, list[float]]:
    """wf1, ua and wa of each seed, as the mean over its rows of `hypotheses` `[seeds * models, utterances]`."""
    scores = [scores_of(confusion_matrix(references, row, num_classes)) for row in hypotheses]
    return {name: np.reshape([getattr(each, name) for each in scores], (num_seeds, -1)).mean(1).tolist()
            for name in ("wf1", "ua", "wa")}


def score_pair(pair: Pair, scored: Experiment, plan: CrossPlan,
               exp: Path) -> tuple[list[CrossScores], list[CrossClaim]]:
    """The rows of a pair, a system each, and what their differences say; p is not yet adjusted."""
    rows = []
    hypotheses: dict[str, np.ndarray] = {}
    for system in scored.systems:
        predictions = read_cross(pair, system, plan.seeds, exp)
        own = read_within(pair, scored, system, predictions.utterances)
        references, speakers = predictions.references, predictions.speakers
        hypotheses[system.name] = said = predictions.hypotheses
        shape = len(plan.seeds), len(pair.classes)
        rows.append(CrossScores(
            pair.trained_on, pair.scored_on, system.name, **score_rows(references, said, *shape),
            interval=list(score_interval(references, said, speakers)),
            interval_speakers=speaker_score_interval(references, said, speakers),
            wf1_averaged=score_rows(references, predictions.averaged, *shape)["wf1"],
            own_wf1=score_rows(references, own, *shape)["wf1"],
            own_interval=list(score_interval(references, own, speakers)),
            own_interval_speakers=speaker_score_interval(references, own, speakers)))
    claims = []
    for two in find_pairs(scored.systems):
        result = compare(references, hypotheses[two.system.name], hypotheses[two.base.name], speakers, len(plan.seeds))
        p_seeds = p_over_seeds(result.by_seed)
        claim = Claim(two.question, family_of(two.system), two.system.name, two.base.name, 1, result,
                      p_adjusted=max(result.p_speakers, p_seeds))
        claims.append(CrossClaim(pair.trained_on, pair.scored_on, claim, p_seeds))
    return rows, claims


def score_within(corpus: Corpus, experiment: Experiment) -> Iterator[WithinScores]:
    """Yield the figures of RESULTS of each system."""
    for system in experiment.systems:
        own = read_predictions([experiment.directories(system)], experiment.folds, experiment.data)
        scores = score_rows(own.references, own.hypotheses, len(experiment.seeds), len(own.classes))
        yield WithinScores(corpus.name, system.name, scores["wf1"],
                           list(score_interval(own.references, own.hypotheses, own.speakers)))


def gather(plan: CrossPlan, exp: Path) -> CrossTable:
    """All figures; raises UserError when a score is missing, or models of one experiment are of different origin."""
    experiments = {corpus.name: corpus.experiment(plan.systems, plan.seeds) for corpus in plan.corpora}
    for experiment in experiments.values():
        require_one_origin(experiment)
    scores: list[CrossScores] = []
    claims: list[CrossClaim] = []
    for pair in plan.pairs:
        rows, of_pair = score_pair(pair, experiments[pair.scored_on], plan, exp)
        scores += rows
        claims += of_pair
    adjusted = holm([each.claim.p_adjusted for each in claims])
    claims = [replace(each, claim=replace(each.claim, p_adjusted=float(p)))
              for each, p in zip(claims, adjusted, strict=True)]
    within = [row for corpus in plan.corpora for row in score_within(corpus, experiments[corpus.name])]
    return CrossTable(plan, scores, within, claims)


def row_of(row: CrossScores) -> list[str]:
    """The cells of a row under HEADING."""
    def of_speakers(interval: list[float] | None) -> str:
        return "-" if interval is None else interval_text(interval)

    return [row.trained_on, row.scored_on, row.system, mean_and_spread(row.wf1), interval_text(row.interval),
            of_speakers(row.interval_speakers), *map(mean_and_spread, (row.ua, row.wa, row.wf1_averaged, row.own_wf1)),
            interval_text(row.own_interval), of_speakers(row.own_interval_speakers)]


def pair_words(pair: Pair) -> str:
    """What a pair is scored on, and what is left out of it."""
    classes = ", ".join(f"{name} {count}" for name, count in pair.utterances.items())
    left_out = "".join(f"; {words}" for words in left_out_words(pair))
    return (f"{pair.name}: {counted(sum(pair.utterances.values()), 'utterance')} ({classes}){left_out}. Guessing each "
            f"class equally often has a WF1 of {chance_wf1(pair.utterances):.1f}, always the most frequent one "
            f"{majority_wf1(pair.utterances):.1f}.")


def blocks_of(table: CrossTable) -> list[Block]:
    """What CROSS says, for its text and for the page."""
    blocks = [Block.table([HEADING, *map(row_of, table.scores)], spare_columns=SPARE),
              Block("list", [pair_words(pair) for pair in table.plan.pairs])]
    if table.claims:
        blocks += [Block("list", [each.sentence for each in table.claims]), Block.paragraph(COMPARED)]
    return [*blocks, Block.paragraph(*DEFINITION)]


def page_sections(table: CrossTable, exp: Path) -> list[Section]:
    """The sections of report.html."""
    picture = Block("picture", [read_picture(exp / "cross.svg", "run ./run.sh --cross again")],
                    "Weighted F1 of each system, of models trained on the corpus of the row, on utterances of the "
                    "corpus of the column, with the 95 % interval for other utterances of the same speakers. In the "
                    "diagonal each fold's model scores the speakers that it has not met.")
    experiments = Block.table([["name", "dataset", "protocol", "models", "data"],
                               *([corpus.name, corpus.dataset, corpus.protocol, corpus.exp, corpus.data]
                                 for corpus in table.plan.corpora)])
    return [Section("Across corpora", [picture, *blocks_of(table)]),
            Section("How it was made", [Block("heading", ["Commands"]), *command_blocks(str(exp)),
                                        Block("heading", ["Experiments"]), experiments])]


def matrices(table: CrossTable) -> dict[str, dict[tuple[str, str], tuple[float, list[float]]]]:
    """`{system: {(trained on, scored on): (weighted F1, its interval)}}`, the diagonal included."""
    cells: dict[str, dict[tuple[str, str], tuple[float, list[float]]]] = {name: {} for name in table.plan.systems}
    for row in table.scores:
        cells[row.system][row.trained_on, row.scored_on] = statistics.fmean(row.wf1), row.interval
    for own in table.within:
        cells[own.system][own.corpus, own.corpus] = statistics.fmean(own.wf1), own.interval
    return cells


def main() -> None:
    parser = OptionParser(__doc__, "local/results/make_cross.py exp/cross")
    parser.add_argument("cross_dir", metavar="CROSS", type=Path, help="folder with plan.json and the scores")
    exp = parser.parse_args().cross_dir
    table = gather(read_plan(exp), exp)
    write_results(exp / "cross.json", table)
    save(draw(matrices(table), [corpus.name for corpus in table.plan.corpora], bool(table.warning)), exp / "cross.svg")
    write_text(exp / "CROSS", as_text(table, blocks_of(table)))
    write_text(exp / "report.html", render(table, page_sections(table, exp)))
    print(f"make_cross.py: made {exp}/CROSS, cross.json, cross.svg and report.html")


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Say what an experiment answers: EXP/CLAIMS, a sentence for each comparison; as data EXP/claims.json.

Compared are, as local/results/compare.py does it,

- two networks that differ in one option of conf/systems.conf: what pre-training does, what AD does, and what any other
  option does that a line of your own has;
- the best network of each backbone and configuration with each system that has no network.

Since several comparisons are made at once, the p over speakers is also given as adjusted for that (Holm 1979).
"""

import recipe_environment

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from local.experiment.experiment import Experiment, Setting, add_experiment_options, open_experiment
from local.experiment.systems import System
from local.results.blocks import Block, as_text
from local.results.compare import (
    Comparison,
    compare,
    details_text,
    difference_text,
    p_text,
    range_text,
    speakers_text,
)
from local.results.families import families_in, family_of, find_pairs, is_network
from local.results.predictions import read_predictions
from local.results.same_origin import checked_setting
from local.results.tables import counted
from options import OptionParser, run
from ser.base.files import write_text
from ser.infer.results_file import write_results
from ser.stats.significance import MIN_SPEAKERS, holm, mean_weighted_f1

NOTHING = """\
No two of these systems differ in one option alone, and none is without a network: there is nothing to compare."""
DEFINITION = f"""\
Compared is the weighted F1 pooled over the folds, as its mean over the seeds, on the same utterances;
local/results/compare.py --help says how. Clear is a difference whose adjusted p over speakers is below 0.05: adjusted
for the number of comparisons of this file (Holm). With fewer than {MIN_SPEAKERS} speakers none can be."""


@dataclass(frozen=True)
class Claim:
    """A comparison of two systems, and what it says something of.

    Attributes
    ----------
    question : str
        Pre-training, AD or an option; of a comparison with a system that has no network the name of that system.
    family : str
        Backbone and configuration of the network.
    first, second : str
        The systems.
    chosen_of : int
        Of how many networks the first is the best by the very scores that are compared; 1 when nothing was chosen.
    comparison : Comparison
    p_adjusted : float
        p over speakers, adjusted for the number of claims.
    """

    question: str
    family: str
    first: str
    second: str
    chosen_of: int
    comparison: Comparison
    p_adjusted: float

    @property
    def is_clear(self) -> bool:
        return self.comparison.interval_speakers is not None and self.p_adjusted < 0.05

    @property
    def verdict(self) -> str:
        """The answer in a few words."""
        is_better = self.comparison.difference > 0
        if self.question != self.second:  # two networks
            if not self.is_clear:
                return f"{self.question} makes no clear difference to {self.family}"
            return f"{self.question} {'helps' if is_better else 'harms'} {self.family}"
        who = self.first
        if self.chosen_of > 1:
            who += f", of {self.chosen_of} networks of {self.family} the best by these scores,"
        if self.is_clear:
            return f"{who} {'beats' if is_better else 'LOSES to'} {self.second}"
        return f"{who} {'does not clearly beat' if is_better else 'DOES NOT BEAT'} {self.second}"

    @property
    def headline(self) -> str:
        """The answer with its figures in a line or two."""
        result = self.comparison
        over_speakers = f"{counted(len(result.by_speaker), 'speaker')}, too few for a test"
        if result.interval_speakers:
            over_speakers = f"95 % interval {range_text(result.interval_speakers)}, adjusted {p_text(self.p_adjusted)}"
        return f"{self.verdict}: {result.difference:+.2f} points of weighted F1, {over_speakers}."

    @property
    def sentence(self) -> str:
        """The answer, with all that local/results/compare.py says."""
        result = self.comparison
        adjusted = f", adjusted {p_text(self.p_adjusted)}" if result.interval_speakers else ""
        return (f"{self.verdict}: {difference_text(self.first, self.second, result)}; "
                f"{speakers_text(result)}{adjusted}; {details_text(result)}.")


@dataclass(frozen=True)
class ClaimsTable:
    """claims.json"""

    setting: Setting
    claims: list[Claim]


def compare_systems(experiment: Experiment) -> Iterator[Claim]:
    """Yield each claim; p is not yet adjusted."""
    systems = experiment.systems
    predictions = read_predictions([experiment.directories(system) for system in systems], experiment.folds,
                                   experiment.data)
    of_systems = np.split(predictions.hypotheses, len(systems))
    hypotheses = {system.name: rows for system, rows in zip(systems, of_systems, strict=True)}

    def claim(question: str, family: str, first: System, second: System, chosen_of: int = 1) -> Claim:
        result = compare(predictions.references, hypotheses[first.name], hypotheses[second.name], predictions.speakers)
        return Claim(question, family, first.name, second.name, chosen_of, result, result.p_speakers)

    for pair in find_pairs(systems):
        yield claim(pair.question, family_of(pair.system), pair.system, pair.base)
    wf1 = {name: mean_weighted_f1(predictions.references, rows) for name, rows in hypotheses.items()}
    for opponent in (system for system in systems if not is_network(system)):
        for family, networks in families_in(systems).items():
            best = max(networks, key=lambda system: wf1[system.name])
            yield claim(opponent.name, family, best, opponent, len(networks))


def blocks_of(table: ClaimsTable) -> list[Block]:
    """What CLAIMS says."""
    if not table.claims:
        return [Block.paragraph(NOTHING)]
    return [Block("list", [claim.sentence for claim in table.claims]), Block.paragraph(DEFINITION)]


def page_blocks_of(table: ClaimsTable) -> list[Block]:
    """The same for the report: the answers, and the rest when it is asked for."""
    if not table.claims:
        return blocks_of(table)
    return [Block("list", [claim.headline for claim in table.claims]),
            Block("details", blocks_of(table), "Each comparison in full")]


def main() -> None:
    parser = OptionParser(__doc__, 'local/results/make_claims.py --systems "vgg5_baseline vgg5_ad" data/iemocap exp')
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args())
    setting = checked_setting(experiment)
    claims = list(compare_systems(experiment))
    adjusted = holm([claim.p_adjusted for claim in claims])
    claims = [replace(claim, p_adjusted=float(p)) for claim, p in zip(claims, adjusted, strict=True)]
    table = ClaimsTable(setting, claims)
    write_results(f"{experiment.exp}/claims.json", table)
    write_text(f"{experiment.exp}/CLAIMS", as_text(table.setting, blocks_of(table)))
    print(f"make_claims.py: made {experiment.exp}/CLAIMS with {counted(len(claims), 'comparison')}")


if __name__ == "__main__":
    run(main)

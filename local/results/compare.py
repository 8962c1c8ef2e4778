#!/usr/bin/env python3
"""Say in one sentence how much better one system is than another, and how far that can be trusted.

    local/results/compare.py --seeds "0 1 2" vgg5_ad vgg5_baseline exp

Compared is the weighted F1 pooled over the folds, as its mean over the seeds, on the same utterances, in two ways:

over speakers    what other speakers would give. Interval: speakers drawn anew, each with all utterances (bootstrap;
                 percentiles as far out as few speakers call for). p: the two systems' predictions of a speaker, of all
                 utterances and seeds together, are exchanged with probability 1/2 (approximate randomization). It is
                 exact for up to 13 speakers, and of n speakers never below 2 / 2^n
over utterances  what other utterances of the same speakers would give, NOT other speakers. Interval: utterances drawn
                 anew within each speaker. p: the predictions of an utterance, of all seeds together, are exchanged. It
                 takes utterances as independent, and those of one speaker are not

Both take the trained models as they are. Speakers of different folds are scored by different trainings, so what chance
does to a training is part of how much speakers differ; what all folds of a seed share, such as the pre-trained
extractor, is not, and that is what several seeds show.
"""

import recipe_environment

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from local.experiment.experiment import parse_seeds, seed_words
from local.experiment.systems import System, find_systems
from local.results.predictions import read_predictions
from local.results.tables import counted
from options import OptionParser, run
from ser.base.errors import UserError
from ser.data.data_dir import is_synthetic, read_dataset, read_list
from ser.model_dir.checkpoint import load_config
from ser.stats import significance


@dataclass(frozen=True)
class Comparison:
    """The first system minus the second, in points of weighted F1.

    Attributes
    ----------
    difference : float
    interval_utterances : list of float
        Both ends of its 95 % interval for other utterances of these speakers.
    interval_speakers : list of float or None
        The same for other speakers; None for fewer than MIN_SPEAKERS.
    p_utterances, p_speakers : float
    by_speaker : dict of str to float
    by_seed : list of float
    num_utterances : int
    """

    difference: float
    interval_utterances: list[float]
    interval_speakers: list[float] | None
    p_utterances: float
    p_speakers: float
    by_speaker: dict[str, float]
    by_seed: list[float]
    num_utterances: int

    @property
    def better_speakers(self) -> int:
        """Of how many speakers the first system is the better one."""
        return sum(difference > 0 for difference in self.by_speaker.values())


def compare(references: np.ndarray, first: np.ndarray, second: np.ndarray, speakers: np.ndarray) -> Comparison:
    """Compare hypotheses `[seeds, utterances]` of two systems; see ser.stats.significance."""
    def difference(seeds: Any = slice(None), utterances: Any = slice(None)) -> float:
        of_first = significance.mean_weighted_f1(references[utterances], first[seeds, utterances])
        of_second = significance.mean_weighted_f1(references[utterances], second[seeds, utterances])
        return of_first - of_second

    by_speaker = {str(speaker): difference(utterances=speakers == speaker) for speaker in np.unique(speakers)}
    by_seed = [difference(seeds=[number]) for number in range(len(first))]
    return Comparison(difference=difference(),
                      interval_utterances=list(significance.difference_interval(references, first, second, speakers)),
                      interval_speakers=significance.speaker_difference_interval(references, first, second, speakers),
                      p_utterances=significance.exchange_test(references, first, second),
                      p_speakers=significance.exchange_test(references, first, second, speakers),
                      by_speaker=by_speaker, by_seed=by_seed, num_utterances=len(references))


def p_text(p: float) -> str:
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def range_text(interval: list[float]) -> str:
    low, high = interval
    return f"{low:.2f} to {high:.2f}"


def difference_text(first: str, second: str, result: Comparison) -> str:
    """How far the first system is above or below the second."""
    points = f"{abs(result.difference):.2f} points of weighted F1"
    where = f"{points} above" if result.difference > 0 else f"{points} below" if result.difference else "level with"
    return f"{first} is {where} {second}"


def speakers_text(result: Comparison) -> str:
    """What holds over speakers."""
    if result.interval_speakers is None:
        return f"{counted(len(result.by_speaker), 'speaker')}, too few for a test over speakers"
    return f"over speakers 95 % interval {range_text(result.interval_speakers)}, {p_text(result.p_speakers)}"


def details_text(result: Comparison) -> str:
    """What else is known of a difference: over utterances, and of how many speakers and seeds it is so."""
    seeds = ""
    if len(result.by_seed) > 1:
        better = sum(difference > 0 for difference in result.by_seed)
        seeds = (f", and in {better} of {len(result.by_seed)} seeds "
                 f"({min(result.by_seed):+.2f} to {max(result.by_seed):+.2f})")
    return (f"over utterances 95 % interval {range_text(result.interval_utterances)}, {p_text(result.p_utterances)}; "
            f"better for {result.better_speakers} of {counted(len(result.by_speaker), 'speaker')}{seeds}")


def sentence(first: str, second: str, dataset: str, seeds: list[int], result: Comparison) -> str:
    """Put a Comparison into words."""
    warning = ", a SYNTHETIC corpus that says nothing about speech" if is_synthetic(dataset) else ""
    verdict = ""
    if result.interval_speakers is not None:
        verdict = f" Over speakers this is {'' if result.p_speakers < 0.05 else 'not '}significant at 5 %."
    return (f"{difference_text(first, second, result)} on {dataset}{warning} ({seed_words(seeds)}, "
            f"{counted(result.num_utterances, 'utterance')} of {counted(len(result.by_speaker), 'speaker')}): "
            f"{speakers_text(result)}; {details_text(result)}.{verdict}")


def seeds_of(system: System, exp: str) -> list[int]:
    """The seeds that a system has a directory of, in order."""
    names = [path.name for path in Path(exp).glob(f"{system.name}*") if path.is_dir()]
    found = [re.fullmatch(rf"{re.escape(system.name)}(?:_seed(\d+))?", name) for name in names]
    return sorted(int(match[1] or 0) for match in found if match)


def choose_seeds(words: str | None, systems: list[System], exp: str) -> list[int]:
    """The seeds to compare: those named, or all that both systems have; raises UserError."""
    if words is not None:
        return sorted(map(int, parse_seeds(words)))
    seeds_by_system = {system.name: seeds_of(system, exp) for system in systems}
    common = sorted(set.intersection(*map(set, seeds_by_system.values())))
    if not common:
        has = ", ".join(f"{name} has {' '.join(map(str, seeds)) or 'none'}" for name, seeds in seeds_by_system.items())
        raise UserError(f"{exp}: no seed of both systems ({has}); run stage 5 with --systems and --seeds")
    return common


def data_of(directory: str) -> str:
    """The data directory that the folds of a system were trained on."""
    configs = sorted(Path(directory).glob("*/config.json"))
    if not configs:
        raise UserError(f"{directory}: holds no trained fold; run stage 5")
    data = load_config(configs[0].parent)["options"]["data_dir"]
    if not Path(data).is_dir():
        raise UserError(f"{data}: no such directory, and {configs[0]} names it; say with --data where it is now")
    return data


def main() -> None:
    parser = OptionParser(__doc__, "local/results/compare.py vgg5_ad vgg5_baseline exp")
    parser.add_argument("--seeds", help="numbers, quoted, separated by spaces (default: all that both systems have)")
    parser.add_argument("--data", metavar="DIR", help="data directory with folds (default: the one trained on)")
    parser.add_argument("first", metavar="SYSTEM_A", help="of conf/systems.conf or conf/ablations.conf")
    parser.add_argument("second", metavar="SYSTEM_B", help="of conf/systems.conf or conf/ablations.conf")
    parser.add_argument("exp", metavar="EXP", nargs="?", default="exp", help="experiment directory (default: exp)")
    args = parser.parse_args()
    systems = find_systems([args.first, args.second])
    seeds = choose_seeds(args.seeds, systems, args.exp)
    directories = [[system.directory(args.exp, seed) for seed in seeds] for system in systems]
    data = args.data or data_of(directories[0][0])
    predictions = read_predictions(directories, read_list(f"{data}/folds/list"), data)
    first, second = np.split(predictions.hypotheses, 2)
    result = compare(predictions.references, first, second, predictions.speakers)
    print(sentence(args.first, args.second, read_dataset(data), seeds, result))


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Say in one sentence how much better one system is than another, and how far that can be trusted.

    local/results/compare.py --seeds "0 1 2" vgg5_ad vgg5_baseline exp

Compared is the weighted F1 pooled over the folds, as its mean over the seeds, on the same utterances:

interval         percentile bootstrap of the difference, utterances drawn within each speaker: other utterances of the
                 same speakers, NOT other speakers
over utterances  approximate randomization: the two systems' predictions of an utterance, of all seeds together, are
                 exchanged with probability 1/2. It takes utterances as independent, and those of one speaker are not
over speakers    the differences of the speakers' own weighted F1; their signs are flipped. Few speakers say little

All of them take the trained models as they are; how much another training changes is what several seeds show.
"""

import recipe_environment

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from local.experiment.experiment import parse_seeds
from local.experiment.systems import System, find_systems
from local.results.predictions import read_predictions
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
    interval : list of float
        Both ends of its 95 % interval.
    p_utterances, p_speakers : float
    by_speaker : dict of str to float
    by_seed : list of float
    num_utterances : int
    """

    difference: float
    interval: list[float]
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
    interval = significance.difference_interval(references, first, second, speakers)
    return Comparison(difference=difference(), interval=list(interval),
                      p_utterances=significance.exchange_test(references, first, second),
                      p_speakers=significance.sign_flip_test(list(by_speaker.values())),
                      by_speaker=by_speaker, by_seed=by_seed, num_utterances=len(references))


def p_text(p: float) -> str:
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def sentence(first: str, second: str, dataset: str, seeds: list[int], result: Comparison) -> str:
    """Put a Comparison into words."""
    num_speakers = len(result.by_speaker)
    points = f"{abs(result.difference):.2f} points of weighted F1"
    where = f"{points} above" if result.difference > 0 else f"{points} below" if result.difference else "level with"
    warning = ", a SYNTHETIC corpus that says nothing about speech" if is_synthetic(dataset) else ""
    numbers = f"seed{'s' if len(seeds) > 1 else ''} {' '.join(map(str, seeds))}"
    low, high = result.interval
    average = np.mean(list(result.by_speaker.values()))
    in_seeds = ""
    if len(seeds) >= 3:
        in_seeds = f", and in {sum(difference > 0 for difference in result.by_seed)} of {len(seeds)} seeds"
    if 2 / 2**num_speakers > 0.05:
        verdict = f"{num_speakers} speakers are too few for a test over speakers to be significant at 5 %."
    else:
        verdict = f"Over speakers this is {'' if result.p_speakers < 0.05 else 'not '}significant at 5 %."
    return (f"{first} is {where} {second} on {dataset}{warning} ({numbers}, {result.num_utterances} utterances of "
            f"{num_speakers} speakers): 95 % interval of the difference {low:.2f} to {high:.2f}, "
            f"{p_text(result.p_utterances)} over utterances; "
            f"better for {result.better_speakers} of {num_speakers} speakers, by {average:.2f} "
            f"on average, {p_text(result.p_speakers)} over speakers{in_seeds}. {verdict}")


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

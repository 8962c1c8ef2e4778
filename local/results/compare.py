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

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from local.experiment.experiment import parse_seeds
from local.experiment.systems import find_systems
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
    interval : tuple of float
    p_utterances : float
    by_speaker : numpy.ndarray
        `[speakers]`
    p_speakers : float
    by_seed : numpy.ndarray
        `[seeds]`
    num_utterances : int
    """

    difference: float
    interval: tuple
    p_utterances: float
    by_speaker: np.ndarray
    p_speakers: float
    by_seed: np.ndarray
    num_utterances: int


def compare(references, first, second, speakers):
    """Compare hypotheses `[seeds, utterances]` of two systems; see ser.stats.significance."""
    def difference(seeds=slice(None), utterances=slice(None)):
        of_first, of_second = (significance.mean_weighted_f1(references[utterances], system[seeds, utterances])
                               for system in (first, second))
        return of_first - of_second

    by_speaker = np.array([difference(utterances=speakers == speaker) for speaker in np.unique(speakers)])
    by_seed = np.array([difference(seeds=[number]) for number in range(len(first))])
    return Comparison(difference(), significance.difference_interval(references, first, second, speakers),
                      significance.exchange_test(references, first, second), by_speaker,
                      significance.sign_flip_test(by_speaker), by_seed, len(references))


def p_text(p):
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def sentence(first, second, dataset, seeds, result):
    """Put a Comparison into words."""
    num_speakers = len(result.by_speaker)
    where = "level with" if not result.difference else (
        f"{abs(result.difference):.2f} points of weighted F1 {'above' if result.difference > 0 else 'below'}")
    warning = ", a SYNTHETIC corpus that says nothing about speech" if is_synthetic(dataset) else ""
    numbers = f"seed{'s' * (len(seeds) > 1)} {' '.join(map(str, seeds))}"
    in_seeds = f", and in {(result.by_seed > 0).sum()} of {len(seeds)} seeds" if len(seeds) >= 3 else ""
    if 2 / 2**num_speakers > 0.05:
        verdict = f"{num_speakers} speakers are too few for a test over speakers to be significant at 5 %."
    else:
        verdict = f"Over speakers this is {'' if result.p_speakers < 0.05 else 'not '}significant at 5 %."
    return (f"{first} is {where} {second} on {dataset}{warning} ({numbers}, {result.num_utterances} utterances of "
            f"{num_speakers} speakers): 95 % interval of the difference {result.interval[0]:.2f} to "
            f"{result.interval[1]:.2f}, {p_text(result.p_utterances)} over utterances; "
            f"better for {(result.by_speaker > 0).sum()} of {num_speakers} speakers, by {result.by_speaker.mean():.2f} "
            f"on average, {p_text(result.p_speakers)} over speakers{in_seeds}. {verdict}")


def seeds_of(system, exp):
    """The seeds that a system has a directory of, in order."""
    names = [path.name for path in Path(exp).glob(f"{system.name}*") if path.is_dir()]
    found = [re.fullmatch(rf"{re.escape(system.name)}(?:_seed(\d+))?", name) for name in names]
    return sorted(int(match[1] or 0) for match in found if match)


def choose_seeds(words, systems, exp):
    """The seeds to compare: those named, or all that both systems have; raises UserError."""
    if words is not None:
        return sorted(map(int, parse_seeds(words)))
    each = [seeds_of(system, exp) for system in systems]
    common = sorted(set.intersection(*map(set, each)))
    if not common:
        has = ", ".join(f"{system.name} has {' '.join(map(str, seeds)) or 'none'}"
                        for system, seeds in zip(systems, each, strict=True))
        raise UserError(f"{exp}: no seed of both systems ({has}); run stage 5 with --systems and --seeds")
    return common


def data_of(directory):
    """The data directory that the folds of a system were trained on."""
    configs = sorted(Path(directory).glob("*/config.json"))
    if not configs:
        raise UserError(f"{directory}: holds no trained fold; run stage 5")
    data = load_config(configs[0].parent)["options"]["data_dir"]
    if not Path(data).is_dir():
        raise UserError(f"{data}: no such directory, and {configs[0]} names it; say with --data where it is now")
    return data


def main():
    parser = OptionParser(__doc__, "local/results/compare.py vgg5_ad vgg5_baseline exp")
    parser.add_argument("--seeds", help="numbers, in one word (default: all that both systems have)")
    parser.add_argument("--data", metavar="DIR", help="data directory with folds (default: the one trained on)")
    parser.add_argument("first", metavar="SYSTEM_A", help="of conf/systems.conf or conf/ablations.conf")
    parser.add_argument("second", metavar="SYSTEM_B", help="of conf/systems.conf or conf/ablations.conf")
    parser.add_argument("exp", metavar="EXP", nargs="?", default="exp", help="experiment directory (default: exp)")
    args = parser.parse_args()
    systems = find_systems([args.first, args.second])
    seeds = choose_seeds(args.seeds, systems, args.exp)
    directories = [system.directory(args.exp, seed) for system in systems for seed in seeds]
    data = args.data or data_of(directories[0])
    predictions = read_predictions(directories, read_list(f"{data}/folds/list"), data)
    result = compare(predictions.references, *np.split(predictions.hypotheses, 2), predictions.speakers)
    print(sentence(args.first, args.second, read_dataset(data), seeds, result))


if __name__ == "__main__":
    run(main)

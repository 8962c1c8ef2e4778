"""What the scripts that read results have in common: some systems and seeds of an experiment directory."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local.experiment.systems import System, find_systems, of_seed
from ser.base.errors import UserError
from ser.base.log import counted
from ser.data.data_dir import is_synthetic, read_dataset, read_list

SYNTHETIC_WARNING = ("The corpora are SYNTHETIC, made as local/mini/emotional_delivery.py says: these figures show "
                     "that the recipe works, and say nothing about speech.")


@dataclass(frozen=True)
class Setting:
    """On what systems were trained and tested, as result files say it.

    Attributes
    ----------
    dataset, protocol : str
        As result lines name them.
    folds, seeds : list of str
    extractors : dict of str to int
        From how many pre-trained models the seeds of a system start, by system; of those alone that start from any,
        and empty where nobody has asked the models.
    pretrained_on : list of str
        Data set and number of speakers of these, in words.
    """

    dataset: str
    protocol: str
    folds: list[str]
    seeds: list[str]
    extractors: dict[str, int] = field(default_factory=dict, kw_only=True)
    pretrained_on: list[str] = field(default_factory=list, kw_only=True)

    @property
    def heading(self) -> str:
        """What was run, in a line: also on what extractors were pre-trained, and whether each seed has its own."""
        counts = sorted(set(self.extractors.values()))
        if not counts:
            extractors = ""
        elif counts == [1]:
            extractors = ", one pre-trained extractor"
        elif counts == [len(self.seeds)]:
            extractors = ", a pre-trained extractor per seed"
        else:
            extractors = f", {' or '.join(map(str, counts))} pre-trained extractors"
        if self.pretrained_on:
            extractors += f" ({' or '.join(self.pretrained_on)})"
        folds = counted(len(self.folds), "fold")
        return f"{self.dataset}, {self.protocol}, {folds}, {seed_words(self.seeds)}{extractors}"

    @property
    def warning(self) -> str | None:
        """What must be said of synthetic corpora."""
        return SYNTHETIC_WARNING if is_synthetic(self.dataset) else None


@dataclass(frozen=True)
class Experiment(Setting):
    """Systems and seeds that were trained on all folds of a data directory.

    Attributes
    ----------
    exp, data : str
        Experiment directory, data directory.
    systems : list of System
    """

    exp: str
    data: str
    systems: list[System]

    @property
    def networks(self) -> list[System]:
        """The systems that have epochs, weights and spaces to look at."""
        return [system for system in self.systems if system.has_network]

    def directories(self, system: System) -> list[str]:
        """The directories of a system's seeds; the folds of each are below it."""
        return [system.directory(self.exp, seed) for seed in self.seeds]

    def models(self, system: System) -> dict[tuple[str, str], str]:
        """`{(seed, fold): model directory}` of a system."""
        return {(seed, fold): f"{system.directory(self.exp, seed)}/{fold}" for seed in self.seeds
                for fold in self.folds}


def add_experiment_options(parser: argparse.ArgumentParser) -> None:
    """Add --systems, --seeds, the data directory and the experiment directory."""
    parser.add_argument("--systems", required=True, metavar="NAMES",
                        help="of conf/systems.conf and conf/ablations.conf, quoted, separated by spaces")
    parser.add_argument("--seeds", default="0", metavar="NUMBERS", help="quoted, separated by spaces (default: 0)")
    parser.add_argument("data", help="data directory with folds")
    parser.add_argument("exp", help="experiment directory")


def parse_seeds(words: str) -> list[str]:
    """Seeds from one word, without repetition and in the order given; raises UserError."""
    seeds = words.split()
    if not seeds or not all(seed.isascii() and seed.isdecimal() for seed in seeds):
        raise UserError(f"--seeds {words!r}: expected numbers, such as \"0 1 2\"")
    return list(dict.fromkeys(str(int(seed)) for seed in seeds))


def add_pretrain_seeds(parser: argparse.ArgumentParser) -> None:
    """Add --pretrain-seeds."""
    parser.add_argument("--pretrain-seeds", default="", metavar="NUMBERS", help="of the pre-trained models, one for "
                        "each of --seeds or one for all, quoted, separated by spaces (default: --seeds)")


def parse_pretrain_seeds(words: str, seeds: list[str]) -> dict[str, str]:
    """The seed of the pre-trained model that each of the seeds starts from, from one word; raises UserError.

    One number holds for all seeds; without any, each seed is that of its own pre-trained model.
    """
    numbers = words.split() or seeds
    if not all(number.isascii() and number.isdecimal() for number in numbers):
        raise UserError(f"--pretrain-seeds {words!r}: expected numbers, such as \"0 1 2\"")
    if len(numbers) == 1:
        numbers = numbers * len(seeds)
    if len(numbers) != len(seeds):
        raise UserError(f"--pretrain-seeds {words!r}: expected one number for all of --seeds {' '.join(seeds)!r}, or "
                        f"one for each of these {len(seeds)}")
    return dict(zip(seeds, (str(int(number)) for number in numbers), strict=True))


def pretrainings(systems: Iterable[System], pretrain_seeds: Iterable[str]) -> dict[tuple[str, str], str]:
    """`{(name of System.pretrained, seed): name below EXP}` of the pre-trained models that systems start from."""
    return {(system.pretrained, seed): of_seed(system.pretrained, seed) for system in systems if system.pretrained
            for seed in pretrain_seeds}


def seed_words(seeds: Sequence[str | int]) -> str:
    """Seeds as a text names them: `seed 0` or `seeds 0 1 2`."""
    return f"seed{'s' if len(seeds) > 1 else ''} {' '.join(map(str, seeds))}"


def open_experiment(args: argparse.Namespace) -> Experiment:
    """The Experiment that parsed options name; raises UserError."""
    protocol = Path(args.data, "folds", "protocol")
    return Experiment(dataset=read_dataset(args.data), protocol=protocol.read_text(encoding="utf-8").strip(),
                      folds=read_list(f"{args.data}/folds/list"), seeds=parse_seeds(args.seeds), exp=args.exp,
                      data=args.data, systems=list(dict.fromkeys(find_systems(args.systems.split()))))

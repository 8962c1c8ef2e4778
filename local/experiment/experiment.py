"""What the scripts that read results have in common: some systems and seeds of an experiment directory."""

from dataclasses import dataclass
from pathlib import Path

from local.experiment.systems import find_systems
from ser.base.errors import UserError
from ser.data.data_dir import is_synthetic, read_dataset, read_list

SYNTHETIC = "*** The corpora are SYNTHETIC: these figures show that the recipe works, and say nothing about speech. ***"


@dataclass(frozen=True)
class Experiment:
    """Systems and seeds that were trained on all folds of a data directory.

    Attributes
    ----------
    exp, data : str
        Experiment directory, data directory.
    systems : list of System
    seeds, folds : list of str
    dataset, protocol : str
        As result lines name them.
    """

    exp: str
    data: str
    systems: list
    seeds: list
    folds: list
    dataset: str
    protocol: str

    @property
    def heading(self):
        """What was run, in a line."""
        return f"{self.dataset}, {self.protocol}, {len(self.folds)} folds, seeds {' '.join(self.seeds)}"

    @property
    def title(self):
        """The heading as the first line of a result file, with a warning below it where the corpora are synthetic."""
        return f"{self.heading}\n" + f"{SYNTHETIC}\n" * is_synthetic(self.dataset)

    def directories(self, system):
        """The directories of a system's seeds; the folds of each are below it."""
        return [system.directory(self.exp, seed) for seed in self.seeds]

    def models(self, system):
        """`{(seed, fold): model directory}` of a system."""
        return {(seed, fold): f"{system.directory(self.exp, seed)}/{fold}" for seed in self.seeds
                for fold in self.folds}


def add_experiment_options(parser):
    """Add --systems, --seeds, the data directory and the experiment directory."""
    parser.add_argument("--systems", required=True, metavar="NAMES",
                        help="of conf/systems.conf and conf/ablations.conf, in one word")
    parser.add_argument("--seeds", default="0", metavar="NUMBERS", help="in one word (default: 0)")
    parser.add_argument("data", help="data directory with folds")
    parser.add_argument("exp", help="experiment directory")


def parse_seeds(words):
    """Seeds from one word, without repetition and in the order given; raises UserError."""
    seeds = words.split()
    if not seeds or not all(seed.isdecimal() for seed in seeds):
        raise UserError(f"--seeds {words!r}: expected numbers, such as \"0 1 2\"")
    return list(dict.fromkeys(str(int(seed)) for seed in seeds))


def open_experiment(args):
    """The Experiment that parsed options name; raises UserError."""
    systems = list(dict.fromkeys(find_systems(args.systems.split())))
    return Experiment(args.exp, args.data, systems, parse_seeds(args.seeds),
                      read_list(f"{args.data}/folds/list"), read_dataset(args.data),
                      Path(args.data, "folds", "protocol").read_text(encoding="utf-8").strip())

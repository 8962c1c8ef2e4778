"""The tables of systems: conf/systems.conf, and conf/ablations.conf with changes of them."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ser.base.errors import UserError

_PRETRAINED = "--pretrained-dir=EXP/"
NETWORK_SCRIPT = "steps/finetune.py"
SCRIPTS = (NETWORK_SCRIPT, "steps/train_classical.py")


@dataclass(frozen=True)
class System:
    """A line of a table.

    Attributes
    ----------
    name, backbone, method : str
        The name of its directory, and what tables call it.
    options : tuple of str
        What its script is told.
    script : str
        What trains it.
    reference : str or None
        The system of which it is an ablation.
    """

    name: str
    backbone: str
    method: str
    options: tuple[str, ...]
    script: str = NETWORK_SCRIPT
    reference: str | None = None

    @property
    def has_network(self) -> bool:
        """Whether there are epochs, weights and spaces to look at."""
        return self.script == NETWORK_SCRIPT

    @property
    def needs_functionals(self) -> bool:
        """Whether it learns from functionals.scp."""
        return "--classifier=svm" in self.options

    @property
    def pretrained(self) -> str | None:
        """Name below the experiment directory of the pre-trained model that it starts from, without a seed."""
        return next((word.removeprefix(_PRETRAINED) for word in self.options if word.startswith(_PRETRAINED)), None)

    @property
    def has_attention(self) -> bool:
        return any(word.startswith("--ad-after=") for word in self.options) and "--attention=none" not in self.options

    def options_for(self, exp: str, pretrain_seed: str | int = 0) -> list[str]:
        """Options of its script for an experiment directory, starting from the pre-trained model of a seed;
        configurations lie in the recipe's folder."""
        words = [of_seed(word, pretrain_seed) if word.startswith(_PRETRAINED) else word for word in self.options]
        return [word.replace("=EXP/", f"={exp}/").replace("--config=conf/", f"--config={_root()}/conf/")
                for word in words]

    def directory(self, exp: str, seed: str | int) -> str:
        """Where the folds of a seed are."""
        return of_seed(f"{exp}/{self.name}", seed)


def of_seed(name: str, seed: str | int) -> str:
    """The name of what is made with a seed; seed 0 has the plain name."""
    return f"{name}_seed{int(seed)}" if int(seed) else name


def _root() -> Path:
    return Path(os.environ.get("SER_ROOT", "."))


def changed(options: Iterable[str], changes: Iterable[str]) -> tuple[str, ...]:
    """Options `--key=value` with some replaced, or added at their end."""
    return tuple({word.partition("=")[0]: word for word in (*options, *changes)}.values())


def read_systems() -> dict[str, System]:
    """Read both files as `{name: System}`, in their order.

    Raises
    ------
    UserError
        A line has too few words, a name that another line has, names another script, or changes a system that is
        not there.
    """
    conf = _root() / "conf"
    systems: dict[str, System] = {}
    for place, (name, backbone, method, *options) in _lines(conf / "systems.conf", "backbone", systems):
        script = NETWORK_SCRIPT
        if not options[0].startswith("--"):
            script = options.pop(0)
            if script not in SCRIPTS:
                raise UserError(f"{place}: nothing is trained with {script}; begin with options of {NETWORK_SCRIPT}, "
                                f"or with one of {' '.join(SCRIPTS)}")
        systems[name] = System(name, backbone, method, tuple(options), script)
    return systems | _read_ablations(conf / "ablations.conf", systems)


def _read_ablations(path: Path, systems: dict[str, System]) -> dict[str, System]:
    ablations: dict[str, System] = {}
    for place, (name, changes, method, *options) in _lines(path, "the system that it changes", systems, ablations):
        if changes not in systems:
            raise UserError(f"{place}: changes {changes}, which conf/systems.conf does not have")
        reference = systems[changes]
        ablations[name] = System(name, reference.backbone, method, changed(reference.options, options),
                                 reference.script, changes)
    return ablations


def _lines(path: Path, second: str, *taken: dict[str, System]) -> Iterator[tuple[str, list[str]]]:
    """Yield `path:number` and the words of each line; `second` is what its second word is, `taken` has names."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) < 4:
            raise UserError(f"{path}:{number}: expected system, {second}, method and options")
        if any(words[0] in systems for systems in taken):
            raise UserError(f"{path}:{number}: another line has a system {words[0]}, too; take another name")
        yield f"{path}:{number}", words


def find_systems(names: list[str]) -> list[System]:
    """The systems of a list of names; raises UserError for an empty list or a name that neither file has."""
    systems = read_systems()
    unknown = [name for name in names if name not in systems]
    if unknown or not names:
        problem = f"no system {unknown[0]!r}" if unknown else "no system is named"
        own = " ".join(name for name, system in systems.items() if not system.reference)
        ablations = " ".join(name for name, system in systems.items() if system.reference)
        raise UserError(f"{problem}; conf/systems.conf has {own}, conf/ablations.conf has {ablations}")
    return [systems[name] for name in names]

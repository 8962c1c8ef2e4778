"""The tables of systems: conf/systems.conf, and conf/ablations.conf with changes of them."""

import os
from dataclasses import dataclass
from pathlib import Path

from ser.base.errors import UserError


@dataclass(frozen=True)
class System:
    """A line of a table.

    Attributes
    ----------
    name, backbone, method : str
        The name of its directory, and what tables call it.
    options : tuple of str
        What steps/finetune.py is told.
    reference : str or None
        The system of which it is an ablation.
    """

    name: str
    backbone: str
    method: str
    options: tuple
    reference: str = None

    @property
    def pretrained(self):
        """Name below the experiment directory of the pre-trained model that it starts from, or None."""
        start = "--pretrained-dir=EXP/"
        return next((word.removeprefix(start) for word in self.options if word.startswith(start)), None)

    @property
    def has_attention(self):
        return any(word.startswith("--ad-after=") for word in self.options) and "--attention=none" not in self.options

    def options_for(self, exp):
        """Options of steps/finetune.py for an experiment directory."""
        return [word.replace("=EXP/", f"={exp}/") for word in self.options]

    def directory(self, exp, seed):
        """Where the folds of a seed are; seed 0 has the plain name."""
        return f"{exp}/{self.name}" + (f"_seed{int(seed)}" if int(seed) else "")


def changed(options, changes):
    """Options `--key=value` with some replaced, or added at their end."""
    return tuple({word.partition("=")[0]: word for word in (*options, *changes)}.values())


def read_systems():
    """Read both files as `{name: System}`, in their order.

    Raises
    ------
    UserError
        A line has too few words, a name that another line has, or changes a system that is not there.
    """
    systems = {}
    for table in ("systems", "ablations"):
        path = Path(os.environ.get("SER_ROOT", ".")) / "conf" / f"{table}.conf"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            words = line.split("#", 1)[0].split()
            if not words:
                continue
            if len(words) < 4:
                raise UserError(f"{path}:{number}: expected "
                                + {"systems": "system, backbone, method and options",
                                   "ablations": "system, the system that it changes, method and options"}[table])
            name, second, method, *options = words
            if name in systems:
                raise UserError(f"{path}:{number}: another line has a system {name}, too; take another name")
            if table == "systems":
                systems[name] = System(name, second, method, tuple(options))
            elif second not in systems:
                raise UserError(f"{path}:{number}: changes {second}, which conf/systems.conf does not have")
            else:
                whole = systems[second]
                systems[name] = System(name, whole.backbone, method, changed(whole.options, options), whole.name)
    return systems


def find_systems(names):
    """The systems of a list of names; raises UserError for an empty list or a name that neither file has."""
    table = read_systems()
    unknown = [name for name in names if name not in table]
    if unknown or not names:
        files = [f"conf/{file}.conf has {' '.join(name for name, system in table.items() if which(system))}"
                 for file, which in (("systems", lambda system: not system.reference),
                                     ("ablations", lambda system: system.reference))]
        raise UserError(f"{f'no system {unknown[0]!r}' if unknown else 'no system is named'}; {', '.join(files)}")
    return [table[name] for name in names]

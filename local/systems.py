"""The table of systems: conf/systems.conf and, behind it, conf/ablations.conf."""

import os
from dataclasses import dataclass
from pathlib import Path

from ser.errors import UserError

TABLES = ("systems", "ablations")


@dataclass(frozen=True)
class System:
    """A line of the table: the file it is from, its name, how tables call it, and what steps/finetune.py is told."""

    table: str
    name: str
    backbone: str
    method: str
    options: tuple

    @property
    def needs_pretraining(self):
        return any(word.startswith("--pretrained-dir=") for word in self.options)

    def options_for(self, exp):
        """Options of steps/finetune.py for an experiment directory."""
        return [word.replace("=EXP/", f"={exp}/") for word in self.options]

    def directory(self, exp, seed):
        """Where the folds of a seed are; seed 0 has the plain name."""
        return f"{exp}/{self.name}" + (f"_seed{int(seed)}" if int(seed) else "")


def read_systems():
    """Read both files as `{name: System}`, in their order.

    Raises
    ------
    UserError
        A line has too few words, or a name that another line has.
    """
    systems = {}
    for table in TABLES:
        path = Path(os.environ.get("SER_ROOT", ".")) / "conf" / f"{table}.conf"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            words = line.split("#", 1)[0].split()
            if words and len(words) < 4:
                raise UserError(f"{path}:{number}: expected system, backbone, method and options")
            if words and words[0] in systems:
                raise UserError(f"{path}:{number}: conf/{systems[words[0]].table}.conf has a system {words[0]}, too; "
                                "take another name")
            if words:
                systems[words[0]] = System(table, *words[:3], tuple(words[3:]))
    return systems

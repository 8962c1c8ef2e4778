"""The table of systems, conf/systems.conf."""

import os
from dataclasses import dataclass
from pathlib import Path

from ser.errors import UserError


@dataclass(frozen=True)
class System:
    """A line of the table: its name, how tables call it, and what steps/finetune.py is told."""

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
    """Read the table as `{name: System}`, in its order; raises UserError."""
    path = Path(os.environ.get("SER_ROOT", ".")) / "conf" / "systems.conf"
    systems = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if words and len(words) < 4:
            raise UserError(f"{path}:{number}: expected system, backbone, method and options")
        if words:
            systems[words[0]] = System(*words[:3], tuple(words[3:]))
    return systems

"""A folder of planned tasks: KIND.1.conf, KIND.2.conf, …, each the options of one job.

The folder also has pretrain.1.sh, …, the commands of run.sh's pre-trainings.
"""

import re
from pathlib import Path

from local.experiment.systems import SCRIPTS
from options import write_conf
from ser.base.errors import UserError

_KINDS = (*(Path(script).stem for script in SCRIPTS), "analyse")


class TaskFolder:
    """Plan tasks of one kind, in place of those of before.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    kind : str
        The script of steps/ that does them, one of _KINDS.

    Raises
    ------
    UserError
        The folder holds something else than tasks; nothing is removed then.
    """

    def __init__(self, folder: Path, kind: str):
        self.folder = folder
        self.kind = kind
        self.planned = 0
        before = sorted(folder.iterdir()) if folder.exists() else []
        strangers = [path.name for path in before
                     if not re.fullmatch(rf"({'|'.join(_KINDS)})\.\d+\.conf|pretrain\.\d+\.sh|\..*", path.name)]
        if strangers:
            raise UserError(f"{folder}: holds {strangers[0]}, which is no planned task; give another folder, for tasks "
                            "alone")
        for path in before:
            if path.name.startswith(f"{kind}."):
                path.unlink()

    def add(self, words: list[str]) -> None:
        """Plan one task; raises UserError for a word that a configuration file cannot hold."""
        self.planned += 1
        write_conf(self.folder / f"{self.kind}.{self.planned}.conf", words)

"""What a data preparation says of what it does not use: few lines on the terminal, all of them in a file."""

from collections.abc import Sequence
from pathlib import Path

from ser.base.files import write_text
from ser.base.log import log

SHOWN = 10


class Report:
    """Lines of a preparation, of each kind at most ten on the terminal; DATA/log/<name> has all where there are more.

    Parameters
    ----------
    data : str or Path
        The data directory that is made. Nothing is written there while everything is shown.
    name : str
        Of the file.
    """

    def __init__(self, data: str | Path, name: str = "left_out"):
        self.path = Path(data) / "log" / name
        self._all: list[str] = []
        self._hides_some = False
        self.path.unlink(missing_ok=True)

    def lines(self, lines: Sequence[str]) -> None:
        """Log lines of one kind."""
        self._keep(lines, hides_some=len(lines) > SHOWN)
        for line in lines[:SHOWN]:
            log(line)
        if len(lines) > SHOWN:
            log(f"and {len(lines) - SHOWN} more of this kind: {self.path} has all {len(lines)}")

    def files(self, paths: Sequence[str], reason: str) -> None:
        """Log in one line which files are not used, by the first of them, and why."""
        if not paths:
            return
        self._keep([f"left out: {path}: {reason}" for path in paths], hides_some=len(paths) > SHOWN)
        others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        where = f" ({self.path} names all)" if len(paths) > SHOWN else ""
        log(f"left out: {paths[0]}{others}: {reason}{where}")

    def _keep(self, lines: Sequence[str], *, hides_some: bool) -> None:
        self._all += lines
        self._hides_some |= hides_some
        if self._hides_some:
            write_text(self.path, "".join(f"{line}\n" for line in self._all))

"""Which parts of a report could not be made, and why: x.left_out says of x.png why it is not shown."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ser.base.errors import UserError
from ser.base.files import write_text


class Undrawable(UserError):
    """The data do not make a figure, whatever is done again; the message says why."""


def _note(path: Path) -> Path:
    return path.with_suffix(".left_out")


def reason_of(path: Path) -> str | None:
    """Why a part of a report is not to be shown, in one line, or None; what stands at `path` may be an older one."""
    note = _note(path)
    return note.read_text(encoding="utf-8").strip() if note.is_file() else None


@contextlib.contextmanager
def parts(*paths: Path, also: Sequence[Path] = ()) -> Iterator[None]:
    """Make parts of a report in the block; what has become of each is known also when the process dies in native code.

    Parameters
    ----------
    *paths : Path
        Of the parts.
    also : sequence of Path
        What else is made of the same figures.

    Raises
    ------
    UserError, OSError
        Of the block, noted as the reason; what stands there stays. Undrawable is not raised but printed, and all
        these files are removed, since they would be of other data.
    """
    script = Path(sys.argv[0]).name

    def note(reason: str) -> None:
        for path in paths:
            write_text(_note(path), f"{reason}\n")

    note(f"{script} did not come to its end; run it again alone to see why")
    try:
        yield
    except Undrawable as error:
        note(str(error))
        for path in (*paths, *also):
            path.unlink(missing_ok=True)
        print(f"{script}: no {' and '.join(path.name for path in paths)}: {error}")
    except (UserError, OSError) as error:
        note(f"{script}: {' '.join(str(error).split())}")
        raise
    else:
        for path in paths:
            _note(path).unlink()

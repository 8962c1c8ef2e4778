"""Files written aside and moved into place, so that a reader never meets half of one."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ser.base.errors import UserError


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it onto `path` when the block ends without an error.

    The temporary file is synced before the move and removed when the block fails, so `path` holds
    either what it held before or all of the new content, also after `kill -9` or a power cut.
    Raises UserError when there is no room for it, or no right to write there.
    """
    path = Path(path)
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an operating-system error, unless it names another file, into a UserError that `path` cannot be written."""
    try:
        yield
    except OSError as error:
        if error.filename and not Path(error.filename).name.startswith(f".{path.name}."):
            raise
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None


@contextlib.contextmanager
def temporary_folder(parent: str | Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder in `parent`, removed at the end; those that killed processes have left are removed first."""
    parent = Path(parent)
    for leftover in parent.iterdir():
        if re.fullmatch(rf"{re.escape(prefix)}[a-z0-9_]{{8}}", leftover.name):  # as tempfile names them
            shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as folder:
        yield Path(folder)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, atomically; raises UserError."""
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:
        line = text[text.rfind("\n", 0, error.start) + 1 :].partition("\n")[0]
        raise UserError(f"{path}: cannot hold {line!r}, a name that is not UTF-8; rename that file or folder") from None
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)

"""Finding the files of a corpus on the disk, without a look into them."""

import functools
import os
import unicodedata
from collections import deque
from collections.abc import Iterator
from pathlib import Path

SYNTHETIC_MARKER = "SYNTHETIC"  # a file at the root of a corpus that the recipe made up
DEEPEST = 7  # ROOT/VoxCeleb1/dev/wav/id10001/1zcIwhmdeo4/00001.wav


def walk(folder: str | Path, depth: int = DEEPEST) -> Iterator[os.DirEntry]:
    """Yield the `os.DirEntry` of every file under `folder` but hidden ones.

    Links to folders are followed, after the folders themselves; no folder is walked twice, so that a link to one
    that is walked anyway, or to one around `folder`, gives nothing.
    """
    seen = {_identity(parent) for parent in Path(folder).resolve().parents}
    folders = deque([(str(folder), depth)])
    links: deque[tuple[str, int]] = deque()
    while folders or links:
        path, levels = (folders or links).popleft()
        identity = _identity(path)
        if identity in seen:
            continue
        seen.add(identity)
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                if not _is_folder(entry):
                    yield entry
                elif levels > 1:
                    (links if entry.is_symlink() else folders).append((entry.path, levels - 1))


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


def _identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


@functools.cache
def _names_by_form(folder: Path) -> dict[str, str]:
    """The names in a folder, by their composed form."""
    return {unicodedata.normalize("NFC", name): name for name in os.listdir(folder)}


def in_other_unicode_form(entry: str) -> str | None:
    """The file of an entry that is not there but under the same name in another Unicode form (macOS decomposes letters
    with marks), or None."""
    if entry.isascii() or entry.endswith("|") or os.path.exists(entry):
        return None
    found = Path(entry).absolute()
    found, names = Path(found.anchor), found.parts[1:]
    for name in names:
        if not (found / name).exists():
            if not found.is_dir():
                return None
            name = _names_by_form(found).get(unicodedata.normalize("NFC", name), name)
        found /= name
    return str(found) if found.exists() else None

"""What the data preparations share: finding files, leaving out what cannot be used, the mark of a synthetic corpus."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ser.audio.waveform import audio_problem
from ser.base.errors import UserError
from ser.base.log import log

USABLE_PERCENT = 95
SYNTHETIC_MARKER = "SYNTHETIC"  # a file at the root of a corpus that the recipe made up
DEEPEST = 7  # ROOT/VoxCeleb1/dev/wav/id10001/1zcIwhmdeo4/00001.wav


def walk(folder: str | Path, depth: int = DEEPEST) -> Iterator[os.DirEntry]:
    """Yield the `os.DirEntry` of every file under `folder` but hidden ones."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                yield entry
            elif depth > 1:
                yield from walk(entry.path, depth - 1)


def list_files(root: Path) -> list[os.DirEntry]:
    """Every file of `walk`, in a list; raises UserError when there is no such folder."""
    if not root.is_dir():
        raise UserError(f"{root}: no such directory")
    return list(walk(root))


def find(files: Iterable[os.DirEntry], root: Path, *names: str) -> str | None:
    """Path of the first file of one of these names in the walked files or beside ROOT, or None."""
    inside = sorted(entry.path for entry in files if entry.name in names)
    beside = [str(root.parent / name) for name in names if (root.parent / name).is_file()]
    return next(iter(inside + beside), None)


def log_left_out(paths: Sequence[str], reason: str) -> None:
    """Say in one line which files are not used, by the first of them, and why."""
    others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    log(f"left out: {paths[0]}{others}: {reason}")


def unique_files(paths: Iterable[str], key: Callable[[str], str]) -> dict[str, str]:
    """Paths by their key; of several with the same key the least deep one. The others are named in one line."""
    unique: dict[str, str] = {}
    duplicates = []
    for path in sorted(paths, key=lambda path: (path.count("/"), path)):
        if unique.setdefault(key(path), path) != path:
            duplicates.append(path)
    if duplicates:
        log_left_out(duplicates, "another copy of a file that is used")
    return unique


def size_problem(path: str) -> str | None:
    """Why a file cannot be used, by its size alone, as the headers of a large corpus take long to read; or None."""
    try:
        return None if os.stat(path).st_size else f"{path} is empty"
    except OSError as error:
        return f"{path}: {error.strerror}"


def wav_problem(path: str | Path) -> str | None:
    """Say in one line, with the path, why an audio file cannot be used, or return None."""
    problem = audio_problem(path)
    return problem and f"{path} {problem.replace('cannot be read: No such file or directory', 'is missing')}"


def keep_usable(utterances: Iterable[str], problem_of: Callable[[str], str | None]) -> list[str]:
    """Name the utterances that cannot be used, and return the others, sorted.

    Parameters
    ----------
    utterances : iterable of str
    problem_of : callable
        Utterance to a one-line reason why it cannot be used, or None.

    Raises
    ------
    UserError
        Fewer than 95 % can be used, or there was nothing to begin with.
    """
    utterances = sorted(utterances)
    usable = []
    for utt in utterances:
        problem = problem_of(utt)
        if problem is None:
            usable.append(utt)
        else:
            log(f"left out: {utt}: {problem}")
    if not usable or 100 * len(usable) < USABLE_PERCENT * len(utterances):
        raise UserError(f"only {len(usable)} of {len(utterances)} utterances can be used, fewer than "
                        f"{USABLE_PERCENT} %; nothing was written")
    return usable


def is_marked_synthetic(root: Path) -> bool:
    """Whether a corpus carries the marker of those that the recipe makes up."""
    return (root / SYNTHETIC_MARKER).is_file()


def synthetic_dataset(root: Path, dataset: str) -> str:
    """Say that a corpus is synthetic, and return its dataset's name, which must say so, too."""
    print(f"{root} is marked {SYNTHETIC_MARKER}: a made-up corpus, so published counts do not apply")
    return f"synthetic-{dataset}"

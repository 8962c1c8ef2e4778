"""Which of several files of one name a corpus means: that of its documented folder, or any of equal ones."""

import filecmp
from collections.abc import Callable, Iterable
from pathlib import Path

from local.messages import Report
from ser.base.errors import UserError
from ser.base.log import progress


def undocumented(folders: Iterable[str], documented: Callable[[str], object]) -> int:
    """How many of the names of the folders above a file the corpus's description does not have."""
    return sum(not documented(name) for name in folders)


def choose_files(paths: Iterable[str], key: Callable[[str], str], rank: Callable[[str], tuple[int, ...]],
                 report: Report) -> dict[str, str]:
    """One file of each key.

    Parameters
    ----------
    paths : iterable of str
    key : callable
        Path to what it is a file of, such as an utterance.
    rank : callable
        Path to how far its place is from the documented one; of several files of a key those of the lowest rank are
        meant, and the least deep one of them is taken.
    report : Report
        Takes the files that are not used.

    Raises
    ------
    UserError
        Files of one key and rank differ in content.
    """
    groups: dict[str, list[str]] = {}
    for path in sorted(paths, key=lambda path: (path.count("/"), path)):
        groups.setdefault(key(path), []).append(path)
    chosen = {name: min(group, key=rank) if len(group) > 1 else group[0] for name, group in groups.items()}

    # The others
    elsewhere: list[str] = []
    equal: list[str] = []
    different: list[tuple[str, str]] = []
    duplicates = [(chosen[name], path) for name, group in groups.items() for path in group if path != chosen[name]]
    for taken, path in progress(duplicates, unit="duplicate"):
        if rank(path) != rank(taken):
            elsewhere.append(path)
        elif filecmp.cmp(taken, path, shallow=False):
            equal.append(path)
        else:
            different.append((taken, path))
    if different:
        one, other = different[0]
        raise UserError(f"{Path(one).parent} and {Path(other).parent} hold different files of the same name, such as "
                        f"{Path(one).name} ({len(different)} in all); move the folder that is not meant out of the "
                        "corpus, or give the one that is meant as the corpus")
    report.files(elsewhere, "another file of its name is used, which is in the corpus's own place or format")
    report.files(equal, "another copy of a file that is used")

    # A folder that repeats the documented one is no source of what that lacks
    repeating = {Path(path).parent for path in elsewhere} - {Path(path).parent for path, _ in duplicates}
    alone = {name for name, path in chosen.items() if Path(path).parent in repeating}
    report.files(sorted(chosen[name] for name in alone), "its folder repeats the corpus's own, which lacks it")
    return {name: path for name, path in chosen.items() if name not in alone}

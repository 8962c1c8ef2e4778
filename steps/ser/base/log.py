"""Log lines with date and script, numbers in words, and how far a loop is: a bar on a terminal, lines in a log."""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")

_LOG_SECONDS = 10.0  # before the first line of progress in a log

# Of several processes that train one model (torchrun) the first speaks for all.
_silent = os.environ.get("RANK", "0") != "0"


def log(message: object) -> None:
    """Print one line `2026-01-31 12:00:00 (script) message` to standard error, flushed at once."""
    if _silent:
        return
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{stamp} ({Path(sys.argv[0]).name}) {message}", file=sys.stderr, flush=True)


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number of things.

    >>> counted(1, "speaker"), counted(24, "speaker"), counted(2, "copy", "copies")
    ('1 speaker', '24 speakers', '2 copies')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def progress(iterable: Iterable[Item], *, in_log: bool = True, **kwargs: Any) -> Iterable[Item]:
    """Wrap an iterable in a bar when standard error is a terminal.

    A log file gets a line after ten seconds, and the next after twice as long each time, unless `in_log` is false.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm  # takes as long as all else that many scripts import

        return tqdm(iterable, disable=_silent, leave=False, **kwargs)
    return _lines(iterable, **kwargs) if in_log else iterable


def _lines(iterable: Iterable[Item], total: int | None = None, unit: str = "item", desc: str = "") -> Iterator[Item]:
    """Yield the items, and log from time to time how many are done."""
    started = time.monotonic()
    pause = _LOG_SECONDS
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    for number, item in enumerate(iterable):
        if time.monotonic() - started > pause:
            of_total = "" if total is None else f" of {total}"
            log(f"{desc}{': ' if desc else ''}{number}{of_total} {unit}s done")
            pause *= 2
        yield item

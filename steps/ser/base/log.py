"""Log lines with date and script, numbers in words, and a progress bar on terminals."""

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

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


def progress(iterable: Iterable[Item], **kwargs: Any) -> Iterable[Item]:
    """Wrap an iterable in a bar when standard error is a terminal; stay silent in a log file."""
    return tqdm(iterable, disable=_silent or not sys.stderr.isatty(), leave=False, **kwargs)

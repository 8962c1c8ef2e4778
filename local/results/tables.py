"""Text tables of the result files."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "speaker"), counted(24, "speaker")
    ('1 speaker', '24 speakers')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def mean_and_spread(values: Sequence[float]) -> str:
    """Mean, and after it the standard deviation of several values."""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def as_table(rows: Sequence[Sequence[str]]) -> str:
    """Align rows of cells, the first one being the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    heading, *others = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    rule = "  ".join("-" * width for width in widths)
    return "".join(f"{line}\n" for line in (heading, rule, *others))


def as_tsv(rows: Iterable[Iterable[Any]]) -> str:
    """Rows of cells with tabs between."""
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)

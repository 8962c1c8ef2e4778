"""What the benchmarks print: rows of work, our figure, theirs, the ratio with its spread, and what limits ours."""

import os
import re
import statistics
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]


def cpu():
    """The processor and how many cores of it may be used."""
    name = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{len(os.sched_getaffinity(0))} x {name[1] if name else 'CPU'}"


def gpu():
    return torch.cuda.get_device_name()


def in_turns(*sides):
    """Five tuples of figures, measured in turns by functions without parameters, ours the first."""
    return [tuple(side() for side in sides) for _ in range(5)]


def row(work, pairs, unit, least=None, digits=0, smaller_is_better=False):
    """A row of text.

    Parameters
    ----------
    work : str
        What is done and, after a semicolon, what theirs is.
    pairs : list of tuple
        Figures of ours and theirs: speeds, or seconds or memory if `smaller_is_better`.
    least : dict, optional
        From limits.least_seconds(): of what ours does once, or of all that it does if `smaller_is_better`.

    Returns
    -------
    tuple of str
        Work, the median of ours and of theirs, of their ratio the median and the smallest and largest, and the limit
        that ours is nearest to, with how much of it is reached.
    """
    ratios = [theirs / ours if smaller_is_better else ours / theirs for ours, theirs in pairs]
    medians = [statistics.median(side) for side in zip(*pairs, strict=True)]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}" if len(pairs) > 1 else ""
    limit = ""
    if least:
        name, seconds = max(least.items(), key=lambda item: item[1])
        limit = f"{name}, {100 * (seconds / medians[0] if smaller_is_better else seconds * medians[0]):.0f} %"
    return work, *(f"{each:.{digits}f} {unit}" for each in medians), f"{statistics.median(ratios):.2f}", spread, limit


def alone(work, ours, unit):
    """A row of something that nobody else does, measured once."""
    return work, f"{ours:.0f} {unit}", "", "", "", ""


def print_table(rows):
    """Print rows as they come, in Markdown."""
    print("| work; theirs | ours | theirs | ratio | of five | limit |\n|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)

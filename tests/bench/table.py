"""What the benchmarks print: rows of work, our figure, theirs, the ratio, and the machine."""

import os
import re
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]


def cpu():
    """The processor and how many cores of it may be used."""
    name = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{len(os.sched_getaffinity(0))} x {name[1] if name else 'CPU'}"


def gpu():
    return torch.cuda.get_device_name()


def row(work, ours, theirs, unit, machine, digits=0, smaller_is_better=False):
    """A row of text; `work` says what theirs is, after a semicolon."""
    ratio = theirs / ours if smaller_is_better else ours / theirs
    return work, f"{ours:.{digits}f} {unit}", f"{theirs:.{digits}f} {unit}", f"{ratio:.2f}", machine


def alone(work, ours, unit, machine):
    """A row of something that nobody else does."""
    return work, f"{ours:.0f} {unit}", "", "", machine


def print_table(rows):
    """Print rows as they come."""
    print(f"{'work; theirs':66}{'ours':>12}{'theirs':>12}{'ratio':>8}  machine")
    for work, ours, theirs, ratio, machine in rows:
        print(f"{work:66}{ours:>12}{theirs:>12}{ratio:>8}  {machine}", flush=True)

"""What figures have in common: width, colours, the warning on synthetic corpora, files."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ser.base.files import atomic_path
from ser.data.data_dir import is_synthetic

matplotlib.rcParams["text.parse_math"] = False  # names of classes and speakers are the user's, and may hold a $

WIDTH = 7.0  # inches; text of 8 pt is 11 pixels high when the picture is shown 700 pixels wide

# Okabe and Ito's colours for every kind of colour vision
PALETTE = ("#D55E00", "#56B4E9", "#000000", "#009E73", "#CC79A7", "#E69F00", "#0072B2", "#F0E442")


def palette(names: Sequence[str]) -> dict[str, Any]:
    """`{name: colour}`, for every kind of colour vision up to eight names."""
    if len(names) <= len(PALETTE):
        return dict(zip(names, PALETTE, strict=False))
    return dict(zip(names, matplotlib.colormaps["viridis"](np.linspace(0, 1, len(names))), strict=True))


def title_of(text: str, dataset: str) -> str:
    """A figure's title, with a warning in front where the dataset is synthetic."""
    return f"SYNTHETIC corpora, not speech: {text}" if is_synthetic(dataset) else text


def put_title(figure: Figure, title: str) -> None:
    """Write a title above a figure of WIDTH, in as many lines as it takes."""
    figure.suptitle(textwrap.fill(title, 88, break_on_hyphens=False), fontsize=9.5)


def save(figure: Figure, path: Path) -> None:
    """Write PNG or PDF, the same bytes for the same figure."""
    kind = path.suffix[1:]
    metadata = {"CreationDate": None} if kind == "pdf" else None
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=200, metadata=metadata)

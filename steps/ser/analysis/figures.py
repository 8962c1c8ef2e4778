"""What figures have in common: width, colours, the warning on synthetic corpora, files."""

import contextlib
import functools
import logging
import re
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from ser.base.files import atomic_path
from ser.base.log import log
from ser.data.data_dir import is_synthetic

matplotlib.rcParams["text.parse_math"] = False  # names of classes and speakers are the user's, and may hold a $
matplotlib.rcParams["svg.hashsalt"] = "ser"  # of the names of its parts, which are random without

WIDTH = 7.0  # inches; text of 8 pt is 11 pixels high when the picture is shown 700 pixels wide

_named: set[str] = set()  # characters that no font has, once they were said
_BOXES = "Last Resort High-Efficiency"  # Matplotlib's own font, in which every character is a box
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a font of other characters may have no bold

# Okabe and Ito's colours for every kind of colour vision
PALETTE = ("#D55E00", "#56B4E9", "#000000", "#009E73", "#CC79A7", "#E69F00", "#0072B2", "#F0E442")

MARKERS = "osD^vP<X>"


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
    """Write PNG, PDF or SVG, the same bytes for the same figure; names once the characters that no font has."""
    with atomic_path(path) as temporary:
        missing = _write(figure, temporary, path.suffix[1:])
        if missing and (families := _families_with(missing)):
            for text in figure.findobj(Text):
                text.set_fontfamily([*matplotlib.rcParams["font.family"], *families])
            missing = _write(figure, temporary, path.suffix[1:])
    if new := "".join(sorted({*missing} - _named)):
        _named.update(new)
        log(f"WARNING: boxes stand for {new} in pictures; install a font that has them, such as Noto Sans CJK")


def _write(figure: Figure, path: Path, kind: str) -> str:
    """Write a figure; return the characters that its fonts lack, which are boxes in it."""
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(path, format=kind, dpi=200, metadata=metadata)
    missing = set()
    for warning in caught:
        if glyph := re.match(r"Glyph (\d+) ", str(warning.message)):
            missing.add(chr(int(glyph[1])))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return "".join(sorted(missing))


@functools.cache
def _families_with(characters: str) -> list[str]:
    """Installed fonts that together have these characters, or as many of them as there are."""
    fonts = font_manager.fontManager
    for path in set(font_manager.findSystemFonts()) - {entry.fname for entry in fonts.ttflist}:
        with contextlib.suppress(Exception):  # FreeType cannot read every font
            fonts.addfont(path)  # installed after Matplotlib wrote down which there are
    wanted = set(map(ord, characters))
    families = []
    for entry in sorted(fonts.ttflist, key=lambda entry: (entry.style != "normal", entry.name)):
        found = wanted & _characters_of(entry.fname) if wanted and entry.name != _BOXES else set()
        if found:
            families.append(entry.name)
            wanted -= found
    return families


def _characters_of(font: str) -> set[int]:
    try:
        return set(font_manager.get_font(font).get_charmap())
    except Exception:  # removed since, or nothing that FreeType reads
        return set()

"""What figures have in common: colours, the warning on synthetic corpora, files."""

import matplotlib
import numpy as np

from ser.files import atomic_path

# Okabe and Ito's colours for every kind of colour vision
PALETTE = ("#D55E00", "#56B4E9", "#000000", "#009E73", "#CC79A7", "#E69F00", "#0072B2", "#F0E442")


def palette(names):
    """`{name: colour}`, for every kind of colour vision up to eight names."""
    colours = PALETTE if len(names) <= len(PALETTE) else matplotlib.colormaps["viridis"](np.linspace(0, 1, len(names)))
    return dict(zip(names, colours, strict=False))


def title_of(text, synthetic):
    """A figure's title, with a warning in front where the corpora are synthetic."""
    return f"SYNTHETIC corpora, not speech: {text}" if synthetic else text


def save(figure, path):
    """Write PNG or PDF, the same bytes for the same figure."""
    kind = path.suffix[1:]
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=200, metadata={"CreationDate": None} if kind == "pdf" else None)

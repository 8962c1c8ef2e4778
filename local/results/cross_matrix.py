"""The picture of scores across corpora: a matrix for each system."""

import math
from collections.abc import Mapping

from matplotlib.figure import Figure

from ser.analysis.figures import WIDTH, put_title

Cells = Mapping[tuple[str, str], tuple[float, list[float]]]


def draw(matrices: Mapping[str, Cells], corpora: list[str], synthetic: bool) -> Figure:
    """Draw `{system: {(trained on, scored on): (weighted F1, its interval)}}`; return the figure."""
    columns = min(len(matrices), max(1, 4 // len(corpora)))
    rows = math.ceil(len(matrices) / columns)
    side = min(WIDTH / columns - 0.5, 0.95 * len(corpora))  # inches of a panel
    figure = Figure(figsize=(columns * (side + 0.4) + 0.9, rows * (side + 0.35) + 0.9), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axis in grid.flat[len(matrices):]:
        axis.set_visible(False)
    values = [value for cells in matrices.values() for value, _ in cells.values()]
    lowest, highest = min(values), max(values)
    for axis, (system, cells) in zip(grid.flat, matrices.items(), strict=False):
        matrix = [[cells[trained, scored][0] for scored in corpora] for trained in corpora]
        axis.imshow(matrix, cmap="Blues", vmin=lowest - 5, vmax=highest + 5)
        for row, trained in enumerate(corpora):
            for column, scored in enumerate(corpora):
                value, (low, high) = cells[trained, scored]
                colour = "white" if value > lowest + 0.6 * (highest - lowest) else "black"
                axis.text(column, row - 0.1, f"{value:.1f}", fontsize=10, ha="center", va="center", color=colour)
                axis.text(column, row + 0.22, f"{low:.1f}-{high:.1f}", fontsize=8, ha="center", va="center",
                          color=colour)
        axis.set_title(system, fontsize=9)
        axis.set_xticks(range(len(corpora)), corpora, fontsize=8.5)
        axis.set_yticks(range(len(corpora)), corpora, fontsize=8.5, rotation=90, va="center")
        axis.tick_params(length=2)
    figure.supxlabel("scored on", fontsize=9)
    figure.supylabel("trained on", fontsize=9)
    if synthetic:
        put_title(figure, "SYNTHETIC corpora, not speech")
    return figure

"""Text tables of the result files."""

import statistics


def mean_and_spread(values):
    """Mean, and behind it the standard deviation of several values."""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def as_table(rows):
    """Align rows of cells, the first one being the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]]) + "\n"


def as_tsv(rows):
    """Rows of cells with tabs between."""
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)

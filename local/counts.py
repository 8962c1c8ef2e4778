"""Tables of counts, `{row: {column: number}}`, beside the published ones."""

from collections import Counter
from collections.abc import Iterable, Mapping

from local.messages import SHOWN
from ser.base.log import counted, log

Counts = Mapping[str, Mapping[str, int]]


def label_counts(utt2spk: Mapping[str, str], utt2emo: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Count the utterances of each speaker by label."""
    counts: dict[str, Counter[str]] = {}
    for utt, label in utt2emo.items():
        counts.setdefault(utt2spk[utt], Counter())[label] += 1
    return counts


def with_totals(counts: Counts, labels: Iterable[str]) -> dict[str, dict[str, int]]:
    """Add a column `all` and a row `total`; rows are sorted."""
    labels = list(labels)
    table = {row: {label: counts[row].get(label, 0) for label in labels} for row in sorted(counts)}
    table["total"] = {label: sum(row[label] for row in table.values()) for label in labels}
    return {name: {**row, "all": sum(row.values())} for name, row in table.items()}


def _rows(counts: Counts, published: Counts) -> list[str]:
    """Rows to show: the published ones, unless others were found."""
    return list(published if counts.keys() <= published.keys() else counts)


def _columns(counts: Counts) -> list[str]:
    return list(next(iter(counts.values())))


def print_counts(counts: Counts, published: Counts | None = None) -> None:
    """Print the table, each number beside the published one where there is one."""
    published = published or {}
    lines = [["", *_columns(counts)]]
    for row in _rows(counts, published):
        line = [row]
        for column in _columns(counts):
            found = counts.get(row, {}).get(column, 0)
            expected = published.get(row, {}).get(column)
            line.append(f"{found}" if expected is None else f"{found} ({expected})")
        lines.append(line)
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    if published:
        print("utterances found (published):")
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def compare_counts(counts: Counts, published: Counts) -> list[str]:
    """Differences from the published table, a line each; a row that is published and absent counts as zeros."""
    differences = []
    for row in _rows(counts, published):
        for column in _columns(counts):
            found = counts.get(row, {}).get(column, 0)
            expected = published.get(row, {}).get(column)
            if expected not in (None, found):
                differences.append(f"{row} {column}: {found} found, {expected} published")
    return differences


def warn_about(differences: Iterable[str]) -> None:
    """Say how the prepared set differs from the published one; a subset is legal, so this is no error."""
    differences = list(differences)
    if differences:
        log("WARNING: this is NOT the published set; figures made from it do not compare with published ones:")
    for line in differences[:SHOWN]:
        log(f"WARNING:   {line}")
    if len(differences) > SHOWN:
        more = counted(len(differences) - SHOWN, "more difference")
        log(f"WARNING:   and {more}; the table of counts shows them all")

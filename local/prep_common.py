"""What the data preparation scripts share: the 95 % rule, counts beside published ones, the synthetic marker."""

from collections import Counter
from pathlib import Path

from ser.audio import audio_problem
from ser.errors import UserError
from ser.log import log

ENOUGH = 0.95


def wav_problem(path):
    """Say in one line, with the path, why an audio file cannot be used, or return None."""
    problem = audio_problem(path) if Path(path).exists() else "is missing"
    return problem and f"{path} {problem}"


def keep_usable(utterances, problem_of):
    """Name the utterances that cannot be used, and return the others, sorted.

    Parameters
    ----------
    utterances : iterable of str
    problem_of : callable
        Utterance to a one-line reason why it cannot be used, or None.

    Raises
    ------
    UserError
        Fewer than 95 % can be used, or there was nothing to begin with.
    """
    utterances = sorted(utterances)
    usable = []
    for utt in utterances:
        problem = problem_of(utt)
        if problem is None:
            usable.append(utt)
        else:
            log(f"left out: {utt}: {problem}")
    if not usable or len(usable) / len(utterances) < ENOUGH:
        raise UserError(f"only {len(usable)} of {len(utterances)} utterances can be used, fewer than 95 %; "
                        "nothing was written")
    return usable


def label_counts(utt2spk, utt2emo):
    """Count utterances: speaker to label to number."""
    counts = {}
    for utt, label in utt2emo.items():
        counts.setdefault(utt2spk[utt], Counter())[label] += 1
    return counts


def with_totals(counts, labels):
    """Add a column `all` and a row `total` to `{row: {label: number}}`."""
    table = {row: {label: counts[row].get(label, 0) for label in labels} for row in sorted(counts)}
    table["total"] = {label: sum(row[label] for row in table.values()) for label in labels}
    return {name: {**row, "all": sum(row.values())} for name, row in table.items()}


def print_counts(counts, published=None):
    """Print `{row: {column: number}}`, each number beside the published one where there is one.

    Returns the differences, one line each; a row that is published and absent counts as zeros.
    """
    published = published or {}
    columns = list(next(iter(counts.values())))
    rows = list(published) if set(counts) <= set(published) else list(counts)
    cells, differences = [["", *columns]], []
    for row in rows:
        cells.append([row])
        for column in columns:
            found = counts.get(row, {}).get(column, 0)
            expected = published.get(row, {}).get(column)
            cells[-1].append(f"{found}" if expected is None else f"{found} ({expected})")
            if expected not in (None, found):
                differences.append(f"{row} {column}: {found} found, {expected} published")
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if published:
        print("utterances found (published):")
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    return differences


def warn_of(differences):
    """Say loudly how the prepared set differs from the published one; subsets are legal, so only say it."""
    if differences:
        log("WARNING: this is NOT the published set; figures made from it do not compare with published ones:")
    for line in differences:
        log(f"WARNING:   {line}")


def synthetic_prefix(root):
    """`synthetic-` when `root` carries the marker of the recipe's made-up corpora, else an empty string."""
    if not (Path(root) / "SYNTHETIC").is_file():
        return ""
    print(f"{root} is marked SYNTHETIC: a made-up corpus, so published counts do not apply")
    return "synthetic-"

"""What the data preparation scripts share: files, the 95 % rule, held-out utterances, counts beside published ones."""

import os
from collections import Counter
from pathlib import Path

from ser.audio.waveform import audio_problem
from ser.base.errors import UserError
from ser.base.log import log

ENOUGH = 0.95
SYNTHETIC = "SYNTHETIC"
DEEPEST = 7  # ROOT/VoxCeleb1/dev/wav/id10001/1zcIwhmdeo4/00001.wav


def walk(folder, depth=DEEPEST):
    """Yield the `os.DirEntry` of every file under `folder` but hidden ones."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                yield entry
            elif depth > 1:
                yield from walk(entry.path, depth - 1)


def list_files(root):
    """Every `os.DirEntry` of `walk`, in a list; raises UserError when there is no such folder."""
    if not Path(root).is_dir():
        raise UserError(f"{root}: no such directory")
    return list(walk(root))


def find(files, root, *names):
    """The first file of one of these names in the walked files or beside ROOT, or None."""
    found = sorted(entry.path for entry in files if entry.name in names)
    found += [str(root.parent / name) for name in names if (root.parent / name).is_file()]
    return found[0] if found else None


def log_left_out(paths, reason):
    """Say in one line which files are not used, by the first of them, and why."""
    others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    log(f"left out: {paths[0]}{others}: {reason}")


def once_each(paths, key):
    """Paths by their key; of several with the same key the one that is least deep. The others are said in one line."""
    found, again = {}, []
    for path in sorted(map(str, paths), key=lambda path: (path.count("/"), path)):
        if found.setdefault(key(path), path) != path:
            again.append(path)
    if again:
        log_left_out(again, "another copy of a file that is used")
    return found


def size_problem(path):
    """Why a file cannot be used, by its size alone, as the headers of a large corpus take long to read; or None."""
    try:
        return None if os.stat(path).st_size else f"{path} is empty"
    except OSError as error:
        return f"{path}: {error.strerror}"


def wav_problem(path):
    """Say in one line, with the path, why an audio file cannot be used, or return None."""
    if not Path(path).exists():
        return f"{path} is missing"
    problem = audio_problem(path)
    if problem and Path(path).stat().st_size < 1000 and Path(path).read_bytes().startswith(b"version https://git-lfs"):
        problem = "cannot be read: it is a Git LFS pointer; git lfs pull fetches the audio"
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


def last_tenth(items):
    """The last tenth of the sorted items, at least one; nothing of a single item."""
    items = sorted(items)
    return items[-max(1, round(len(items) / 10)):] if len(items) > 1 else []


def held_out_split(sessions):
    """Hold out about a tenth of each speaker, in whole sessions where there are enough.

    Parameters
    ----------
    sessions : dict
        Utterance to its speaker and its session, such as a video or a chapter.

    Returns
    -------
    dict
        Utterance to `train` or `valid`. `valid` is the last tenth of a speaker's sessions, at least one, or the last
        tenth of the utterances of a speaker with fewer than five sessions; one utterance alone is `train`.
    """
    of_speaker = {}
    for utt, (speaker, session) in sessions.items():
        of_speaker.setdefault(speaker, {}).setdefault(session, []).append(utt)
    split = dict.fromkeys(sessions, "train")
    for utts in of_speaker.values():
        if len(utts) >= 5:
            valid = [utt for session in last_tenth(utts) for utt in utts[session]]
        else:
            valid = last_tenth(utt for of_session in utts.values() for utt in of_session)
        split.update(dict.fromkeys(valid, "valid"))
    return split


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
    if not (Path(root) / SYNTHETIC).is_file():
        return ""
    print(f"{root} is marked {SYNTHETIC}: a made-up corpus, so published counts do not apply")
    return "synthetic-"

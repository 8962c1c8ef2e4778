"""What the data preparations share: finding files, leaving out what cannot be used, the mark of a synthetic corpus."""

import errno
import os
from collections.abc import Callable, Collection, Iterable, Sized
from pathlib import Path

import soundfile

from local.corpus_files import SYNTHETIC_MARKER, walk
from local.messages import Report
from ser.audio.waveform import audio_problem
from ser.base.errors import UserError
from ser.base.log import counted, log

USABLE_PERCENT = 95
GENDER = {"m": "m", "male": "m", "f": "f", "female": "f"}  # words of tables, in lower case


def list_files(root: Path) -> list[os.DirEntry]:
    """Every file of `walk`, in a list; raises UserError when there is no such folder."""
    if not root.is_dir():
        raise UserError(f"{root}: no such directory")
    return list(walk(root))


def find(files: Iterable[os.DirEntry], root: Path, *names: str) -> str | None:
    """Path of the first file of one of these names in the walked files or beside ROOT, or None."""
    inside = sorted(entry.path for entry in files if entry.name in names)
    beside = [str(root.parent / name) for name in names if (root.parent / name).is_file()]
    return next(iter(inside + beside), None)


def size_problem(path: str) -> str | None:
    """Why a file cannot be used, by its size alone, as the headers of a large corpus take long to read; or None."""
    try:
        return None if os.stat(path).st_size else f"{path} is empty"
    except OSError as error:
        return f"{path}: {error.strerror}"


def wav_problem(path: str | Path, cut: bool = False) -> str | None:
    """Say in one line, with the path, why an audio file cannot be used (or `cut` into segments), or return None."""
    problem = audio_problem(path, cut)
    if problem and problem.endswith(os.strerror(errno.ENOENT)):
        problem = f"is a link to {os.readlink(path)}, which is missing" if os.path.islink(path) else "is missing"
    return problem and f"{path} {problem}"


def warn_about_formats(paths: Iterable[str | Path], sample_rate: int, *, mono: bool) -> None:
    """Say which of the files, that can be read, have another rate or more channels than those that are published."""
    others = []
    for path in paths:
        with open(path, "rb") as file:
            info = soundfile.info(file)
        if info.samplerate != sample_rate or mono and info.channels > 1:
            others.append(f"{path} ({info.samplerate} Hz, {info.channels} channel{'s' * (info.channels > 1)})")
    if others:
        published = f"{sample_rate} Hz{' mono' * mono}"
        log(f"WARNING: {len(others)} files are not {published}, as the corpus is published, such as {others[0]}; "
            "they are used, but look where they come from")


def keep_usable(utterances: Iterable[str], problem_of: Callable[[str], str | None], report: Report) -> list[str]:
    """Name the utterances that cannot be used, and return the others, sorted.

    Parameters
    ----------
    utterances : iterable of str
    problem_of : callable
        Utterance to a one-line reason why it cannot be used, or None.
    report : Report
        Takes the names.

    Raises
    ------
    UserError
        Fewer than 95 % can be used, or there was nothing to begin with.
    """
    utterances = sorted(utterances)
    problems = {utt: problem_of(utt) for utt in utterances}
    report.lines([f"left out: {utt}: {problem}" for utt, problem in problems.items() if problem])
    usable = [utt for utt, problem in problems.items() if not problem]
    if not usable or 100 * len(usable) < USABLE_PERCENT * len(utterances):
        raise UserError(f"only {len(usable)} of {counted(len(utterances), 'utterance')} can be used, fewer than "
                        f"{USABLE_PERCENT} %; correct the files named above, or take them out of the source; nothing "
                        "was written")
    return usable


def genders_if_readable(read: Callable[[Path], dict[str, str]], path: Path) -> dict[str, str]:
    """`read(path)`; nothing, with a warning, where it raises a UserError, as no later step needs genders."""
    try:
        return read(path)
    except UserError as error:
        log(f"WARNING: {error}; without it there is no spk2gender, which is not needed")
        return {}


def prepared(data: str | Path, utterances: Sized, speakers: Collection[str], dataset: str) -> str:
    """What a preparation has made, in a line; `speakers` may name one several times."""
    return (f"{data}: {counted(len(utterances), 'utterance')} of {counted(len(set(speakers)), 'speaker')}, "
            f"dataset {dataset}")


def is_marked_synthetic(root: Path) -> bool:
    """Whether a corpus carries the marker of those that the recipe makes up."""
    return (root / SYNTHETIC_MARKER).is_file()


def synthetic_dataset(root: Path, dataset: str) -> str:
    """Say that a corpus is synthetic, and return its dataset's name, which must say so, too."""
    print(f"{root} is marked {SYNTHETIC_MARKER}: a made-up corpus, so published counts do not apply")
    return f"synthetic-{dataset}"

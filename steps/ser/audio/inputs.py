"""The sounds that somebody names: files, folders of files, and Kaldi data directories. No command is run for them."""

import functools
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from ser.audio.any_format import is_for_libsndfile, sound_blocks
from ser.audio.extraction import Recordings
from ser.audio.wav_scp import entry_in
from ser.audio.waveform import joined
from ser.base.errors import UserError
from ser.base.log import log

# What libsndfile reads, by the names that such files have, and what ffmpeg reads.
_SUFFIXES = {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp2", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd",
             ".caf", ".w64", ".rf64", ".sph", ".nist", ".voc"}
_FFMPEG_SUFFIXES = {".m4a", ".m4b", ".mp4", ".m4v", ".aac", ".webm", ".weba", ".wma", ".wmv", ".asf", ".mka", ".mkv",
                    ".mov", ".avi", ".3gp", ".3g2", ".amr", ".ac3", ".eac3", ".ape", ".wv", ".tta", ".spx", ".mpg",
                    ".mpeg", ".ts", ".flv"}


@dataclass(frozen=True)
class Sound:
    """A recording or an utterance.

    Attributes
    ----------
    name : str
        Path of a file, or id of an utterance.
    blocks : callable
        Yields its samples as ser.audio.waveform.audio_blocks() does; raises UserError.
    """

    name: str
    blocks: Callable[[], Iterator[np.ndarray]]


def sounds_of(paths: Iterable[str]) -> Iterator[Sound]:
    """Yield the Sounds of paths one by one, those of a path in sorted order.

    A path that holds none, or a data directory with a damaged table, is a Sound whose blocks() raises UserError.

    Parameters
    ----------
    paths : iterable of str
        Each is a file; a folder, of which all files in it and below it are taken whose names end as those of sounds
        do, or that have no ending and begin as sound does, once each where folders are linked, and the others are
        counted in the log; or a data directory (a folder with wav.scp), of which all utterances are taken.
    """
    for path in paths:
        try:
            yield from _sounds_of_path(path)
        except (UserError, OSError) as error:
            yield Sound(path, functools.partial(_fail, error))


def _sounds_of_path(path: str) -> list[Sound]:
    # A file.
    if not os.path.isdir(path):
        return [Sound(path, functools.partial(sound_blocks, path))]
    # A data directory.
    if os.path.exists(os.path.join(path, "wav.scp")):
        return _sounds_of_data_dir(Path(path))
    # A folder of files.
    return _sounds_of_folder(path)


def _sounds_of_data_dir(path: Path) -> list[Sound]:
    """The utterances of a data directory: recordings as they are, or the segments of them."""
    recordings = Recordings(path, functools.partial(_read_entry, path))
    if not recordings.segments:
        return [Sound(utt, functools.partial(_blocks_of_entry, path, recordings.sources[utt]))
                for utt in recordings.utts]
    return [Sound(utt, functools.partial(_blocks_of_segment, recordings, utt)) for utt in recordings.utts]


def _sounds_of_folder(path: str) -> list[Sound]:
    """The sounds in a folder and below it; folders that cannot be entered, and what needs ffmpeg where that is not
    installed, are Sounds whose blocks() fails."""
    suffixes = _SUFFIXES | (_FFMPEG_SUFFIXES if shutil.which("ffmpeg") else set())
    unread: list[OSError] = []
    sounds: list[str] = []
    others: list[str] = []
    for file in _files(path, unread.append):
        suffix = Path(file).suffix.lower()
        is_sound = suffix in suffixes if suffix else os.path.isfile(file) and is_for_libsndfile(file)
        (sounds if is_sound else others).append(file)
    for_ffmpeg = [file for file in others if Path(file).suffix.lower() in _FFMPEG_SUFFIXES]
    if not (sounds or for_ffmpeg or unread):
        raise UserError(f"{path}: a folder without a sound file (such as .wav or .flac)"
                        + (f"; it has {_counted(others)}" if others else ""))
    if len(others) > len(for_ffmpeg):
        log(f"{path}: not tried, since their names are not those of sounds: {_counted({*others} - {*for_ffmpeg})}")
    failures: list[Exception] = list(unread)
    if for_ffmpeg:
        failures.append(UserError(f"{path}: not tried: {_counted(for_ffmpeg)}, which libsndfile does not read; "
                                  "install ffmpeg, and they are read by that"))
    return [*(Sound(file, functools.partial(sound_blocks, file)) for file in sorted(sounds)),
            *(Sound(path, functools.partial(_fail, failure)) for failure in failures)]


def _files(top: str, on_error: Callable[[OSError], None]) -> Iterator[str]:
    """Every file below a folder that is not hidden; links to folders are followed, but to each folder once."""
    seen: set[Path] = set()
    real_top = Path(os.path.realpath(top))
    for folder, subfolders, names in os.walk(top, onerror=on_error, followlinks=True):
        here = Path(os.path.realpath(folder))
        if here in seen:
            subfolders.clear()
            continue
        seen.add(here)
        # A link to what is walked in its own right, or that leads back to where the walk came from, is passed over.
        links = {name: Path(os.path.realpath(place)) for name in subfolders
                 if os.path.islink(place := os.path.join(folder, name))}
        passed = {name for name, target in links.items() if target.is_relative_to(real_top)
                  or real_top.is_relative_to(target) or here.is_relative_to(target)}
        subfolders[:] = sorted({*subfolders} - passed)
        yield from (os.path.join(folder, name) for name in names if not name.startswith("."))


def _counted(files: Collection[str]) -> str:
    """How many files there are of each ending, such as `3 .txt, 1 without an ending`."""
    counts = Counter(Path(file).suffix.lower() or "without an ending" for file in files)
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in most[10:])
    return ", ".join([*(f"{count} {suffix}" for suffix, count in most[:10]), *([f"{rest} others"] if rest else [])])


def _fail(error: Exception) -> NoReturn:
    raise error


def _blocks_of_segment(recordings: Recordings, utt: str) -> Iterator[np.ndarray]:
    yield recordings[utt]


def _blocks_of_entry(data_dir: Path, entry: str, cut: bool = False) -> Iterator[np.ndarray]:
    """Read a wav.scp entry, whose path may be relative to the data directory."""
    if entry.endswith("|"):
        raise UserError(f"{data_dir}/wav.scp: {entry!r} is a command, and none is run here; write its output to a file "
                        "and name that")
    return sound_blocks(entry_in(data_dir, entry), cut)


def _read_entry(data_dir: Path, entry: str, cut: bool = False) -> np.ndarray:
    return joined(_blocks_of_entry(data_dir, entry, cut))

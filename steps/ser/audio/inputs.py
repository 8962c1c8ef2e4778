"""The sounds that somebody names: files, folders of files, and Kaldi data directories. No command is run for them."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from ser.audio.extraction import Recordings
from ser.audio.wav_scp import entry_in
from ser.audio.waveform import load_audio_file
from ser.base.errors import UserError

# What libsndfile reads, by the names that such files have.
_SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64",
             ".rf64", ".sph", ".nist", ".voc"}


@dataclass(frozen=True)
class Sound:
    """A recording or an utterance.

    Attributes
    ----------
    name : str
        Path of a file, or id of an utterance.
    read : callable
        Returns its samples as ser.audio.waveform.load_audio() does; raises UserError.
    """

    name: str
    read: Callable[[], np.ndarray]


def sounds_of(paths: Iterable[str]) -> Iterator[Sound]:
    """Yield the Sounds of paths one by one, those of a path in sorted order.

    A path that holds none, or a data directory with a damaged table, is a Sound whose read() raises UserError.

    Parameters
    ----------
    paths : iterable of str
        Each is a file; a folder, of which all files in it and below it are taken whose names end as those of sounds
        do; or a data directory (a folder with wav.scp), of which all utterances are taken.
    """
    for path in paths:
        try:
            yield from _sounds_of_path(path)
        except (UserError, OSError) as error:
            yield Sound(path, functools.partial(_fail, error))


def _sounds_of_path(path: str) -> list[Sound]:
    # A file.
    if not os.path.isdir(path):
        return [Sound(path, functools.partial(load_audio_file, path))]
    # A data directory.
    if os.path.exists(os.path.join(path, "wav.scp")):
        recordings = Recordings(path, functools.partial(_read_entry, Path(path)))
        return [Sound(utt, functools.partial(recordings.__getitem__, utt)) for utt in recordings.utts]
    # A folder of files.
    files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names
                   if Path(name).suffix.lower() in _SUFFIXES and not name.startswith("."))
    if not files:
        raise UserError(f"{path}: a folder without a sound file (such as .wav or .flac)")
    return [Sound(file, functools.partial(load_audio_file, file)) for file in files]


def _fail(error: Exception) -> NoReturn:
    raise error


def _read_entry(data_dir: Path, entry: str, cut: bool = False) -> np.ndarray:
    """Read a wav.scp entry, whose path may be relative to the data directory."""
    if entry.endswith("|"):
        raise UserError(f"{data_dir}/wav.scp: {entry!r} is a command, and none is run here; write its output to a file "
                        "and name that")
    return load_audio_file(entry_in(data_dir, entry), cut)

"""Entries of a user's wav.scp: paths, places in an archive and commands, freed of the working directory and checked."""

import functools
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

import soundfile

from local.prep_common import wav_problem
from ser.audio.waveform import audio_problem, load_audio
from ser.base.errors import UserError

PLACE = re.compile(r"(?P<archive>.+):\d+")  # wavs.ark:1234


def is_command(entry: str) -> bool:
    return entry.endswith("|")


def archive_of(entry: str) -> str | None:
    """The archive in which an entry is a place, or None for any other entry."""
    match = PLACE.fullmatch(entry)
    return match["archive"] if match and not os.path.exists(entry) else None


@functools.cache
def _names_by_form(folder: Path) -> dict[str, str]:
    """The names in a folder, by their composed form."""
    return {unicodedata.normalize("NFC", name): name for name in os.listdir(folder)}


def in_other_unicode_form(path: Path) -> Path | None:
    """The file that is there under the same name in another Unicode form (macOS decomposes its letters), or None."""
    if str(path).isascii():
        return None
    found = Path(path.anchor)
    for name in path.parts[1:]:
        if not (found / name).exists():
            if not found.is_dir():
                return None
            name = _names_by_form(found).get(unicodedata.normalize("NFC", name), name)
        found /= name
    return found if found.exists() else None


def absolute(folder: Path, entry: str) -> str:
    """Make an entry independent of the working directory, and name its file as the disk does; a command stays."""
    if is_command(entry):
        return entry
    beside = folder / entry
    if beside.exists():
        return str(beside)
    if Path(entry).exists():
        return str(Path(entry).absolute())
    archive = archive_of(entry)
    if archive:
        return absolute(folder, archive) + entry.removeprefix(archive)
    return str(in_other_unicode_form(beside) or beside)


def entry_problem(folder: Path, entry: str) -> str | None:
    """Say in one line why an absolute entry cannot be used, by what can be seen without running it, or return None."""
    if is_command(entry):
        file = absolute(folder, entry[:-1].strip())
        if os.path.isfile(file) and audio_problem(file) is None:
            return f"wav.scp: {entry} ends in | as a command does, and is a sound file; take the | away"
        return None
    archive = archive_of(entry)
    if archive and os.path.isfile(archive):
        problem = audio_problem(entry)
        return problem and f"{entry} {problem}"
    problem = wav_problem(archive or entry)
    words = entry.removeprefix(f"{folder}/").split()
    if problem and not os.path.exists(entry) and len(words) > 1 and shutil.which(words[0]):
        return f"wav.scp: {entry} is no file; a command ends in |"
    return problem


def check_commands(folder: Path, entries: Iterable[str]) -> None:
    """Run the first commands, as stage 2 will do with all; raises UserError when three of three fail."""
    problems = []
    for entry in [entry for entry in entries if is_command(entry)][:3]:
        try:
            load_audio(entry)
            return
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(f"{folder}/wav.scp: its commands fail, such as {problems[0]}; they run in the recipe's folder, "
                        "so that they need absolute paths")


def several_channels(wav: Mapping[str, str]) -> dict[str, int]:
    """Recordings in a file of more than one channel, with their number of channels."""
    channels = {}
    for recording, entry in wav.items():
        if os.path.isfile(entry) and audio_problem(entry) is None:
            with open(entry, "rb") as file:
                channels[recording] = soundfile.info(file).channels
    return {recording: number for recording, number in channels.items() if number > 1}

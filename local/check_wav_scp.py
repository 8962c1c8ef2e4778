"""What can be wrong with the entries of a user's wav.scp, as far as it shows before they are read."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import soundfile

from local.prep_common import wav_problem
from ser.audio.wav_scp import entry_in
from ser.audio.waveform import audio_problem, load_audio
from ser.base.errors import UserError


def entry_problem(folder: Path, entry: str, cut: bool) -> str | None:
    """Say in one line why an entry cannot be used (or `cut` into segments), without running a command; or None."""
    if entry.endswith("|"):
        file = entry_in(folder, entry[:-1].strip())
        if os.path.isfile(file) and audio_problem(file) is None:
            return f"wav.scp: '{entry}' ends in | as a command does, and names a sound file; take the | away"
        return None
    problem = wav_problem(entry, cut)
    words = entry.removeprefix(f"{folder}/").split()
    if problem and len(words) > 1 and not os.path.exists(entry) and shutil.which(words[0]):
        return f"wav.scp: '{' '.join(words)}' is no file; if it is a command, it must end in |"
    return problem


def check_commands(folder: Path, entries: Iterable[str]) -> None:
    """Run the first commands, as stage 2 will do with all; raises UserError when none of three works."""
    problems = []
    for entry in [entry for entry in entries if entry.endswith("|")][:3]:
        try:
            load_audio(entry)
            return
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(f"{folder}/wav.scp: its commands fail, such as {problems[0]}; they run in the recipe's folder, "
                        "so that they need absolute paths")


def several_channels(entries: Iterable[str]) -> list[str]:
    """The files of these entries that have more than one channel."""
    several = []
    for entry in entries:
        if os.path.isfile(entry):
            with open(entry, "rb") as file:
                if soundfile.info(file).channels > 1:
                    several.append(entry)
    return several

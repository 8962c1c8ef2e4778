"""Features that a user brings: feats.scp, vad.scp and frame_shift of a Kaldi data directory."""

import functools
import os
import re
from pathlib import Path

from ser.base.errors import UserError
from ser.base.log import log
from ser.data.data_dir import read_table, read_text

KALDIS_SHIFT = 0.01  # seconds, where there is no frame_shift
_PLACE = re.compile(r"(?P<archive>.*\S):(?P<offset>\d{1,18})")


@functools.cache
def find_archive(folder: Path, archive: str) -> str | None:
    """Where an archive is: by a path from its table's folder, the working directory, or a folder above the table's,
    as Kaldi's tables are written from the folder that holds data/; None where it is nowhere."""
    folder = folder.absolute()
    return next((str(base / archive) for base in (folder, Path.cwd(), *folder.parents) if (base / archive).is_file()),
                None)


def read_places(folder: Path, name: str) -> dict[str, str]:
    """Read feats.scp or vad.scp, with absolute paths of those archives that are there; raises UserError."""
    places = {}
    for utt, place in read_table(folder / name).items():
        parts = _PLACE.fullmatch(place)
        found = parts and find_archive(folder, parts["archive"])
        places[utt] = f"{found}:{parts['offset']}" if parts and found else place
    return places


def place_problem(name: str, place: str) -> str | None:
    """Why an entry of a table of that name cannot be used, or None."""
    parts = _PLACE.fullmatch(place)
    if not parts:
        return f"{name} says {place!r} and not archive:offset; copy the features with copy-feats to an ark and scp"
    return None if os.path.isabs(parts["archive"]) and os.path.isfile(parts["archive"]) else (
        f"{name}: {parts['archive']} is missing")


def read_frame_shift(folder: Path) -> float:
    """Seconds from one frame to the next as frame_shift says, else Kaldi's default, which is said; raises UserError."""
    path = folder / "frame_shift"
    if not path.is_file():
        log(f"{path}: no such file, so a frame is taken for {KALDIS_SHIFT} s, as Kaldi does")
        return KALDIS_SHIFT
    text = read_text(path).strip()
    try:
        shift = float(text)
    except ValueError:
        shift = 0.0
    if not 0 < shift < 1:
        raise UserError(f"{path}: expected seconds from one frame to the next, such as 0.02, found {text!r}")
    return shift

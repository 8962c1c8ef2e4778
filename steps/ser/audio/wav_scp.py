"""What an entry of wav.scp names: a file, a place in an archive, or the output of a command."""

import io
import os
import re
import subprocess
from pathlib import Path
from typing import BinaryIO

from ser.base.errors import UserError

# Programs that write to a pipe do not know the length of the sound and put a number near the largest one.
STREAMED_SIZE = 0x7FFF0000
_ARCHIVE_PLACE = re.compile(r"(.+):(\d{1,18})")  # wavs.ark:1234


def _output_of(command: str) -> io.BytesIO:
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], stdin=subprocess.DEVNULL, capture_output=True)
    if result.returncode:
        last = result.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise UserError(f"exit status {result.returncode}: {last[0]}")
    return io.BytesIO(result.stdout)


def _split_place(source: str) -> tuple[str, int | None]:
    """The file of a source, and the offset in it if the source is a place in an archive (`wavs.ark:1234`)."""
    place = _ARCHIVE_PLACE.fullmatch(source)
    return (place[1], int(place[2])) if place and not os.path.exists(source) else (source, None)


def _sound_in_archive(path: str, offset: int) -> io.BytesIO:
    """The audio file that lies at an offset of a Kaldi archive; raises UserError, and OSError for a missing archive."""
    with open(path, "rb") as archive:
        archive.seek(offset)
        head = archive.read(8)
        archive.seek(offset)
        # Kaldi's wav-copy and kaldiio: a WAV follows the key.
        if head.startswith(b"RIFF"):
            size = int.from_bytes(head[4:8], "little")
            if not 0 < size < STREAMED_SIZE:
                raise UserError("does not say how many bytes it holds, and the archive goes on after it")
            return io.BytesIO(archive.read(8 + size))
        # kaldiio as ESPnet uses it: a file of any kind follows a mark and its length.
        if head.startswith(b"AUDIO"):
            archive.seek(offset + len(b"AUDIO"))
            width = int.from_bytes(archive.read(1), "little")
            size = int.from_bytes(archive.read(width), "little")
            return io.BytesIO(archive.read(min(size, os.fstat(archive.fileno()).st_size)))
    raise UserError("cannot be read: no sound is at that place of the archive")


def open_source(source: str, piped: bool) -> BinaryIO:
    """Open what a wav.scp entry names; raises UserError and OSError."""
    if piped:
        return _output_of(source[:-1].strip())
    path, offset = _split_place(source)
    return open(path, "rb", buffering=0) if offset is None else _sound_in_archive(path, offset)


def entry_in(folder: str | Path, entry: str) -> str:
    """Make a wav.scp entry independent of the working directory; a `command |` stays as it is.

    A relative path is one from the folder of wav.scp, or else from the working directory.
    """
    if entry.endswith("|"):
        return entry
    beside = str(Path(folder) / entry)
    if not os.path.exists(_split_place(beside)[0]) and os.path.exists(_split_place(entry)[0]):
        return os.path.abspath(entry)
    return beside

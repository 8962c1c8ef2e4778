"""Audio of any rate, channel count and common format as 16 kHz mono at int16 scale."""

import contextlib
import io
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from ser.base.errors import UserError

SAMPLE_RATE = 16000
INT16_SCALE = 32768.0
_RATES = range(1000, 1_000_000)
# Floating-point files may pass full scale; one that passes it so far holds something else, such as integers.
_LOUDEST = 256.0
# Programs that write to a pipe do not know the length of the sound and put a number near the largest one.
_STREAMED_SIZE = 0x7FFF0000
_UNKNOWN_LENGTH = (1 << 63) - 1  # what libsndfile says of a FLAC file without it
_CHUNK_SIZES = re.compile(r"^ *(?:data|SSND|Data Size|Riff size|riff) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_LONGEST_OGG_PAGE = 27 + 255 + 255 * 255
_BLOCK_SAMPLES = 1 << 16


def _ogg_problem(stream: BinaryIO) -> str | None:
    """Why an Ogg stream is not whole: it ends in a complete page that is marked as the last."""
    stream.seek(-min(_LONGEST_OGG_PAGE, stream.seek(0, os.SEEK_END)), os.SEEK_END)
    tail = stream.read()
    page = tail[max(tail.rfind(b"OggS"), 0) :]
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    whole = segments and page[5] & 4 and len(page) >= 27 + len(segments) + sum(segments)
    return None if whole else "is cut short: the last page of the Ogg stream is missing"


def _sphere_problem(stream: BinaryIO, frames: int) -> str | None:
    stream.seek(0)
    declared = re.search(rb"^sample_count -i (\d+)", stream.read(1024), re.MULTILINE)
    if declared and int(declared[1]) > frames:
        return f"is cut short: {frames} of {int(declared[1])} samples are there"
    return None


def _header_problem(stream: BinaryIO, file: soundfile.SoundFile) -> str | None:
    """Say in one line why an open stream, and the `soundfile.SoundFile` on it, cannot be whole, or return None."""
    if file.frames == 0:
        return "holds no samples"
    if file.frames == _UNKNOWN_LENGTH:
        return "does not say how many samples it holds; write it again, to a file instead of a pipe"
    if file.samplerate not in _RATES:
        return f"cannot be sound: its header says {file.samplerate} samples a second"
    position = stream.tell()
    try:
        if file.format == "OGG":
            return _ogg_problem(stream)
        if file.format == "NIST":
            return _sphere_problem(stream, file.frames)
    finally:
        stream.seek(position)  # where the decoder left it
    for size in _CHUNK_SIZES.finditer(file.extra_info):
        declared = int(size[1])
        there = int(size[2])
        if there < declared < _STREAMED_SIZE:
            return f"is cut short: {there} of {declared} bytes of sound are there"
    return None


def _output_of(command: str) -> io.BytesIO:
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True)
    if result.returncode:
        last = result.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise UserError(f"exit status {result.returncode}: {last[0]}")
    return io.BytesIO(result.stdout)


@contextlib.contextmanager
def _opened(source: str, piped: bool = False) -> Iterator[soundfile.SoundFile]:
    """Yield the `soundfile.SoundFile` of a path, or of a `command |` that is run; raises UserError with a reason that
    names no file."""
    try:
        with _output_of(source[:-1].strip()) if piped else open(source, "rb", buffering=0) as stream:
            if not stream.read(1):
                raise UserError("cannot be read: it is empty")
            stream.seek(0)
            with soundfile.SoundFile(stream if piped else stream.fileno(), closefd=False) as file:
                problem = _header_problem(stream, file)
                if problem:
                    raise UserError(problem)
                yield file
    except (soundfile.SoundFileError, OSError) as error:
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
        raise UserError(f"cannot be read: {reason}") from None


def audio_problem(path: str | Path) -> str | None:
    """Look at the header of an audio file, and at the end of one whose end is marked.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    str or None
        One line that says why the file cannot be used, or None when the header is sound.
    """
    try:
        with _opened(str(path)):
            return None
    except UserError as error:
        return str(error)


def _blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """Yield the samples of an open file, float32 at int16 scale, the mean of the channels; raises UserError."""
    is_int16 = file.subtype == "PCM_16"
    block = np.empty((min(_BLOCK_SAMPLES, file.frames), file.channels), np.int16 if is_int16 else np.float32)
    there = 0
    while there < file.frames and len(part := file.read(out=block)):
        if not is_int16 and not max(part.max(), -part.min()) <= _LOUDEST:
            loudest = np.abs(part).max(axis=1)
            first = np.flatnonzero(~(loudest <= _LOUDEST))[0]
            raise UserError(f"sample {there + first} is {loudest[first]:g}, where full scale is 1")
        mono = part[:, 0].astype(np.float32)
        if file.channels > 1:
            for channel in part.T[1:]:
                mono += channel
            mono /= file.channels
        yield mono if is_int16 else mono * np.float32(INT16_SCALE)
        there += len(part)
    if there < file.frames:
        raise UserError(f"is cut short: {there} of {file.frames} samples can be read")


def _resampled(blocks: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Yield blocks at 16 kHz."""
    import soxr

    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def load_audio_file(path: str | Path) -> np.ndarray:
    """Read a file that libsndfile reads, as load_audio() does; whatever its name, no command is run."""
    return _load(str(path), piped=False)


def load_audio(source: str | Path) -> np.ndarray:
    """Read one wav.scp entry.

    Parameters
    ----------
    source : str or Path
        Path of a file that libsndfile reads, or `command |` whose output is one (run by bash with
        pipefail, Kaldi's contract for wav.scp).

    Returns
    -------
    numpy.ndarray
        float32 `[samples]`, 16 kHz, the mean of the channels, in units of 1/32768 of full scale.

    Raises
    ------
    UserError
        The file is missing, unreadable, cut short, empty, or holds a value that is no sound: not finite, or
        hundreds of times full scale.
    """
    source = str(source)
    return _load(source, piped=source.endswith("|"))


def _load(source: str, piped: bool) -> np.ndarray:
    try:
        with _opened(source, piped) as file:
            blocks = _blocks(file)
            if file.samplerate != SAMPLE_RATE:
                blocks = _resampled(blocks, file.samplerate)
            samples = bytearray()  # grows in place, so that an hour is in memory once
            for block in blocks:
                samples += block.data
            return np.frombuffer(samples, np.float32)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None

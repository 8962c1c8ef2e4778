"""Audio of any rate, channel count and common format as 16 kHz mono at int16 scale."""

import contextlib
import io
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from ser.audio.wav_scp import STREAMED_SIZE, open_source
from ser.base.errors import UserError

SAMPLE_RATE = 16000
INT16_SCALE = 32768.0
_RATES = range(1000, 1_000_000)
# Floating-point files may pass full scale; one that passes it so far holds something else, such as integers.
_LOUDEST = 256.0
_UNKNOWN_LENGTH = (1 << 63) - 1  # what libsndfile says of a FLAC file without it
_CHUNK_SIZES = re.compile(r"^ *(?:data|SSND|Data Size|Riff size|riff) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
# What libsndfile takes for "read to the end", by the beginning of a file: where it is, and the bytes. It knows a size
# of 0xFFFFFFFF by itself, and a data size of 0 in a WAV only where the RIFF size is 8.
_READ_TO_END = {b"RIFF": (4, b"\x08\0\0\0"), b".snd": (8, b"\xff\xff\xff\xff")}
_LONGEST_OGG_PAGE = 27 + 255 + 255 * 255
_BLOCK_SAMPLES = 1 << 16
# Channels whose mean keeps so little of their energy are a voice and its inverse; of N independent ones 1/N is kept.
_CANCELLED_SHARE = 1e-4


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
        if there < declared < STREAMED_SIZE:
            return f"is cut short: {there} of {declared} bytes of sound are there"
    return None


def _read_to_end(stream: BinaryIO) -> io.BytesIO | None:
    """A copy of a file whose header says that it holds no sound and is wrong, as when it came through a pipe or its
    writer was killed; changed so that libsndfile takes all that follows. None for any other file."""
    stream.seek(0)
    content = bytearray(stream.read())
    kind = bytes(content[:4])
    if kind not in _READ_TO_END or int.from_bytes(content[4:8], "little") == len(content) - 8:
        return None
    offset, size = _READ_TO_END[kind]
    content[offset : offset + 4] = size
    return io.BytesIO(content)


def _explain_undecodable(stream: BinaryIO) -> str | None:
    """What a file is that libsndfile cannot decode, with the way out, if it is a kind that is often met."""
    stream.seek(0)
    head = stream.read(1024)
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; git lfs pull fetches the audio"
    if head.startswith(b"NIST_1A") and b"shorten" in head:
        return "it is compressed with shorten; convert it with sph2pipe -f wav (in wav.scp: sph2pipe -f wav FILE |)"
    return None


def _open_sound(stream: BinaryIO) -> soundfile.SoundFile:
    """Open a stream with libsndfile; raises UserError where it says why, else SoundFileError."""
    is_file = isinstance(stream, io.FileIO)
    stream.seek(0)
    try:
        return soundfile.SoundFile(stream.fileno() if is_file else stream, closefd=False)
    except soundfile.SoundFileError:
        reason = _explain_undecodable(stream)
        if reason:
            raise UserError(f"cannot be read: {reason}") from None
        raise


@contextlib.contextmanager
def _opened(source: str, piped: bool = False, cut: bool = False) -> Iterator[soundfile.SoundFile]:
    """Yield the `soundfile.SoundFile` of a path, of a place in an archive, or of a `command |` that is run; of one
    channel if it is to be cut. Raises UserError with a reason that names no file."""
    try:
        with open_source(source, piped) as stream:
            if not stream.read(1):
                raise UserError("cannot be read: it is empty")
            file = _open_sound(stream)
            if file.frames == 0 and (whole := _read_to_end(stream)):
                file.close()
                stream = whole
                file = _open_sound(stream)
            with file:
                problem = _header_problem(stream, file)
                if problem:
                    raise UserError(problem)
                if cut and file.channels > 1:
                    raise UserError(f"has {file.channels} channels, and segments do not say which; give each its own "
                                    "recording in wav.scp (sox FILE -t wav - remix 1 |)")
                yield file
    except (soundfile.SoundFileError, OSError) as error:
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
        raise UserError(f"cannot be read: {reason}") from None


def audio_problem(path: str | Path, cut: bool = False) -> str | None:
    """Look at the header of an audio file, and at the end of one whose end is marked.

    Parameters
    ----------
    path : str or Path
        A file, or a place in an archive.
    cut : bool
        Whether segments of it are to be cut, as for load_audio().

    Returns
    -------
    str or None
        One line that says why the file cannot be used, or None when the header is sound.
    """
    try:
        with _opened(str(path), cut=cut):
            return None
    except UserError as error:
        return str(error)


def _blocks(file: soundfile.SoundFile, size: int = _BLOCK_SAMPLES) -> Iterator[np.ndarray]:
    """Yield `size` samples at a time of an open file, float32 at int16 scale, the mean of the channels; raises
    UserError, at the end for channels that cancel each other out. A pipe ends where it ends, whatever its header says.
    """
    is_int16 = file.subtype == "PCM_16"
    block = np.empty((min(size, file.frames), file.channels), np.int16 if is_int16 else np.float32)
    there = 0
    # Sums of samples and of squares: of every channel, and last of their mean.
    sums = np.zeros((file.channels + 1, 2))
    while there < file.frames and len(part := file.read(out=block)):
        if not is_int16 and not max(part.max(), -part.min()) <= _LOUDEST:
            loudest = np.abs(part).max(axis=1)
            first = np.flatnonzero(~(loudest <= _LOUDEST))[0]
            raise UserError(f"sample {there + first} is {loudest[first]:g}, where full scale is 1")
        channels = part.T.astype(np.float32, order="C")
        mono = channels[0]
        if file.channels > 1:
            mono = mono.copy()
            for channel in channels[1:]:
                mono += channel
            mono /= file.channels
            sums += [[signal.sum(), np.dot(signal, signal)] for signal in (*channels, mono)]
        yield mono if is_int16 else mono * np.float32(INT16_SCALE)
        there += len(part)
    if there < file.frames and file.seekable():
        raise UserError(f"is cut short: {there} of {file.frames} samples can be read")
    *energies, energy_of_mean = sums[:, 1] - sums[:, 0] ** 2 / max(there, 1)
    rounding = 1e-3 * sums[:, 1].max()  # of an offset, in float32
    if rounding < np.mean(energies) and energy_of_mean < _CANCELLED_SHARE * np.mean(energies):
        raise UserError("its channels cancel each other out, one is the inverse of another; take one of them, such as "
                        "sox FILE -t wav - remix 1 |")


def _at_16_khz(blocks: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Yield blocks of a rate at 16 kHz."""
    if rate == SAMPLE_RATE:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def load_audio(source: str | Path, cut: bool = False) -> np.ndarray:
    """Read one wav.scp entry.

    Parameters
    ----------
    source : str or Path
        Path of a file that libsndfile reads, place of one in a Kaldi archive (`wavs.ark:1234`), or `command |` whose
        output is one (run by bash with pipefail, Kaldi's contract for wav.scp).
    cut : bool
        Whether segments of it are to be cut, which do not name a channel, so that several are refused as in Kaldi's
        extract-segments.

    Returns
    -------
    numpy.ndarray
        float32 `[samples]`, 16 kHz, the mean of the channels, in units of 1/32768 of full scale.

    Raises
    ------
    UserError
        The file is missing, unreadable, cut short, empty, or holds a value that is no sound: not finite, or
        hundreds of times full scale; its channels cancel each other out, or are several where one is to be cut.
    """
    source = str(source)
    return joined(audio_blocks(source, cut, piped=source.endswith("|")))


def audio_blocks(source: str | Path, cut: bool = False, piped: bool = False) -> Iterator[np.ndarray]:
    """Yield what load_audio() returns in blocks of seconds, so that a long recording never is in memory as a whole.

    Parameters
    ----------
    source : str or Path
    cut : bool
        As in load_audio().
    piped : bool
        Whether the source is a `command |` that is to be run; else whatever its name, no command is.

    Yields
    ------
    numpy.ndarray
        As load_audio() returns; it raises what that does, some of it after the last block.
    """
    try:
        with _opened(str(source), piped, cut) as file:
            yield from _at_16_khz(_blocks(file), file.samplerate)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def stream_blocks(descriptor: int, kind: str) -> Iterator[np.ndarray]:
    """Yield the sound of a pipe as it comes, a tenth of a second at a time.

    Parameters
    ----------
    descriptor : int
        Of a file that is open for reading, such as 0 for standard input.
    kind : str
        `pcm`: samples without a header, signed 16-bit integers, little-endian, 16 kHz, one channel. `wav`: a WAV of any
        rate, channel count and encoding, whose header may give any size but 0.

    Yields
    ------
    numpy.ndarray
        float32 `[samples]` as load_audio() returns; raises UserError as that.
    """
    raw = {"format": "RAW", "subtype": "PCM_16", "endian": "LITTLE", "samplerate": SAMPLE_RATE, "channels": 1}
    try:
        with soundfile.SoundFile(descriptor, closefd=False, **(raw if kind == "pcm" else {})) as file:
            if file.frames == 0:
                raise UserError("holds no samples, or a header that says so; without a header: --stdin pcm")
            yield from _at_16_khz(_blocks(file, file.samplerate // 10), file.samplerate)
    except (soundfile.SoundFileError, UserError) as error:
        raise UserError(f"standard input: {getattr(error, 'error_string', error)}") from None


def joined(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """One array of float32 blocks, without a second copy of them."""
    samples = bytearray()  # grows in place, so that an hour is in memory once
    for block in blocks:
        samples += block.data
    return np.frombuffer(samples, np.float32)

"""Audio of any rate, channel count and common format as 16 kHz mono at int16 scale."""

import contextlib
import io
import os
import re
import subprocess

import numpy as np
import soundfile

from ser.errors import UserError

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
_BLOCK_SAMPLES = 1 << 20


def _ogg_problem(stream):
    """Why an Ogg stream is not whole: it ends in a complete page that is marked as the last."""
    stream.seek(-min(_LONGEST_OGG_PAGE, stream.seek(0, os.SEEK_END)), os.SEEK_END)
    tail = stream.read()
    page = tail[max(tail.rfind(b"OggS"), 0) :]
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    whole = segments and page[5] & 4 and len(page) >= 27 + len(segments) + sum(segments)
    return None if whole else "is cut short: the last page of the Ogg stream is missing"


def _sphere_problem(stream, frames):
    stream.seek(0)
    declared = re.search(rb"^sample_count -i (\d+)", stream.read(1024), re.MULTILINE)
    if declared and int(declared[1]) > frames:
        return f"is cut short: {frames} of {int(declared[1])} samples are there"
    return None


def _header_problem(stream, file):
    """Say in one line why an open stream, and the `soundfile.SoundFile` on it, cannot be whole, or return None."""
    if file.frames == 0:
        return "holds no samples"
    if file.frames == _UNKNOWN_LENGTH:
        return "does not say how many samples it holds; write it again, to a file instead of a pipe"
    if file.samplerate not in _RATES:
        return f"cannot be sound: its header says {file.samplerate} samples a second"
    place = stream.tell()
    try:
        if file.format == "OGG":
            return _ogg_problem(stream)
        if file.format == "NIST":
            return _sphere_problem(stream, file.frames)
    finally:
        stream.seek(place)  # where the decoder left it
    for there, said in ((int(size[2]), int(size[1])) for size in _CHUNK_SIZES.finditer(file.extra_info)):
        if there < said < _STREAMED_SIZE:
            return f"is cut short: {there} of {said} bytes of sound are there"
    return None


def _output_of(command):
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True)
    if result.returncode:
        last = result.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise UserError(f"exit status {result.returncode}: {last[0]}")
    return io.BytesIO(result.stdout)


@contextlib.contextmanager
def _opened(source):
    """Yield the `soundfile.SoundFile` of a path or `command |`; raises UserError with a reason that names no file."""
    try:
        with _output_of(source[:-1].strip()) if source.endswith("|") else open(source, "rb") as stream:
            if not stream.read(1):
                raise UserError("cannot be read: it is empty")
            stream.seek(0)
            with soundfile.SoundFile(stream) as file:
                problem = _header_problem(stream, file)
                if problem:
                    raise UserError(problem)
                yield file
    except (soundfile.SoundFileError, OSError, TypeError) as error:  # TypeError: soundfile wants options for *.raw
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
        raise UserError(f"cannot be read: {reason}") from None


def audio_problem(path):
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


def _mono(file):
    """All samples of an open file, float32 in [-1, 1], the mean of the channels; raises UserError."""
    block = np.empty((min(_BLOCK_SAMPLES, file.frames), file.channels), np.float32)
    mono, there = [], 0
    while there < file.frames and len(part := file.read(out=block)):
        loud = np.flatnonzero(~(np.abs(part).max(axis=1) <= _LOUDEST))
        if len(loud):
            raise UserError(f"sample {there + loud[0]} is {np.abs(part[loud[0]]).max():g}, where full scale is 1")
        mono.append(part.mean(axis=1))
        there += len(part)
    if there < file.frames:
        raise UserError(f"is cut short: {there} of {file.frames} samples can be read")
    return np.concatenate(mono)


def load_audio(source):
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
    try:
        with _opened(source) as file:
            samples, rate = _mono(file), file.samplerate
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    if rate != SAMPLE_RATE:
        import librosa  # half a second to import, and most corpora are 16 kHz already

        samples = librosa.resample(samples, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    samples *= np.float32(INT16_SCALE)
    return samples

"""Audio of any rate, channel count and common format as 16 kHz mono at int16 scale."""

import io
import re
import subprocess

import numpy as np
import soundfile

from ser.errors import UserError

SAMPLE_RATE = 16000
INT16_SCALE = 32768.0
# Programs that write wav to a pipe do not know its length and put a number near the largest one.
_STREAMED_SIZE = 0x7FFF0000
_BLOCK_SAMPLES = 1 << 20


def _header_problem(file):
    """Say in one line why an open `soundfile.SoundFile` cannot be whole, or return None."""
    if file.frames == 0:
        return "holds no samples"
    if file.format in ("WAV", "WAVEX"):
        sizes = re.search(r"^data : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
        if sizes and int(sizes[2]) < int(sizes[1]) < _STREAMED_SIZE:
            return f"is cut short: {sizes[2]} of {sizes[1]} bytes of sound are there"
    return None


def audio_problem(path):
    """Look at the header of an audio file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    str or None
        One line that says why the file cannot be used, or None when the header is sound.
    """
    try:
        with soundfile.SoundFile(path) as file:
            return _header_problem(file)
    except (soundfile.LibsndfileError, OSError) as error:
        return _reason(error)


def _reason(error):
    return f"cannot be read: {getattr(error, 'error_string', None) or error}"


def _open_pipe(command):
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True)
    if result.returncode:
        last = result.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise UserError(f"{command} |: exit status {result.returncode}: {last[0]}")
    return io.BytesIO(result.stdout)


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
        The file is missing, unreadable, cut short, empty, or holds a value that is not finite.
    """
    source = str(source)
    try:
        with soundfile.SoundFile(_open_pipe(source[:-1].strip()) if source.endswith("|") else source) as file:
            problem = _header_problem(file)
            if problem:
                raise UserError(f"{source}: {problem}")
            rate = file.samplerate
            blocks = [block.mean(axis=1, dtype=np.float32)
                      for block in file.blocks(_BLOCK_SAMPLES, dtype="float32", always_2d=True)]
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"{source}: {_reason(error)}") from None
    samples = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
    if not len(samples):
        raise UserError(f"{source}: holds no samples")
    if not np.isfinite(samples).all():
        raise UserError(f"{source}: sample {np.flatnonzero(~np.isfinite(samples))[0]} is not a finite number")
    if rate != SAMPLE_RATE:
        import librosa  # half a second to import, and most corpora are 16 kHz already

        samples = librosa.resample(samples, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    return samples * np.float32(INT16_SCALE)

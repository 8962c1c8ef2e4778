"""Sound files of any format: what libsndfile does not read, ffmpeg does, where it is installed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from ser.audio.waveform import audio_blocks
from ser.base.errors import UserError

# What libsndfile says of a file that may be sound, but not for it: format not recognized, encoding not supported or
# not implemented. Damage to a format that it knows is not among them.
_NOT_ITS_FORMAT = {1, 4, 18, 106, 110}


def is_for_libsndfile(path: str | Path) -> bool:
    """Whether a file is of a format that libsndfile knows, damaged or not."""
    try:
        with open(path, "rb") as file, soundfile.SoundFile(file.fileno(), closefd=False):
            return True
    except soundfile.LibsndfileError as error:
        return error.code not in _NOT_ITS_FORMAT
    except OSError:
        return True  # whoever reads it will say why it cannot be read


def sound_blocks(path: str | Path, cut: bool = False) -> Iterator[np.ndarray]:
    """Read a file as ser.audio.waveform.audio_blocks() does, and other formats by ffmpeg: m4a, mp4, webm, wma, …

    Parameters
    ----------
    path : str or Path
        Whatever its name, it is a file; of a film the first sound track is taken.
    cut : bool
        As in audio_blocks().

    Yields
    ------
    numpy.ndarray
        float32 `[samples]`, 16 kHz, the mean of the channels, in units of 1/32768 of full scale. What ffmpeg decodes is
        in the folder for temporary files meanwhile, 115 MB an hour of 16 kHz and one channel.

    Raises
    ------
    UserError
        As audio_blocks(); or ffmpeg is not there, or reports any error, such as an end that is missing.
    """
    try:
        yield from audio_blocks(path, cut)
    except UserError as error:
        if is_for_libsndfile(path) or not os.path.getsize(path):
            raise
        problem = str(error).rstrip(".")
    else:
        return
    if not shutil.which("ffmpeg"):
        raise UserError(f"{problem} by libsndfile; install ffmpeg, and it is read by that")
    with tempfile.TemporaryDirectory() as folder:
        decoded = Path(folder, "decoded.w64")  # the WAV format without a limit of 4 GiB
        # The file alone is read: no other protocol, even if it is a list of addresses.
        result = subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-protocol_whitelist", "file",
                                 "-i", f"file:{path}", "-map", "0:a:0", "-c:a", "pcm_s16le", str(decoded)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = result.stderr.decode(errors="replace").strip().replace(f"file:{path}: ", "")
        if result.returncode or said:
            raise UserError(f"{problem} by libsndfile, and ffmpeg says: {said.partition(chr(10))[0] or 'nothing'}")
        try:
            yield from audio_blocks(decoded, cut)
        except UserError as error:
            raise UserError(str(error).replace(str(decoded), str(path), 1)) from None

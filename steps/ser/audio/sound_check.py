"""What is wrong with a recording that can be decoded, and whether two recordings are the same."""

import hashlib

import numpy as np

from ser.audio.waveform import SAMPLE_RATE

_SILENCE = 32.0  # no more than this, 1/1024 of full scale (-60 dB), from the quietest to the loudest sample
_EDGE = SAMPLE_RATE // 100  # samples at both ends where resampling makes a step of a constant
_PEAK = 0.999  # of the loudest sample: as loud as it
_CLIPPED_SHARE = 0.01  # of the samples; of clean speech less than one in a thousand is at the peak


def sound_problem(samples: np.ndarray) -> str | None:
    """Say in one word what is wrong with an utterance.

    Parameters
    ----------
    samples : numpy.ndarray
        float32 `[samples]` at 16 kHz and int16 scale.

    Returns
    -------
    str or None
        `silent`: nothing is louder than -60 dB of full scale. `constant`: the same, next to an offset. `clipped`:
        1 % or more of the samples are as loud as the loudest. None: nothing of these.
    """
    inner = samples[_EDGE:-_EDGE] if len(samples) > 2 * _EDGE else samples
    lowest = inner.min()
    highest = inner.max()
    peak = max(-lowest, highest)
    if highest - lowest <= _SILENCE:
        return "silent" if peak <= _SILENCE else "constant"
    at_peak = np.count_nonzero(np.abs(inner) >= _PEAK * peak)
    return "clipped" if at_peak >= _CLIPPED_SHARE * len(inner) else None


def audio_digest(samples: np.ndarray) -> str:
    """32 hex digits that two utterances share when their samples are equal."""
    return hashlib.blake2b(np.ascontiguousarray(samples).data, digest_size=16).hexdigest()

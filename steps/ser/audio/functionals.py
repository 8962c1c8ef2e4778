"""Functionals of low-level descriptors: an utterance of any length as one vector, for a classical classifier.

The descriptors are librosa's, on the frames of the filterbanks (F0 on every second one), of which those are kept that
the VAD calls voiced. The set is fixed, as openSMILE's are, so that two figures of it can be compared.
"""

import librosa
import numpy as np

from ser.audio.fbank import FbankConfig
from ser.audio.waveform import INT16_SCALE, SAMPLE_RATE

_MFCC = 13
_MELS = 40
_DELTA_FRAMES = 9  # that a delta is the slope of
_LOWEST_F0 = 60.0  # Hz
_HIGHEST_F0 = 500.0
_F0_WINDOW = 1024  # samples: almost four periods of the lowest
_F0_RESOLUTION = 0.25  # semitones; pYIN's time grows faster than the number of these steps
_F0_STEP = 2  # frames, for the same reason
_REFERENCE = 27.5  # Hz, the note from which semitones count, as in eGeMAPS

DESCRIPTORS = (*(f"mfcc{number}" for number in range(1, _MFCC + 1)),
               *(f"delta_mfcc{number}" for number in range(1, _MFCC + 1)),
               "rms", "centroid", "bandwidth", "rolloff", "flatness", "zero_crossing_rate")
FUNCTIONALS = ("mean", "deviation", "percentile5", "median", "percentile95", "slope")
NAMES = (*(f"{descriptor}_{functional}" for descriptor in (*DESCRIPTORS, "f0") for functional in FUNCTIONALS),
         "periodic_share")


def functionals(samples: np.ndarray, voiced: np.ndarray, config: FbankConfig) -> np.ndarray:
    """Describe an utterance.

    Parameters
    ----------
    samples : numpy.ndarray
        float32 `[samples]` at 16 kHz and int16 scale.
    voiced : numpy.ndarray
        The VAD's decision on each frame, `[frames]`; when none is voiced, all frames are described.
    config : FbankConfig
        Gives the frame grid: frame t covers `window_samples` from `t * shift_samples`.

    Returns
    -------
    numpy.ndarray
        float32 `[len(NAMES)]`, finite whatever the utterance holds; 0 for what there is no frame of, such as the F0 of
        a whisper. Slopes are per second, F0 is in semitones, RMS in dB of full scale.
    """
    voiced = voiced > 0 if voiced.any() else np.ones(len(voiced), bool)
    # Frames that the VAD keeps, and when each begins.
    all_seconds = np.arange(len(voiced)) * config.shift_samples / SAMPLE_RATE
    signal = samples / np.float32(INT16_SCALE)
    parts = [summary(descriptors(signal, config)[:, voiced], all_seconds[voiced])]
    # F0 of those of them that are periodic.
    kept = voiced[::_F0_STEP]
    semitones = pitch(signal, len(kept), _F0_STEP * config.shift_samples)
    periodic = kept & np.isfinite(semitones)
    parts.append(summary(semitones[None, periodic], all_seconds[::_F0_STEP][periodic]))
    share = periodic.sum() / max(kept.sum(), 1)
    return np.concatenate([*(part.ravel() for part in parts), [share]]).astype(np.float32)


def descriptors(signal: np.ndarray, config: FbankConfig) -> np.ndarray:
    """The descriptors but for F0, `[len(DESCRIPTORS), frames]`, of a signal that is no shorter than a window."""
    window = config.window_samples
    shift = config.shift_samples
    magnitudes = np.abs(librosa.stft(signal, n_fft=window, hop_length=shift, center=False))  # [bins, frames]
    mels = librosa.feature.melspectrogram(S=magnitudes**2, sr=SAMPLE_RATE, n_mels=_MELS)
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mels), n_mfcc=_MFCC)
    delta = librosa.feature.delta(mfcc, width=_DELTA_FRAMES, mode="nearest")
    rms = librosa.feature.rms(y=signal, frame_length=window, hop_length=shift, center=False)
    crossings = librosa.feature.zero_crossing_rate(signal, frame_length=window, hop_length=shift, center=False)
    return np.concatenate([
        mfcc, delta, librosa.amplitude_to_db(rms, ref=1.0, top_db=None),
        librosa.feature.spectral_centroid(S=magnitudes, sr=SAMPLE_RATE),
        librosa.feature.spectral_bandwidth(S=magnitudes, sr=SAMPLE_RATE),
        librosa.feature.spectral_rolloff(S=magnitudes, sr=SAMPLE_RATE),
        librosa.feature.spectral_flatness(S=magnitudes), crossings])


def pitch(signal: np.ndarray, frames: int, shift: int) -> np.ndarray:
    """F0 by probabilistic YIN in semitones `[frames]`, NaN where the signal is not periodic.

    Frame t begins at sample `t * shift`; zeros follow the end of the signal.
    """
    signal = librosa.util.fix_length(signal, size=(frames - 1) * shift + _F0_WINDOW)
    f0, _, _ = librosa.pyin(signal, fmin=_LOWEST_F0, fmax=_HIGHEST_F0, sr=SAMPLE_RATE, frame_length=_F0_WINDOW,
                            hop_length=shift, resolution=_F0_RESOLUTION, center=False)
    return 12 * np.log2(f0 / _REFERENCE)


def summary(values: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """FUNCTIONALS `[rows, len(FUNCTIONALS)]` of rows `[rows, frames]`, whose frames begin at `seconds` `[frames]`.

    >>> summary(np.array([[1.0, 2.0, 3.0]]), np.array([0.0, 0.5, 1.0])).round(3).tolist()
    [[2.0, 0.816, 1.1, 2.0, 2.9, 2.0]]
    """
    if not len(seconds):
        return np.zeros((len(values), len(FUNCTIONALS)))
    centred = seconds - seconds.mean()
    slope = values @ centred / max(centred @ centred, np.finfo(float).tiny)  # 0 for a single frame
    return np.stack([values.mean(1), values.std(1), *np.percentile(values, (5, 50, 95), axis=1), slope], axis=1)

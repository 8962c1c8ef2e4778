"""Source-filter synthesis of speech-like audio, for the mini corpora.

Glottal pulses (Rosenberg 1971) with jitter and shimmer pass a spectral tilt and a cascade of moving
formant resonators (Klatt 1980); noise bursts of the consonants are added beside it. A recording channel adds
the noise of a room and filters with the response of a microphone. Robotic, but with what features and models
of speech rely on: harmonics, formants, syllables, pauses, a noise floor.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.interpolate import CubicSpline
from scipy.signal import lfilter, resample_poly

from local.mini.phonetics import FRAME_SECONDS, MARGIN_SECONDS, Syllable, Tracks, draw_tracks, smooth

SAMPLE_RATE = 16000
FRAME = round(FRAME_SECONDS * SAMPLE_RATE)
WINDOW = 4 * FRAME  # of the moving filter
FFT = 13 * FRAME  # the window, and the ringing of the filter after it
OVERSAMPLING = 4  # of the glottal pulses, whose corners would alias
MEAN_VOWEL = np.array([500.0, 1450.0, 2450.0])


class Voice(NamedTuple):
    """What stays with a speaker."""

    f0_hz: float
    range_semitones: float  # of F0 within a plain utterance
    rate: float  # syllables per second
    energy_db: float  # level of plain speech, dB below full scale
    jitter: float  # standard deviation of a period, relative
    tilt_db: float  # how far the source is down at 3 kHz beyond the pulse's own slope
    breath: float  # aspiration noise beside the pulses
    tract: float  # formants relative to an adult man: 1 / relative length of the vocal tract
    formant_scale: tuple[float, ...]  # five further factors, one per formant
    vowel_space: float  # distance of the vowels from their mean, 1 for clear speech
    bandwidth: float  # factor on the formants' bandwidths


class Delivery(NamedTuple):
    """How one utterance is said, in absolute figures."""

    f0_mean_hz: float  # geometric mean over the utterance
    f0_range_semitones: float  # highest less lowest point of the contour
    rate: float  # syllables per second
    energy_db: float  # level of the speech, dB below full scale
    tilt_db: float
    jitter: float  # standard deviation of a period, relative
    smile: float  # factor on the formants: spread lips shorten the tract


class Channel(NamedTuple):
    """A microphone in a room."""

    noise_db: float  # level of the room, dB below full scale
    gain_db: float
    response_db: tuple[float, ...]  # at frequencies from 0 to 8 kHz, spaced evenly in mel; smooth in between


def samples_of(syllables: int, rate: float) -> int:
    """Length of an utterance of so many syllables, margins of silence included; a multiple of 0.1 ms, rounded down."""
    return round((syllables / rate + 2 * MARGIN_SECONDS) * 10000) * SAMPLE_RATE // 10000


def synthesize(voice: Voice, delivery: Delivery, syllables: Sequence[Syllable], samples: int, channel: Channel,
               rng: np.random.Generator) -> np.ndarray:
    """Say `syllables` in `samples` samples; returns (samples,) float64 at 16 kHz, within -1..1."""
    tracks = draw_tracks(syllables, math.ceil(samples / FRAME), rng)

    # Voiced sound, of unit RMS in the vowels
    f0 = delivery.f0_mean_hz * 2 ** (_contour(tracks, delivery.f0_range_semitones, rng) / 12)
    amplitude = _per_sample(tracks.voice)
    voiced = _vocal_tract(_source(f0, voice, delivery, rng) * amplitude, tracks.formants, voice, delivery.smile)
    voiced /= _rms(voiced[amplitude > 0.5])

    # Noise of the consonants, then level and channel
    noise = _vocal_noise(tracks.noise_hz * voice.tract, len(voiced), rng)
    speech = voiced + noise * _per_sample(tracks.noise)
    speech *= 10 ** (delivery.energy_db / 20) / _rms(speech[amplitude > 0.5])
    return np.clip(_record(speech[:samples], channel, rng), -1, 1)


def _contour(tracks: Tracks, range_semitones: float, rng: np.random.Generator) -> np.ndarray:
    """F0 contour in semitones, (frames,): declination, accents on some syllables, mean 0 over voiced frames."""
    frames = len(tracks.voice)
    time = np.arange(frames) / frames
    heights = rng.normal(0.6, 0.5, len(tracks.nuclei)) * (rng.random(len(tracks.nuclei)) < 0.6)
    width = 0.08 / FRAME_SECONDS
    accents = np.exp(-0.5 * ((np.arange(frames)[:, None] - tracks.nuclei) / width) ** 2)
    contour = -rng.uniform(0.3, 1.0) * time + accents @ heights + smooth(rng.normal(0, 0.3, frames), 0.15)
    voiced = tracks.voice > 0.5
    contour = (contour - contour[voiced].mean()) * range_semitones / np.ptp(contour[voiced])
    return np.clip(contour, -range_semitones, range_semitones)


def _source(f0: np.ndarray, voice: Voice, delivery: Delivery, rng: np.random.Generator) -> np.ndarray:
    """Derivative of the glottal flow with aspiration noise, (frames * FRAME,), about unit RMS."""
    samples = len(f0) * FRAME

    # Start of each glottal cycle, in samples
    f0_of_frame = f0.tolist()
    starts = [0.0]
    while starts[-1] < samples:
        period = SAMPLE_RATE / f0_of_frame[min(int(starts[-1] / FRAME), len(f0) - 1)]
        starts.append(starts[-1] + period * (1 + delivery.jitter * min(max(rng.standard_normal(), -3), 3)))

    # Rosenberg's pulse: the glottis opens along a cosine, closes along a quarter of one, and stays closed
    cycle = np.interp(np.arange(samples * OVERSAMPLING) / OVERSAMPLING, starts, np.arange(len(starts)))
    shimmer = 1 + 3 * delivery.jitter * np.clip(rng.standard_normal(len(starts)), -3, 3)
    open_quotient = np.clip(0.45 + 0.02 * delivery.tilt_db, 0.35, 0.8)
    phase = cycle % 1 / open_quotient
    opening = phase / 0.7
    closing = (phase - 0.7) / 0.3
    flow = np.where(opening < 1, 0.5 - 0.5 * np.cos(np.pi * opening), np.cos(0.5 * np.pi * np.clip(closing, 0, 1)))
    flow = resample_poly(flow * shimmer[cycle.astype(int)], 1, OVERSAMPLING)

    # Its derivative, aspiration and spectral tilt
    pulses = np.diff(flow, prepend=flow[0])
    aspiration = rng.standard_normal(samples) * (0.3 + flow)
    source = pulses / _rms(pulses) + voice.breath * aspiration
    pole = _tilt_pole(delivery.tilt_db)
    return lfilter([1 - pole], [1, -pole], source)


def _tilt_pole(tilt_db: float) -> float:
    """Pole of the one-pole low-pass that is 1 at 0 Hz and `tilt_db` down at 3 kHz."""
    gain = 10 ** (-max(tilt_db, 0.1) / 10)
    b = (1 - gain * np.cos(2 * np.pi * 3000 / SAMPLE_RATE)) / (1 - gain)
    return b - np.sqrt(b * b - 1)


def _vocal_tract(source: np.ndarray, formants: np.ndarray, voice: Voice, smile: float) -> np.ndarray:
    """Pass the source through five resonators in cascade that move every frame."""
    lower = MEAN_VOWEL + (formants - MEAN_VOWEL) * voice.vowel_space
    upper = np.tile([3500.0, 4500.0], (len(lower), 1))
    centres = np.hstack([lower, upper]) * voice.tract * smile * np.array(voice.formant_scale)
    centres = np.clip(centres, 150, 0.47 * SAMPLE_RATE)
    bandwidths = voice.bandwidth * (50 + 0.025 * centres + (centres / 2500) ** 2 * 25)
    return _resonate(source, centres, bandwidths)


def _resonate(signal: np.ndarray, centres: np.ndarray, bandwidths: np.ndarray) -> np.ndarray:
    """Cascade of resonators with unit gain at 0 Hz; centres and bandwidths (frames, resonators) in Hz.

    Filtered by overlapping windows, each with the response of its frame, so that formants glide without clicks.
    """
    # Response of the cascade in each frame: its denominator is a polynomial in 1 / z, the product of all
    # 1 + a1 / z + a2 / z^2, whose values on the unit circle are its Fourier transform
    radius = np.exp(-np.pi * bandwidths / SAMPLE_RATE)
    a1 = -2 * radius * np.cos(2 * np.pi * centres / SAMPLE_RATE)
    a2 = radius**2
    denominator = np.eye(1, 2 * centres.shape[1] + 1).repeat(len(centres), axis=0)
    for p, q in zip(a1.T[:, :, None], a2.T[:, :, None], strict=True):
        denominator[:, 2:] += p * denominator[:, 1:-1] + q * denominator[:, :-2]
        denominator[:, 1:2] += p
    response = np.prod(1 + a1 + a2, axis=1)[:, None] / rfft(denominator, FFT)  # (frames, FFT // 2 + 1)

    # Filter each window, and overlap-add
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(signal, WINDOW // 2), WINDOW)[FRAME // 2 :: FRAME]
    pieces = irfft(rfft(windows[: len(centres)] * np.hanning(WINDOW + 1)[:-1], FFT) * response, FFT)
    out = np.zeros((len(centres) + FFT // FRAME, FRAME))
    for block in range(FFT // FRAME):
        out[block : block + len(centres)] += pieces[:, block * FRAME : (block + 1) * FRAME]
    start = WINDOW // 2 - FRAME // 2
    return out.ravel()[start : start + len(signal)] / (WINDOW // FRAME / 2)


def _vocal_noise(centres: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of unit RMS around a moving centre (frames,), as frication and bursts have it."""
    centres = np.clip(centres, 300, 0.45 * SAMPLE_RATE)[:, None]
    bandwidths = 300 + 0.25 * centres
    radius = np.exp(-np.pi * bandwidths / SAMPLE_RATE)
    angle = 2 * np.pi * centres / SAMPLE_RATE
    dc = 1 - 2 * radius * np.cos(angle) + radius**2
    power = dc**2 * (1 + radius**2) / ((1 - radius**2) * (1 - 2 * radius**2 * np.cos(2 * angle) + radius**4))
    noise = _resonate(rng.standard_normal(samples), centres, bandwidths)
    return noise / _per_sample(np.sqrt(power[:, 0]))


def _record(speech: np.ndarray, channel: Channel, rng: np.random.Generator) -> np.ndarray:
    """Add the room's low-pass noise, then filter with the microphone's response."""
    room = lfilter([0.3], [1, -0.7], rng.standard_normal(len(speech)))
    noisy = speech + room * 10 ** (channel.noise_db / 20) / _rms(room)
    size = next_fast_len(len(speech), real=True)
    mel = np.log1p(rfftfreq(size, 1 / SAMPLE_RATE) / 700)
    response_db = CubicSpline(np.linspace(0, mel[-1], len(channel.response_db)), channel.response_db)(mel)
    return irfft(rfft(noisy, size) * 10 ** ((channel.gain_db + response_db) / 20), size)[: len(speech)]


def _per_sample(track: np.ndarray) -> np.ndarray:
    """Interpolate a track of frames to samples."""
    return np.interp((np.arange(len(track) * FRAME) + 0.5) / FRAME - 0.5, np.arange(len(track)), track)


def _rms(signal: np.ndarray) -> float:
    return np.sqrt(np.mean(signal**2))

"""What the mini corpora's synthesizer says: random syllables, and the tracks that a mouth would make of them.

A syllable is a consonant and a vowel. Each gives segments with formant targets, voicing and noise;
repeating a segment over its frames and smoothing the steps away is the coarticulation.
"""

from typing import NamedTuple

import numpy as np

FRAME_SECONDS = 0.005
MARGIN_SECONDS = 0.12  # silence before and after the speech

# F1 F2 F3 in Hz, means of adult men, after Peterson and Barney (1952)
VOWELS = {
    "ee": (270, 2290, 3010), "i": (390, 1990, 2550), "e": (530, 1840, 2480), "a": (660, 1720, 2410),
    "ah": (730, 1090, 2440), "o": (570, 840, 2410), "oo": (300, 870, 2240), "u": (640, 1190, 2390),
    "er": (490, 1350, 1690),
}  # fmt: skip


class Consonant(NamedTuple):
    """How a consonant is made: where the formants head for, and how loud voice and noise are beside a vowel."""

    locus: tuple  # F1 F2 F3 in Hz
    voice: float
    noise: float
    noise_hz: float
    stop: bool = False  # a closure, then a short burst of the noise


CONSONANTS = {
    "p": Consonant((300, 900, 2200), 0.0, 0.40, 1000, stop=True),
    "t": Consonant((300, 1800, 2700), 0.0, 0.60, 4200, stop=True),
    "k": Consonant((300, 1900, 2300), 0.0, 0.50, 2200, stop=True),
    "b": Consonant((250, 900, 2200), 0.25, 0.20, 900, stop=True),
    "d": Consonant((250, 1800, 2700), 0.25, 0.30, 3800, stop=True),
    "g": Consonant((250, 1900, 2300), 0.25, 0.30, 2000, stop=True),
    "s": Consonant((350, 1700, 2600), 0.0, 0.35, 5800),
    "sh": Consonant((350, 1900, 2500), 0.0, 0.40, 3200),
    "f": Consonant((350, 1100, 2300), 0.0, 0.12, 4800),
    "z": Consonant((300, 1700, 2600), 0.30, 0.18, 5600),
    "h": Consonant((500, 1500, 2500), 0.0, 0.15, 1500),
    "m": Consonant((250, 1000, 2200), 0.45, 0.0, 1000),
    "n": Consonant((250, 1600, 2600), 0.45, 0.0, 1000),
    "l": Consonant((360, 1200, 2700), 0.60, 0.0, 1000),
    "w": Consonant((300, 700, 2200), 0.60, 0.0, 1000),
}


class Segment(NamedTuple):
    """A stretch of speech with steady targets."""

    duration: float  # seconds
    formants: tuple  # F1 F2 F3 in Hz
    voice: float  # amplitudes, 1 for a plain vowel
    noise: float
    noise_hz: float
    nucleus: bool = False  # the vowel of a syllable


class Tracks(NamedTuple):
    """Articulation on a grid of FRAME_SECONDS."""

    formants: np.ndarray  # (frames, 3) in Hz, of an adult man
    voice: np.ndarray  # (frames,) amplitude
    noise: np.ndarray  # (frames,) amplitude
    noise_hz: np.ndarray  # (frames,)
    nuclei: np.ndarray  # (syllables,) frame in the middle of each vowel


def draw_syllables(count, rng):
    """Draw `count` (consonant, vowel) pairs."""
    consonants, vowels = list(CONSONANTS), list(VOWELS)
    return tuple((consonants[rng.integers(len(consonants))], vowels[rng.integers(len(vowels))]) for _ in range(count))


def draw_tracks(syllables, frames, rng):
    """Time the syllables with some freedom and spread them over `frames` frames.

    Parameters
    ----------
    syllables : sequence of (str, str)
        Keys of CONSONANTS and VOWELS.
    frames : int
    rng : numpy.random.Generator

    Returns
    -------
    Tracks
    """
    segments = [segment for syllable in syllables for segment in _segments_of(*syllable, rng)]
    speech_seconds = frames * FRAME_SECONDS - 2 * MARGIN_SECONDS
    stretch = speech_seconds / sum(segment.duration for segment in segments)
    rest = Segment(MARGIN_SECONDS / stretch, VOWELS["er"], 0.0, 0.0, 1000)
    segments = [rest, *segments, rest]
    ends = np.cumsum([segment.duration * stretch for segment in segments])
    at = np.searchsorted(ends[:-1], (np.arange(frames) + 0.5) * FRAME_SECONDS)

    def track(field, seconds):
        steps = np.array([getattr(segment, field) for segment in segments], dtype=float)[at]
        return smooth(steps, seconds)

    middles = ends - 0.5 * stretch * np.array([segment.duration for segment in segments])
    nuclei = [middle for segment, middle in zip(segments, middles, strict=True) if segment.nucleus]
    return Tracks(track("formants", 0.06), track("voice", 0.025), track("noise", 0.01), track("noise_hz", 0.01),
                  (np.array(nuclei) / FRAME_SECONDS).astype(int))


def smooth(steps, seconds):
    """Average `steps` (frames first) under a Hann window of `seconds`, ends held."""
    window = np.hanning(max(3, round(seconds / FRAME_SECONDS)) + 2)[1:-1]
    window /= window.sum()
    before = (len(window) - 1) // 2
    padding = [(before, len(window) - 1 - before)] + [(0, 0)] * (steps.ndim - 1)
    padded = np.pad(steps, padding, mode="edge")
    return np.apply_along_axis(np.convolve, 0, padded, window, "valid")


def _segments_of(consonant, vowel, rng):
    """Segments of one syllable; durations are relative to each other, a mean syllable lasting 0.2."""
    sound = CONSONANTS[consonant]
    long = 0.07 * np.exp(0.2 * rng.standard_normal())
    if sound.stop:
        yield Segment(0.7 * long, sound.locus, sound.voice, 0.0, sound.noise_hz)
        yield Segment(0.3 * long, sound.locus, sound.voice, sound.noise, sound.noise_hz)
    else:
        yield Segment(long, sound.locus, sound.voice, sound.noise, sound.noise_hz)
    loudness = np.exp(0.2 * rng.standard_normal())
    target = VOWELS[vowel]
    yield Segment(0.13 * np.exp(0.25 * rng.standard_normal()), target, loudness, 0.0, sound.noise_hz, nucleus=True)
    if rng.random() < 0.12:
        yield Segment(0.08 + 0.12 * rng.random(), target, 0.0, 0.0, sound.noise_hz)

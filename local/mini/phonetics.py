"""What the mini corpora's synthesizer says: random syllables, and the articulation that a mouth would give them.

A syllable is a consonant and a vowel. Each gives segments with formant targets, voicing and noise;
repeating a segment over its frames and smoothing the steps away is the coarticulation.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

Formants = tuple[float, float, float]  # F1 F2 F3 in Hz
Syllable = tuple[str, str]  # a key of CONSONANTS, a key of VOWELS

FRAME_SECONDS = 0.005
MARGIN_SECONDS = 0.12  # silence before and after the speech

# Means of adult men, after Peterson and Barney (1952)
VOWELS: dict[str, Formants] = {
    "ee": (270, 2290, 3010), "i": (390, 1990, 2550), "e": (530, 1840, 2480), "a": (660, 1720, 2410),
    "ah": (730, 1090, 2440), "o": (570, 840, 2410), "oo": (300, 870, 2240), "u": (640, 1190, 2390),
    "er": (490, 1350, 1690),
}  # fmt: skip


class Consonant(NamedTuple):
    """How a consonant is made."""

    locus: Formants  # where the formants of a neighbouring vowel head for
    voice: float  # amplitudes, 1 for a plain vowel
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
    formants: Formants
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


def draw_syllables(count: int, rng: np.random.Generator) -> tuple[Syllable, ...]:
    """Draw `count` (consonant, vowel) pairs."""
    consonants = list(CONSONANTS)
    vowels = list(VOWELS)
    return tuple((consonants[rng.integers(len(consonants))], vowels[rng.integers(len(vowels))]) for _ in range(count))


def draw_tracks(syllables: Sequence[Syllable], frames: int, rng: np.random.Generator) -> Tracks:
    """Time the syllables with some freedom and spread them over `frames` frames."""
    # Segments, which fill the utterance between its margins of silence
    segments = [segment for consonant, vowel in syllables for segment in _draw_segments(consonant, vowel, rng)]
    speech_seconds = frames * FRAME_SECONDS - 2 * MARGIN_SECONDS
    stretch = speech_seconds / sum(segment.duration for segment in segments)
    silence = Segment(MARGIN_SECONDS / stretch, VOWELS["er"], 0.0, 0.0, 1000)
    segments = [silence, *segments, silence]

    # The segment of each frame
    ends = np.cumsum([segment.duration * stretch for segment in segments])
    frame_middles = (np.arange(frames) + 0.5) * FRAME_SECONDS
    segment_of_frame = np.searchsorted(ends[:-1], frame_middles)

    def track(field: str, seconds: float) -> np.ndarray:
        targets = np.array([getattr(segment, field) for segment in segments], dtype=float)
        return smooth(targets[segment_of_frame], seconds)

    # Middles of the vowels
    middles = ends - 0.5 * stretch * np.array([segment.duration for segment in segments])
    is_nucleus = np.array([segment.nucleus for segment in segments])
    nuclei = (middles[is_nucleus] / FRAME_SECONDS).astype(int)
    return Tracks(formants=track("formants", 0.06), voice=track("voice", 0.025), noise=track("noise", 0.01),
                  noise_hz=track("noise_hz", 0.01), nuclei=nuclei)


def smooth(steps: np.ndarray, seconds: float) -> np.ndarray:
    """Average `steps` (frames first) under a Hann window of `seconds`, ends held."""
    window = np.hanning(max(3, round(seconds / FRAME_SECONDS)) + 2)[1:-1]
    window /= window.sum()
    before = (len(window) - 1) // 2
    padding = [(before, len(window) - 1 - before)] + [(0, 0)] * (steps.ndim - 1)
    padded = np.pad(steps, padding, mode="edge")
    return np.apply_along_axis(np.convolve, 0, padded, window, "valid")


def _draw_segments(consonant: str, vowel: str, rng: np.random.Generator) -> Iterator[Segment]:
    """Segments of one syllable; durations are relative to each other, a mean syllable lasting 0.2."""
    # Consonant: a stop is closed first, then bursts
    sound = CONSONANTS[consonant]
    duration = 0.07 * np.exp(0.2 * rng.standard_normal())
    if sound.stop:
        yield Segment(0.7 * duration, sound.locus, sound.voice, 0.0, sound.noise_hz)
        yield Segment(0.3 * duration, sound.locus, sound.voice, sound.noise, sound.noise_hz)
    else:
        yield Segment(duration, sound.locus, sound.voice, sound.noise, sound.noise_hz)

    # Vowel
    loudness = np.exp(0.2 * rng.standard_normal())
    target = VOWELS[vowel]
    yield Segment(0.13 * np.exp(0.25 * rng.standard_normal()), target, loudness, 0.0, sound.noise_hz, nucleus=True)

    # Pause
    if rng.random() < 0.12:
        yield Segment(0.08 + 0.12 * rng.random(), target, 0.0, 0.0, sound.noise_hz)

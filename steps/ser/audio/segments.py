"""A recording of any length in segments: fixed windows, or what the voice activity detection finds between pauses.

Both read blocks of samples as they come, and keep no more of them than a segment.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from ser.audio.vad import HOP, VadConfig, VoiceDetector
from ser.audio.waveform import SAMPLE_RATE
from ser.base.errors import UserError

LONGEST = 600  # seconds as one utterance: more take gigabytes, and one label says little of them
SHORTEST_VOICE = SAMPLE_RATE // 5  # samples: the detection of a click goes on for 0.14 s after it


class Segment(NamedTuple):
    """A part of a recording.

    Attributes
    ----------
    start, end : int
        Samples from the beginning of the recording.
    samples : numpy.ndarray or None
        Its float32 samples; None of one without speech, which a segmentation has passed over.
    """

    start: int
    end: int
    samples: np.ndarray | None


class Segmentation(Protocol):
    """A way to cut a recording."""

    def segments(self, blocks: Iterable[np.ndarray], vad: VadConfig) -> Iterator[Segment]:
        """Yield the segments of a recording, given as blocks of float32 samples at 16 kHz and int16 scale, in order."""


class _HeldSamples:
    """The end of a stream of samples, as much of it as is still needed; positions count from the stream's beginning."""

    def __init__(self) -> None:
        self.start = 0
        self._samples = np.empty(0, np.float32)

    @property
    def end(self) -> int:
        return self.start + len(self._samples)

    def append(self, block: np.ndarray) -> None:
        self._samples = np.concatenate([self._samples, block])

    def between(self, start: int, end: int) -> np.ndarray:
        return self._samples[start - self.start : end - self.start]

    def forget_before(self, position: int) -> None:
        position = min(max(position, self.start), self.end)
        self._samples = self._samples[position - self.start :]
        self.start = position


def _require_length(what: str, seconds: float) -> None:
    if not SHORTEST_VOICE / SAMPLE_RATE <= seconds <= LONGEST:
        raise UserError(f"{what} of {seconds:g} s cannot be; give {SHORTEST_VOICE / SAMPLE_RATE:g} to {LONGEST}")


@dataclass(frozen=True)
class Windows:
    """Windows of the same length; the last one ends with the recording. A window comes out with its last sample.

    Parameters
    ----------
    length : float
        Seconds of a window.
    shift : float, optional
        Seconds from the beginning of one to that of the next; by default they follow one another.

    Raises
    ------
    UserError
        The length is not from 0.2 s to ten minutes, or the shift is not above 0.
    """

    length: float = 4.0
    shift: float | None = None

    def __post_init__(self) -> None:
        _require_length("windows", self.length)
        if not 1 <= self.step * SAMPLE_RATE < np.inf:
            raise UserError(f"windows every {self.step:g} s cannot be; give seconds above 0")

    @property
    def step(self) -> float:
        """The shift, in seconds."""
        return self.length if self.shift is None else self.shift

    def _start(self, number: int) -> int:
        return round(number * self.step * SAMPLE_RATE)

    def segments(self, blocks: Iterable[np.ndarray], vad: VadConfig) -> Iterator[Segment]:
        """As Segmentation.segments(); `vad` is not needed."""
        held = _HeldSamples()
        number = 0
        covered = 0  # end of the last window
        for block in blocks:
            held.append(block)
            while held.end >= (end := round((number * self.step + self.length) * SAMPLE_RATE)):
                start = self._start(number)
                yield Segment(start, end, held.between(start, end))
                covered = end
                number += 1
                held.forget_before(self._start(number))
            held.forget_before(self._start(number))
        # The rest, if no window has it.
        start = self._start(number)
        if number == 0 or held.end > max(start, covered):
            yield Segment(start, held.end, held.between(start, held.end))


@dataclass(frozen=True)
class VoiceSegments:
    """Speech between pauses, as webrtcvad decides on 10 ms; what lies between is a Segment without samples.

    A segment comes out when its pause is over, or it is as long as may be. The segments cover the recording.

    Parameters
    ----------
    pause : float
        Seconds without voice that end a segment.
    longest : float
        Seconds after which a segment is cut, wherever that is.

    Raises
    ------
    UserError
        The pause is below 0.01 s, or the longest segment is not from 0.2 s to ten minutes.
    """

    pause: float = 0.5
    longest: float = 10.0

    def __post_init__(self) -> None:
        if not HOP <= self.pause * SAMPLE_RATE < np.inf:
            raise UserError(f"a pause of {self.pause:g} s cannot be; give seconds, 0.01 or more")
        _require_length("segments", self.longest)

    def segments(self, blocks: Iterable[np.ndarray], vad: VadConfig) -> Iterator[Segment]:
        """As Segmentation.segments(), with the aggressiveness of `vad`."""
        held = _HeldSamples()
        covered = 0  # end of the last segment
        for speech in self._speech(blocks, held, VoiceDetector(vad.aggressiveness)):
            if speech.start > covered:
                yield Segment(covered, speech.start, None)
            yield speech
            covered = speech.end
        if held.end > covered or covered == 0:
            yield Segment(covered, held.end, None)

    def _speech(self, blocks: Iterable[np.ndarray], held: _HeldSamples, detector: VoiceDetector) -> Iterator[Segment]:
        """Yield the segments that hold speech, and put the blocks into `held`."""
        decided = 0  # end of the last hop
        start = end = num_voiced = 0  # of the speech that goes on: its first and its last voiced hop, and how many
        for block in blocks:
            held.append(block)
            for is_voiced in detector(held.between(decided, held.end)):
                decided += HOP
                if is_voiced:
                    start = start if num_voiced else decided - HOP
                    end = decided
                    num_voiced += 1
                is_over = decided - end >= self.pause * SAMPLE_RATE or decided - start >= self.longest * SAMPLE_RATE
                if num_voiced and is_over:
                    if num_voiced * HOP >= SHORTEST_VOICE:
                        yield Segment(start, end, held.between(start, end))
                    num_voiced = 0
            held.forget_before(start if num_voiced else decided)
        if num_voiced * HOP >= SHORTEST_VOICE:
            yield Segment(start, end, held.between(start, end))

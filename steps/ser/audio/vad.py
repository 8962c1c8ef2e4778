"""Voice activity per feature frame: webrtcvad decides on 10 ms hops, the frame follows its hops."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import _webrtcvad  # the extension alone: its wrapper adds a fifth to every hop
import numpy as np

from ser.audio.frames import FrameGrid
from ser.audio.waveform import SAMPLE_RATE
from ser.base.conf import option

HOP = SAMPLE_RATE // 100  # samples
_BLOCK = 400 * HOP


@dataclass(frozen=True)
class VadConfig:
    """Options of the voice activity detection; raises ValueError when out of range."""

    aggressiveness: int = option(2, "webrtcvad's mode, 0 (keeps most) to 3 (drops most)")
    voiced_share: float = option(0.5, "share of a frame's hops that must be voiced")

    def __post_init__(self) -> None:
        if self.aggressiveness not in (0, 1, 2, 3):
            raise ValueError(f"aggressiveness must be 0, 1, 2 or 3, not {self.aggressiveness}")
        if not 0 < self.voiced_share <= 1:
            raise ValueError(f"voiced-share must lie in (0, 1], not {self.voiced_share}")


class VoiceDetector:
    """webrtcvad on a stream of sound, which it adapts to: a decision for each hop of 10 ms.

    Parameters
    ----------
    aggressiveness : int
        As in VadConfig.
    """

    def __init__(self, aggressiveness: int):
        self._detector = _webrtcvad.create()
        _webrtcvad.init(self._detector)
        _webrtcvad.set_mode(self._detector, aggressiveness)

    def __call__(self, samples: np.ndarray) -> Iterator[bool]:
        """Yield the decision for each whole hop of the next samples, float32 at 16 kHz and int16 scale."""
        for start in range(0, len(samples), _BLOCK):
            pcm = np.clip(np.rint(samples[start : start + _BLOCK]), -32768, 32767).astype("<i2")
            for (hop,) in struct.iter_unpack(f"{2 * HOP}s", pcm[: len(pcm) // HOP * HOP]):
                yield _webrtcvad.process(self._detector, SAMPLE_RATE, hop, HOP)


def voiced_frames(samples: np.ndarray, grid: FrameGrid, vad_config: VadConfig) -> np.ndarray:
    """Decide for each frame of an utterance whether it is voiced.

    Parameters
    ----------
    samples : numpy.ndarray
        float32 `[samples]` at 16 kHz and int16 scale.
    grid : FrameGrid
        That of the features: frame t covers `window_samples` from `t * shift_samples`.
    vad_config : VadConfig

    Returns
    -------
    numpy.ndarray
        float32 `[frames]` of 0 and 1, as many as the features have.
    """
    frames = grid.num_frames(len(samples))
    if not frames:
        return np.empty(0, np.float32)
    # Decide on each hop.
    hops = np.fromiter(VoiceDetector(vad_config.aggressiveness)(samples), np.int64)
    voiced_before = np.concatenate([[0], np.cumsum(hops)])
    # The hops of each frame, `first` to before `end`: those that lie in it, at least one.
    begin = np.arange(frames) * grid.shift_samples
    first = begin // HOP
    end = np.clip((begin + grid.window_samples) // HOP, first + 1, len(hops))
    # Share of them that are voiced.
    share = (voiced_before[end] - voiced_before[first]) / (end - first)
    return (share >= vad_config.voiced_share).astype(np.float32)

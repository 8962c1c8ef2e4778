"""Voice activity per feature frame: webrtcvad decides on 10 ms hops, the frame follows its hops."""

from dataclasses import dataclass, field

import numpy as np
import webrtcvad

from ser.audio import SAMPLE_RATE

_HOP = SAMPLE_RATE // 100


@dataclass(frozen=True)
class VadConfig:
    """Options of the voice activity detection; raises ValueError when out of range."""

    aggressiveness: int = field(default=2, metadata={"help": "webrtcvad's mode, 0 (keeps most) to 3 (drops most)"})
    voiced_share: float = field(default=0.5, metadata={"help": "share of a frame's hops that must be voiced"})

    def __post_init__(self):
        if self.aggressiveness not in (0, 1, 2, 3):
            raise ValueError(f"aggressiveness must be 0, 1, 2 or 3, not {self.aggressiveness}")
        if not 0 < self.voiced_share <= 1:
            raise ValueError(f"voiced-share must lie in (0, 1], not {self.voiced_share}")


def voiced_frames(samples, fbank_config, vad_config):
    """Decide for each frame of an utterance whether it is voiced.

    Parameters
    ----------
    samples : numpy.ndarray
        float32 `[samples]` at 16 kHz and int16 scale.
    fbank_config : FbankConfig
        Gives the frame grid: frame t covers `window_samples` from `t * shift_samples`.
    vad_config : VadConfig

    Returns
    -------
    numpy.ndarray
        float32 `[frames]` of 0 and 1, as many as FbankExtractor makes.
    """
    frames = fbank_config.num_frames(len(samples))
    if not frames:
        return np.empty(0, np.float32)
    detector = webrtcvad.Vad(vad_config.aggressiveness)
    pcm = np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()
    step = 2 * _HOP
    hops = np.fromiter((detector.is_speech(pcm[start : start + step], SAMPLE_RATE)
                        for start in range(0, len(pcm) - step + 1, step)), np.int64)
    voiced_before = np.concatenate([[0], np.cumsum(hops)])
    begin = np.arange(frames) * fbank_config.shift_samples
    first = begin // _HOP
    last = np.clip((begin + fbank_config.window_samples) // _HOP, first + 1, len(hops))
    share = (voiced_before[last] - voiced_before[first]) / (last - first)
    return (share >= vad_config.voiced_share).astype(np.float32)

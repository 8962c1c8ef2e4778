"""Where the frames of features lie in a recording, and what is known of features that are no filterbanks."""

from dataclasses import dataclass

from ser.audio.waveform import SAMPLE_RATE
from ser.base.conf import option


class FrameGrid:
    """Frames of `frame_length` ms every `frame_shift` ms of 16 kHz sound, none past its end (Kaldi's snip-edges).

    A base of configurations that have these two options.
    """

    frame_length: float
    frame_shift: float

    @property
    def window_samples(self) -> int:
        return int(SAMPLE_RATE * 0.001 * self.frame_length)

    @property
    def shift_samples(self) -> int:
        return int(SAMPLE_RATE * 0.001 * self.frame_shift)

    def num_frames(self, samples: int) -> int:
        """Frames of so many samples: 1 + (samples - window) // shift, 0 when they are fewer than a window."""
        return max(0, 1 + (samples - self.window_samples) // self.shift_samples)


@dataclass(frozen=True)
class SslConfig(FrameGrid):
    """How hidden states were made, as DATA/conf/ssl.conf keeps it."""

    model: str = option("", "name of the model's folder")
    weights: str = option("", "digest of the files in it")
    layer: str = option("mean", "hidden states of this layer, from 0, the input of the transformer, or mean: the plain "
                        "mean of all of them")
    frame_length: float = option(25.0, "ms that a frame of the model's convolutions covers")
    frame_shift: float = option(20.0, "ms from one frame to the next")

    def __post_init__(self) -> None:
        if not (self.layer == "mean" or self.layer.isascii() and self.layer.isdecimal()):
            raise ValueError(f"layer must be a number from 0 or mean, not {self.layer!r}")


@dataclass(frozen=True)
class ExtractedConfig:
    """What is known of the frames of features that a user has brought, as DATA/conf/extracted.conf keeps it."""

    frame_shift: float = option(10.0, "ms from one frame to the next")

"""Log-mel filterbanks by the definition of Kaldi's compute-fbank-feats.

Kaldi's src/feat/feature-window.cc and mel-computations.cc: framing with snip-edges, DC removal,
pre-emphasis within the frame, window, power spectrum, triangular filters on the mel scale, log.
"""

from dataclasses import dataclass, field

import numpy as np
import scipy.fft

from ser.audio import SAMPLE_RATE

_EPSILON = np.float32(np.finfo(np.float32).eps)
_BLOCK_FRAMES = 4096


def _option(default, text, **metadata):
    return field(default=default, metadata={"help": text, **metadata})


@dataclass(frozen=True)
class FbankConfig:
    """Options of compute-fbank-feats that the recipe has; the defaults are the paper's section 4.1.

    Raises
    ------
    ValueError
        The options contradict each other or ask for another rate than 16 kHz.
    """

    sample_frequency: int = _option(SAMPLE_RATE, "Hz; audio is brought to 16000")
    frame_length: float = _option(40.0, "window in ms")
    frame_shift: float = _option(10.0, "shift in ms")
    window_type: str = _option("hamming", "window", choices=("hamming", "hanning", "povey", "rectangular"))
    num_mel_bins: int = _option(41, "number of mel filters")
    use_energy: bool = _option(False, "put the log energy in front as column 0")
    low_freq: float = _option(20.0, "lower edge of the first filter in Hz")
    high_freq: float = _option(0.0, "upper edge of the last filter in Hz; 0 or below counts from Nyquist")
    preemphasis_coefficient: float = _option(0.97, "pre-emphasis")
    remove_dc_offset: bool = _option(True, "subtract each frame's mean")

    def __post_init__(self):
        if self.sample_frequency != SAMPLE_RATE:
            raise ValueError(f"sample-frequency must be {SAMPLE_RATE}, not {self.sample_frequency}")
        if not 0 < self.frame_shift <= self.frame_length:
            raise ValueError("frame-shift must lie between 0 and frame-length")
        if not 0 <= self.low_freq < self.upper_edge <= SAMPLE_RATE / 2:
            raise ValueError("low-freq and high-freq must be in order and below Nyquist")
        if self.num_mel_bins < 3:
            raise ValueError("num-mel-bins must be 3 or more")

    @property
    def window_samples(self):
        return int(SAMPLE_RATE * 0.001 * self.frame_length)

    @property
    def shift_samples(self):
        return int(SAMPLE_RATE * 0.001 * self.frame_shift)

    @property
    def upper_edge(self):
        return self.high_freq if self.high_freq > 0 else SAMPLE_RATE / 2 + self.high_freq

    @property
    def dimension(self):
        return self.num_mel_bins + self.use_energy

    def num_frames(self, samples):
        """Frames of an utterance with snip-edges: 1 + (N - window) // shift, 0 when N < window."""
        return max(0, 1 + (samples - self.window_samples) // self.shift_samples)


def _window(kind, size):
    angle = 2 * np.pi * np.arange(size) / (size - 1)
    return {
        "hamming": lambda: 0.54 - 0.46 * np.cos(angle),
        "hanning": lambda: 0.5 - 0.5 * np.cos(angle),
        "povey": lambda: (0.5 - 0.5 * np.cos(angle)) ** 0.85,
        "rectangular": lambda: np.ones(size),
    }[kind]().astype(np.float32)


def _mel(frequency):
    return 1127.0 * np.log1p(np.asarray(frequency) / 700.0)


def mel_filters(config, fft_size):
    """Triangular filters, float32 `[fft_size / 2 + 1, num_mel_bins]`; the Nyquist bin has no weight, as in Kaldi."""
    edges = np.linspace(_mel(config.low_freq), _mel(config.upper_edge), config.num_mel_bins + 2)
    bins = _mel(np.arange(fft_size // 2) * SAMPLE_RATE / fft_size)[:, None]
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    weights = np.minimum((bins - left) / (center - left), (right - bins) / (right - center))
    return np.vstack([np.maximum(weights, 0), np.zeros(config.num_mel_bins)]).astype(np.float32)


class FbankExtractor:
    """Features of whole utterances: framed samples, one batched FFT, one matrix product.

    >>> FbankExtractor(FbankConfig())(np.zeros(16000, np.float32)).shape
    (97, 41)
    """

    def __init__(self, config):
        self.config = config
        self.fft_size = 1 << (config.window_samples - 1).bit_length()
        self.window = _window(config.window_type, config.window_samples)
        self.filters = mel_filters(config, self.fft_size)

    def __call__(self, samples):
        """Extract features.

        Parameters
        ----------
        samples : numpy.ndarray
            float32 `[samples]` at 16 kHz and int16 scale.

        Returns
        -------
        numpy.ndarray
            float32 `[frames, dimension]`, natural logarithm; no frame when shorter than a window.
        """
        config = self.config
        frames = config.num_frames(len(samples))
        features = np.empty((frames, config.dimension), np.float32)
        if frames:
            framed = np.lib.stride_tricks.sliding_window_view(samples, config.window_samples)[:: config.shift_samples]
            for start in range(0, frames, _BLOCK_FRAMES):  # bounds the memory for an hour-long file
                self._block(framed[start : start + _BLOCK_FRAMES], features[start : start + _BLOCK_FRAMES])
        return features

    def _block(self, framed, out):
        config = self.config
        frames = framed.astype(np.float32)
        if config.remove_dc_offset:
            frames -= frames.mean(axis=1, keepdims=True)
        if config.use_energy:
            out[:, 0] = np.log(np.maximum(np.einsum("ij,ij->i", frames, frames), _EPSILON))
        windowed = frames * self.window
        # Pre-emphasis inside the frame: x[0] is its own predecessor, as in Kaldi's Preemphasize().
        shifted = config.preemphasis_coefficient * self.window
        windowed[:, 1:] -= frames[:, :-1] * shifted[1:]
        windowed[:, 0] -= frames[:, 0] * shifted[0]
        spectrum = scipy.fft.rfft(windowed, self.fft_size, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        np.log(np.maximum(power @ self.filters, _EPSILON), out=out[:, config.use_energy * 1 :])

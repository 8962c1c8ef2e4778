"""Log-mel filterbanks by the definition of Kaldi's compute-fbank-feats.

Kaldi's src/feat/feature-window.cc and mel-computations.cc: framing with snip-edges, DC removal,
pre-emphasis within the frame, window, power spectrum, triangular filters on the mel scale, log.

Features differ from Kaldi's by rounding alone, at most 1e-3: here a block of frames loses its mean before each frame
loses its own, and pre-emphasis is computed once for all frames that share a sample. There is no dither.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ser.audio.frames import FrameGrid
from ser.audio.waveform import SAMPLE_RATE
from ser.base.conf import option

_EPSILON = np.float32(np.finfo(np.float32).eps)
_BLOCK_FRAMES = 192  # so few that a block stays in the processor's cache
_GROUP = 16  # filters of one matrix product

WINDOWS: dict[str, Callable[[int], np.ndarray]] = {
    "hamming": np.hamming,
    "hanning": np.hanning,
    "povey": lambda size: np.hanning(size) ** 0.85,
    "rectangular": np.ones,
}


@dataclass(frozen=True)
class FbankConfig(FrameGrid):
    """Options of compute-fbank-feats that the recipe has; the defaults are the paper's section 4.1.

    Raises
    ------
    ValueError
        The options contradict each other or ask for another rate than 16 kHz.
    """

    sample_frequency: int = option(SAMPLE_RATE, "Hz; audio is brought to 16000")
    frame_length: float = option(40.0, "window in ms")
    frame_shift: float = option(10.0, "shift in ms")
    window_type: str = option("hamming", "window", choices=tuple(WINDOWS))
    num_mel_bins: int = option(41, "number of mel filters")
    use_energy: bool = option(False, "put the log energy in front as column 0")
    low_freq: float = option(20.0, "lower edge of the first filter in Hz")
    high_freq: float = option(0.0, "upper edge of the last filter in Hz; 0 or below counts from Nyquist")
    preemphasis_coefficient: float = option(0.97, "pre-emphasis")
    remove_dc_offset: bool = option(True, "subtract each frame's mean")

    def __post_init__(self) -> None:
        if self.sample_frequency != SAMPLE_RATE:
            raise ValueError(f"sample-frequency must be {SAMPLE_RATE}, not {self.sample_frequency}")
        if not 0 < self.frame_shift <= self.frame_length:
            raise ValueError("frame-shift must lie between 0 and frame-length")
        if not (self.frame_length <= 1000 and self.shift_samples >= 1):
            raise ValueError("frame-length must be 1000 ms or less, and frame-shift a sample or more")
        if not 0 <= self.preemphasis_coefficient <= 1:
            raise ValueError("preemphasis-coefficient must lie between 0 and 1")
        if not 0 <= self.low_freq < self.upper_edge <= SAMPLE_RATE / 2:
            raise ValueError("low-freq and high-freq must be in order and below Nyquist")
        if self.num_mel_bins < 3:
            raise ValueError("num-mel-bins must be 3 or more")

    @property
    def upper_edge(self) -> float:
        return self.high_freq if self.high_freq > 0 else SAMPLE_RATE / 2 + self.high_freq

    @property
    def dimension(self) -> int:
        return self.num_mel_bins + self.use_energy

    def column_of(self, frequency: float | np.ndarray) -> np.ndarray:
        """Where a frequency in Hz lies among the columns; filter 0 is centred on 0, or on 1 after an energy."""
        low, high = _mel(self.low_freq), _mel(self.upper_edge)
        return (_mel(frequency) - low) / (high - low) * (self.num_mel_bins + 1) - 1 + self.use_energy


def _mel(frequency: float | np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(frequency) / 700.0)


def mel_filters(config: FbankConfig, fft_size: int) -> np.ndarray:
    """Triangular filters, float32 `[fft_size / 2 + 1, num_mel_bins]`; the Nyquist bin has no weight, as in Kaldi."""
    edges = np.linspace(_mel(config.low_freq), _mel(config.upper_edge), config.num_mel_bins + 2)
    bins = _mel(np.arange(fft_size // 2) * SAMPLE_RATE / fft_size)[:, None]
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    weights = np.minimum((bins - left) / (center - left), (right - bins) / (right - center))
    return np.vstack([np.maximum(weights, 0), np.zeros(config.num_mel_bins)]).astype(np.float32)


def _neighbouring(filters: np.ndarray) -> list[tuple[slice, slice, np.ndarray]]:
    """Split filters into groups of neighbours: (bins, bands, `filters[bins, bands]`), elsewhere they are zero."""
    groups = []
    for first in range(0, filters.shape[1], _GROUP):
        bands = slice(first, first + _GROUP)
        used = np.flatnonzero(filters[:, bands].any(axis=1))
        bins = slice(used[0], used[-1] + 1) if len(used) else slice(0, 0)
        groups.append((bins, bands, np.ascontiguousarray(filters[bins, bands])))
    return groups


def _rfft_of_scipy() -> Callable[..., np.ndarray]:
    from scipy.fft import rfft

    return rfft


class FbankExtractor:
    """Features of whole utterances, block by block: framed samples, one batched FFT, a few matrix products.

    Parameters
    ----------
    config : FbankConfig
    rfft : callable, optional
        Real frames and an axis to their spectrum along it; by default SciPy's. Another differs in the last bits, and
        may be worth it where SciPy, which takes 0.2 s to import, is needed for nothing else.

    >>> FbankExtractor(FbankConfig())(np.zeros(16000, np.float32)).shape
    (97, 41)
    """

    def __init__(self, config: FbankConfig, rfft: Callable[..., np.ndarray] | None = None):
        self.config = config
        self.rfft = rfft or _rfft_of_scipy()
        self.fft_size = 1 << (config.window_samples - 1).bit_length()  # the next power of two, as in Kaldi
        self.window = WINDOWS[config.window_type](config.window_samples).astype(np.float32)
        self.filters = _neighbouring(mel_filters(config, self.fft_size))
        self._padded = np.zeros((_BLOCK_FRAMES, self.fft_size), np.float32)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
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
        features = np.empty((config.num_frames(len(samples)), config.dimension), np.float32)
        for start in range(0, len(features), _BLOCK_FRAMES):
            block = features[start : start + _BLOCK_FRAMES]
            begin = start * config.shift_samples
            end = begin + (len(block) - 1) * config.shift_samples + config.window_samples
            self._window_frames(samples[begin:end], block)
            self._log_mel(block)
        return features

    def _framed(self, samples: np.ndarray) -> np.ndarray:
        """View of every frame of a block, `[frames, window_samples]`."""
        return sliding_window_view(samples, self.config.window_samples)[:: self.config.shift_samples]

    def _window_frames(self, samples: np.ndarray, features: np.ndarray) -> None:
        """Put the windowed frames of a block into `_padded`, and their log energy into column 0 of its features."""
        config = self.config
        # Remove the recorder's offset from the block first, so that float32 has digits for the rest.
        if config.remove_dc_offset:
            samples = samples - np.rint(samples.mean())
        framed = self._framed(samples)
        # Mean of each frame.
        if config.remove_dc_offset:
            means = framed.mean(axis=1, keepdims=True)
        else:
            means = np.zeros((len(framed), 1), np.float32)
        # Log energy.
        if config.use_energy:
            centered = framed - means
            features[:, 0] = np.log(np.maximum(np.einsum("ij,ij->i", centered, centered), _EPSILON))
        # Pre-emphasis with coefficient c of x - mean is x[n] - x[n-1] + (1 - c) x[n-1] - (1 - c) mean. Frames share all
        # but the last term. The first sample of a frame is its own predecessor, as in Kaldi's Preemphasize().
        one_minus_coefficient = np.float32(1 - config.preemphasis_coefficient)
        emphasized = one_minus_coefficient * samples
        emphasized[1:] = (samples[1:] - samples[:-1]) + emphasized[:-1]
        frames = self._padded[: len(framed), : config.window_samples]
        np.subtract(self._framed(emphasized), one_minus_coefficient * means, out=frames)
        frames[:, :1] = one_minus_coefficient * framed[:, :1] - one_minus_coefficient * means
        # Window.
        frames *= self.window

    def _log_mel(self, features: np.ndarray) -> None:
        """Turn the frames in `_padded` into log mel energies, the last columns of a block's features."""
        # Power spectrum.
        spectrum = self.rfft(self._padded[: len(features)], axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        # Mel filters.
        mel = features[:, self.config.use_energy :]
        for bins, bands, weights in self.filters:
            np.matmul(power[:, bins], weights, out=mel[:, bands])
        # Logarithm.
        np.log(np.maximum(mel, _EPSILON, out=mel), out=mel)

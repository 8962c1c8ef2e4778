"""Log-mel filterbanks by the definition of Kaldi's compute-fbank-feats.

Kaldi's src/feat/feature-window.cc and mel-computations.cc: framing with snip-edges, DC removal,
pre-emphasis within the frame, window, power spectrum, triangular filters on the mel scale, log.
"""

from dataclasses import dataclass, field

import numpy as np

from ser.audio.waveform import SAMPLE_RATE

_EPSILON = np.float32(np.finfo(np.float32).eps)
_BLOCK_FRAMES = 192  # so few that a block stays in the processor's cache
_GROUP = 16  # filters of one matrix product


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
        if not (self.frame_length <= 1000 and self.shift_samples >= 1):
            raise ValueError("frame-length must be 1000 ms or less, and frame-shift a sample or more")
        if not 0 <= self.preemphasis_coefficient <= 1:
            raise ValueError("preemphasis-coefficient must lie between 0 and 1")
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


def _grouped(filters):
    """Split filters into neighbours, `(bins, bands, weights[bins, bands])` with slices; elsewhere weights are zero."""
    groups = []
    for first in range(0, filters.shape[1], _GROUP):
        weights = filters[:, first : first + _GROUP]
        used = weights.any(axis=1)
        bins = slice(used.argmax(), len(used) - used[::-1].argmax())
        groups.append((bins, slice(first, first + _GROUP), np.ascontiguousarray(weights[bins])))
    return groups


class FbankExtractor:
    """Features of whole utterances, block by block: framed samples, one batched FFT, a few matrix products.

    >>> FbankExtractor(FbankConfig())(np.zeros(16000, np.float32)).shape
    (97, 41)
    """

    def __init__(self, config):
        self.config = config
        self.fft_size = 1 << (config.window_samples - 1).bit_length()
        self.window = _window(config.window_type, config.window_samples)
        self.filters = _grouped(mel_filters(config, self.fft_size))
        self._padded = np.zeros((_BLOCK_FRAMES, self.fft_size), np.float32)

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
        features = np.empty((config.num_frames(len(samples)), config.dimension), np.float32)
        for start in range(0, len(features), _BLOCK_FRAMES):
            block = features[start : start + _BLOCK_FRAMES]
            begin = start * config.shift_samples
            end = begin + (len(block) - 1) * config.shift_samples + config.window_samples
            self._extract(samples[begin:end], block)
        return features

    def _framed(self, samples):
        """View of every window of a block, `[frames, window_samples]`."""
        frames, item = self.config.num_frames(len(samples)), samples.itemsize
        return np.ndarray((frames, self.config.window_samples), samples.dtype, samples,
                          strides=(self.config.shift_samples * item, item))

    def _extract(self, samples, out):
        from scipy.fft import rfft  # twice as fast as NumPy's; 0.3 s to import, which the VAD's jobs can do without

        config = self.config
        if config.remove_dc_offset:  # of the recorder at first, so that float32 has digits for the rest
            samples = samples - np.rint(samples.mean())
        framed = self._framed(samples)
        means = framed.mean(axis=1, keepdims=True) * config.remove_dc_offset
        if config.use_energy:
            centered = framed - means
            out[:, 0] = np.log(np.maximum(np.einsum("ij,ij->i", centered, centered), _EPSILON))
        # Pre-emphasis of x - mean is x[n] - x[n-1] + rest x[n-1] - rest mean, of which frames share all but the last
        # term. The first sample of a frame is its own predecessor, as in Kaldi's Preemphasize().
        rest = np.float32(1 - config.preemphasis_coefficient)
        emphasized = rest * samples
        emphasized[1:] = (samples[1:] - samples[:-1]) + emphasized[:-1]
        padded = self._padded[: len(out)]
        frames = padded[:, : config.window_samples]
        np.subtract(self._framed(emphasized), rest * means, out=frames)
        frames[:, :1] = rest * framed[:, :1] - rest * means
        frames *= self.window
        spectrum = rfft(padded, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        mel = out[:, config.use_energy :]
        for bins, bands, weights in self.filters:
            np.matmul(power[:, bins], weights, out=mel[:, bands])
        np.log(np.maximum(mel, _EPSILON, out=mel), out=mel)

"""Features against kaldi-native-fbank, the frame count against Kaldi's formula, bad configurations."""

import kaldi_native_fbank as knf
import numpy as np
import pytest

from ser.audio.fbank import FbankConfig, FbankExtractor, mel_filters

RNG = np.random.default_rng(1)
TIME = np.arange(24000) / 16000
SIGNALS = {
    "noise": RNG.normal(0, 3000, 24000),
    "quiet": RNG.integers(-1, 2, 24000),
    "silence": np.zeros(24000),
    "offset": np.full(24000, 12000.0),
    "noise on an offset": RNG.normal(12000, 300, 24000),
    "tone": 20000 * np.sin(2 * np.pi * 440 * TIME),
    "clipped": np.clip(60000 * np.sin(2 * np.pi * 210 * TIME), -32768, 32767),
    "clicks": np.where(np.arange(24000) % 7000 == 0, 30000, 0),
    "chirp": 10000 * np.sin(2 * np.pi * (50 + 2500 * TIME) * TIME),
    "one window": RNG.normal(0, 300, 640),
    "one sample short of two": RNG.normal(0, 300, 799),
}
RECIPE = {
    "41 filters": FbankConfig(),
    "40 filters and energy": FbankConfig(num_mel_bins=40, use_energy=True),
}
# These windows leak so little that bands beside a pure tone hold the rounding of float32, ours and theirs.
OTHERS = {
    "Kaldi's usual window": FbankConfig(frame_length=25, window_type="povey", num_mel_bins=80, low_freq=40,
                                        high_freq=-200),
    "hanning": FbankConfig(window_type="hanning", frame_shift=20, remove_dc_offset=False),
}


def reference(samples, config):
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = True
    options.frame_opts.window_type = config.window_type
    options.frame_opts.frame_length_ms = config.frame_length
    options.frame_opts.frame_shift_ms = config.frame_shift
    options.frame_opts.remove_dc_offset = config.remove_dc_offset
    options.mel_opts.num_bins = config.num_mel_bins
    options.mel_opts.low_freq = config.low_freq
    options.mel_opts.high_freq = config.high_freq
    options.use_energy = config.use_energy
    fbank = knf.OnlineFbank(options)
    fbank.accept_waveform(16000, samples.tolist())
    fbank.input_finished()
    return np.array([fbank.get_frame(frame) for frame in range(fbank.num_frames_ready)])


CASES = [(signal, name) for signal in SIGNALS for name in RECIPE] + [
    (signal, name) for signal in ("noise", "quiet", "silence", "one window") for name in OTHERS]


@pytest.mark.parametrize(("signal", "name"), CASES)
def test_equals_kaldi_native_fbank(signal, name):
    samples, config = np.rint(SIGNALS[signal]).astype(np.float32), (RECIPE | OTHERS)[name]
    ours, theirs = FbankExtractor(config)(samples), reference(samples, config)
    assert ours.shape == theirs.shape == (config.num_frames(len(samples)), config.dimension)
    assert np.abs(ours - theirs).max() < 1e-3


def test_long_audio_equals_its_blocks():
    samples = RNG.normal(0, 1000, 16000 * 60).astype(np.float32)  # more frames than one block
    config = FbankConfig()
    assert np.abs(FbankExtractor(config)(samples) - reference(samples, config)).max() < 1e-3


def test_shorter_than_a_window_has_no_frame():
    assert FbankExtractor(FbankConfig())(np.zeros(639, np.float32)).shape == (0, 41)


@pytest.mark.parametrize("wrong", [{"sample_frequency": 8000}, {"frame_shift": 50.0}, {"low_freq": 9000.0},
                                   {"num_mel_bins": 2}, {"high_freq": 8001.0}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError):
        FbankConfig(**wrong)


@pytest.mark.parametrize("options", [{}, {"use_energy": True},
                                     {"num_mel_bins": 23, "low_freq": 100.0, "high_freq": -400.0}])
def test_a_frequency_is_found_where_its_filter_is(options):
    """The peak of each of Kaldi's filters, on bins of 2 Hz, is in its own column."""
    config = FbankConfig(**options)
    filters = mel_filters(config, 8192)
    peaks = np.argmax(filters, axis=0) * 16000 / 8192
    np.testing.assert_allclose(config.column_of(peaks), np.arange(config.num_mel_bins) + config.use_energy, atol=0.1)

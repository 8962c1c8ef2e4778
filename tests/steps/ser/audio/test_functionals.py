"""Functionals against librosa and numpy called directly, against tones of known F0, and on sounds of every bad kind."""

import fcntl
import subprocess
import sys
import warnings

import librosa
import numpy as np
import pytest

from conftest import ROOT
from ser.audio import functionals as module
from ser.audio.fbank import FbankConfig
from ser.audio.functionals import NAMES, functionals

RATE, CONFIG = 16000, FbankConfig()


def vowel(f0, seconds=1.0, seed=0):
    """A harmonic tone of a frequency, `[samples]` or one number, with some noise, float32 at int16 scale."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(f0, int(seconds * RATE)) / RATE)
    wave = sum(np.sin(number * phase) / number for number in range(1, 20))
    return np.float32(3000 * wave + np.random.default_rng(seed).normal(0, 20, len(phase)))


def described(samples, voiced=None):
    frames = CONFIG.num_frames(len(samples))
    vector = functionals(samples, np.ones(frames, np.float32) if voiced is None else voiced, CONFIG)
    assert vector.dtype == np.float32 and len(vector) == len(NAMES) == 199 and np.isfinite(vector).all()
    return dict(zip(NAMES, vector.astype(float), strict=True))


def directly(samples):
    """Each descriptor as librosa gives it of the waveform, `{name: [frames]}`."""
    x = samples / 32768
    frame = {"hop_length": 160, "center": False}
    of_spectrum = {"y": x, "sr": RATE, "n_fft": 640, **frame}
    mfcc = librosa.feature.mfcc(**of_spectrum, n_mels=40, n_mfcc=13)
    rms = librosa.feature.rms(y=x, frame_length=640, **frame)
    rows = {f"mfcc{number}": row for number, row in enumerate(mfcc, 1)}
    rows |= {f"delta_mfcc{number}": row for number, row in enumerate(librosa.feature.delta(mfcc, mode="nearest"), 1)}
    rows |= {"rms": 20 * np.log10(np.maximum(rms[0], 1e-5)),
             "centroid": librosa.feature.spectral_centroid(**of_spectrum)[0],
             "bandwidth": librosa.feature.spectral_bandwidth(**of_spectrum)[0],
             "rolloff": librosa.feature.spectral_rolloff(**of_spectrum)[0],
             "flatness": librosa.feature.spectral_flatness(y=x, n_fft=640, **frame)[0],
             "zero_crossing_rate": librosa.feature.zero_crossing_rate(x, frame_length=640, **frame)[0]}
    return rows


def test_descriptors_are_librosas_and_functionals_numpys():
    rng = np.random.default_rng(1)
    noise = np.float32(rng.normal(0, 500, 9000))
    samples = np.concatenate([vowel(130), noise, vowel(rng.uniform(180, 220, 12000), 0.75)])
    voiced = (rng.random(CONFIG.num_frames(len(samples))) < 0.6).astype(np.float32)
    seconds = np.flatnonzero(voiced) / 100
    found = described(samples, voiced)
    rows = directly(samples)
    assert len(rows) == 32
    for name, row in rows.items():
        row = row[voiced > 0]
        expected = {"mean": np.mean(row), "deviation": np.std(row), "percentile5": np.percentile(row, 5),
                    "median": np.median(row), "percentile95": np.percentile(row, 95),
                    "slope": np.polyfit(seconds, row, 1)[0]}
        for functional, value in expected.items():
            tolerance = 1e-4 * float(np.abs(row).max())
            assert found[f"{name}_{functional}"] == pytest.approx(value, rel=1e-3, abs=tolerance), (name, functional)


@pytest.mark.parametrize("f0", [70, 110, 200, 333, 450])
def test_f0_of_a_tone(f0):
    found = described(vowel(f0))
    assert found["f0_median"] == pytest.approx(12 * np.log2(f0 / 27.5), abs=0.25)
    assert found["f0_deviation"] < 0.5 and found["periodic_share"] > 0.95


def test_f0_of_a_glide():
    """An octave a second is a slope of twelve semitones."""
    found = described(vowel(110 * 2 ** np.linspace(0, 1, RATE)))
    assert found["f0_slope"] == pytest.approx(12, abs=0.5)
    assert found["f0_percentile95"] - found["f0_percentile5"] == pytest.approx(0.9 * 12, abs=0.8)


def test_f0_is_of_frames_that_are_voiced_and_periodic():
    samples = np.concatenate([vowel(100), np.float32(np.random.default_rng(0).normal(0, 800, RATE)), vowel(300)])
    frames = CONFIG.num_frames(len(samples))
    first = (np.arange(frames) < 90).astype(np.float32)
    assert described(samples, first)["f0_mean"] == pytest.approx(12 * np.log2(100 / 27.5), abs=0.3)
    assert 0.5 < described(samples)["periodic_share"] < 0.8
    assert described(samples, first)["periodic_share"] > 0.95


def test_frames_that_the_vad_drops_do_not_count():
    """The same second of speech in silence of different length."""
    speech = vowel(150)
    silence = np.zeros(8000, np.float32)
    vectors = []
    for before in (0, 1, 2):
        samples = np.concatenate([*[silence] * before, speech, silence])
        voiced = np.zeros(CONFIG.num_frames(len(samples)), np.float32)
        voiced[50 * before : 50 * before + 97] = 1
        vectors.append([value for name, value in described(samples, voiced).items() if "delta" not in name])
    assert np.allclose(vectors[1], vectors[2], rtol=1e-3, atol=1e-3)
    assert np.allclose(vectors[0], vectors[1], rtol=0.05, atol=0.5)


def test_without_a_voiced_frame_all_are_described():
    samples = vowel(150)
    assert described(samples, np.zeros(97, np.float32)) == described(samples)


DULL = {
    "silence": np.zeros(16000), "an offset": np.full(9000, 1000.0), "one window": np.full(640, 50.0),
    "two windows of noise": np.random.default_rng(0).normal(0, 100, 800),
    "an impulse": np.eye(1, 5000, 2500)[0] * 32767, "noise": np.random.default_rng(0).normal(0, 3000, 30000),
    "a square wave": np.sign(np.sin(np.arange(20000) / 25)) * 32767,
    "256 times full scale": np.sin(np.arange(9000) / 9) * 256 * 32768,
}


@pytest.mark.parametrize("kind", DULL)
def test_whatever_it_holds_the_numbers_are_finite(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = described(np.float32(DULL[kind]))
    if kind in ("silence", "noise"):
        assert found["periodic_share"] == found["f0_mean"] == found["f0_slope"] == 0


def test_another_frame_grid():
    """Windows of 25 ms every 5 ms, as a user's fbank.conf may ask for."""
    config = FbankConfig(frame_length=25.0, frame_shift=5.0)
    samples = vowel(150)
    frames = config.num_frames(len(samples))
    vector = functionals(samples, np.ones(frames, np.float32), config)
    assert np.isfinite(vector).all()
    assert vector[NAMES.index("f0_median")] == pytest.approx(12 * np.log2(150 / 27.5), abs=0.25)


def test_numba_compiles_for_one_process_at_a_time(tmp_path, monkeypatch):
    """Else what it keeps may crash every process that reads it."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))  # where the lock is
    locked, stft = [], librosa.stft

    def is_locked(*arguments, **options):
        with open(tmp_path / ".ser_functionals.lock", "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked.append(False)
            except BlockingIOError:
                locked.append(True)
        return stft(*arguments, **options)

    monkeypatch.setattr(librosa, "stft", is_locked)
    module._compile.cache_clear()
    described(vowel(130))
    described(vowel(130))
    assert locked == [True, True, False, False]


FIRST = """
import gc, sys
import numpy as np
from numba.core.dispatcher import Dispatcher
from ser.audio.fbank import FbankConfig
from ser.audio.functionals import functionals, _compile

def in_use():
    functions = [each for each in gc.get_objects() if issubclass(type(each), Dispatcher)]
    signatures = {f"{each} {signature}" for each in functions for signature in each.signatures}
    return signatures | {name for name in sys.modules if name.startswith("librosa")}  # an import may compile, too

config, rng = FbankConfig(), np.random.default_rng(0)
_compile(config)
before = in_use()
for samples in (640, 799, 800, 960, 16001):
    for sound in (np.zeros(samples), rng.normal(0, 500, samples), 5000 * np.sin(np.arange(samples) / 15)):
        functionals(np.float32(sound), np.ones(config.num_frames(samples)), config)
print(sum("_viterbi" in each for each in before), in_use() - before)
"""


def test_all_is_compiled_at_first():
    """All that numba compiles, or reads from its files where an earlier process compiled it."""
    done = subprocess.run([sys.executable, "-c", FIRST], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "2 set()\n"  # of librosa's only function whose types its arguments decide

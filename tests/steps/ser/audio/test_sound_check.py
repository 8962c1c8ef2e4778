"""Silent, constant and clipped sounds by their samples, and sounds that are the same."""

import tracemalloc

import numpy as np
import pytest
import soundfile

from conftest import tone
from ser.audio.sound_check import audio_digest, sound_problem
from ser.audio.waveform import load_audio

SPEECH = tone(np.random.default_rng(0), 140, 1.5) / 32768
NOISE = np.random.default_rng(1).normal(0, 1, 24000)


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("sound, problem", [
    (SPEECH, None), (0.98 * SPEECH / np.abs(SPEECH).max(), None), (0.01 * SPEECH, None), (0.1 * NOISE, None),
    (SPEECH + 0.05, None),
    (0 * SPEECH, "silent"), (1e-5 * NOISE, "silent"), (0 * SPEECH + 3e-4, "silent"),
    (0 * SPEECH + 0.25, "constant"), (0 * SPEECH - 1, "constant"), (1e-5 * NOISE + 0.1, "constant"),
    ((20 * SPEECH).clip(-1, 1), "clipped"), (np.sign(SPEECH), "clipped"), ((20 * SPEECH).clip(-0.3, 1), "clipped"),
], ids=str)
def test_problems(tmp_path, sound, problem, rate):
    soundfile.write(tmp_path / "x.wav", sound, rate, subtype="FLOAT")
    assert sound_problem(load_audio(tmp_path / "x.wav")) == problem


def test_clipping_below_full_scale():
    assert sound_problem((32768 * 0.6 * (20 * SPEECH).clip(-1, 1)).astype(np.float32)) == "clipped"


def test_short_sounds_have_an_answer():
    assert sound_problem(np.zeros(1, np.float32)) == "silent"
    assert sound_problem(np.full(320, 5000, np.float32)) == "constant"


def test_digests_are_of_the_samples(tmp_path):
    soundfile.write(tmp_path / "x.wav", SPEECH, 16000)
    soundfile.write(tmp_path / "x.flac", SPEECH, 16000)
    soundfile.write(tmp_path / "x.aiff", np.stack([SPEECH, SPEECH], axis=1), 16000)
    sounds = [load_audio(tmp_path / name) for name in ("x.wav", "x.flac", "x.aiff")]
    assert len({audio_digest(sound) for sound in sounds}) == 1
    sound = sounds[0]
    changed = [sound[:-1], sound[1:], -sound, np.roll(sound, 1), np.append(sound, np.float32(0)), sound[::-1].copy()]
    for place in (0, 7000, len(sound) // 2, len(sound) - 1):
        changed.append(sound.copy())
        changed[-1][place] += 1
    digests = [audio_digest(each) for each in [sound, *changed]]
    assert len(set(digests)) == len(digests) and all(len(digest) == 16 for digest in digests)


def test_long_sounds_are_not_copied():
    samples = np.random.default_rng(2).normal(0, 1000, 10**6).astype(np.float32)
    tracemalloc.start()
    assert sound_problem(samples) is None and len(audio_digest(samples)) == 16
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.5 * samples.nbytes

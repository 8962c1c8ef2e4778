"""Voice activity has one decision for each feature frame, follows webrtcvad's hops, and finds the speech."""

import numpy as np
import pytest
import webrtcvad

from ser.audio.fbank import FbankConfig
from ser.audio.vad import VadConfig, voiced_frames

RNG = np.random.default_rng(2)


def buzz(seconds):
    time = np.arange(int(16000 * seconds)) / 16000
    return 4000 * sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 20)) * (1 + np.sin(2 * np.pi * 4 * time))


@pytest.mark.parametrize("samples", [*range(600, 1300, 37), 16000, 16001, 16159, 47999])
@pytest.mark.parametrize("config", [FbankConfig(), FbankConfig(frame_length=25), FbankConfig(frame_shift=12.5)])
def test_as_many_decisions_as_frames(samples, config):
    noise = RNG.normal(0, 500, samples).astype(np.float32)
    assert len(voiced_frames(noise, config, VadConfig())) == config.num_frames(samples)


def test_frames_follow_webrtcvad():
    samples = np.concatenate([np.zeros(8000), buzz(5.0), np.zeros(8000)]).astype(np.float32)  # more than one block
    detector = webrtcvad.Vad(2)
    pcm = np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()
    hops = [detector.is_speech(pcm[start : start + 320], 16000) for start in range(0, len(pcm) - 319, 320)]
    voiced = voiced_frames(samples, FbankConfig(), VadConfig())
    assert [sum(hops[t : t + 4]) >= 2 for t in range(len(voiced))] == (voiced > 0).tolist()
    assert voiced[60:130].mean() > 0.9 and voiced[:40].max() == 0


def test_silence_has_no_voiced_frame():
    assert not voiced_frames(np.zeros(16000, np.float32), FbankConfig(), VadConfig()).any()


@pytest.mark.parametrize("wrong", [{"aggressiveness": 4}, {"voiced_share": 0.0}, {"voiced_share": 1.5}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError):
        VadConfig(**wrong)

"""Windows and voice segments: those of the whole recording, in whatever blocks it comes."""

import numpy as np
import pytest

from conftest import tone
from ser.audio.segments import VoiceSegments, Windows
from ser.audio.vad import HOP, VadConfig, VoiceDetector
from ser.base.errors import UserError

RNG = np.random.default_rng(0)


def silence(seconds):
    return np.zeros(int(16000 * seconds), np.int16)


# A pause of 0.3 s within the first speech, one of a second after it, a click, and an end that fills no hop.
SOUND = np.concatenate([silence(0.7), tone(RNG, 120, 1.5), silence(0.3), tone(RNG, 150, 1.2), silence(1),
                        tone(RNG, 200, 0.04), silence(1), tone(RNG, 130, 7), silence(0.333)]).astype(np.float32)


def blocks(samples, size):
    return (samples[start : start + size] for start in range(0, len(samples), size))


@pytest.mark.parametrize("size", [37, 160, 1600, 65536, 10**6])
@pytest.mark.parametrize("segmentation", [Windows(), Windows(1.5, 0.5), Windows(0.5, 1.25), Windows(60),
                                          VoiceSegments(), VoiceSegments(0.2, 1.7), VoiceSegments(5)], ids=str)
def test_blocks_of_any_size_give_the_same_segments(segmentation, size):
    expected = list(segmentation.segments([SOUND], VadConfig()))
    found = list(segmentation.segments(blocks(SOUND, size), VadConfig()))
    assert [each[:2] for each in found] == [each[:2] for each in expected]
    for segment in found:
        if segment.samples is not None:
            assert np.array_equal(segment.samples, SOUND[segment.start : segment.end])


@pytest.mark.parametrize("length, shift", [(1, 1), (1.5, 0.5), (0.5, 1.25), (60, 60), (0.2, 1 / 3)])
def test_windows_lie_on_their_grid_until_one_has_the_end(length, shift):
    found = list(Windows(length, shift).segments(blocks(SOUND, 999), VadConfig()))
    for number, window in enumerate(found):
        assert window.start == round(16000 * number * shift)
        assert window.end == min(round(16000 * (number * shift + length)), len(SOUND))
    assert all(window.end < len(SOUND) for window in found[:-1])
    assert found[-1].end == len(SOUND) or found[-1].start + 16000 * shift >= len(SOUND) - 1


def speech_of(samples, pause):
    """Where speech begins and ends in hops, from all decisions at once: voiced runs, joined over shorter pauses."""
    voiced = np.flatnonzero(np.fromiter(VoiceDetector(2)(samples), bool))
    runs = np.split(voiced, np.flatnonzero(np.diff(voiced) > round(100 * pause)) + 1)
    return [(run[0], run[-1] + 1) for run in runs if len(run) >= 20]


@pytest.mark.parametrize("pause", [0.1, 0.2, 0.5, 2])
def test_voice_segments_are_the_voiced_runs(pause):
    found = list(VoiceSegments(pause, 600).segments(blocks(SOUND, 4000), VadConfig()))
    spoken = [(each.start, each.end) for each in found if each.samples is not None]
    expected = speech_of(SOUND, pause)
    assert spoken == [(HOP * start, HOP * end) for start, end in expected]
    assert len(expected) == {0.1: 3, 0.2: 3, 0.5: 2, 2: 1}[pause]


@pytest.mark.parametrize("longest", [0.5, 2, 5])
def test_long_speech_is_cut_and_all_is_covered(longest):
    found = list(VoiceSegments(0.5, longest).segments(blocks(SOUND, 1000), VadConfig()))
    assert [each.start for each in found] == [0, *(each.end for each in found[:-1])] and found[-1].end == len(SOUND)
    spoken = [each.end - each.start for each in found if each.samples is not None]
    assert max(spoken) == 16000 * longest and len(spoken) > 2


def test_only_what_is_needed_is_held():
    """Blocks of silence are let go: those that are alive at a time are few."""
    alive = []

    class Block(np.ndarray):
        def __del__(self):
            alive.pop()

    def endless():
        for _ in range(1000):
            alive.append(None)
            yield np.zeros(1600, np.float32).view(Block)
            assert len(alive) < 100

    for segmentation in (VoiceSegments(), Windows(1)):
        assert len(list(segmentation.segments(endless(), VadConfig()))) in (1, 100)


def test_what_holds_no_sample():
    for segmentation in (Windows(), VoiceSegments()):
        (only,) = segmentation.segments([], VadConfig())
        assert only[:2] == (0, 0)


@pytest.mark.parametrize("make", [lambda: Windows(0.1), lambda: Windows(601), lambda: Windows(1, 0),
                                  lambda: Windows(1, float("nan")), lambda: VoiceSegments(0.001),
                                  lambda: VoiceSegments(1, 0.01), lambda: VoiceSegments(float("nan"))])
def test_what_cannot_be_is_refused(make):
    with pytest.raises(UserError, match="cannot be; give"):
        make()

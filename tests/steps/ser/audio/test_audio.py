"""Audio at the door: what has a meaning becomes 16 kHz mono at int16 scale, the rest is refused in one line."""

import os
import struct
import subprocess
import sys

import librosa
import numpy as np
import pytest
import soundfile

from ser.audio.any_format import sound_blocks
from ser.audio.waveform import audio_problem, load_audio
from ser.base.errors import UserError

RATE = 16000
PCM = np.random.default_rng(3).integers(-32768, 32768, 4000).astype("<i2")


def sine(rate=RATE, frequency=440.0, seconds=1.0, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


def wav(data, size=None, before=b"", after=b"", rate=RATE, channels=1, riff=None):
    """A 16-bit wav file byte by byte; `size` is what its data chunk says, `riff` what stands at its beginning."""
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, 2 * rate * channels, 2 * channels, 16)
    body = b"WAVE" + head + before + struct.pack("<4sI", b"data", len(data) if size is None else size) + data + after
    return struct.pack("<4sI", b"RIFF", len(body) if riff is None else riff) + body


def chunk(size):
    return struct.pack("<4sI", b"LIST", size) + b"INFOISFT" + bytes(size - 8 + size % 2)


SOUND = PCM.tobytes()
SAME = {  # bytes of a file that holds PCM
    "plain": wav(SOUND),
    "streamed, 32 bits": wav(SOUND, 0xFFFFFFFF),
    "streamed, 31 bits": wav(SOUND, 0x7FFFFFFF),
    "streamed, as sox": wav(SOUND, 0x7FFFF024),
    "data of 0": wav(SOUND, 0, riff=0),
    "data of 0 after 36": wav(SOUND, 0, riff=36),  # of a recorder that was killed
    "data of 0, RIFF of 32 bits": wav(SOUND, 0, riff=0xFFFFFFFF),
    "data of 0 after a chunk": wav(SOUND, 0, before=chunk(26), riff=0),
    "RIFF of 0": wav(SOUND, riff=0),
    "both of 32 bits": wav(SOUND, 0xFFFFFFFF, riff=0xFFFFFFFF),
    "chunk before the data": wav(SOUND, before=chunk(26)),
    "odd chunk before the data": wav(SOUND, before=chunk(25)),
    "chunk after the data": wav(SOUND, after=chunk(26)),
    "half a sample too much": wav(SOUND + b"x"),
    "odd bytes after the end": wav(SOUND) + b"xyz",
}


@pytest.mark.parametrize("content", SAME.values(), ids=SAME)
@pytest.mark.parametrize("name", ["x.wav", "with spaces, ä and 语音.wav", "not_a_wav.flac"])
def test_int16_samples_are_exact(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    for source in (path, str(path), f"cat '{path}' |", f"cat '{path}'|"):
        samples = load_audio(source)
        assert samples.dtype == np.float32 and np.array_equal(samples, PCM)
    assert audio_problem(path) is None


def test_extensible_wav_is_exact(tmp_path):
    soundfile.write(tmp_path / "x.wav", PCM, RATE, format="WAVEX", subtype="PCM_16")
    assert (tmp_path / "x.wav").read_bytes()[20:22] == b"\xfe\xff"
    assert np.array_equal(load_audio(tmp_path / "x.wav"), PCM)


# container, encoding: the largest error that the encoding may make, in units of int16
ENCODINGS = {
    ("WAV", "PCM_U8"): 257, ("WAV", "PCM_24"): 0.01, ("WAV", "PCM_32"): 0.01, ("WAV", "FLOAT"): 0.01,
    ("WAV", "DOUBLE"): 0.01, ("WAV", "ALAW"): 600, ("WAV", "ULAW"): 600, ("WAV", "IMA_ADPCM"): 1500,
    ("WAVEX", "PCM_24"): 0.01, ("WAVEX", "FLOAT"): 0.01, ("RF64", "PCM_16"): 1, ("W64", "PCM_16"): 1,
    ("FLAC", "PCM_16"): 1, ("FLAC", "PCM_24"): 0.01, ("AIFF", "PCM_16"): 1, ("AIFF", "FLOAT"): 0.01,
    ("AU", "ULAW"): 600, ("CAF", "PCM_16"): 1, ("NIST", "PCM_16"): 1, ("OGG", "VORBIS"): 1500, ("OGG", "OPUS"): 3000,
    ("MP3", "MPEG_LAYER_III"): 1500,
}


@pytest.mark.parametrize("encoding", ENCODINGS, ids=" ".join)
def test_encodings(tmp_path, encoding):
    path, expected = tmp_path / f"x.{encoding[0].lower()}", 32768 * sine()
    soundfile.write(path, sine(), RATE, format=encoding[0], subtype=encoding[1])
    assert audio_problem(path) is None
    for source in (path, f"cat {path} |"):
        samples = load_audio(source)
        assert 0 <= len(samples) - len(expected) < 600  # codecs in blocks fill their last one
        inner = slice(800, 15200)
        assert np.corrcoef(samples[inner], expected[inner])[0, 1] > 0.999
        assert np.abs(samples[inner] - expected[inner]).max() <= ENCODINGS[encoding]


def test_channels_are_averaged(tmp_path):
    left, right = PCM[::2], PCM[1::2]
    (tmp_path / "x.wav").write_bytes(wav(SOUND, channels=2))
    assert np.array_equal(load_audio(tmp_path / "x.wav"), (left.astype(float) + right) / 2)
    soundfile.write(tmp_path / "x.flac", np.stack([sine(), -sine(), sine(), sine(), 0 * sine()], axis=1), RATE)
    assert np.abs(load_audio(tmp_path / "x.flac") - 32768 * sine() * 2 / 5).max() < 1


@pytest.mark.parametrize("subtype, rate", [("PCM_16", RATE), ("FLOAT", RATE), ("PCM_24", 44100)])
def test_channels_that_cancel_each_other(tmp_path, subtype, rate):
    voice = 0.3 * np.random.default_rng(1).normal(size=(150000, 1)).clip(-3, 3)  # more samples than one block
    other = 0.3 * np.random.default_rng(2).normal(size=(150000, 1)).clip(-3, 3)
    path = tmp_path / "x.wav"
    for inverse in (-voice, -0.995 * voice, -voice + 0.05):  # exact, through another amplifier, with an offset
        soundfile.write(path, np.hstack([voice, inverse]), rate, subtype=subtype)
        with pytest.raises(UserError, match="x.wav: its channels cancel each other out.*remix 1"):
            load_audio(path)
    for channels in ([voice, voice], [voice, other], [voice, 0 * voice], [voice, -0.8 * voice], [0 * voice] * 2,
                     [0 * voice + 0.25] * 2, [voice, -voice, other]):
        soundfile.write(path, np.hstack(channels), rate, subtype=subtype)
        assert len(load_audio(path))


def power_at(samples, frequency):
    time = np.arange(len(samples)) / RATE
    return 2 * np.abs(np.mean(samples * np.hanning(len(samples)) * 2 * np.exp(-2j * np.pi * frequency * time)))


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000])
@pytest.mark.parametrize("size", ["a second", "odd"])
def test_rates(tmp_path, rate, size):
    sound = sine(rate, 440) + sine(rate, 3000, amplitude=0.1)
    if rate > 16000:
        sound += sine(rate, 0.45 * rate, amplitude=0.3)  # above the new Nyquist
    sound = sound[: len(sound) - (size == "odd") * 37]
    soundfile.write(tmp_path / "x.wav", sound, rate, subtype="FLOAT")
    samples = load_audio(tmp_path / "x.wav")
    assert abs(len(samples) - len(sound) * RATE / rate) < 1
    time = np.arange(len(samples)) / RATE
    expected = 32768 * (0.5 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 3000 * time))
    inner = slice(1000, len(samples) - 1000)
    assert np.sqrt(np.mean((samples - expected)[inner] ** 2)) < 0.002 * np.sqrt(np.mean(expected[inner] ** 2))
    alias = abs(0.45 * rate - RATE * round(0.45 * rate / RATE))
    if rate > 16000:
        assert power_at(samples, alias) < 3  # of 9830


@pytest.mark.parametrize("rate", [8000, 11025, 44100])
def test_long_audio_is_resampled_as_a_whole(tmp_path, rate):
    sound = np.random.default_rng(8).normal(0, 0.1, (200003, 2)).astype(np.float32)  # more samples than one block
    soundfile.write(tmp_path / "x.wav", sound, rate, subtype="FLOAT")
    expected = 32768 * librosa.resample(sound.mean(axis=1), orig_sr=rate, target_sr=RATE, res_type="soxr_hq", fix=False)
    assert np.array_equal(load_audio(tmp_path / "x.wav"), expected)


def damaged(content, **kwargs):
    return lambda folder: (folder / "x.wav").write_bytes(content, **kwargs)


def cut(container, encoding, keep, sound=None):
    """A file of two seconds of noise that ends early: `keep` bytes of it, a share of it, or without so many."""
    def make(folder):
        noise = np.random.default_rng(4).normal(0, 0.1, 2 * RATE)
        soundfile.write(folder / "x.wav", noise, RATE, format=container, subtype=encoding)
        content = (folder / "x.wav").read_bytes()
        (folder / "x.wav").write_bytes(content[: int(len(content) * keep) if 0 < keep < 1 else keep])
    return make


def floats(value, rate=RATE):
    def make(folder):
        sound = sine(rate)
        sound[777] = value
        soundfile.write(folder / "x.wav", sound, rate, subtype="FLOAT")
    return make


REFUSED = {
    "missing": (lambda folder: None, "No such file"),
    "directory": (lambda folder: (folder / "x.wav").mkdir(), "Is a directory"),
    "empty": (damaged(b""), "it is empty"),
    "header only": (damaged(wav(b"")), "holds no samples"),
    "header only of a pipe": (damaged(wav(b"", 0, riff=0)), "holds no samples"),
    "empty, then a chunk": (damaged(wav(b"", after=chunk(26))), "holds no samples"),
    "header only that promises": (damaged(wav(b"", 32000)), "holds no samples"),
    "half a sample": (damaged(wav(b"x")), "holds no samples"),
    **{f"header cut at {size}": (damaged(wav(SOUND)[:size]), "cannot be read") for size in (3, 4, 12, 20, 30, 36, 40)},
    "text": (damaged(b"hello, this is text\n" * 10), "cannot be read"),
    "zeros": (damaged(bytes(1000)), "cannot be read"),
    "no channel": (damaged(wav(SOUND, channels=0)), "cannot be read"),
    "no rate": (damaged(wav(SOUND, rate=0)), "cannot be read"),
    "rate of 3": (damaged(wav(SOUND, rate=3)), "3 samples a second"),
    "rate of 2 GHz": (damaged(wav(SOUND, rate=2000000000)), "2000000000 samples a second"),
    "chunk before the data, cut": (damaged(wav(SOUND, before=chunk(26))[:-100]), "is cut short"),
    **{f"{container} {encoding} cut at {keep}": (cut(container, encoding, keep), "cut short|cannot be read|no samples")
       for container, encoding in [("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "FLOAT"),
                                   ("WAV", "ULAW"), ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_16"), ("FLAC", "PCM_16"),
                                   ("OGG", "VORBIS"), ("OGG", "OPUS"), ("AIFF", "PCM_16"), ("AU", "PCM_16"),
                                   ("NIST", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("MP3", "MPEG_LAYER_III")]
       for keep in (0.3, 0.6, 0.97, -1)},
    "NaN": (floats(np.nan), "sample 777 is nan"),
    "inf": (floats(np.inf), "sample 777 is inf"),
    "-inf at another rate": (floats(-np.inf, 8000), "sample 777 is inf"),
    "beyond what squares hold": (floats(1e30), "sample 777 is 1e.30"),
    "integers in floats": (floats(20000), "sample 777 is 20000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(tmp_path, name):
    make, reason = REFUSED[name]
    make(tmp_path)
    path = tmp_path / "x.wav"
    with pytest.raises(UserError, match=reason) as caught:
        load_audio(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    if path.is_file():
        with pytest.raises(UserError, match=reason) as caught:
            load_audio(f"cat {path} |")
        assert str(caught.value).startswith(f"cat {path} |: ")


HEADER_TELLS = [name for name in REFUSED if not any(word in name for word in ("FLAC", "MP3", "NaN", "inf", "floats"))
                and name != "beyond what squares hold"]


@pytest.mark.parametrize("name", HEADER_TELLS)
def test_header_tells(tmp_path, name):
    make, reason = REFUSED[name]
    make(tmp_path)
    assert audio_problem(tmp_path / "x.wav")


def test_flac_of_unknown_length(tmp_path):
    soundfile.write(tmp_path / "x.flac", PCM, RATE)
    content = bytearray((tmp_path / "x.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)  # STREAMINFO's number of samples, which a program that writes to a pipe leaves 0
    (tmp_path / "x.flac").write_bytes(content)
    with pytest.raises(UserError, match="x.flac: does not say how many samples"):
        load_audio(tmp_path / "x.flac")


@pytest.mark.parametrize("command, reason", [
    ("cat missing.wav |", "exit status 1: cat: missing.wav: No such file"),
    ("cat missing.wav | cat |", "exit status 1"),
    ("no-such-program x |", "exit status 127"),
    ("exit 3 |", "exit status 3: no message"),
    ("true |", "it is empty"),
    ("|", "it is empty"),
    ("echo text |", "cannot be read"),
])
def test_pipes_that_fail(command, reason):
    with pytest.raises(UserError, match=reason) as caught:
        load_audio(command)
    assert str(caught.value).startswith(command) and "\n" not in str(caught.value)


def test_an_hour_at_8_khz_in_bounded_memory(tmp_path):
    path = tmp_path / "hour.wav"
    minute = (3000 * np.random.default_rng(5).normal(size=60 * 8000)).astype(np.int16)
    with soundfile.SoundFile(path, "w", 8000, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(minute)
    # the child's ru_maxrss would start with that of pytest
    code = ("import re, sys; from ser.audio.waveform import load_audio; from ser.audio.fbank import *; "
            "samples = load_audio(sys.argv[1]); features = FbankExtractor(FbankConfig())(samples); "
            "peak = re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1]; "
            "print(len(samples), *features.shape, peak)")
    result = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True,
                            env={**os.environ, "OMP_NUM_THREADS": "1"})
    samples, frames, dimension, kilobytes = map(int, result.stdout.split())
    assert samples == 3600 * RATE and (frames, dimension) == (1 + (samples - 640) // 160, 41)
    assert kilobytes < 4.5e5  # 230 MB are samples, 59 MB features


def test_ffmpeg_is_not_asked_for_an_empty_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")  # without ffmpeg, whose installation would be no help
    (tmp_path / "a.m4a").touch()
    with pytest.raises(UserError) as error:
        list(sound_blocks(tmp_path / "a.m4a"))
    assert str(error.value) == f"{tmp_path}/a.m4a: cannot be read: it is empty"

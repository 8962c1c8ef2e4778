"""What predict.py says of sound without speech, of an hour in bounded memory, and of a pipe while it is open."""

import json
import os
import re
import resource
import select
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from conftest import ROOT, run, tone
from ser import load_model
from ser.audio.segments import VoiceSegments, Windows

RNG = np.random.default_rng(5)
SPEECH = tone(RNG, 150, 2.0)
CLICK = np.concatenate([np.zeros(16000, np.int16), tone(RNG, 200, 0.04), np.zeros(16000, np.int16)])
WITHOUT_SPEECH = {
    "silent": {"zeros": np.zeros(32000), "an offset": np.full(32000, 900.0), "-70 dB": RNG.normal(0, 3, 32000),
               "silent end": np.zeros(700)},
    "no speech": {"hum": 300 * np.sin(2 * np.pi * 50 * np.arange(32000) / 16000)},
    "too short": {"click": CLICK, "less than a window": SPEECH[:600], "0.15 s": SPEECH[4000:6400],
                  "four clicks": np.tile(CLICK, 4)},
}


@pytest.fixture
def model(trained):
    return trained / "vgg5_ad" / "fold_s1"


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The model as a file, which a process of its own reads in a sixth of the time."""
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    run("steps/export.py", trained / "vgg5_ad" / "fold_s1", path)
    return path


def rows_of(*words, **kwargs):
    """Rows of predict.py without the header."""
    result = run("steps/predict.py", *words, **kwargs)
    assert not result.stderr
    return [line.split("\t") for line in result.stdout.splitlines()[1:]]


@pytest.mark.parametrize("reason", WITHOUT_SPEECH)
def test_without_speech_there_is_a_word_and_no_emotion(reason, model, tmp_path, outcome):
    for name, samples in WITHOUT_SPEECH[reason].items():
        soundfile.write(tmp_path / f"{name}.wav", samples.astype(np.int16), 16000)
    rows = rows_of(model, tmp_path)
    assert [row[1:] for row in rows] == [["-", "-", "-", reason]] * len(WITHOUT_SPEECH[reason])
    lines = run("steps/predict.py", "--format", "json", model, tmp_path).stdout.splitlines()
    said = [json.loads(line) for line in lines]
    assert all((each["label"], each["probabilities"], each["reason"]) == (None, {}, reason) for each in said)
    for samples in WITHOUT_SPEECH[reason].values():
        found = load_model(model).predict(samples.astype(np.float32))
        assert (found.label, found.probabilities, found.reason) == (None, {}, reason)
    outcome(f"sound without speech: {', '.join(WITHOUT_SPEECH[reason])}", "predict", 0, f"label -, reason {reason}")


def test_a_label_below_the_least_probability_is_not_given(model, tiny):
    audio = tiny.parent / "source" / "audio"
    every = rows_of(model, audio)
    bests = sorted(max(float(row[2]), float(row[3])) for row in every)
    least = bests[len(bests) // 2]
    rows = rows_of("--min-probability", least, model, audio)
    assert [row[2:4] for row in rows] == [row[2:4] for row in every]
    for row, before in zip(rows, every, strict=True):
        best = max(float(row[2]), float(row[3]))
        if abs(best - least) > 1e-6:  # what is printed is rounded
            assert [row[1], row[4]] == ([before[1], "-"] if best > least else ["-", "unsure"])
    assert {row[4] for row in rows} == {"-", "unsure"}
    unsure = load_model(model, min_probability=1).predict(SPEECH.astype(np.float32))
    assert (unsure.label, unsure.reason) == (None, "unsure") and sum(unsure.probabilities.values()) == pytest.approx(1)


def test_voice_segments_are_predicted_as_the_files_that_they_would_be(model, tmp_path):
    samples = np.concatenate([np.zeros(8000, np.int16), SPEECH, np.zeros(16000, np.int16), SPEECH[::-1], CLICK])
    soundfile.write(tmp_path / "x.wav", samples, 16000)
    rows = rows_of("--segment", "vad", model, tmp_path / "x.wav")
    assert [row[-1] for row in rows] == ["no speech", "-"] * 2 + ["no speech"]
    assert [row[1] for row in rows] == ["0.00", *(row[2] for row in rows[:-1])]  # they cover the recording
    for row in rows:
        begin, end = (round(16000 * float(word)) for word in row[1:3])
        soundfile.write(tmp_path / "piece.wav", samples[begin:end], 16000)
        (alone,) = rows_of(model, tmp_path / "piece.wav")
        assert alone[1:-1] == row[3:-1] and (alone[-1] == row[-1] or alone[-1] in ("silent", "too short"))
    again = list(load_model(model).time_line(tmp_path / "x.wav", VoiceSegments()))
    assert [f"{each.start:.2f}" for each in again] == [row[1] for row in rows]
    assert [each.label or "-" for each in again] == [row[3] for row in rows]


def test_label_files(model, tmp_path):
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    soundfile.write(sounds / "x.wav", np.tile(SPEECH, 3), 16000)
    soundfile.write(sounds / "y.flac", np.zeros(16000, np.int16), 16000)
    for kind, suffix, shown in (("textgrid", "TextGrid", "(silent)"), ("audacity", "txt", "(silent)")):
        result = run("steps/predict.py", "--format", kind, "--out-dir", tmp_path / kind, *WINDOWS, model, sounds)
        assert not result.stdout and not result.stderr
        assert sorted(path.name for path in (tmp_path / kind).iterdir()) == [f"x.{suffix}", f"y.{suffix}"]
        assert shown in (tmp_path / kind / f"y.{suffix}").read_text()
        assert len(re.findall(r"\b(sad|ang)\b", (tmp_path / kind / f"x.{suffix}").read_text())) == 3
    (tmp_path / "other").mkdir()
    soundfile.write(tmp_path / "other" / "x.wav", SPEECH, 16000)
    result = run("steps/predict.py", "--format", "audacity", "--out-dir", tmp_path / "one", model, sounds / "x.wav",
                 tmp_path / "other", check=False)
    assert result.returncode == 1
    assert re.fullmatch(r"predict.py: \S+other/x.wav: \S+x.txt is that of \S+/x.wav already; take .*\n", result.stderr)
    rttm = run("steps/predict.py", "--format", "rttm", model, sounds).stdout
    assert re.fullmatch(r"SPEAKER \S+/x.wav 1 0.000 6.000 <NA> <NA> (ang|sad) 0\.\d{6} <NA>\n", rttm)


WINDOWS = "--segment", "window", "--window-seconds", "2"
PEAK = """
import re, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert not end.code
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1], *sorted(sys.modules), file=sys.stderr)
"""


def peak_and_modules(*words):
    """Peak memory in MB of predict.py in a process of its own, what it imported, and what it wrote."""
    result = subprocess.run([sys.executable, "-c", PEAK, "steps/predict.py", *map(str, words)], cwd=ROOT, text=True,
                            capture_output=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    peak, *modules = result.stderr.split()
    return int(peak) / 1024, modules, result.stdout.splitlines()[1:]


@pytest.mark.parametrize("kind, words", [("model", WINDOWS), ("exported", ("--segment", "vad"))], ids=["window", "vad"])
def test_an_hour_takes_no_more_memory_than_a_minute(kind, words, request, tmp_path):
    model = request.getfixturevalue(kind)
    minute = np.concatenate([SPEECH, np.zeros(16000 * 58, np.int16)])
    peaks = {}
    for minutes in (1, 60):
        with soundfile.SoundFile(tmp_path / f"{minutes}.flac", "w", 16000, 1) as file:
            for _ in range(minutes):
                file.write(minute)
        peaks[minutes], _, rows = peak_and_modules(*words, model, tmp_path / f"{minutes}.flac")
        spoken = [row for row in rows if row.endswith("\t-")]
        assert len(spoken) == minutes and rows[-1].split("\t")[2] == f"{60 * minutes:.2f}"
    assert peaks[60] < peaks[1] + 20  # its samples alone take 230 MB as float32, 115 MB as integers


def test_what_is_not_needed_is_not_imported(model, exported, tmp_path):
    soundfile.write(tmp_path / "x.wav", SPEECH, 16000)
    for source, others in ((model, ()), (exported, ("torch",))):
        _, modules, rows = peak_and_modules(source, tmp_path / "x.wav")
        assert len(rows) == 1
        unwanted = {"scipy", "librosa", "sklearn", "matplotlib", "torch._dynamo", "sympy", "pandas", "onnx", *others}
        assert not unwanted & set(modules)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "steps/predict.py", exported, tmp_path / "x.wav"], cwd=ROOT,
                   check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.7  # seconds of the processor


class Pipe:
    """predict.py on a pipe that stays open."""

    def __init__(self, *words):
        self.process = subprocess.Popen([sys.executable, "steps/predict.py", *map(str, words), "-"], cwd=ROOT,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.process.stdout.readline()

    def send(self, content):
        self.process.stdin.write(content)

    def line(self, seconds=30):
        """The next line, or None when there is none in time."""
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        return self.process.stdout.readline().decode().split("\t") if ready else None

    def end(self):
        self.process.stdin.close()
        rest = [line.decode().split("\t") for line in self.process.stdout]
        assert self.process.wait() == 0
        return rest


def raw(samples):
    return np.asarray(samples, "<i2").tobytes()


def test_a_window_of_a_stream_is_answered_a_tenth_of_a_second_after_it(exported):
    pipe = Pipe("--stdin", "pcm", *WINDOWS, exported)
    pipe.send(raw(SPEECH[:31000]))
    assert pipe.line(0.5) is None
    pipe.send(raw(SPEECH[31000:]))  # the pipe's last block is full, and stays open
    first = pipe.line()
    assert first[:3] == ["-", "0.00", "2.00"] and first[3] in ("ang", "sad")
    pipe.send(raw(np.zeros(32000 + 1600)))
    assert pipe.line()[1:4] == ["2.00", "4.00", "-"]
    assert [row[1:3] for row in pipe.end()] == [["4.00", "4.10"]]


def test_speech_of_a_stream_is_answered_when_its_pause_is_over(exported):
    pipe = Pipe("--stdin", "pcm", "--segment", "vad", "--pause-seconds", "0.5", exported)
    pipe.send(raw(SPEECH))
    assert pipe.line(0.5) is None
    pipe.send(raw(np.zeros(12800)))  # the pause, and 0.14 s for which the detection holds on, in blocks of 0.1 s
    answered = pipe.line()
    assert answered[1] == "0.00" and 2 <= float(answered[2]) < 2.2 and answered[3] in ("ang", "sad")
    assert [row[-1].strip() for row in pipe.end()] == ["no speech"]


@pytest.mark.parametrize("rate, channels, subtype, size", [
    (16000, 1, "PCM_16", None), (16000, 1, "PCM_16", b"\xff\xff\xff\xff"), (8000, 1, "ULAW", b"\0\0\0\x80"),
    (44100, 2, "FLOAT", b"\xff\xff\xff\xff")])
def test_a_wav_through_a_pipe_is_the_file(rate, channels, subtype, size, exported, tmp_path):
    samples = np.repeat(np.tile(SPEECH / 32768, 6)[:, None], channels, axis=1)
    soundfile.write(tmp_path / "x.wav", samples, rate, subtype=subtype)
    content = bytearray((tmp_path / "x.wav").read_bytes())
    if size:
        place = content.index(b"data") + 4
        content[place : place + 4] = content[4:8] = size
    words = "--segment", "window", "--window-seconds", "1"
    result = subprocess.run([sys.executable, "steps/predict.py", "--stdin", "wav", *words, exported, "-"], cwd=ROOT,
                            input=bytes(content), capture_output=True, check=True)
    found = [line.split("\t")[1:] for line in result.stdout.decode().splitlines()[1:]]
    expected = [row[1:] for row in rows_of(*words, exported, tmp_path / "x.wav")]
    assert len(found) > 3 and [row[:3] for row in found] == [row[:3] for row in expected]
    scores = [[float(word) for word in row[3:5]] for row in (*found, *expected) if row[-1] == "-"]
    assert np.allclose(scores[: len(scores) // 2], scores[len(scores) // 2 :], atol=1e-4)


@pytest.mark.parametrize("words, content, message", [
    (("--stdin", "wav"), b"no sound", "standard input: Format not recognised"),
    (("--stdin", "wav"), b"", "standard input: "),
    ((), b"RIFF\x24\x00", "standard input: holds no names of files"),
    ((), b"a\0b\n", "standard input: holds no names of files")])
def test_no_sound_on_standard_input_is_one_clear_line(words, content, message, exported, outcome):
    result = subprocess.run([sys.executable, "steps/predict.py", *words, exported, "-"], cwd=ROOT, input=content,
                            capture_output=True)
    lines = result.stderr.decode().splitlines()
    assert result.returncode == 1 and len(lines) == 1 and message in lines[0], lines
    outcome(f"{content[:8]!r} on standard input {' '.join(words)}".strip(), "predict", 1, lines[0])


def test_an_exported_file_says_what_its_model_directory_says(trained, tiny, tmp_path):
    run("steps/export.py", trained / "vgg5_ad", tmp_path / "model.onnx")
    audio = tiny.parent / "source" / "audio"
    soundfile.write(tmp_path / "silence.wav", np.zeros(16000, np.int16), 16000)
    rows, expected = (rows_of(model, audio, tmp_path / "silence.wav")
                      for model in (tmp_path / "model.onnx", trained / "vgg5_ad"))
    assert [(row[0], row[1], row[4]) for row in rows] == [(row[0], row[1], row[4]) for row in expected]
    for row, other in zip(rows[:-1], expected[:-1], strict=True):
        assert np.allclose([float(word) for word in row[2:4]], [float(word) for word in other[2:4]], atol=1e-4)
    parts = [list(load_model(model).time_line(SPEECH.astype(np.float32), Windows(0.5)))
             for model in (tmp_path / "model.onnx", trained / "vgg5_ad")]
    assert [each.label for each in parts[0]] == [each.label for each in parts[1]]


@pytest.mark.parametrize("content, message", [
    (b"", "is no ONNX file"), (b"no model", "is no ONNX file"), (None, "no such file; steps/export.py MODEL_DIR")])
def test_what_is_no_exported_file_is_one_clear_line(content, message, tmp_path):
    if content is not None:
        (tmp_path / "x.onnx").write_bytes(content)
    result = run("steps/predict.py", tmp_path / "x.onnx", "x.wav", check=False)
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and message in result.stderr, result.stderr

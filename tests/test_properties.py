"""Whatever stands in a file or on a command line, the outcome is right or one line says what is wrong."""

import contextlib
import io
import os
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import finetune
from local.iemocap_data_prep import CODES, read_labels
from local.messages import Report
from options import OptionParser, read_conf, write_conf
from ser.audio.extraction import Recordings
from ser.audio.fbank import FbankConfig
from ser.audio.vad import VadConfig
from ser.audio.waveform import audio_problem, load_audio
from ser.base.errors import UserError
from ser.data.check_data_dir import data_dir_problems
from ser.data.data_dir import read_list, read_table, spk2utt_of, write_table

SETTINGS = {"derandomize": True, "deadline": None, "suppress_health_check": list(HealthCheck)}
BLANKS = st.text(" \t", min_size=1, max_size=3)
ODD = st.sampled_from(list(" \t\n\r\v\f\0\x1c\x85\u00a0\u2028\u3000\ufeff#|=-~/\"'$`\\") + list("abc019éß語"))
TEXT = st.text(ODD, max_size=30)


@contextlib.contextmanager
def file_of(content, name="file"):
    """A file with text or bytes in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        yield path


def refused(function, *words):
    """What a function gives, or None when it raises a UserError of one line."""
    try:
        return function(*words)
    except UserError as error:
        assert "\n" not in str(error)
        return None


# EmoEvaluation

STEM = "Ses01F_impro01"
TURNS = st.dictionaries(st.from_regex(r"[FM][0-9]{3}", fullmatch=True), st.sampled_from(sorted(CODES)), min_size=1,
                        max_size=6)


def summary(turn, label):
    return f"[6.2901 - 8.2357]\t{STEM}_{turn}\t{label}\t[2.5000, 2.5000, 2.5000]"


@settings(max_examples=50, **SETTINGS)
@given(TURNS, st.lists(TEXT.filter(lambda text: not re.search(r"(^|[\n\r])\[", text))), st.sampled_from(["\n", "\r\n"]))
def test_labels_are_read_whatever_stands_between(turns, comments, end):
    lines = [line for turn, label in turns.items() for line in (summary(turn, label), *comments)]
    with file_of(end.join(lines), f"{STEM}.txt") as path:
        assert read_labels([path], Report(path.parent)) == {f"{STEM}_{turn}": label for turn, label in turns.items()}


@settings(max_examples=200, **SETTINGS)
@given(TURNS, st.data())
def test_a_damaged_label_file_gives_no_other_label(turns, data):
    text = "\n".join(summary(turn, label) for turn, label in turns.items()) + "\n"
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    whole = {f"{STEM}_{turn}": label for turn, label in turns.items()}
    with file_of(text[:start] + data.draw(TEXT) + text[end:], f"{STEM}.txt") as path:
        labels = refused(read_labels, [path], Report(path.parent))
    for turn, label in (labels or {}).items():
        assert label in CODES and re.fullmatch(rf"{STEM}_[FM]\d{{3}}", turn)
    if labels and labels.keys() == whole.keys():  # at most the label that was overwritten became another code
        assert sum(labels[turn] != whole[turn] for turn in whole) <= 1


# Data directories

ID = st.text("abcxyz019_-.éß語", min_size=1, max_size=6)
WORD = st.text("ab/.é\u3000|~", min_size=1, max_size=4).filter(lambda word: word.strip())
VALUE = st.lists(WORD, min_size=1, max_size=3).map(" ".join)


@settings(max_examples=150, **SETTINGS)
@given(st.dictionaries(ID, VALUE, max_size=5), BLANKS, st.booleans(), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_a_table_is_read_as_it_was_written(table, blank, mark, final, end):
    lines = [f"{key}{blank}{value}" for key, value in table.items()]
    text = "\ufeff" * mark + end.join(lines) + (end if final and lines else "")
    with file_of(text) as path:
        assert read_table(path) == {key: value.strip(" ") for key, value in table.items()}
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder, "x"), table)
        assert list(read_table(Path(folder, "x"))) == sorted(table)


@settings(max_examples=200, **SETTINGS)
@given(st.one_of(TEXT.map(str.encode), st.binary(max_size=40)))
@example(b"a\xc2\xa0b x\n")
@example(b"a \xe3\x80\x80\n")
def test_any_bytes_as_a_table(content):
    with file_of(content) as path:
        for columns in (None, 2):
            for key, value in (refused(read_table, path, columns) or {}).items():
                assert key.split() == [key] and value.split() and "\n" not in value
        refused(read_list, path)


@settings(max_examples=60, **SETTINGS)
@given(st.dictionaries(ID, st.sampled_from(["a", "b"]), min_size=1, max_size=5), st.data())
def test_any_bytes_in_a_data_directory(speaker_of, data):
    utt2spk = {f"{speaker}-{utt}": speaker for utt, speaker in speaker_of.items()}
    with tempfile.TemporaryDirectory() as folder:
        tables = {"utt2spk": utt2spk, "spk2utt": spk2utt_of(utt2spk), "wav.scp": dict.fromkeys(utt2spk, "/x.wav"),
                  "segments": {utt: f"{utt} 0 1" for utt in utt2spk}, "utt2num_frames": dict.fromkeys(utt2spk, "7")}
        for name, table in tables.items():
            write_table(Path(folder, name), table)
        assert data_dir_problems(folder, feats=False, text=False) == []
        path = Path(folder, data.draw(st.sampled_from(sorted(tables))))
        content = path.read_bytes()
        place = data.draw(st.integers(0, len(content)))
        more = data.draw(st.one_of(TEXT.map(str.encode), st.binary(max_size=8), st.sampled_from([b"9" * 5000, b"inf"])))
        path.write_bytes(content[:place] + more + content[place + data.draw(st.integers(0, 9)) :])
        problems = data_dir_problems(folder, feats=False, text=False)
        assert all(problem.startswith(folder) for problem in problems)
        recordings = refused(Recordings, folder)
        if not problems:  # then every reader takes it
            assert recordings.utts == sorted(recordings.segments)
            assert all(0 <= start <= end for _, start, end in recordings.segments.values())


# Options

def ended(parse, words):
    """The parsed options, or None when the parser ends with one line and status 1."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return refused(parse, words)
    except SystemExit as end:
        assert end.code == 1 and said.getvalue().count("\n") == 1
        return None


def parsers():
    for kind in (FbankConfig, VadConfig):
        parser = OptionParser("", "")
        parser.add_fields(kind)
        yield lambda words, parser=parser, kind=kind: parser.fields_of(kind, parser.parse_args(words))
    yield lambda words: finetune.parse(["--data=d", "--fold=f", "--dir=m", *words])[1]


NUMBERS = st.one_of(st.integers().map(str), st.floats().map(str),
                    st.sampled_from(["²", "9" * 5000, "true", "1e999", "tf"]))
NAMES = ["frame-shift", "frame-length", "num-mel-bins", "use-energy", "high-freq", "aggressiveness", "voiced-share",
         "epochs", "lr", "lr-milestones", "crop", "seed", "backbone", "ad-weight", "num-threads", "restart", "unknown"]


@settings(max_examples=150, **SETTINGS)
@given(st.sampled_from(NAMES), st.one_of(NUMBERS, TEXT))
def test_any_value_of_an_option(name, value):
    assume("\n" not in value and "\r" not in value)
    for parse in PARSERS:
        ended(parse, [f"--{name}={value}"])


PARSERS = list(parsers())


@settings(max_examples=200, **SETTINGS)
@given(st.lists(st.text("ab =#é\t'\"\\$", max_size=8).map("--key={}".format), max_size=4))
def test_a_configuration_is_read_as_it_was_written(words):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.conf")
        if refused(lambda: [write_conf(path, words)]) is not None:
            assert read_conf(path) == words
        else:
            assert any(re.search(r"\s#|\s$", word) for word in words)


@settings(max_examples=150, **SETTINGS)
@given(st.one_of(TEXT.map(str.encode), st.binary(max_size=30), st.just(b"--config=a\0b")))
def test_any_bytes_as_a_configuration(content):
    with file_of(content) as path:
        words = refused(read_conf, path)
        assert all(word.startswith("--") and "=" in word for word in words or [])
        ended(PARSERS[0], [f"--config={path}"])


SCRIPT = """nj=4 name=x flag=false
. steps/parse_options.sh
printf '%s\\0' "$nj" "$name" "$flag" "$@"
"""


@settings(max_examples=40, **SETTINGS)
@given(st.lists(st.one_of(
    st.sampled_from(["--nj", "--name", "--flag", "true", "--", "-x", "--nj=3", "$(touch evil)", "a;b"]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)), max_size=5))
def test_any_words_of_a_shell_script(words):
    assume("--help" not in words and "-h" not in words)
    result = subprocess.run(["bash", "-euc", SCRIPT, "prog", *words], capture_output=True)
    assert not os.path.exists("evil")
    if result.returncode:
        assert result.returncode == 1 and result.stdout == b"" and result.stderr.startswith(b"prog: ")
        return
    expected, rest = {"nj": "4", "name": "x", "flag": "false"}, list(words)
    while rest and rest[0].startswith("--"):
        expected[rest[0][2:]] = rest[1]
        rest = rest[2:]
    assert expected.keys() == {"nj", "name", "flag"}
    assert result.stdout.decode("utf-8").split("\0")[:-1] == [*expected.values(), *rest]


# RIFF

SOUND = np.random.default_rng(0).integers(-3000, 3000, 400).astype("<i2")


def encoded(**kwargs):
    memory = io.BytesIO()
    soundfile.write(memory, SOUND / 32768, 16000, **kwargs)
    return memory.getvalue()


FILES = {"PCM_16": encoded(format="WAV", subtype="PCM_16"), "FLOAT": encoded(format="WAV", subtype="FLOAT"),
         "WAVEX": encoded(format="WAVEX", subtype="PCM_24"), "ULAW": encoded(format="WAV", subtype="ULAW"),
         "RF64": encoded(format="RF64", subtype="PCM_16")}
CHUNK = st.tuples(st.sampled_from([b"LIST", b"junk", b"JUNK", b"id3 ", b"abcd"]), st.binary(max_size=40))


def loaded(content):
    """The samples, or None when they are refused; the header's verdict agrees."""
    with file_of(content, "x.wav") as path:
        samples = refused(load_audio, path)
        if samples is not None:
            assert audio_problem(path) is None
            assert samples.dtype == np.float32 and samples.ndim == 1 and len(samples) and np.isfinite(samples).all()
    return samples


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=60, **SETTINGS)
@given(data=st.data())
def test_a_mutated_wav(kind, data):
    content = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, min(len(content), 120) - 1))
        size = data.draw(st.sampled_from([1, 1, 2, 4]))
        content[place : place + size] = data.draw(st.binary(min_size=size, max_size=size))
    loaded(bytes(content))


@settings(max_examples=60, **SETTINGS)
@given(st.lists(CHUNK, max_size=3), st.lists(CHUNK, max_size=2), st.integers(0, 3))
def test_other_chunks_change_nothing(before, behind, garbage):
    def chunks(parts):
        return b"".join(name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2) for name, body in parts)
    whole = FILES["PCM_16"]
    body = whole[8:36] + chunks(before) + whole[36:] + chunks(behind)
    samples = loaded(b"RIFF" + len(body).to_bytes(4, "little") + body + b"x" * garbage)
    assert samples is not None and np.array_equal(samples, SOUND)


@settings(max_examples=60, **SETTINGS)
@given(st.sampled_from(sorted(FILES)), st.integers(0, 10**6))
def test_a_cut_wav_is_refused(kind, place):
    content = FILES[kind]
    assert loaded(content[: place % len(content)]) is None

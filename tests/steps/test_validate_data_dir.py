"""steps/validate_data_dir.py: what Kaldi refuses is refused, one line per problem with the file's name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UTTS = ["a-1", "a-2", "b-1", "b-2"]


def validate(*args):
    return subprocess.run([sys.executable, ROOT / "steps/validate_data_dir.py", *map(str, args)], capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": f"{ROOT}/steps:{ROOT}"})


@pytest.fixture
def data(tmp_path):
    tables = {"wav.scp": "/x.wav", "text": "some words", "utt2emo": "neu", "feats.scp": "/x.ark:12",
              "vad.scp": "/v.ark:12", "utt2dur": "1.5", "utt2num_frames": "147", "utt2lang": "pl"}
    for name, value in tables.items():
        (tmp_path / name).write_text("".join(f"{utt} {value}\n" for utt in UTTS))
    (tmp_path / "utt2spk").write_text("".join(f"{utt} {utt[0]}\n" for utt in UTTS))
    (tmp_path / "spk2utt").write_text("a a-1 a-2\nb b-1 b-2\n")
    (tmp_path / "spk2gender").write_text("a f\nb m\n")
    (tmp_path / "cmvn.scp").write_text("a x:1\nb x:2\n")
    return tmp_path


def test_good_directory(data):
    result = validate(data)
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout == f"steps/validate_data_dir.py: successfully validated data directory {data}\n"


def substitute(name, old, new):
    def change(data):
        content = (data / name).read_text()
        assert old in content
        (data / name).write_text(content.replace(old, new, 1), newline="")
    return name, change


def whole(name, content):
    return name, lambda data: (data / name).write_text(content)


SORT_TRAP = "".join(f"{utt} {spk}\n" for utt, spk in [("a-1", "a"), ("b-1", "a"), ("b-2", "b"), ("c-1", "a")])


@pytest.mark.parametrize("name, damage", [
    substitute("utt2spk", "b-1 b\nb-2 b\n", "b-2 b\nb-1 b\n"),
    substitute("utt2spk", "a-2 a\n", "a-1 a\n"),
    substitute("utt2spk", "a-2 a", "a-2 a a"),
    whole("utt2spk", SORT_TRAP),
    whole("utt2spk", ""),
    substitute("spk2utt", "a-1 a-2", "a-2 a-1"),
    substitute("spk2utt", "a-1 a-2", "a-1"),
    substitute("wav.scp", "b-2 /x.wav\n", "b-2 /x.wav"),
    substitute("wav.scp", "b-2 /x.wav\n", ""),
    substitute("wav.scp", "b-2 /x.wav\n", "b-2 /x.wav\n\n"),
    substitute("wav.scp", "a-1 /x", "a-1 ~/x"),
    substitute("wav.scp", "/x.wav\n", "/x.wav\r\n"),
    substitute("text", "a-2 ", "a-3 "),
    substitute("text", "words", "<s>"),
    ("text", lambda data: (data / "text").write_bytes(b"a-1 \xff\n")),
    substitute("utt2emo", "neu", "neu ang"),
    substitute("utt2emo", "a-1 neu\n", ""),
    substitute("feats.scp", "a-1 /x.ark:12\n", ""),
    substitute("vad.scp", "a-1 /v.ark:12\n", ""),
    substitute("utt2dur", "1.5", "0"),
    substitute("utt2dur", "1.5", "nan"),
    substitute("utt2num_frames", "147", "14.7"),
    substitute("utt2num_frames", "147", "0"),
    substitute("utt2lang", "a-1 pl\n", ""),
    substitute("spk2gender", "m", "male"),
    substitute("spk2gender", "b m\n", ""),
    substitute("cmvn.scp", "b x:2\n", "c x:2\n"),
    whole("segments", "".join(f"{utt} rec 0 1\n" for utt in UTTS[:3])),
    ("spk2utt", lambda data: (data / "spk2utt").unlink()),
    ("wav.scp", lambda data: (data / "wav.scp").unlink()),
    ("text", lambda data: (data / "text").unlink()),
    ("feats.scp", lambda data: (data / "feats.scp").unlink()),
])
def test_damage_is_named(data, name, damage):
    damage(data)
    result = validate(data)
    assert result.returncode == 1 and "successfully" not in result.stdout
    assert any(f"{data / name}:" in line for line in result.stderr.splitlines()), result.stderr
    assert "Traceback" not in result.stderr


def test_segments_key_the_recordings(data):
    (data / "segments").write_text("".join(f"{utt} rec {at} {at}.5\n" for at, utt in enumerate(UTTS)))
    (data / "wav.scp").write_text("rec sox x.wav -t wav - |\n")
    assert validate(data).returncode == 0
    (data / "segments").write_text("".join(f"{utt} rec {at} {at}\n" for at, utt in enumerate(UTTS)))
    result = validate(data)
    assert result.returncode == 1 and "a later end" in result.stderr and "and 3 more lines" in result.stderr


def test_files_that_may_lack(data):
    for name in ("feats.scp", "text", "wav.scp"):
        (data / name).unlink()
    result = validate("--no-text", data)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 2
    assert validate("--no-feats", "--no-text", "--no-wav", data).returncode == 0


def test_one_speaker_is_a_warning(tmp_path):
    (tmp_path / "utt2spk").write_text("a-1 a\n")
    (tmp_path / "spk2utt").write_text("a a-1\n")
    result = validate("--no-feats", "--no-text", "--no-wav", tmp_path)
    assert result.returncode == 0 and "only one speaker" in result.stderr


def test_no_such_directory(tmp_path):
    result = validate(tmp_path / "absent")
    assert result.returncode == 1 and "no such directory" in result.stderr

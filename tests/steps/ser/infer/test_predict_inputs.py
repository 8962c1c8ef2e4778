"""What predict.py takes of folders, of formats that libsndfile does not read, and what it says of the rest."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from scipy.signal import correlate

from conftest import run, tone
from ser.audio.any_format import sound_blocks
from ser.audio.waveform import audio_blocks, joined
from ser.base.errors import UserError

STUB = """#!{python}
import shutil, sys
assert sys.argv[sys.argv.index("-protocol_whitelist") + 1] == "file", sys.argv
source = sys.argv[sys.argv.index("-i") + 1]
content = open(source.removeprefix("file:"), "rb").read()
if not content.startswith(b"stub"):
    sys.exit(f"{{source}}: Invalid data found when processing input")
shutil.copy({sound!r}, sys.argv[-1])
if b"cut" in content:
    print("File ended prematurely", file=sys.stderr)  # as ffmpeg says of a webm file, with status 0
"""


@pytest.fixture
def model(trained):
    return trained / "vgg5_ad" / "fold_s1"


@pytest.fixture
def sound(tiny):
    return tiny.parent / "source" / "audio" / "s1-ang0.wav"


@pytest.fixture(params=[False, True], ids=["without ffmpeg", "with ffmpeg"])
def has_ffmpeg(request, tmp_path_factory, sound, monkeypatch):
    """A PATH without ffmpeg, or with one that decodes what begins with `stub`."""
    folder = tmp_path_factory.mktemp("bin")
    monkeypatch.setenv("PATH", str(folder))
    if request.param:
        (folder / "ffmpeg").write_text(STUB.format(python=sys.executable, sound=str(sound)))
        (folder / "ffmpeg").chmod(0o755)
    return request.param


def predict(*words, code):
    """Rows that predict.py wrote as `{file: rest}`, and the lines on standard error."""
    result = run("steps/predict.py", *words, check=False, env=dict(os.environ))
    assert result.returncode == code and "Traceback" not in result.stderr, result.stderr
    rows = [line.split("\t") for line in result.stdout.splitlines()[1:]]
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0]: row[1:] for row in rows}, result.stderr.splitlines()


def test_a_folder_of_many_formats(has_ffmpeg, model, sound, tmp_path, outcome):
    shutil.copy(sound, tmp_path / "a.wave")
    shutil.copy(sound, tmp_path / "without")
    for name in ("b.m4a", "c.WEBM"):
        (tmp_path / name).write_bytes(b"stub")
    for name in ("notes.txt", "more.txt", "labels.csv", "README", ".hidden.xyz"):
        (tmp_path / name).write_text("no sound")
    rows, said = predict(model, tmp_path, code=0 if has_ffmpeg else 1)
    names = ["a.wave", *(("b.m4a", "c.WEBM") if has_ffmpeg else ()), "without"]
    assert list(rows) == sorted(str(tmp_path / name) for name in names)
    assert len({tuple(row) for row in rows.values()}) == 1
    counted = f"{tmp_path}: not tried, since their names are not those of sounds: 2 .txt, 1 .csv, 1 without an ending"
    assert said[0].endswith(counted)
    if not has_ffmpeg:
        assert said[1:] == [f"predict.py: {tmp_path}: not tried: 1 .m4a, 1 .webm, which libsndfile does not read; "
                            "install ffmpeg, and they are read by that"]
        outcome("m4a and webm in a folder, no ffmpeg", "predict", 1, said[1].replace(str(tmp_path), "recordings"))


def test_a_folder_of_m4a_alone(has_ffmpeg, model, tmp_path):
    (tmp_path / "b.m4a").write_bytes(b"stub")
    rows, said = predict(model, tmp_path, code=0 if has_ffmpeg else 1)
    assert bool(rows) == has_ffmpeg and ("not tried: 1 .m4a" in "".join(said)) == (not has_ffmpeg)


def test_a_folder_without_a_sound_says_what_it_has(model, tmp_path):
    (tmp_path / "a.txt").touch()
    (tmp_path / "b").touch()
    _, said = predict(model, tmp_path, code=1)
    assert said == [f"predict.py: {tmp_path}: a folder without a sound file (such as .wav or .flac); it has 1 .txt, "
                    "1 without an ending"]


def test_a_file_by_its_name_and_in_a_wav_scp(has_ffmpeg, model, sound, tmp_path, outcome):
    files = {name: tmp_path / name for name in ("good.m4a", "cut.webm", "bad.wma", "half.wav")}
    for name, content in (("good.m4a", b"stub"), ("cut.webm", b"stub cut"), ("bad.wma", b"garbage"),
                          ("half.wav", sound.read_bytes()[:9000])):
        files[name].write_bytes(content)
    (tmp_path / "wav.scp").write_text("".join(f"{name[:3]} {name}\n" for name in files))
    by_name, said = predict(model, *files.values(), code=1)
    by_id, said_of_ids = predict(model, tmp_path, code=1)
    good = predict(model, sound, code=0)[0][str(sound)]
    assert by_name == ({str(files["good.m4a"]): good} if has_ffmpeg else {})
    assert by_id == ({"goo": good} if has_ffmpeg else {})
    reason = "cannot be read: Format not recognised by libsndfile"
    expected = [f"cut.webm: {reason}, and ffmpeg says: File ended prematurely",
                f"bad.wma: {reason}, and ffmpeg says: Invalid data found when processing input"]
    if not has_ffmpeg:
        expected = [f"{name}: {reason}; install ffmpeg, and it is read by that" for name in list(files)[:3]]
        outcome("an m4a file, no ffmpeg", "predict", 1, said[0].replace(f"{tmp_path}/", ""))
    assert [line.removeprefix(f"predict.py: {tmp_path}/") for line in said[:-1]] == expected
    assert "half.wav: is cut short" in said[-1]  # what libsndfile knows is not handed to ffmpeg
    assert {line.rpartition("/")[2] for line in said_of_ids} == {line.rpartition("/")[2] for line in said}


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg")
def test_what_ffmpeg_decodes_is_the_sound(tmp_path):
    samples = np.stack([tone(np.random.default_rng(1), 120), np.zeros(12800, np.int16)], axis=1)
    soundfile.write(tmp_path / "x.wav", samples, 16000)
    expected = joined(audio_blocks(tmp_path / "x.wav"))
    for name in ("x.m4a", "it's 1:2.wma"):
        subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "x.wav", f"file:{tmp_path}/{name}"], check=True)
        with pytest.raises(UserError):
            joined(audio_blocks(tmp_path / name))
        found = joined(sound_blocks(tmp_path / name))
        assert abs(len(found) - len(expected)) < 2100  # codecs fill their last block, and wma begins late
        similarity = correlate(found, expected, method="fft").max() / np.linalg.norm(found) / np.linalg.norm(expected)
        assert similarity > 0.95
    whole = (tmp_path / "x.m4a").read_bytes()
    (tmp_path / "cut.m4a").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n"
                                         "#EXT-X-ENDLIST\n")  # else ffmpeg waits for what is still to come
    for name in ("cut.m4a", "list.m3u8"):
        with pytest.raises(UserError, match=f"{name}: cannot be read: .*, and ffmpeg says: [^\n]+$"):
            joined(sound_blocks(tmp_path / name))


def test_linked_folders_are_read_once_and_loops_end(model, sound, tmp_path, outcome):
    top, day, other = tmp_path / "top", tmp_path / "disk" / "day", tmp_path / "disk" / "other"
    for folder in (top / "own", day, other):
        folder.mkdir(parents=True)
        shutil.copy(sound, folder / "x.wav")
    (top / "day1").symlink_to(day)
    (top / "day2").symlink_to(day)  # the same once more
    (top / "disk").symlink_to(tmp_path / "disk")  # holds day, and a folder that no other link names
    (top / "self").symlink_to(top)
    (top / "up").symlink_to(tmp_path)
    (day / "back").symlink_to(top)
    (other / "loop").symlink_to(other)
    (top / "a.wav").symlink_to(sound)
    rows, said = predict(model, top, code=0)
    assert list(rows) == [f"{top}/{name}" for name in ("a.wav", "day1/x.wav", "disk/other/x.wav", "own/x.wav")]
    assert not said
    outcome("links to folders, two of them in a loop", "predict", 0, f"{len(rows)} sounds, each once")

"""local/emodb_data_prep.py on a made-up EmoDB, local/kaldi_data_prep.py on data directories as users have them."""

import os
import subprocess
import sys
import wave
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEAKERS = "03 08 09 10 11 12 13 14 15 16".split()
EMODB = {"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "T": 62, "N": 79}


def run(script, *args, cwd=ROOT):
    return subprocess.run([sys.executable, ROOT / script, *map(str, args)], capture_output=True, text=True, cwd=cwd,
                          env={**os.environ, "PYTHONPATH": f"{ROOT}/steps:{ROOT}"})


def make_wav(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(3200))
    return path


def read(path):
    return dict(line.split(maxsplit=1) for line in path.read_text().splitlines())


def assert_valid(data):
    result = run("steps/validate_data_dir.py", "--no-feats", "--no-text", data)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def emodb(tmp_path_factory):
    root = tmp_path_factory.mktemp("emodb")
    sound = make_wav(root / "sound")
    for letter, count in EMODB.items():
        for number in range(count):
            name = f"{SPEAKERS[number % 10]}a{number // 10:02d}{letter}a.wav"
            (root / "wav").mkdir(exist_ok=True)
            os.link(sound, root / "wav" / name)
    return root


def test_emodb_has_the_published_counts(emodb, tmp_path):
    for options, total, word in [([], 339, "emodb-4"), (["--labels", "all"], 535, "emodb-7")]:
        result = run("local/emodb_data_prep.py", *options, emodb, tmp_path)
        assert result.returncode == 0 and "WARNING" not in result.stderr
        assert f"{total} ({total})" in result.stdout
        emotions = read(tmp_path / "utt2emo")
        assert len(emotions) == total and (tmp_path / "dataset").read_text() == word + "\n"
        assert_valid(tmp_path)
    assert Counter(emotions.values()) == {"ang": 127, "bor": 81, "dis": 46, "fea": 69, "hap": 71, "sad": 62, "neu": 79}
    assert emotions["03-03a00Wa"] == "ang"
    assert [spk for spk, gender in read(tmp_path / "spk2gender").items() if gender == "f"] == "08 09 13 14 16".split()


def test_emodb_difference_strange_name_and_flat_layout(tmp_path):
    for number in range(3):
        make_wav(tmp_path / f"flat/03a0{number}Na.wav")
    make_wav(tmp_path / "flat/99a01Fa.wav")
    result = run("local/emodb_data_prep.py", tmp_path / "flat", tmp_path / "data")
    assert result.returncode == 0 and len(read(tmp_path / "data/wav.scp")) == 3
    assert "total neu: 3 found, 79 published" in result.stderr and "99a01Fa.wav: not a name" in result.stderr
    result = run("local/emodb_data_prep.py", ROOT / "local", tmp_path / "none")
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1


@pytest.fixture
def source(tmp_path):
    """A user's directory: unsorted, CRLF, no last newline, no spk2utt, relative paths, ids without speaker."""
    folder = tmp_path / "corpus"
    utts = [f"{number:03d}" for number in range(40)]
    for utt in utts:
        make_wav(folder / f"audio/{utt}.wav")
    speaker = {utt: "spkB" if int(utt) % 2 else "spkA" for utt in utts}
    label = {utt: ("ang", "neu", "sad")[int(utt) % 3] for utt in utts}

    def write(name, table):
        (folder / name).write_bytes("\r\n".join(f"{key}\t{value}" for key, value in table.items()).encode())

    write("wav.scp", {utt: f"audio/{utt}.wav" for utt in reversed(utts)})
    write("utt2spk", {utt: speaker[utt] for utt in reversed(utts)})
    write("utt2emo", label)
    write("text", {utt: f"words of {utt}" for utt in utts})
    write("spk2gender", {"spkB": "m", "spkA": "f"})
    return folder


def edit(path, change):
    path.write_text(change(path.read_text()))


def test_kaldi_directory_is_put_right(source, tmp_path):
    data = tmp_path / "data"
    result = run("local/kaldi_data_prep.py", "--emotion", "true", source, data)
    assert result.returncode == 0, result.stderr
    assert_valid(data)
    assert read(data / "utt2spk")["spkB-001"] == "spkB" and read(data / "utt2emo")["spkB-001"] == "neu"
    assert read(data / "wav.scp")["spkB-001"] == str(source / "audio/001.wav")
    assert read(data / "text")["spkB-001"] == "words of 001"
    assert read(data / "spk2gender") == {"spkA": "f", "spkB": "m"}
    assert (data / "dataset").read_text() == "corpus-3\n"
    assert "utt2emo" in result.stdout and "40 utterance ids" in result.stdout
    assert b"\r" not in b"".join(path.read_bytes() for path in data.iterdir())


def test_the_id_that_is_named_is_one_that_got_a_prefix_and_one_is_no_plural(source, tmp_path):
    """The first utterance has an id that needs none, another one alone gets it."""
    new_ids = {utt: f"{speaker}-{utt}" for utt, speaker in read(source / "utt2spk").items() if utt != "039"}
    for name in ("wav.scp", "utt2spk", "utt2emo", "text"):
        table = read(source / name)
        (source / name).write_text("".join(f"{new_ids.get(utt, utt)} {value}\n" for utt, value in table.items()))
    result = run("local/kaldi_data_prep.py", "--emotion", "true", source, tmp_path / "data")
    speaker = read(source / "utt2spk")["039"]
    assert f"\n1 utterance id got the speaker as prefix, such as {speaker}-039\n" in f"\n{result.stdout}"


def test_copy_of_a_copy_is_the_same(source, tmp_path):
    run("local/kaldi_data_prep.py", "--emotion", "true", source, tmp_path / "one")
    run("local/kaldi_data_prep.py", "--emotion", "true", tmp_path / "one", tmp_path / "two")
    assert ({path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
            == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()})
    result = run("local/kaldi_data_prep.py", tmp_path / "one", tmp_path / "one")
    assert result.returncode == 1 and "would replace its source" in result.stderr


def test_paths_relative_to_the_working_directory_and_pipes(source, tmp_path):
    edit(source / "wav.scp", lambda text: text.replace("audio/000.wav", f"cat {source}/audio/000.wav |")
         .replace("audio/001.wav", "elsewhere/001.wav"))
    make_wav(tmp_path / "elsewhere/001.wav")
    assert run("local/kaldi_data_prep.py", source, "data", cwd=tmp_path).returncode == 0
    wav = read(tmp_path / "data/wav.scp")
    assert wav["spkA-000"] == f"cat {source}/audio/000.wav |" and wav["spkB-001"] == str(tmp_path / "elsewhere/001.wav")
    assert (tmp_path / "data/dataset").read_text() == "corpus\n" and not (tmp_path / "data/utt2emo").exists()


def test_segments_are_carried_along(source, tmp_path):
    utts = list(read(source / "utt2spk"))
    make_wav(source / "long.wav")
    (source / "wav.scp").write_text("rec2 nothing.wav\nrec1 long.wav\n")
    (source / "segments").write_text("".join(f"{utt} rec1 {at}.0 {at}.5\n" for at, utt in enumerate(utts)))
    result = run("local/kaldi_data_prep.py", "--emotion", "true", source, tmp_path / "data")
    assert result.returncode == 0, result.stderr
    assert_valid(tmp_path / "data")
    assert read(tmp_path / "data/wav.scp") == {"rec1": str(source / "long.wav")} and "rec2" in result.stderr
    assert read(tmp_path / "data/segments")["spkB-039"] == "rec1 0.0 0.5"
    edit(source / "segments", lambda text: text.replace("0.0 0.5", "0.5 0.5").replace("rec1 1.0", "rec3 1.0"))
    result = run("local/kaldi_data_prep.py", "--emotion", "true", source, tmp_path / "data")
    assert result.returncode == 0 and len(read(tmp_path / "data/segments")) == 38
    assert "039: segments: expected" in result.stderr and "038: wav.scp lacks its recording rec3" in result.stderr


def test_incomplete_utterances_are_named_and_95_percent_must_remain(source, tmp_path):
    data = tmp_path / "data"
    edit(source / "utt2emo", lambda text: text.replace("000\tang\n", ""))
    (source / "audio/001.wav").write_bytes(b"")
    result = run("local/kaldi_data_prep.py", "--emotion", "true", source, data)
    assert result.returncode == 0 and len(read(data / "utt2spk")) == 38
    assert "000: not in utt2emo" in result.stderr and "audio/001.wav cannot be read" in result.stderr
    (source / "audio/002.wav").unlink()
    before = (data / "wav.scp").read_bytes()
    result = run("local/kaldi_data_prep.py", "--emotion", "true", source, data)
    assert result.returncode == 1 and "only 37 of 40" in result.stderr
    assert "take them out of the source" in result.stderr
    assert (data / "wav.scp").read_bytes() == before


def test_labels_in_text_and_no_labels(source, tmp_path):
    labels = (source / "utt2emo").read_bytes()
    (source / "utt2emo").unlink()
    result = run("local/kaldi_data_prep.py", "--emotion", "true", source, tmp_path / "data")
    assert result.returncode == 1 and "no labels" in result.stderr and not (tmp_path / "data").exists()
    (source / "text").write_bytes(labels)
    result = run("local/kaldi_data_prep.py", "--emotion", "true", source, tmp_path / "data")
    assert result.returncode == 0 and f"taken from {source / 'text'}" in result.stdout
    assert Counter(read(tmp_path / "data/utt2emo").values()) == {"ang": 14, "neu": 13, "sad": 13}


def test_dataset_word_of_the_source_is_kept(source, tmp_path):
    (source / "dataset").write_text("mine-3\n")
    run("local/kaldi_data_prep.py", "--emotion", "true", source, tmp_path / "data")
    assert (tmp_path / "data/dataset").read_text() == "mine-3\n"


@pytest.mark.parametrize("utt2spk, expected", [
    ({"a1_x": "a1", "a_x": "a"}, {"a1-a1_x": "a1", "a-a_x": "a"}),      # begins with it, and sorts between others
    ({"a-x": "a", "x": "a", "b-y": "b"}, {"a-a-x": "a", "a-x": "a", "b-b-y": "b"}),  # two ids would be one
    ({"a-x": "a", "y": "b"}, {"a-x": "a", "b-y": "b"}),                 # only where it is needed
])
def test_ids_sort_with_their_speakers(tmp_path, utt2spk, expected):
    sound = make_wav(tmp_path / "sound.wav")
    (tmp_path / "utt2spk").write_text("".join(f"{utt} {speaker}\n" for utt, speaker in utt2spk.items()))
    (tmp_path / "wav.scp").write_text("".join(f"{utt} {sound}\n" for utt in utt2spk))
    result = run("local/kaldi_data_prep.py", tmp_path, tmp_path / "data")
    assert result.returncode == 0, result.stderr
    assert read(tmp_path / "data/utt2spk") == expected
    subprocess.run(["sort", "-c", "-k2", tmp_path / "data/utt2spk"], env={"LC_ALL": "C"}, check=True)


def test_missing_utt2spk(source, tmp_path):
    (source / "utt2spk").unlink()
    result = run("local/kaldi_data_prep.py", source, tmp_path / "data")
    assert result.returncode == 1 and "utt2spk: no such file" in result.stderr
    assert len(result.stderr.splitlines()) == 1

"""Trees that hold a corpus more than once, or link to themselves: which files are taken, and what is said of the rest.

Every case is met by the preparation of an open corpus on a made-up tree; the sound of a file tells which copy it is.
"""

import os
import wave
from pathlib import Path

import pytest

from conftest import run
from local.corpus_files import walk

LETTERS = "WFTN"  # EmoDB's ang, hap, sad, neu
EMODB = [f"{speaker}a0{text}{letter}a.wav" for speaker in ("03", "08", "09") for text in (1, 2) for letter in LETTERS]
RAVDESS = [f"03-01-0{emotion}-01-0{statement}-01-{actor:02d}.wav" for actor in (1, 2, 3) for emotion in (3, 4, 5)
           for statement in (1, 2)]


def make_wav(path, level=1, rate=16000, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(level.to_bytes(2, "little") * 800 * channels)
    return path


def emodb(root, folder, names=EMODB, **sound):
    for name in names:
        make_wav(root / folder / name, **sound)


def ravdess(root, folder, names=RAVDESS, **sound):
    for name in names:
        make_wav(root / folder / f"Actor_{name[-6:-4]}" / name, rate=48000, **sound)


def prepare(corpus, root, data, check=True):
    return run(f"local/{corpus}_data_prep.py", root, data, check=check)


def folders_used(data):
    lines = (data / "wav.scp").read_text().splitlines()
    return {str(Path(line.split(maxsplit=1)[1]).parent) for line in lines}


def said_of(line, tmp_path):
    """A line without its date, script and place."""
    return line.strip().partition("py) ")[2].replace(f"{tmp_path}/", "") or line.strip().replace(f"{tmp_path}/", "")


@pytest.mark.parametrize("beside", ["laryngo", "egg", "a_first", "wav_22k", "z_last/wav", "EGG"])
def test_documented_folder_of_emodb_wins_whatever_its_copies_are_called(tmp_path, outcome, beside):
    root, data = tmp_path / "EmoDB", tmp_path / "data"
    emodb(root, "wav")
    emodb(root, beside, level=2)
    for place in (root, root.parent):  # one level too high is no matter
        result = prepare("emodb", place, data)
        assert folders_used(data) == {str(root / "wav")}
        line = next(line for line in result.stderr.splitlines() if "left out" in line)
        assert f"/{beside}/" in line and "and 23 more" in line
    outcome(f"EmoDB with {beside}/ beside wav/", "1 data", result.returncode, said_of(line, tmp_path))


def test_laryngograph_alone_is_no_speech(tmp_path):
    emodb(tmp_path / "EmoDB", "laryngo")
    for root in (tmp_path / "EmoDB", tmp_path / "EmoDB/laryngo"):
        result = prepare("emodb", root, tmp_path / "data", check=False)
        assert result.returncode == 1 and "24 files: of the larynx (electroglottograph), not speech" in result.stderr
        assert len(result.stderr.splitlines()) == 1 and not (tmp_path / "data").exists()


@pytest.mark.parametrize("beside", ["8k_noise", "Actor_01/8k_noise", "0_first/audio_speech_actors_01-24"])
def test_documented_folder_of_ravdess_wins(tmp_path, outcome, beside):
    root, data = tmp_path / "RAVDESS", tmp_path / "data"
    ravdess(root, ".")
    ravdess(root, beside, level=2)
    result = prepare("ravdess", root, data)
    assert folders_used(data) == {str(root / f"Actor_0{actor}") for actor in (1, 2, 3)}
    line = next(line for line in result.stderr.splitlines() if "left out" in line)
    assert "and 17 more: another file of its name is used, which is in the corpus's own place" in line
    assert (data / "log/left_out").read_text().count("\n") == 18 and f"{data}/log/left_out names all" in line
    outcome(f"RAVDESS with {beside}/ beside the actors", "1 data", 0, said_of(line, tmp_path))


def test_copies_in_places_of_one_rank(tmp_path, outcome):
    """The nested second tree that public copies have: equal files are counted, others are an error with a way out."""
    root, data = tmp_path / "RAVDESS", tmp_path / "data"
    ravdess(root, ".")
    ravdess(root, "audio_speech_actors_01-24")
    result = prepare("ravdess", root, data)
    assert "and 17 more: another copy of a file that is used" in result.stderr
    assert folders_used(data) == {str(root / f"Actor_0{actor}") for actor in (1, 2, 3)}
    before = (data / "wav.scp").read_bytes()
    ravdess(root, "audio_speech_actors_01-24", names=RAVDESS[-2:], level=2)
    result = prepare("ravdess", root, data, check=False)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert f"{root}/Actor_03 and {root}/audio_speech_actors_01-24/Actor_03 hold different files" in result.stderr
    assert "(2 in all); move the folder that is not meant" in result.stderr
    assert (data / "wav.scp").read_bytes() == before
    outcome("RAVDESS twice, some files differ", "1 data", result.returncode, said_of(result.stderr, tmp_path))
    # The way out
    assert prepare("ravdess", root / "audio_speech_actors_01-24", data).returncode == 0


def test_a_folder_of_copies_does_not_fill_gaps(tmp_path):
    emodb(tmp_path / "EmoDB", "wav", names=EMODB[1:])
    emodb(tmp_path / "EmoDB", "wav_44k", level=2)
    result = prepare("emodb", tmp_path / "EmoDB", tmp_path / "data")
    assert folders_used(tmp_path / "data") == {str(tmp_path / "EmoDB/wav")}
    assert f"left out: {tmp_path}/EmoDB/wav_44k/{EMODB[0]}: its folder repeats the corpus's own" in result.stderr


def test_two_trees_of_one_librispeech_subset(tmp_path):
    """The alphabet does not choose: the folder LibriSpeech does, and folders that count alike must be equal."""
    def put(root, content):
        for number in range(4):
            path = root / "train-clean-100/19/101" / f"19-101-{number:04d}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    put(tmp_path / "corpora/LibriSpeech", b"fLaC")
    put(tmp_path / "corpora/A_copy", b"flac")
    result = prepare("librispeech", tmp_path / "corpora", tmp_path / "data")
    assert folders_used(tmp_path / "data") == {str(tmp_path / "corpora/LibriSpeech/train-clean-100/19/101")}
    assert "and 3 more: another file of its name is used" in result.stderr
    (tmp_path / "corpora/LibriSpeech").rename(tmp_path / "corpora/B_copy")
    result = prepare("librispeech", tmp_path / "corpora", tmp_path / "none", check=False)
    assert result.returncode == 1 and "corpora/A_copy/train-clean-100/19/101 and " in result.stderr


def test_cremad_wav_is_taken_and_other_media_are_counted(tmp_path):
    for sentence in ("IEO", "TIE", "IOM"):
        make_wav(tmp_path / "CREMA-D/AudioWAV" / f"1001_{sentence}_ANG_XX.wav")
        make_wav(tmp_path / "CREMA-D/AudioMP3" / f"1001_{sentence}_ANG_XX.wav", level=2)
        make_wav(tmp_path / "CREMA-D/AudioMP3" / f"1001_{sentence}_ANG_XX.mp3")
        make_wav(tmp_path / "CREMA-D/VideoFlash" / f"1001_{sentence}_ANG_XX.flv")
    result = prepare("cremad", tmp_path / "CREMA-D", tmp_path / "data")
    assert folders_used(tmp_path / "data") == {str(tmp_path / "CREMA-D/AudioWAV")}
    assert "and 5 more: no wav" in result.stderr and "AudioMP3/1001_IEO_ANG_XX.wav and 2 more: anot" in result.stderr


# Links


def test_linked_folders_are_walked_once_and_links_up_not_at_all(tmp_path, outcome):
    root, data = tmp_path / "corpora/EmoDB", tmp_path / "data"
    emodb(root, "wav")
    (tmp_path / "corpora/other").mkdir()
    (tmp_path / "corpora/other/SYNTHETIC").touch()
    for place, target in (("a_itself", root), ("wav/up", "../.."), ("zirkel", "zirkel"), ("b_wav", "wav")):
        os.symlink(target, root / place, target_is_directory=True)
    assert len([entry for entry in walk(root) if entry.name.endswith(".wav")]) == 24
    result = prepare("emodb", root, data)
    assert "another copy" not in result.stderr and "and 5" not in result.stderr
    assert (data / "dataset").read_text() == "emodb-4\n" and folders_used(data) == {str(root / "wav")}
    outcome("links to the corpus itself and above it", "1 data", result.returncode, "nothing: each folder is read once")


def test_a_linked_folder_is_read(tmp_path):
    emodb(tmp_path, "store")
    (tmp_path / "EmoDB").mkdir()
    os.symlink(tmp_path / "store", tmp_path / "EmoDB/wav")
    prepare("emodb", tmp_path / "EmoDB", tmp_path / "data")
    assert folders_used(tmp_path / "data") == {str(tmp_path / "EmoDB/wav")}


# What a corpus is not published as


@pytest.mark.parametrize("corpus, make, sound, said", [
    ("emodb", emodb, {"rate": 22050}, "files are not 16000 Hz mono, as the corpus is published, such as "),
    ("emodb", emodb, {"channels": 2}, "(16000 Hz, 2 channels)"),
])
def test_other_rate_or_channels_than_published_are_said(tmp_path, corpus, make, sound, said):
    make(tmp_path / "corpus", "wav", names=EMODB[3:])
    make(tmp_path / "corpus", "wav", names=EMODB[:3], **sound)
    result = prepare(corpus, tmp_path / "corpus", tmp_path / "data")
    warning = next(line for line in result.stderr.splitlines() if "as the corpus is published" in line)
    assert "WARNING: 3 files" in warning and said in warning and len(folders_used(tmp_path / "data")) == 1


def test_archives_that_are_not_unpacked(tmp_path):
    (tmp_path / "Actor_01.zip").touch()
    (tmp_path / "download.tar").touch()
    result = prepare("ravdess", tmp_path, tmp_path / "data", check=False)
    assert "; 2 archives, such as " in result.stderr and ", to be unpacked" in result.stderr


# Floods


def test_more_than_ten_problems_are_counted_and_all_in_a_file(tmp_path, outcome):
    emodb(tmp_path / "EmoDB", "wav")
    for name in EMODB[:12]:
        (tmp_path / "EmoDB/wav" / name).write_bytes(b"")
    result = prepare("emodb", tmp_path / "EmoDB", tmp_path / "data", check=False)
    lines = result.stderr.splitlines()
    left_out = (tmp_path / "data/log/left_out").read_text().splitlines()
    assert result.returncode == 1 and len(lines) == 12 and "only 12 of 24 utterances" in lines[-1]
    assert lines[10].endswith(f"and 2 more of this kind: {tmp_path}/data/log/left_out has all 12")
    assert [line.split(":")[1].strip() for line in left_out] == sorted(f"{name[:2]}-{name[:-4]}" for name in EMODB[:12])
    outcome("12 of 24 files are empty", "1 data", 1, said_of(lines[10], tmp_path))
    # An old list does not stay
    emodb(tmp_path / "EmoDB", "wav")
    prepare("emodb", tmp_path / "EmoDB", tmp_path / "data")
    assert not (tmp_path / "data/log/left_out").exists()


# CREMA-D's table of genders


@pytest.mark.parametrize("table, genders, said", [
    ("ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,X,Y\n,,,,\n , ,,,\n", "1001 m\n", ""),
    ("ActorID;Age;Sex;Race;Ethnicity\n1001;51;Male;X;Y\n", None, "Race;Ethnicity'; save it with commas"),
    ("", None, "needs the columns ActorID and Sex"),
])
def test_demographics_as_spreadsheets_save_them(tmp_path, table, genders, said):
    make_wav(tmp_path / "CREMA-D/AudioWAV/1001_IEO_ANG_XX.wav")
    (tmp_path / "CREMA-D/VideoDemographics.csv").write_text(table)
    result = prepare("cremad", tmp_path / "CREMA-D", tmp_path / "data")
    assert said in result.stderr and (tmp_path / "data/spk2gender").is_file() == (genders is not None)
    if genders:
        assert (tmp_path / "data/spk2gender").read_text() == genders

"""local/{ravdess,cremad,librispeech}_data_prep.py on made-up trees: the published codes and counts, and their traps."""

import os
import subprocess
import wave
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import run
from local import cremad_data_prep, emodb_data_prep, librispeech_data_prep, ravdess_data_prep

EIGHT = "neu cal hap sad ang fea dis sur".split()
SENTENCES = "IEO TIE IOM IWW TAI MTI IWL ITH DFA ITS TSI WSI".split()
ACTORS = [str(1001 + number) for number in range(91)]


def put(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def make_wav(path, channels=1, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(range(256)) * 4 * channels)
    return path


def link(sound, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    os.link(sound, path)


def read(path):
    return dict(line.split(maxsplit=1) for line in path.read_text().splitlines())


def prepare(corpus, *words, check=True):
    return run(f"local/{corpus}_data_prep.py", *words, check=check)


def assert_valid(data):
    run("steps/validate_data_dir.py", "--no-feats", "--no-text", data)
    for key in ("1", "2"):
        subprocess.run(["sort", "-c", "-k", key, data / "utt2spk"], env={"LC_ALL": "C"}, check=True)


def fails_in_one_line(corpus, data, *words):
    result = prepare(corpus, *words, data, check=False)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1 and not data.exists(), result.stderr
    return result.stderr


# RAVDESS


def ravdess_names(modality="03", channel="01"):
    """The 60 names of an actor's speech, as the corpus's description counts them; of song they differ a little."""
    for emotion in range(1, 9):
        for intensity in ("01", "02")[: 1 if emotion == 1 else 2]:
            for statement in ("01", "02"):
                for repetition in ("01", "02"):
                    yield f"{modality}-{channel}-{emotion:02d}-{intensity}-{statement}-{repetition}"


@pytest.fixture(scope="module")
def ravdess(tmp_path_factory):
    root = tmp_path_factory.mktemp("open") / "RAVDESS"
    sounds = [make_wav(root.parent / "mono.wav", rate=48000), make_wav(root.parent / "stereo.wav", 2, 48000)]
    for actor in range(1, 25):
        for number, name in enumerate(ravdess_names()):
            link(sounds[(actor, number) == (5, 0)], root / f"Actor_{actor:02d}" / f"{name}-{actor:02d}.wav")
    return root


def test_ravdess_has_the_published_counts(ravdess, tmp_path):
    for labels, total, word in (("four", 672, "ravdess-4"), ("all", 1440, "ravdess-8")):
        result = prepare("ravdess", "--labels", labels, ravdess, tmp_path / "data")
        assert f"{total} ({total})" in result.stdout and result.stderr == ""
        emotions = Counter(read(tmp_path / "data/utt2emo").values())
        assert (tmp_path / "data/dataset").read_text() == word + "\n" and emotions.total() == total
        assert_valid(tmp_path / "data")
    assert emotions == {label: 96 if label == "neu" else 192 for label in EIGHT}
    emotions = read(tmp_path / "data/utt2emo")
    assert [emotions[f"Actor_12-03-01-{code:02d}-01-02-01-12"] for code in range(1, 9)] == EIGHT
    genders = read(tmp_path / "data/spk2gender")
    assert genders == {f"Actor_{number:02d}": "fm"[number % 2] for number in range(1, 25)}


def test_ravdess_copies_songs_and_videos_are_counted_and_not_used(ravdess, tmp_path):
    root = tmp_path / "corpora" / "copy"
    for path in sorted(ravdess.glob("*/*.wav")):
        for place in (root, root / "audio_speech_actors_01-24"):
            link(path, place / path.parent.name / path.name)
    for name in ravdess_names(channel="02"):
        link(ravdess.parent / "mono.wav", root / "Audio_Song_Actors_01-24/Actor_03" / f"{name}-03.wav")
    for name in ravdess_names(modality="01"):
        link(ravdess.parent / "mono.wav", root / "Actor_03" / f"{name}-03.wav")
        put(root / "Video_Speech_Actor_03/Actor_03" / f"{name}-03.mp4")
    put(root / "Actor_01/._03-01-01-01-01-01-01.wav", b"\x00\x05")
    make_wav(root / "Actor_01/03-01-09-01-01-01-01.wav")
    for place in (root, root.parent):  # one level too high is no matter
        result = prepare("ravdess", place, tmp_path / "data")
        assert "672 (672)" in result.stdout and "WARNING" not in result.stderr
        assert "and 1439 more: another copy of a file that is used" in result.stderr
        assert "and 59 more: song" in result.stderr and "and 59 more: of a video" in result.stderr
        assert "and 59 more: no wav" in result.stderr and "03-01-09-01-01-01-01.wav: not a name" in result.stderr
        assert len(result.stderr.splitlines()) == 5
        assert "audio_speech" not in (tmp_path / "data/wav.scp").read_text()


def test_ravdess_where_it_is_not(ravdess, tmp_path):
    data = tmp_path / "data"
    assert "give the one that holds Actor_01 to Actor_24" in fails_in_one_line("ravdess", data, ravdess / "Actor_03")
    assert "no such directory" in fails_in_one_line("ravdess", data, tmp_path / "nowhere")
    make_wav(tmp_path / "song/03-02-01-01-01-01-01.wav")
    make_wav(tmp_path / "song/b.wav")
    message = fails_in_one_line("ravdess", data, tmp_path / "song")
    assert "no wav of RAVDESS" in message and "1 file: song" in message


def test_part_of_ravdess_is_prepared_with_a_warning(ravdess, tmp_path):
    for path in sorted(ravdess.glob("Actor_0[1-3]/*.wav")):
        link(path, tmp_path / "part" / path.name)
    result = prepare("ravdess", tmp_path / "part", tmp_path / "data")
    assert "NOT the published set" in result.stderr and "total ang: 24 found, 192 published" in result.stderr
    (tmp_path / "part/SYNTHETIC").touch()
    result = prepare("ravdess", tmp_path, tmp_path / "data")
    assert "WARNING" not in result.stderr and (tmp_path / "data/dataset").read_text() == "synthetic-ravdess-4\n"


# CREMA-D


def cremad_names():
    """As many names of each emotion as are published: IEO in three levels, the other sentences without one."""
    for emotion, lacking in {"ANG": 3, "DIS": 3, "FEA": 3, "HAP": 3, "SAD": 3, "NEU": 5}.items():
        levels = ("XX",) if emotion == "NEU" else ("LO", "MD", "HI")
        names = [f"{actor}_{sentence}_{emotion}_{level}" for actor in ACTORS for sentence in SENTENCES
                 for level in (levels if sentence == "IEO" else ("XX",))]
        yield from names[: -lacking]


@pytest.fixture(scope="module")
def cremad(tmp_path_factory):
    root = tmp_path_factory.mktemp("open") / "CREMA-D"
    sound = make_wav(root.parent / "sound.wav")
    for name in cremad_names():
        if name == "1076_MTI_SAD_XX":
            put(root / "AudioWAV" / f"{name}.wav", sound.read_bytes()[:44])
        else:
            link(sound, root / "AudioWAV" / f"{name.replace('1040_ITH_SAD_XX', '1040_ITH_SAD_X')}.wav")
    rows = [f"{actor},30,{('Male', 'Female')[number % 2]},African American,Not Hispanic\r\n"
            for number, actor in enumerate(ACTORS)]
    put(root / "VideoDemographics.csv", "".join(["\ufeffActorID,Age,Sex,Race,Ethnicity\r\n", *rows]).encode())
    return root


def test_cremad_has_the_published_counts_less_the_silent_file(cremad, tmp_path):
    assert len(list((cremad / "AudioWAV").iterdir())) == 7442
    for labels, total, word in (("four", 4899, "cremad-4"), ("all", 7441, "cremad-6")):
        result = prepare("cremad", "--labels", labels, cremad, tmp_path / "data")
        assert f"{total} ({total})" in result.stdout
        assert result.stderr.count("\n") == 1 and "1076_MTI_SAD_XX.wav: is published without sound" in result.stderr
        assert (tmp_path / "data/dataset").read_text() == word + "\n"
    assert_valid(tmp_path / "data")
    emotions = read(tmp_path / "data/utt2emo")
    assert Counter(emotions.values()) == {"neu": 1087, "hap": 1271, "ang": 1271, "sad": 1270, "dis": 1271, "fea": 1271}
    assert emotions["1040_ITH_SAD_X"] == "sad" and read(tmp_path / "data/utt2spk")["1001_DFA_ANG_XX"] == "1001"
    assert list(Counter(read(tmp_path / "data/spk2gender").values()).items()) == [("m", 46), ("f", 45)]


@pytest.fixture
def few(tmp_path):
    """Two actors, 20 sentences of two emotions each; returns the corpus's folder."""
    for actor in ("1001", "1002"):
        for sentence in (*SENTENCES[:10],):
            for emotion in ("ANG", "NEU"):
                make_wav(tmp_path / "CREMA-D/AudioWAV" / f"{actor}_{sentence}_{emotion}_XX.wav")
    put(tmp_path / "CREMA-D/VideoDemographics.csv", b"ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Asian,X\n"
                                                    b"1002,21,Female,Asian,X\n")
    return tmp_path / "CREMA-D"


def test_cremad_is_found_one_level_higher_and_lower(few, tmp_path):
    for root in (few.parent, few, few / "AudioWAV"):
        result = prepare("cremad", root, tmp_path / "data")
        assert len(read(tmp_path / "data/utt2spk")) == 40 and "total neu: 20 found, 1087 published" in result.stderr
        assert read(tmp_path / "data/spk2gender") == {"1001": "m", "1002": "f"}


def test_cremad_without_a_gender_and_with_a_wrong_one(few, tmp_path):
    table = few / "VideoDemographics.csv"
    text = table.read_text()
    for less in (text.replace("1002,21,Female,Asian,X\n", ""), None):
        table.write_text(less) if less else table.unlink()
        prepare("cremad", few, tmp_path / "data")
        assert not (tmp_path / "data/spk2gender").exists()
    for bad in (text.replace("Female", "?"), text.replace("Sex", "Gender"), text + "1003\n"):
        table.write_text(bad)
        result = prepare("cremad", few, tmp_path / "data")  # which no later step needs
        assert f"WARNING: {table}:" in result.stderr and not (tmp_path / "data/spk2gender").exists()


@pytest.mark.parametrize("content, reason", [
    (b"", "it is empty"), (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull")])
def test_unusable_audio_of_cremad_is_named_and_95_percent_must_remain(few, tmp_path, content, reason):
    put(few / "AudioWAV/1001_IEO_ANG_XX.wav", content)
    put(few / "AudioMP3/1001_IEO_ANG_XX.mp3")
    for name in ("1000_IEO_ANG_XX", "1092_IEO_ANG_XX", "1001_IEO_JOY_XX", "1001_IEO_ANG_YY"):
        make_wav(few / f"AudioWAV/{name}.wav")
    result = prepare("cremad", few, tmp_path / "data")
    assert "1001_IEO_ANG_XX.wav cannot be read: it is" in result.stderr and reason in result.stderr
    assert "and 3 more: not a name" in result.stderr
    assert len(read(tmp_path / "data/utt2spk")) == 39
    for name in ("1001_TIE_ANG_XX", "1001_IOM_ANG_XX"):
        put(few / f"AudioWAV/{name}.wav", content)
    before = (tmp_path / "data/wav.scp").read_bytes()
    result = prepare("cremad", few, tmp_path / "data", check=False)
    assert result.returncode == 1 and "only 37 of 40" in result.stderr
    assert (tmp_path / "data/wav.scp").read_bytes() == before


# LibriSpeech

SPEAKERS = """\
; Some pipe(|) separated metadata about all the speakers
;
;ID  |SEX| SUBSET           |MINUTES| NAME
14   | F | train-clean-360  | 25.03 | Kristin LeMoine
19   | F | train-clean-100  | 25.19 | Kara Shallenberg
60   | M | train-clean-100  | 20.18 | |CBW|Simon
103  | F | train-clean-100  | 25.08 | Karen Savage
1034 | M | train-clean-100  | 25.09 | Kevin O'Coin
"""


def make_librispeech(root):
    """train-clean-100 of four speakers, with five chapters or fewer, and a speaker of train-clean-360."""
    for subset, speaker, chapters in (("train-clean-100", "19", 5), ("train-clean-100", "60", 2),
                                      ("train-clean-100", "103", 1), ("train-clean-100", "1034", 10),
                                      ("train-clean-360", "14", 1)):
        for chapter in range(chapters):
            folder = root / subset / speaker / f"{101 + chapter}"
            put(folder / f"{speaker}-{101 + chapter}.trans.txt", b"")
            for number in range(4):
                put(folder / f"{speaker}-{101 + chapter}-{number:04d}.flac", b"fLaC")
    put(root / "SPEAKERS.TXT", SPEAKERS.encode())
    return root


@pytest.fixture
def librispeech(tmp_path):
    return make_librispeech(tmp_path / "corpora" / "LibriSpeech")


def test_librispeech_speakers_are_padded_and_chapters_held_out(librispeech, tmp_path):
    result = prepare("librispeech", librispeech, tmp_path / "data")
    data = tmp_path / "data"
    assert_valid(data)
    assert read(data / "spk2gender") == {"0019": "f", "0060": "m", "0103": "f", "1034": "m"}
    assert read(data / "wav.scp")["0060-102-0003"] == str(librispeech / "train-clean-100/60/102/60-102-0003.flac")
    assert (data / "dataset").read_text() == "librispeech-train-clean-100\n"
    assert "4 (251)" in result.stdout and "72 (28539)" in result.stdout
    assert "train-clean-100 utterances: 72 found, 28539 published" in result.stderr
    valid = sorted(utt for utt, part in read(data / "utt2split").items() if part == "valid")
    assert valid == [*(f"0019-105-{n:04d}" for n in range(4)), "0060-102-0003", "0103-101-0003",
                     *(f"1034-110-{n:04d}" for n in range(4))]
    assert "62 utterances to train, 10 to validate" in run("local/make_folds.py", "--protocol", "identification",
                                                           data).stdout


@pytest.mark.parametrize("place", ["..", ".", "train-clean-100"])
def test_librispeech_is_found_one_level_higher_and_lower(librispeech, tmp_path, place):
    prepare("librispeech", librispeech / place, tmp_path / "data")
    assert len(read(tmp_path / "data/utt2spk")) == 72 and len(read(tmp_path / "data/spk2gender")) == 4
    (librispeech / "SYNTHETIC").touch()
    assert "WARNING" not in prepare("librispeech", librispeech / place, tmp_path / "data").stderr
    assert (tmp_path / "data/dataset").read_text() == "synthetic-librispeech-train-clean-100\n"


def test_librispeech_in_lower_case_and_two_subsets(librispeech, tmp_path):
    root = librispeech.rename(librispeech.parent / "librispeech")
    (root / "train-clean-360").rename(root / "Train-Clean-360")
    (root / "SPEAKERS.TXT").rename(root / "Speakers.txt")
    prepare("librispeech", "--subsets", "train-clean-360 train-clean-100", root.parent, tmp_path / "data")
    assert len(read(tmp_path / "data/utt2spk")) == 76 and len(read(tmp_path / "data/spk2gender")) == 5
    assert (tmp_path / "data/dataset").read_text() == "librispeech-train-clean-100+train-clean-360\n"


def test_librispeech_where_it_is_not(librispeech, tmp_path):
    data = tmp_path / "data"
    assert "train-clean-100 train-clean-360; --subsets" in fails_in_one_line("librispeech", data, "--subsets",
                                                                            "dev-clean", librispeech)
    assert "nor any other" in fails_in_one_line("librispeech", data, librispeech / "train-clean-100/19")
    assert "names no subset" in fails_in_one_line("librispeech", data, "--subsets", " ", librispeech)
    assert "no such directory" in fails_in_one_line("librispeech", data, tmp_path / "nowhere")
    (librispeech / "dev-clean").mkdir()
    assert "no LibriSpeech audio" in fails_in_one_line("librispeech", data, "--subsets", "dev-clean", librispeech)


def test_librispeech_odd_files_and_tables(librispeech, tmp_path):
    folder = librispeech / "train-clean-100/1034/101"
    (folder / "1034-101-0001.flac").write_bytes(b"")
    put(folder / "1034-101-0002.wav", b"RIFF")
    put(folder / "notes.wav", b"RIFF")
    put(folder / "._1034-101-0000.flac", b"x")
    result = prepare("librispeech", librispeech, tmp_path / "data")
    assert "1034-101-0001.flac is empty" in result.stderr and "notes.wav: not a name" in result.stderr
    assert "1034-101-0002.wav: another file of its name is used" in result.stderr
    assert len(read(tmp_path / "data/utt2spk")) == 71
    for bad in ("19 ; F", "19 | X | train-clean-100", "x | F"):
        (librispeech / "SPEAKERS.TXT").write_text(SPEAKERS + bad)
        result = prepare("librispeech", librispeech, tmp_path / "data")  # which no later step needs
        assert f"WARNING: {librispeech}/SPEAKERS.TXT:9: expected" in result.stderr
        assert not (tmp_path / "data/spk2gender").exists()
    (librispeech / "SPEAKERS.TXT").unlink()
    assert "no SPEAKERS.TXT" in prepare("librispeech", librispeech, tmp_path / "data").stdout
    assert not (tmp_path / "data/spk2gender").exists()


NAMES = st.one_of(st.text(), st.from_regex(cremad_data_prep.NAME), st.from_regex(ravdess_data_prep.NAME),
                  st.from_regex(librispeech_data_prep.NAME))


@pytest.mark.parametrize("script", [cremad_data_prep, emodb_data_prep, librispeech_data_prep, ravdess_data_prep])
@given(names=st.lists(NAMES, max_size=8))
def test_utterances_of_any_names_sort_with_their_speakers(script, names):
    parsed = [script.utterance_of(f"{name}.wav") for name in names]
    if script is not librispeech_data_prep:
        parsed = [utterance for utterance, _ in parsed]
    utterances = sorted({(utterance.id, utterance.speaker) for utterance in parsed if utterance})
    assert all(utt.startswith(speaker) and len(f"{utt} {speaker}".split()) == 2 for utt, speaker in utterances)
    assert utterances == sorted(utterances, key=lambda pair: (pair[1], pair[0]))


def test_no_preparation_runs_a_command(few, tmp_path):
    """A name is a name, even where wav.scp would take it for a pipe."""
    flag = tmp_path / "flag"
    for name in (f"touch {str(flag).replace('/', ':')} |", "1001_IEO_ANG_HI.wav |"):
        make_wav(few / "AudioWAV" / name)
    prepare("cremad", few, tmp_path / "data")
    assert not flag.exists() and "|" not in (tmp_path / "data/wav.scp").read_text()
    assert Path(read(tmp_path / "data/wav.scp")["1001_IEO_ANG_XX"]).is_file()

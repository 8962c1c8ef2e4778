"""wav.scp and segments as Kaldi takes them, doubtful recordings, copies: what the stages say of each and do with it."""

import re
import shutil
import subprocess

import kaldiio
import numpy as np
import pytest
import soundfile

from conftest import read_matrices, run, tone
from local.prep_common import wav_problem
from ser.audio.inputs import sounds_of
from ser.base.errors import UserError
from ser.data.data_dir import read_table, write_table
from ser.data.folds import read_fold, read_identification

RATE = 16000
SPEAKERS = ("s1", "s2", "s3", "s4")
UTTS = [f"{speaker}-{number:02d}" for speaker in SPEAKERS for number in range(10)]


def speech(seed, seconds=0.3):
    return tone(np.random.default_rng(seed), 120 + 10 * (seed % 7), seconds)


def make_source(folder, sounds=None, **options):
    """A data directory as users have them, of a sound of its own for each utterance but those given."""
    (folder / "audio").mkdir(parents=True)
    for number, utt in enumerate(UTTS):
        sound = (sounds or {}).get(utt, speech(number))
        soundfile.write(folder / "audio" / f"{utt}.wav", sound, RATE, **options)
    write_table(folder / "wav.scp", {utt: f"audio/{utt}.wav" for utt in UTTS})
    write_table(folder / "utt2spk", {utt: utt[:2] for utt in UTTS})
    write_table(folder / "utt2emo", {utt: ("ang", "sad")[int(utt[-1]) % 2] for utt in UTTS})
    return folder


def prepared(source):
    """The data directory with features of a source, the exit status, and what was said; paths are from its parent."""
    data = source.parent / "data"
    said = ""
    for words in (("local/kaldi_data_prep.py", "--emotion", "true", source, data),
                  ("steps/make_fbank.sh", "--nj", "1", data)):
        result = run(*words, check=False)
        said += result.stdout + result.stderr
        if result.returncode:
            break
    return data, result.returncode, said.replace(f"{source.parent}/", "")


def same_features(data, other):
    matrices = dict(read_matrices(read_table(other / "feats.scp")))
    ours = dict(read_matrices(read_table(data / "feats.scp")))
    return ours.keys() == matrices.keys() and all(np.array_equal(ours[utt], matrices[utt]) for utt in ours)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A data directory with features of utterances that are files of their own."""
    data, status, _ = prepared(make_source(tmp_path_factory.mktemp("plain") / "source"))
    assert status == 0
    return data


def through_a_pipe(source):
    for path in (source / "audio").glob("*.wav"):
        content = path.read_bytes()
        path.write_bytes(content[:4] + bytes(4) + content[8:40] + bytes(4) + content[44:])


def in_an_archive(source, utts=UTTS):
    sounds = {utt: (RATE, soundfile.read(source / "audio" / f"{utt}.wav", dtype="int16")[0]) for utt in utts}
    kaldiio.save_ark(f"{source}/wavs.ark", sounds, scp=f"{source}/absolute")
    write_table(source / "wav.scp", read_table(source / "wav.scp") | {
        utt: f"wavs.ark:{place.rpartition(':')[2]}" for utt, place in read_table(source / "absolute").items()})
    for utt in utts:
        (source / "audio" / f"{utt}.wav").unlink()


def in_an_archive_and_through_a_pipe(source):
    in_an_archive(source, UTTS[::2])
    through_a_pipe(source)


def in_segments(end):
    """All utterances of a speaker in one recording; `end(utt, start, end, length)` in seconds is the segments' end."""
    def damage(source):
        segments = {}
        for speaker in SPEAKERS:
            utts = [utt for utt in UTTS if utt.startswith(speaker)]
            sounds = [soundfile.read(source / "audio" / f"{utt}.wav", dtype="int16")[0] for utt in utts]
            soundfile.write(source / f"{speaker}.wav", np.concatenate(sounds), RATE)
            ends = np.cumsum([len(sound) for sound in sounds]) / RATE
            for utt, sound, stop in zip(utts, sounds, ends, strict=True):
                segments[utt] = f"{speaker} {stop - len(sound) / RATE:.4f} {end(utt, stop, ends[-1])}"
        write_table(source / "wav.scp", {speaker: f"{speaker}.wav" for speaker in SPEAKERS})
        write_table(source / "segments", segments)
        shutil.rmtree(source / "audio")
    return damage


def end_of_segment(utt, stop, length):
    """Of the last segment in a recording -1, at the end, or 0.5 s too late."""
    return {"s1-09": -1, "s3-09": f"{length + 0.5:.4f}"}.get(utt, f"{stop:.4f}")


TAKEN = {
    "wavs.ark:1234 in wav.scp, WAVs that came through a pipe": in_an_archive_and_through_a_pipe,
    "segments with an end of -1, up to 0.5 s too long": in_segments(end_of_segment),
}


@pytest.mark.parametrize("fault", TAKEN)
def test_taken_as_kaldi_takes_it(plain, tmp_path, outcome, fault):
    source = make_source(tmp_path / "source")
    TAKEN[fault](source)
    data, status, said = prepared(source)
    outcome(fault, "2 features", status, said.splitlines()[-1])
    assert status == 0 and "WARNING" not in said and "left out" not in said, said
    assert same_features(data, plain)


def test_predict_takes_the_same(tmp_path):
    source = make_source(tmp_path / "source")
    in_segments(lambda utt, stop, length: -1 if stop == length else f"{stop:.4f}")(source)
    through_a_pipe(make_source(tmp_path / "piped"))
    in_an_archive(make_source(tmp_path / "archive"))
    for place in (source, tmp_path / "piped", tmp_path / "archive"):
        sounds = {sound.name: np.concatenate(list(sound.blocks())) for sound in sounds_of([str(place)])}
        assert sounds.keys() == set(UTTS)
        assert all(np.array_equal(sounds[utt], speech(number)) for number, utt in enumerate(UTTS))
    soundfile.write(source / "s1.wav", np.stack([speech(1), speech(2)], axis=1), RATE)
    first, *_ = sounds_of([str(source)])
    with pytest.raises(UserError, match="source/s1.wav: has 2 channels, and segments do not say which"):
        list(first.blocks())


def test_a_segment_far_past_the_end_is_refused_by_name(tmp_path, outcome):
    source = make_source(tmp_path / "source")
    in_segments(lambda utt, stop, length: f"{stop + 0.6 * (utt == 's2-09'):.4f}")(source)
    data, status, said = prepared(source)
    line = re.search(r"skipping s2-09: segment 2.7 to 3.6 s is not in .*s2.wav, which ends at 3 s", said)
    outcome("segment 0.6 s past the end", "2 features", status, line and line[0])
    assert status == 0 and line and len(read_table(data / "feats.scp")) == 39


def test_lines_of_segments_that_are_none(tmp_path):
    source, data = make_source(tmp_path / "source"), tmp_path / "data"
    in_segments(lambda utt, stop, length: f"{stop:.4f}")(source)
    segments = read_table(source / "segments")
    for line in ("s1 0.1 -2", "s1 -1 -1", "s1 0.1 nan", "s1 inf -1", "s1 0.2 0.1", "s1 x 1"):
        write_table(source / "segments", segments | {"s1-00": line})
        result = run("local/kaldi_data_prep.py", "--emotion", "true", source, data)
        assert "left out: s1-00: segments: expected 'recording start end'" in result.stdout + result.stderr, line
        assert read_table(data / "segments").keys() == segments.keys() - {"s1-00"}
        write_table(data / "segments", read_table(data / "segments") | {"s1-01": line})
        result = run("steps/make_fbank.sh", "--nj", "1", data, check=False)
        assert result.returncode == 1 and "segments:1: expected a key and recording, start" in result.stderr, line


def test_segments_of_a_stereo_recording(tmp_path, outcome):
    """Two voices on two channels at the same times: cut from their mean, both would get one sound."""
    source = make_source(tmp_path / "source")
    in_segments(lambda utt, stop, length: f"{stop:.4f}")(source)
    left, right = (soundfile.read(source / f"{speaker}.wav", dtype="int16")[0] for speaker in ("s1", "s2"))
    soundfile.write(source / "call.wav", np.stack([left, right], axis=1), RATE)
    segments = {utt: re.sub("^s[12]", "call", line) for utt, line in read_table(source / "segments").items()}
    write_table(source / "segments", segments)
    # A file is refused before features are made, the output of a command when it is read
    for entry, stage, word in (("call.wav", "1 data", "left out"),
                               (f"cat {source}/call.wav |", "2 features", "skipping")):
        write_table(source / "wav.scp", {"call": entry, "s3": "s3.wav", "s4": "s4.wav"})
        _, status, said = prepared(source)
        line = re.search(f"{word}:? s1-00: .*call.wav.* has 2 channels, and segments do not say which; give .*", said)
        outcome("segments of a stereo recording", stage, status, line and line[0])
        assert status == 1 and line and said.count(word) == 10 and "and 10 more" in said


DOUBTFUL = {"s1-00": (np.zeros(5000, np.int16), "silent"), "s2-00": (np.zeros(5000, np.int16), "silent"),
            "s2-01": (np.full(5000, 900, np.int16), "constant"),
            "s3-04": ((20 * speech(5).astype(int)).clip(-32768, 32767).astype(np.int16), "clipped")}


def test_doubtful_recordings_are_named(tmp_path, outcome):
    sounds = {utt: sound for utt, (sound, _) in DOUBTFUL.items()}
    data, status, said = prepared(make_source(tmp_path / "source", sounds))
    line = re.search("report_audio.py: WARNING: data: of 40 utterances 1 clipped, 1 constant, 2 silent; listen.*", said)
    outcome("silent, constant and clipped recordings", "2 features", status, line and line[0])
    assert status == 0 and line
    for utt, (_, problem) in DOUBTFUL.items():
        assert f"{utt} is {problem}" in said
    assert read_table(data / "utt2audio_problem") == {utt: problem for utt, (_, problem) in DOUBTFUL.items()}
    assert (data / "duplicates").read_text() == ""  # silence is no copy of silence
    run("steps/validate_data_dir.py", "--no-text", data)
    assert len(read_table(data / "utt2audio_digest")) == 40


def test_ten_are_named_then_counted(tmp_path):
    sounds = dict.fromkeys(UTTS[3:15], np.zeros(5000, np.int16))
    sounds |= {utt: speech(100 + int(utt[-1])) for utt in UTTS[15:]}
    _, _, said = prepared(make_source(tmp_path / "source", sounds))
    assert said.count(" is silent") == 10 and "and 2 more: data/utt2audio_problem" in said
    assert len(re.findall(r"report_audio.py:   \S+ = ", said)) == 10 and said.count("more: ") == 1
    assert "15 utterances are copies of others, sample by sample; recordings with more than one speaker: 10; at" in said


def test_what_is_mended_is_no_longer_named(tmp_path, outcome):
    cancelling = np.stack([speech(3), -speech(3)], axis=1)
    source = make_source(tmp_path / "source", {"s1-00": speech(1), "s2-00": np.zeros(5000, np.int16),
                                               "s1-03": cancelling})
    data, status, said = prepared(source)
    line = re.search("skipping s1-03: .*s1-03.wav: its channels cancel each other out.*", said)
    outcome("channels that cancel each other", "2 features", status, line and line[0])
    assert status == 0 and line and "s1-03" not in read_table(data / "feats.scp")
    assert "WARNING" in said and "1 utterance is a copy of another, sample by sample" in said
    for number, utt in enumerate(("s1-00", "s2-00", "s1-03"), 100):
        soundfile.write(source / "audio" / f"{utt}.wav", speech(number), RATE)
    result = run("steps/make_fbank.sh", "--nj", "1", data)
    assert "report_audio.py" not in result.stderr and "skipping" not in result.stderr
    assert (data / "duplicates").read_text() == (data / "utt2audio_problem").read_text() == ""
    run("local/kaldi_data_prep.py", source, data)
    assert not list(data.glob("*audio*")) and not (data / "duplicates").exists()


# s1-00 and s1-01 within a speaker, under two labels; s1-02 and s3-02 across; s2-04 = s2-06 within, of one label; three
# names of s4-00 across two.
COPIES = {"s1-01": speech(0), "s3-02": speech(2), "s2-06": speech(14), "s4-02": speech(30), "s2-08": speech(30)}
GROUPS = [{"s1-00", "s1-01"}, {"s1-02", "s3-02"}, {"s2-04", "s2-06"}, {"s2-08", "s4-00", "s4-02"}]


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    source = make_source(tmp_path_factory.mktemp("copies") / "source", COPIES)
    path = source / "audio" / "s2-06.wav"
    sound, _ = soundfile.read(path, dtype="int16")
    soundfile.write(path, sound, RATE, format="FLAC")  # the sound counts, not the file
    data, status, said = prepared(source)
    assert status == 0
    return data, said


def test_copies_are_found_and_named(copies, outcome):
    data, said = copies
    line = re.search("report_audio.py: WARNING: data: 5 utterances are copies of others, sample by sample; recordings "
                     "with more than one speaker: 2, with more than one emotion: 1; at most one can be right", said)
    outcome("copies of a recording, across speakers and labels", "2 features", 0, line and line[0])
    assert line
    assert [set(line.split()) for line in (data / "duplicates").read_text().splitlines()] == GROUPS
    assert "s1-00 = s1-01 (emotion ang or sad)" in said and "s1-02 = s3-02 (speaker s1 or s3)" in said
    assert re.search("s2-04 = s2-06$", said, re.MULTILINE)
    assert said.index("s2-08 = s4-00 = s4-02 (speaker s2 or s4)") < said.index("s2-04 = s2-06")  # the worst first


def read_folds(data):
    utt2spk = read_table(data / "utt2spk")
    parts = {fold: read_fold(data / "folds" / fold, utt2spk) for fold in (data / "folds/list").read_text().split()}
    return parts | {"identification": read_identification(data / "identification", utt2spk)}


def make_lists(data, *options):
    said = ""
    for protocol in ("loso", "identification"):
        said += run("local/make_folds.py", "--protocol", protocol, *options, data).stdout
    return read_folds(data), said


def test_copies_are_never_in_two_parts(copies, tmp_path, outcome):
    data = shutil.copytree(copies[0], tmp_path / "data")
    first = {min(group) for group in GROUPS}
    copied = set().union(*GROUPS)
    folds, said = make_lists(data)
    assert f"left out: 5 copies of recordings, named in {data}/duplicates" in said
    outcome("copies of a recording", "3 folds", 0, said.splitlines()[0].replace(f"{tmp_path}/", ""))
    for parts in folds.values():
        assert set().union(*parts.values()) == set(UTTS) - copied | first
    assert make_lists(data, "--duplicates", "drop")[0] == folds
    assert (data / "folds" / "protocol").read_text() == "loso\n"

    kept, said = make_lists(data, "--duplicates", "keep")
    assert (data / "folds" / "protocol").read_text() == "loso+copies\n"  # which result lines name
    assert "left out" not in said
    for name, parts in kept.items():
        last = "valid" if name == "identification" else "test"
        for group in GROUPS:
            assert len([part for part, utts in parts.items() if group.intersection(utts)]) == 1, (name, group)
        lost = set(UTTS) - set().union(*parts.values())
        assert all(lost.isdisjoint(utts) for utts in parts.values()) and lost <= copied
        assert {utt for utt in UTTS if utt[:2] == name[5:]} <= set(parts[last])  # a test part is whole
    assert set(UTTS) - set().union(*kept["fold_s1"].values()) == {"s3-02"} | {"s4-00", "s4-02"}
    assert set(UTTS) - set().union(*kept["fold_s3"].values()) == {"s1-02"} | {"s2-08"}


def test_folds_without_a_search_for_copies(copies, tmp_path):
    data = shutil.copytree(copies[0], tmp_path / "data")
    (data / "duplicates").unlink()
    folds, said = make_lists(data)
    assert said.count(f"{data}/duplicates: no such file, so copies of a recording may be in two parts") == 2
    assert all(set().union(*parts.values()) == set(UTTS) for parts in folds.values())


def test_copies_that_were_taken_out_are_forgotten(copies, tmp_path):
    data = shutil.copytree(copies[0], tmp_path / "data")
    write_table(data / "utt2spk", {utt: speaker for utt, speaker in read_table(data / "utt2spk").items()
                                   if utt not in ("s1-00", "s2-08")})
    run("steps/fix_data_dir.py", data)
    folds, said = make_lists(data)
    assert "left out: 3 copies" in said
    used = set().union(*folds["fold_s1"].values())
    assert {"s1-01", "s4-00"} <= used and used.isdisjoint({"s4-02", "s3-02", "s2-06"})


def test_the_closing_summary_counts_them(copies, tmp_path):
    data = shutil.copytree(copies[0], tmp_path / "my data")
    quoted = str(data).replace(" ", "\\ ")
    (data / "utt2audio_problem").write_text("a silent\nb clipped\n")
    code = ". local/run/functions.sh; emotion_data=$1; speaker_data=$2; models_to_pretrain=vgg5; duplicates=keep; "
    result = subprocess.run(["bash", "-euc", code + "audio_summary", "bash", data, tmp_path], capture_output=True,
                            text=True, check=True)
    assert result.stdout.splitlines() == [
        f"Doubtful audio:    silent, clipped or constant: 2, named in {quoted}/utt2audio_problem",
        f"Copies:            of other utterances (--duplicates keep): 5, named in {quoted}/duplicates"]


def test_only_what_is_missing_is_said_to_be(tmp_path):
    folder = tmp_path / "folder.wav"
    folder.mkdir()
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "broken.wav").symlink_to("absent.wav")
    (tmp_path / "a.ark").touch()
    for name, said in {"absent.wav": "is missing", "absent.ark:7": "is missing",
                       "broken.wav": "is a link to absent.wav, which is missing",
                       "folder.wav": "cannot be read: Is a directory", "a.ark:7": "cannot be read: no sound is at",
                       "loop.wav": "cannot be read: Too many levels of symbolic links",
                       300 * "x": "cannot be read: File name too long"}.items():
        assert wav_problem(tmp_path / name).startswith(f"{tmp_path / name} {said}")

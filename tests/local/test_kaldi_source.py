"""What is wrong or odd in a user's Kaldi directory: what local/kaldi_data_prep.py says, and that only what is needed
stops it."""

import os
import unicodedata
import wave

import pytest

from conftest import run

UTTS = [f"s{speaker}-{number:02d}" for speaker in (1, 2) for number in range(20)]
LABELS = {utt: ("ang", "sad")[int(utt[-1]) % 2] for utt in UTTS}


def make_wav(path, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(b"\1\0" * 3200 * channels)
    return path


def write(path, table):
    path.write_text("".join(f"{key} {value}".rstrip(" ") + "\n" for key, value in table.items()), encoding="utf-8")


def read(path):
    return dict(line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines())


@pytest.fixture
def source(tmp_path):
    """Two speakers, two labels, 40 utterances; everything that Kaldi has."""
    folder = tmp_path / "corpus"
    for utt in UTTS:
        make_wav(folder / f"audio/{utt}.wav")
    write(folder / "wav.scp", {utt: f"audio/{utt}.wav" for utt in UTTS})
    write(folder / "utt2spk", {utt: utt[:2] for utt in UTTS})
    write(folder / "utt2emo", LABELS)
    write(folder / "text", {utt: f"words of {utt}" for utt in UTTS})
    write(folder / "spk2gender", {"s1": "f", "s2": "m"})
    return folder


@pytest.fixture
def prepare(source, tmp_path):
    def prepare(*options, check=True):
        return run("local/kaldi_data_prep.py", "--emotion", "true", *options, source, tmp_path / "data", check=check)
    return prepare


def fails_in_one_line(result, data):
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1 and not data.exists(), result.stderr
    return result.stderr.strip()


def said(line, source):
    return line.partition("py) ")[2].replace(f"{source}/", "") or line.replace(f"{source}/", "")


# Tables that nothing needs


@pytest.mark.parametrize("fault, name, table, message", [
    ("half the transcripts are missing", "text", dict.fromkeys(UTTS[:20], "a"), "lacks 20 of 40, the first is s2-00"),
    ("a transcript holds <s>", "text", {**dict.fromkeys(UTTS, "words"), "s1-03": "<s> hello"}, "s1-03 holds one of"),
    ("a transcript twice", "text", None, "text:2: duplicate key s1-00"),
    ("spk2gender lacks a speaker", "spk2gender", {"s1": "f"}, "lacks 1 of 2, the first is s2"),
    ("spk2gender says x", "spk2gender", {"s1": "f", "s2": "x"}, "says x of s2, which is neither m nor f"),
    ("spk2gender has three columns", "spk2gender", {"s1": "f 20"}, "spk2gender:1: expected 2 fields"),
])
def test_a_table_that_is_not_needed_stops_nothing(source, prepare, tmp_path, outcome, fault, name, table, message):
    if table:
        write(source / name, table)
    else:
        (source / name).write_text("s1-00 a\ns1-00 b\n")
    result = prepare()
    data = tmp_path / "data"
    warning, = result.stderr.splitlines()
    assert message in warning and "the file is not needed, and not copied" in warning
    assert read(data / "utt2emo") == LABELS
    assert read(data / "text") == LABELS if name == "text" else not (data / name).exists()
    run("steps/validate_data_dir.py", "--no-feats", data)
    outcome(fault, "1 data", result.returncode, said(warning, source))


def test_transcripts_without_words_are_taken_along(source, prepare, tmp_path):
    write(source / "text", {**dict.fromkeys(UTTS, "words"), "s1-03": ""})
    assert prepare().stderr == ""
    lines = (tmp_path / "data/text").read_text().splitlines()
    assert lines[3] == "s1-03" and lines[4] == "s1-04 words"
    run("steps/fix_data_dir.py", tmp_path / "data")
    run("steps/validate_data_dir.py", "--no-feats", tmp_path / "data")
    assert (tmp_path / "data/text").read_text().splitlines() == lines


@pytest.mark.parametrize("woman, man", [("female", "male"), ("F", "M"), ("Female", "m")])
def test_words_for_gender_become_kaldis(source, prepare, tmp_path, woman, man):
    write(source / "spk2gender", {"s1": woman, "s2": man})
    assert prepare().stderr == ""
    assert read(tmp_path / "data/spk2gender") == {"s1": "f", "s2": "m"}


# Labels


def test_unlabelled_utterances_need_leave_to_be_left_out(source, prepare, tmp_path, outcome):
    write(source / "utt2emo", {utt: LABELS[utt] for utt in UTTS[5:]})
    message = fails_in_one_line(prepare(check=False), tmp_path / "data")
    assert "utt2emo: has no label for 5 of 40 utterances, the first is s1-00" in message
    assert "--allow-unlabelled true" in message
    outcome("an eighth has no label", "1 data", 1, said(message, source))
    result = prepare("--allow-unlabelled", "true")
    line, = result.stderr.splitlines()
    assert "left out: s1-00 and 4 more: not in utt2emo" in line and "(5 of 40 utterances)" in line
    assert read(tmp_path / "data/utt2emo") == {utt: LABELS[utt] for utt in UTTS[5:]}
    # The rule of 95 % holds for those that have a label
    for utt in UTTS[5:8]:
        (source / f"audio/{utt}.wav").unlink()
    result = prepare("--allow-unlabelled", "true", check=False)
    assert result.returncode == 1 and "only 32 of 35 utterances" in result.stderr


@pytest.mark.parametrize("name, line, hidden", [
    ("utt2emo", "s1-00 ang\u00a0", "ang\\xa0"), ("utt2emo", "s1-00 ang\u3000", "ang\\u3000"),
    ("utt2emo", "s1-00 ang\u200b", "ang\\u200b"), ("utt2emo", "s1-00 \ufeffang", "\\ufeffang"),
    ("utt2emo", "s1-00 an\u200eg", "an\\u200eg"), ("utt2spk", "s1-00 s1\u00a0", "s1\\xa0"),
    ("utt2spk", "s1-00\u200b s1", "s1-00\\u200b"), ("wav.scp", "s1-00\u200b audio/s1-00.wav", "s1-00\\u200b")])
def test_blanks_that_cannot_be_seen_are_refused_where_they_are(source, prepare, tmp_path, outcome, name, line, hidden):
    lines = (source / name).read_text().splitlines()
    (source / name).write_text("\n".join([line, *lines[1:]]) + "\n", encoding="utf-8")
    message = fails_in_one_line(prepare(check=False), tmp_path / "data")
    assert f"{source / name}:1: '{hidden}' holds a blank that is no space" in message and "take it out" in message
    outcome(f"{hidden} in {name}", "1 data", 1, said(message, source))


def test_letters_that_join_are_part_of_a_label(source, prepare, tmp_path):
    write(source / "utt2emo", {**LABELS, "s1-00": "ناراحت\u200cکننده"})
    assert prepare().stderr == ""


@pytest.mark.parametrize("name, line", [("utt2emo", "s1-00 ang\u00a0"), ("utt2emo", "s1-00 ang\u200b"),
                                        ("utt2emo", "s1-00\u00a0ang"), ("utt2spk", "s1-00 s1\u00a0")])
def test_the_check_of_a_data_directory_sees_them_too(source, prepare, tmp_path, name, line):
    prepare()
    data = tmp_path / "data"
    lines = (data / name).read_text().splitlines()
    (data / name).write_text("\n".join([line, *lines[1:]]) + "\n", encoding="utf-8")
    result = run("steps/validate_data_dir.py", "--no-feats", data, check=False)
    assert result.returncode == 1 and f"{data / name}:1: expected a key and one " in result.stderr


@pytest.mark.parametrize("labels, message", [
    ({"s1-00": "Ang", "s1-01": "SAD"}, "Ang ang, SAD sad are different classes"),
    ({"s1-00": "nan"}, "nan is a class as any other"), ({"s1-00": "None"}, "None is a class as any other"),
    ({"s1-00": "e\u0301", "s1-01": "\u00e9"}, "are different classes")])
def test_labels_that_look_like_slips_are_said(source, prepare, outcome, labels, message):
    write(source / "utt2emo", {**LABELS, **labels})
    result = prepare()
    line, = result.stderr.splitlines()
    assert message in line
    outcome(f"a label {' '.join(labels.values())}", "1 data", result.returncode, said(line, source))


def test_a_label_that_kaldi_reserves(source, prepare, tmp_path):
    write(source / "utt2emo", {**LABELS, "s1-00": "<s>"})
    assert "the label <s> is a word that Kaldi reserves" in fails_in_one_line(prepare(check=False), tmp_path / "data")


# wav.scp and segments


def test_names_in_another_unicode_form_are_found(source, prepare, tmp_path, outcome):
    folder = source / unicodedata.normalize("NFD", "größe")
    (source / "audio").rename(folder)
    (folder / "s1-00.wav").rename(folder / unicodedata.normalize("NFD", "é.wav"))
    table = {utt: f"{unicodedata.normalize('NFC', 'größe')}/{utt}.wav" for utt in UTTS}
    write(source / "wav.scp", {**table, "s1-00": unicodedata.normalize("NFC", "größe/é.wav"), "s1-01": "größe/nothing"})
    result = prepare()
    lines = result.stderr.splitlines()
    assert "39 names of wav.scp found in another Unicode form, which is used" in lines[0]
    assert lines[1].endswith("größe/nothing is missing") and len(lines) == 2
    wav = read(tmp_path / "data/wav.scp")
    assert len(wav) == 39 and all(os.path.isfile(path) for path in wav.values())
    outcome("names of files decomposed, as of macOS", "1 data", 0, said(lines[0], source))


def entry(source, value):
    return {**read(source / "wav.scp"), "s1-00": value}


@pytest.mark.parametrize("value, message", [
    ("audio/s1-00.wav |", "ends in | as a command does, and names a sound file; take the | away"),
    ("sox audio/s1-00.wav -t wav -", "is no file; if it is a command, it must end in |"),
    ("nowhere.wav", "nowhere.wav is missing"), ("nowhere.ark:17", "nowhere.ark:17 is missing"),
    ("dead_link.wav", "is a link to nowhere, which is missing"), ("audio", "audio cannot be read: Is a directory"),
    ("x" * 300 + ".wav", "cannot be read: File name too long")])
def test_entries_are_said_to_be_what_they_are(source, prepare, outcome, monkeypatch, value, message, tmp_path):
    (tmp_path / "sox").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    os.symlink("nowhere", source / "dead_link.wav")
    write(source / "wav.scp", entry(source, value))
    result = prepare()
    line, = result.stderr.splitlines()
    assert message in line and ("missing" in line) == ("missing" in message)
    outcome(f"wav.scp: {value[:30]}", "1 data", result.returncode, said(line, source))


def test_commands_are_tried_before_stage_2(source, prepare, tmp_path, outcome):
    write(source / "wav.scp", {utt: f"cat audio/{utt}.wav |" for utt in UTTS})
    message = fails_in_one_line(prepare(check=False), tmp_path / "data")
    assert "cat: audio/s1-00.wav: No such file" in message and "they need absolute paths" in message
    outcome("relative paths in commands", "1 data", 1, said(message, source))
    write(source / "wav.scp", {utt: f"cat {source}/audio/{utt}.wav |" for utt in UTTS})
    (source / "audio/s1-00.wav").unlink()  # one that fails is for stage 2 to leave out
    assert prepare().stderr == ""


def test_channels_of_segments(source, prepare, tmp_path, outcome):
    write(source / "wav.scp", {"call": make_wav(source / "call.wav", channels=2),
                               "mono": make_wav(source / "mono.wav")})
    write(source / "segments", {utt: "call 0.0 0.1" if utt == "s1-00" else "mono 0.0 -1" for utt in UTTS})
    result = prepare()
    line = result.stderr.splitlines()[0]
    assert "s1-00" in line and "has 2 channels, and segments do not say which" in line and len(UTTS) - 1 == len(
        read(tmp_path / "data/segments"))
    outcome("segments of a stereo recording", "1 data", result.returncode, said(line, source))
    write(source / "segments", {utt: "call 0.0 0.1 0" for utt in UTTS})
    result = prepare(check=False)
    assert result.returncode == 1 and "a fifth column, a channel, which is not supported" in result.stderr
    assert "remix 1 |" in result.stderr and len(result.stderr.splitlines()) == 1
    outcome("segments with a channel", "1 data", 1, said(result.stderr.strip(), source))


def test_stereo_without_segments_is_counted(source, prepare):
    for utt in UTTS[:3]:
        make_wav(source / f"audio/{utt}.wav", channels=2)
    line, = prepare().stderr.splitlines()
    assert "WARNING: 3 recordings have several channels, such as " in line and "their mean is used" in line


def test_recordings_without_a_segment_do_not_flood(source, prepare, tmp_path):
    write(source / "segments", {utt: f"{UTTS[0]} 0.0 -1" for utt in UTTS})
    result = prepare()
    assert len(result.stderr.splitlines()) == 11 and "and 29 more of this kind" in result.stderr
    assert len((tmp_path / "data/log/left_out").read_text().splitlines()) == 39

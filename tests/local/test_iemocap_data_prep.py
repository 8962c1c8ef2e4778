"""local/iemocap_data_prep.py on made-up trees: every published count, and every quirk that real copies have."""

import os
import shutil
import subprocess
import sys
import wave
from collections import Counter
from pathlib import Path

import pytest

from conftest import run

ROOT = Path(__file__).resolve().parents[2]
CODES = "neu sad ang hap exc fru sur fea dis oth xxx".split()
# turns per speaker (the voice) and code, in the order of CODES
IMPROVISED = """
Ses01F 119 43 37 18 54 39 2 0 0 0 71
Ses01M 104 61 25 15 45 65 7 0 0 0 54
Ses02F 90 63 7 25 88 68 7 1 0 0 40
Ses02M 127 37 15 29 49 72 4 0 0 0 66
Ses03F 95 108 22 39 41 121 13 0 0 0 96
Ses03M 103 82 68 21 48 94 8 0 1 0 84
Ses04F 51 41 47 10 119 126 7 0 0 0 104
Ses04M 123 40 37 21 45 179 3 0 0 1 106
Ses05F 151 73 18 56 68 95 4 7 0 0 78
Ses05M 136 60 13 50 106 112 5 0 0 0 101"""
ALL = """
Ses01F 171 78 147 69 63 107 15 5 0 0 218
Ses01M 213 116 82 66 80 173 10 7 1 1 197
Ses02F 135 113 67 70 96 165 8 5 0 1 199
Ses02M 227 84 70 47 114 160 9 4 0 0 237
Ses03F 130 172 92 80 48 199 15 2 0 0 310
Ses03M 190 133 148 55 103 183 13 0 1 0 262
Ses04F 76 62 205 31 154 188 11 2 0 0 258
Ses04M 182 81 122 34 84 293 8 5 0 1 306
Ses05F 221 132 78 77 82 161 7 8 0 0 267
Ses05M 163 113 92 66 217 220 11 2 0 0 253"""


def table(text):
    rows = (line.split() for line in text.strip().splitlines())
    return {speaker: Counter(dict(zip(CODES, map(int, numbers), strict=True))) for speaker, *numbers in rows}


def prepare(*args):
    return run("local/iemocap_data_prep.py", *args, check=False)


def make_wav(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(3200))
    return path


def block(turn, label, comment="()"):
    return (f"[6.2901 - 8.2357]\t{turn}\t{label}\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n"
            f"C-F1:\tNeutral; Anger;\t{comment}\nA-E3:\tval 3; act 2; dom  2;\t()\n\n")


def add_dialog(root, dialog, turns, sound=None):
    """Write one dialog's label file (`turns`: pairs of turn ending and label) and, given a wav to link, its wavs."""
    session = root / f"Session{dialog[4]}"
    labels = session / "dialog/EmoEvaluation" / f"{dialog}.txt"
    labels.parent.mkdir(parents=True, exist_ok=True)
    header = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    labels.write_text(header + "".join(block(f"{dialog}_{end}", label) for end, label in turns))
    wavs = session / "sentences/wav" / dialog
    wavs.mkdir(parents=True, exist_ok=True)
    if sound:
        for end, _ in turns:
            os.link(sound, wavs / f"{dialog}_{end}.wav")
    return labels


def read(path):
    return dict(line.split(maxsplit=1) for line in path.read_text().splitlines())


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The whole corpus: 10039 turns, as many per speaker, scope and label as published; the ids are invented."""
    root = tmp_path_factory.mktemp("iemocap")
    sound = make_wav(root / "sound.wav")
    improvised, everything = table(IMPROVISED), table(ALL)
    for session in "12345":
        scenes = {"impro": [f"impro0{n}" for n in range(1, 8)], "script": [f"script0{n}_1" for n in (1, 2, 3)]}
        scripted = {speaker: everything[speaker] - improvised[speaker] for speaker in improvised}
        for kind, counts in (("impro", improvised), ("script", scripted)):
            dialogs = [f"Ses0{session}{actor}_{scene}" for actor in "FM" for scene in scenes[kind]]
            turns = {dialog: [] for dialog in dialogs}
            for voice in "FM":
                for at, label in enumerate(sorted(counts[f"Ses0{session}{voice}"].elements())):
                    turns[dialogs[at % len(dialogs)]].append((f"{voice}{at // len(dialogs):03d}", label))
            for dialog in dialogs:
                add_dialog(root, dialog, turns[dialog], sound)
    return root


@pytest.mark.parametrize("options, published, merged, total, word", [
    ([], IMPROVISED, False, 2280, "iemocap-impro-4"),
    (["--merge-excited", "true"], IMPROVISED, True, 2943, "iemocap-impro-4-exc"),
    (["--scope", "all", "--merge-excited", "true"], ALL, True, 5531, "iemocap-all-4-exc"),
    (["--scope", "all"], ALL, False, 4490, "iemocap-all-4"),
])
def test_full_corpus_has_the_published_counts(full, tmp_path, options, published, merged, total, word):
    result = prepare(*options, full, tmp_path / "data")
    assert result.returncode == 0, result.stderr
    speakers, emotions = read(tmp_path / "data/utt2spk"), read(tmp_path / "data/utt2emo")
    assert len(speakers) == total and read(tmp_path / "data/wav.scp").keys() == speakers.keys() == emotions.keys()
    expected = {(speaker, label): row[label] + (row["exc"] if merged and label == "hap" else 0)
                for speaker, row in table(published).items() for label in ("neu", "hap", "ang", "sad")}
    assert Counter((speakers[utt], emotions[utt]) for utt in speakers) == expected
    assert (tmp_path / "data/dataset").read_text() == word + "\n"
    assert all(utt.startswith(speaker + "-") for utt, speaker in speakers.items())
    assert all(utt.rsplit("_", 1)[1][0] == speaker[-1] for utt, speaker in speakers.items())
    assert read(tmp_path / "data/spk2gender") == {speaker: speaker[-1].lower() for speaker in table(ALL)}
    # the counts agree and the ids are invented
    totals = next(line for line in result.stdout.splitlines() if line.lstrip().startswith("total"))
    assert totals.endswith(f"{total} ({total})") and "found," not in result.stderr
    assert ("DIFFERENT" in result.stdout) == (word != "iemocap-all-4") == ("WARNING" in result.stderr)


def test_checksum_is_that_of_sort_and_sha256sum(full, tmp_path):
    result = prepare(full, tmp_path)
    pipeline = f"join {tmp_path}/utt2spk {tmp_path}/utt2emo | sed 's/^[^-]*-//' | LC_ALL=C sort | sha256sum"
    expected = subprocess.run(["bash", "-c", f"export LC_ALL=C; {pipeline}"], capture_output=True, text=True,
                              check=True).stdout.split()[0]
    assert f"lines: {expected}, DIFFERENT" in result.stdout
    script = (f"import sys, runpy; from local import iemocap_published as published\n"
              f"published.CHECKSUMS['iemocap-impro-4'] = '{expected}'\n"
              f"sys.argv = ['prep', '{full}', '{tmp_path}/again']\n"
              f"runpy.run_path('{ROOT}/local/iemocap_data_prep.py', run_name='__main__')")
    result = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": f"{ROOT}/steps:{ROOT}"},
                            capture_output=True, text=True)
    assert result.returncode == 0 and "the SAME as published" in result.stdout and "WARNING" not in result.stderr


@pytest.fixture
def small(tmp_path):
    """One improvised dialog of 40 turns with every wav; returns (root, label file, data directory)."""
    root = tmp_path / "corpus"
    turns = [(f"{voice}{number:03d}", "neu") for voice in "FM" for number in range(20)]
    labels = add_dialog(root, "Ses01F_impro01", turns, make_wav(tmp_path / "sound.wav"))
    return root, labels, tmp_path / "data"


def append(path, text, encoding="utf-8"):
    path.write_bytes(path.read_bytes() + text.encode(encoding))


def fails(small, *messages):
    """The preparation must fail without touching the data directory, and say all this."""
    result = prepare(small[0], small[2])
    assert result.returncode == 1 and not small[2].exists()
    assert "Traceback" not in result.stderr
    for message in messages:
        assert message in result.stderr
    return result


def test_subset_is_prepared_and_every_difference_named(small):
    result = prepare(small[0], small[2])
    assert result.returncode == 0
    assert len(read(small[2] / "utt2spk")) == 40
    assert "Ses01F neu: 20 found, 119 published" in result.stderr
    of_man = next(line.split() for line in result.stdout.splitlines() if line.split()[:1] == ["Ses05M"])
    assert of_man == "Ses05M 0 (136) 0 (50) 0 (13) 0 (60) 0 (259)".split()
    assert "46 more differences" in result.stderr and len(result.stderr.splitlines()) == 12
    assert "prepared" in result.stdout.splitlines()[-1]


def test_apple_double_files_and_annotator_folders_are_not_labels(small):
    root, labels, data = small
    (labels.parent / "._Ses01F_impro01.txt").write_bytes(b"\x00\x05\x16\x07\xac[1.0 - 2.0]\n")
    (root / "Session1/sentences/wav/Ses01F_impro01/._Ses01F_impro01_F000.wav").write_bytes(b"\x00\x05")
    for folder in ("Categorical", "Attribute", "Self-evaluation"):
        (labels.parent / folder).mkdir()
        (labels.parent / folder / "Ses01F_impro01_e2_cat.txt").write_text(block("Ses01F_impro01_F000", "ang"))
    result = prepare(root, data)
    assert result.returncode == 0 and set(read(data / "utt2emo").values()) == {"neu"}
    assert "no label line" not in result.stderr


def test_carriage_returns_and_comments_in_any_encoding(small):
    root, labels, data = small
    text = labels.read_text() + block("Ses01F_impro01_M020", "sad", comment="(clich\xe9\x85 [1.0])")
    labels.write_bytes(text.replace("\n", "\r\n").encode("latin-1"))
    os.link(small[0].parent / "sound.wav", root / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M020.wav")
    assert prepare(root, data).returncode == 0
    assert read(data / "utt2emo")["Ses01M-Ses01F_impro01_M020"] == "sad"
    assert b"\r" not in b"".join(path.read_bytes() for path in data.iterdir())


def test_dialog_whose_name_begins_another(small):
    root, _, data = small
    for dialog in ("Ses05M_script01_1", "Ses05M_script01_1b"):
        add_dialog(root, dialog, [("F000", "sad"), ("M000", "ang")], small[0].parent / "sound.wav")
    assert prepare("--scope", "all", root, data).returncode == 0
    speakers = read(data / "utt2spk")
    assert speakers["Ses05F-Ses05M_script01_1_F000"] == speakers["Ses05F-Ses05M_script01_1b_F000"] == "Ses05F"
    assert len(speakers) == 44


def test_turn_of_another_dialog(small):
    append(small[1], block("Ses01F_impro01b_F000", "ang"))
    fails(small, "Ses01F_impro01.txt:203: turn Ses01F_impro01b_F000")


def test_repeated_turn_conflict_unknown_label_and_bad_line_are_all_named(small):
    append(small[1], block("Ses01F_impro01_F000", "neu") + block("Ses01F_impro01_F001", "ang")
           + block("Ses01F_impro01_F020", "joy") + "[1.0 - 2.0] Ses01F_impro01_F021 neu [2.5, 2.5, 2.5]\n")
    at = str(small[1])
    fails(small, f"{at}:203: Ses01F_impro01_F000 is already in {at}:3",
          f"{at}:208: conflict: Ses01F_impro01_F001 is ang here and neu in {at}:8",
          f"{at}:213: unknown label 'joy' of Ses01F_impro01_F020", f"{at}:218: not '[start - end]", "4 problems")


def test_empty_label_file(small):
    small[1].write_text("")
    fails(small, f"{small[1]}: holds no turn")


@pytest.mark.parametrize("damage, reason", [
    (lambda wav: wav.unlink(), "is missing"),
    (lambda wav: (wav.unlink(), wav.write_bytes(b"not a wav")), "cannot be read"),
])
def test_unusable_wav_is_named_and_left_out(small, damage, reason):
    root, _, data = small
    wavs = sorted((root / "Session1/sentences/wav/Ses01F_impro01").iterdir())
    for wav in wavs[:2]:
        damage(wav)
    result = prepare(root, data)  # 38 of 40 are 95 %
    assert result.returncode == 0 and len(read(data / "wav.scp")) == 38
    for wav in wavs[:2]:
        assert f"Ses01F_impro01/{wav.name} {reason}" in result.stderr
        assert f"-{wav.stem} " not in (data / "utt2spk").read_text()
    damage(wavs[2])
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    result = prepare(root, data)
    assert result.returncode == 1 and "only 37 of 40" in result.stderr
    assert before == {path.name: path.read_bytes() for path in data.iterdir()}


def test_wav_without_label_is_named(small):
    root, _, data = small
    make_wav(root / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F099.wav")
    make_wav(root / "Session1/sentences/wav/Ses01F_script01_1/Ses01F_script01_1_F000.wav")
    result = prepare(root, data)
    assert result.returncode == 0 and "Ses01F_impro01_F099.wav has no label line" in result.stderr
    assert "script01_1" not in result.stderr


def test_missing_label_file_is_named_in_one_line(small, outcome):
    """Also that of a session without any, and past ten a count and the file that has all."""
    root, _, data = small
    sound = root.parent / "sound.wav"
    turns = [(f"F{number:03d}", "neu") for number in range(31)]
    add_dialog(root, "Ses01F_impro02", turns, sound).unlink()
    result = prepare(root, data)
    warning = result.stderr.splitlines()[0]
    assert result.returncode == 0 and "no label line" not in result.stderr
    assert (f"WARNING: {root}/Session1/dialog/EmoEvaluation/Ses01F_impro02.txt is missing: no label for 31 wavs of "
            f"{root}/Session1/sentences/wav/Ses01F_impro02") in warning
    outcome("a missing EmoEvaluation file", "1 data", 0, warning.partition(") ")[2].replace(f"{root}/", ""))
    for scene in range(1, 9):
        for actor in "FM":
            add_dialog(root, f"Ses03{actor}_impro0{scene}", turns[:2], sound).unlink()
    result = prepare(root, data)
    assert result.stderr.count(".txt is missing") == 10 and "and 7 more of this kind" in result.stderr
    assert (data / "log/left_out").read_text().count("Session3/dialog/EmoEvaluation/Ses03") == 16


def test_many_wrong_lines_are_counted(small):
    root, labels, data = small
    append(labels, "".join(block(f"Ses01F_impro01_F{number:03d}", "joy") for number in range(100, 150)))
    result = prepare(root, data)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 12
    assert (data / "log/left_out").read_text().count("unknown label 'joy'") == 50 and not (data / "utt2spk").exists()


@pytest.mark.parametrize("channels, rate, said", [(1, 8000, "(8000 Hz, 1 channel)"),
                                                  (2, 16000, "(16000 Hz, 2 channels)")])
def test_other_format_than_published_is_said(small, outcome, channels, rate, said):
    root, _, data = small
    for wav in sorted((root / "Session1/sentences/wav/Ses01F_impro01").iterdir())[:3]:
        wav.unlink()
        with wave.open(str(wav), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(bytes(3200))
    result = prepare(root, data)
    warning = result.stderr.splitlines()[0]
    assert "WARNING: 3 files are not 16000 Hz mono, as the corpus is published" in warning and said in warning
    assert len(read(data / "wav.scp")) == 40
    outcome(f"IEMOCAP {said}", "1 data", result.returncode, warning.partition(") ")[2].replace(f"{root}/", ""))


def test_copy_of_a_session_is_no_session(small):
    root, _, data = small
    shutil.copytree(root / "Session1", root / "Session1_copy")
    shutil.copytree(root / "Session1", root / "Session1 8k")
    result = prepare(root, data)
    assert result.returncode == 0 and "Session1_" not in (data / "wav.scp").read_text()
    assert f"left out: {root}/Session1 8k and 1 more: not one of Session1 to Session5" in result.stderr


def test_synthetic_corpus_is_marked(small):
    (small[0] / "SYNTHETIC").touch()
    result = prepare(small[0], small[2])
    assert (small[2] / "dataset").read_text() == "synthetic-iemocap-impro-4\n"
    assert "published counts do not apply" in result.stdout and "WARNING" not in result.stderr


def test_not_a_corpus(tmp_path):
    result = prepare(tmp_path, tmp_path / "data")
    assert result.returncode == 1 and not (tmp_path / "data").exists()
    assert "not an IEMOCAP tree" in result.stderr and len(result.stderr.splitlines()) == 1

"""local/make_folds.py and steps/ser/data/folds.py: who trains, who validates, who tests."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ser.base.errors import UserError
from ser.data.folds import read_fold, read_identification

ROOT = Path(__file__).resolve().parents[2]
IEMOCAP = [f"Ses0{session}{voice}" for session in range(1, 6) for voice in "FM"]


def make_folds(*args):
    return subprocess.run([sys.executable, ROOT / "local/make_folds.py", *map(str, args)], capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": f"{ROOT}/steps:{ROOT}"})


def write_utt2spk(data, sizes):
    utt2spk = {f"{speaker}-{number:03d}": speaker for speaker, size in sizes.items() for number in range(size)}
    (data / "utt2spk").write_text("".join(f"{utt} {utt2spk[utt]}\n" for utt in sorted(utt2spk)))
    return utt2spk


def folds_of(data, utt2spk):
    """Read the folds with plain Python: `{fold: {part: set of speakers}}`; every utterance is in one part of each."""
    names = (data / "folds/list").read_text().split()
    folds = {}
    for name in names:
        lists = {part: (data / "folds" / name / part).read_text().split() for part in ("train", "valid", "test")}
        assert sorted(sum(lists.values(), [])) == sorted(utt2spk)
        assert all(utts == sorted(utts) for utts in lists.values())
        folds[name] = {part: {utt2spk[utt] for utt in utts} for part, utts in lists.items()}
        assert sum(map(len, folds[name].values())) == len(set(utt2spk.values()))
    assert {path.name for path in (data / "folds").iterdir()} == {*names, "list", "protocol"}
    return folds


def test_ten_folds_swap_the_partners(tmp_path):
    utt2spk = write_utt2spk(tmp_path, dict.fromkeys(IEMOCAP, 3))
    assert make_folds("--protocol", "10fold", tmp_path).returncode == 0
    folds = folds_of(tmp_path, utt2spk)
    assert list(folds) == [f"fold_{speaker}" for speaker in IEMOCAP]
    for speaker in IEMOCAP:
        partner = speaker[:5] + {"F": "M", "M": "F"}[speaker[5]]
        assert folds[f"fold_{speaker}"]["test"] == {speaker} and folds[f"fold_{speaker}"]["valid"] == {partner}
        assert len(folds[f"fold_{speaker}"]["train"]) == 8
    assert (tmp_path / "folds/protocol").read_text() == "10fold\n"


def test_five_folds_are_one_direction(tmp_path):
    utt2spk = write_utt2spk(tmp_path, dict.fromkeys(IEMOCAP, 3))
    assert make_folds("--protocol", "5fold", tmp_path).returncode == 0
    folds = folds_of(tmp_path, utt2spk)
    assert [(fold["test"], fold["valid"]) for fold in folds.values()] == [
        ({f"Ses0{n}M"}, {f"Ses0{n}F"}) for n in range(1, 6)]
    assert list(folds)[0] == "fold_Ses01M" and (tmp_path / "folds/protocol").read_text() == "5fold\n"


def test_leave_one_speaker_out_goes_round(tmp_path):
    utt2spk = write_utt2spk(tmp_path, {"b": 3, "a": 2, "d": 1, "c": 5})
    assert make_folds("--protocol", "loso", tmp_path).returncode == 0
    assert [(fold["test"], fold["valid"]) for fold in folds_of(tmp_path, utt2spk).values()] == [
        ({"a"}, {"b"}), ({"b"}, {"c"}), ({"c"}, {"d"}), ({"d"}, {"a"})]


@pytest.mark.parametrize(("speakers", "protocol"), [(20, "loso"), (21, "kfold5")])
def test_many_speakers_are_grouped(tmp_path, speakers, protocol):
    write_utt2spk(tmp_path, {f"s{number:02d}": 3 for number in range(speakers)})
    assert make_folds("--protocol", "auto", tmp_path).returncode == 0
    assert (tmp_path / "folds" / "protocol").read_text() == f"{protocol}\n"


@pytest.mark.parametrize("sizes", [{f"Actor_{number:02d}": 28 for number in range(1, 25)},
                                   {str(1001 + number): 51 + number % 4 for number in range(91)}],
                         ids=["RAVDESS", "CREMA-D"])
def test_open_corpora_make_five_even_folds_of_both_sexes(tmp_path, sizes):
    utt2spk = write_utt2spk(tmp_path, sizes)
    assert make_folds("--protocol", "auto", tmp_path).returncode == 0
    folds = folds_of(tmp_path, utt2spk).values()
    tested = [fold["test"] for fold in folds]
    loads = [sum(sizes[speaker] for speaker in speakers) for speakers in tested]
    assert len(folds) == 5 and max(loads) - min(loads) <= max(sizes.values())
    assert all(len({int(speaker[-2:]) % 2 for speaker in speakers}) == 2 for speakers in tested)


def test_groups_of_speakers_are_balanced(tmp_path):
    generator = random.Random(0)
    sizes = {f"s{number:02d}": generator.randint(5, 30) for number in range(40)}
    utt2spk = write_utt2spk(tmp_path, sizes)
    assert make_folds("--protocol", "kfold", "--num-folds", "4", tmp_path).returncode == 0
    folds = list(folds_of(tmp_path, utt2spk).values())
    assert (tmp_path / "folds/list").read_text().split() == ["fold_01", "fold_02", "fold_03", "fold_04"]
    assert (tmp_path / "folds/protocol").read_text() == "kfold4\n"
    assert sorted(speaker for fold in folds for speaker in fold["test"]) == sorted(sizes)
    loads = [sum(sizes[speaker] for speaker in fold["test"]) for fold in folds]
    assert max(loads) - min(loads) <= min(sizes.values())
    assert [fold["valid"] for fold in folds] == [folds[(at + 1) % 4]["test"] for at in range(4)]


def test_old_folds_are_replaced_as_a_whole_and_kept_on_errors(tmp_path):
    utt2spk = write_utt2spk(tmp_path, dict.fromkeys(IEMOCAP, 3))
    make_folds("--protocol", "10fold", tmp_path)
    (tmp_path / "folds/stale").touch()
    make_folds("--protocol", "kfold", tmp_path)
    assert len(folds_of(tmp_path, utt2spk)) == 5
    assert make_folds("--protocol", "kfold", "--num-folds", "11", tmp_path).returncode == 1
    assert len(folds_of(tmp_path, utt2spk)) == 5
    assert {path.name for path in tmp_path.iterdir()} == {"utt2spk", "folds"}


@pytest.mark.parametrize("protocol, folder", [("loso", "folds"), ("identification", "identification")])
def test_folders_of_somebody_else_are_not_replaced(tmp_path, protocol, folder, outcome):
    write_utt2spk(tmp_path, dict.fromkeys(IEMOCAP, 3))
    (tmp_path / folder / "mine").mkdir(parents=True)
    (tmp_path / folder / "mine" / "thesis").touch()
    result = make_folds("--protocol", protocol, tmp_path)
    said = f"make_folds.py: {tmp_path / folder}: is made anew, and was not made by this script; move it elsewhere\n"
    outcome(f"{folder} of one's own", "3 folds", result.returncode, said.replace(f"{tmp_path}/", "")[:-1])
    assert result.returncode == 1 and result.stderr.endswith(said)
    assert {path.name for path in tmp_path.rglob("*")} == {folder, "utt2spk", "mine", "thesis"}
    (tmp_path / folder / "mine").rename(tmp_path / "elsewhere")
    assert make_folds("--protocol", protocol, tmp_path).returncode == 0


@pytest.mark.parametrize("protocol, speakers, message", [
    ("loso", ["a", "b"], "3 or more"),
    ("kfold", ["a", "b", "c", "d"], "no more than the 4 speakers"),
    ("10fold", IEMOCAP[:-1], "session Ses05 has 1 speakers"),
    ("10fold", IEMOCAP[:2], "one session"),
    ("5fold", ["Ses01A", "Ses01B", "Ses02A", "Ses02B"], "Ses01A and Ses01B"),
    ("identification", [f"a{n}" for n in range(3)], "2 or more utterances"),
])
def test_impossible_protocols(tmp_path, protocol, speakers, message):
    write_utt2spk(tmp_path, dict.fromkeys(speakers, 1))
    result = make_folds("--protocol", protocol, tmp_path)
    assert result.returncode == 1 and message in result.stderr and len(result.stderr.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"utt2spk"}


def test_identification_holds_out_the_last_tenth_of_each_speaker(tmp_path):
    utt2spk = write_utt2spk(tmp_path, {"a": 25, "b": 2, "c": 1, "d": 10})
    assert make_folds("--protocol", "identification", tmp_path).returncode == 0
    parts = read_identification(tmp_path / "identification", utt2spk)
    assert parts["valid"] == ["a-023", "a-024", "b-001", "d-009"]
    assert sorted(parts["train"] + parts["valid"]) == sorted(utt2spk)


def test_identification_follows_utt2split(tmp_path):
    utt2spk = write_utt2spk(tmp_path, {"a": 3, "b": 3})
    split = {utt: ("train", "valid", "test")[int(utt[-1])] for utt in utt2spk}
    (tmp_path / "utt2split").write_text("".join(f"{utt} {part}\n" for utt, part in split.items()))
    assert make_folds("--protocol", "identification", tmp_path).returncode == 0
    assert read_identification(tmp_path / "identification", utt2spk) == {
        "train": ["a-000", "b-000"], "valid": ["a-001", "a-002", "b-001", "b-002"]}
    (tmp_path / "utt2split").write_text("a-000 train\n")
    result = make_folds("--protocol", "identification", tmp_path)
    assert result.returncode == 1 and "says nothing of a-001" in result.stderr


UTT2SPK = {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}


@pytest.mark.parametrize("parts, message", [
    ({"train": "a1", "valid": "a2", "test": "c1"}, "speaker a is in train and in valid"),
    ({"train": "a1", "valid": "b1", "test": "b1"}, "b1 is in valid too"),
    ({"train": "a1", "valid": "b1", "test": ""}, "test: empty"),
    ({"train": "a1", "valid": "b1", "test": "x9"}, "utterance x9 is not in"),
    ({"train": "a1 a1", "valid": "b1", "test": "c1"}, "twice"),
    ({"train": "a1", "valid": "b1"}, "test: no such file"),
])
def test_bad_folds_are_refused(tmp_path, parts, message):
    for part, utts in parts.items():
        (tmp_path / part).write_text(utts.replace(" ", "\n") + "\n")
    with pytest.raises(UserError, match=message):
        read_fold(tmp_path, UTT2SPK)


def test_identification_needs_the_speakers_of_valid_in_train(tmp_path):
    (tmp_path / "train").write_text("a1\n")
    (tmp_path / "valid").write_text("a2\nb1\n")
    with pytest.raises(UserError, match="speaker b is in valid and not in train"):
        read_identification(tmp_path, UTT2SPK)

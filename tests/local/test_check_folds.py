"""What local/make_folds.py says of divisions that cannot work or mean little, with --check true before any feature."""

import wave

import pytest

from conftest import run

WORKS = {f"s{number}": {"ang": 40, "sad": 40} for number in range(1, 7)}


def write(data, counts):
    """utt2spk and utt2emo of `{speaker: {label: utterances}}`."""
    data.mkdir(exist_ok=True)
    utterances = [(f"{speaker}-{label}{number:03d}", speaker, label) for speaker, of_speaker in counts.items()
                  for label, size in of_speaker.items() for number in range(size)]
    for name, column in (("utt2spk", 1), ("utt2emo", 2)):
        (data / name).write_text("".join(f"{row[0]} {row[column]}\n" for row in sorted(utterances)))
    return data


def check(data, *options, protocol="loso"):
    return run("local/make_folds.py", "--check", "true", "--protocol", protocol, *options, data, check=False)


def test_nothing_is_said_of_what_works_and_nothing_written(tmp_path):
    data = write(tmp_path / "data", WORKS)
    result = check(data)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert {path.name for path in data.iterdir()} == {"utt2spk", "utt2emo"}


def each(speakers, labels=("ang", "sad"), size=80):
    return {f"s{number}": dict.fromkeys(labels, size) for number in range(1, speakers + 1)}


@pytest.mark.parametrize("fault, counts, status, said", [
    ("one speaker", each(1), 1, "loso needs 3 or more speakers, found 1"),
    ("two speakers", each(2), 1, "loso needs 3 or more speakers, found 2"),
    ("three speakers", each(3), 0, "WARNING: fold_s1: s3 alone trains: L_AD-, the loss over speakers, has one class"),
    ("four speakers", each(4), 0, "WARNING: fold_s1: only s3 and s4 train"),
    ("one class", each(5, ["ang"]), 1, "utt2emo: has only one label, ang; there is nothing to tell apart"),
    ("a class of one speaker", {**WORKS, "s1": {"ang": 40, "sad": 40, "fea": 3}}, 0,
     "WARNING: fold_s1: no utterance of fea in train (3 in test, 0 in valid); it cannot be recognized there"),
    ("a class that few test", {**WORKS, "s1": {"ang": 40, "sad": 40, "fea": 3}}, 0,
     "WARNING: no utterance of fea in the test part of 5 of 6 folds, such as fold_s2: their UA is over fewer"),
    ("a class in no training part", {**each(2), "s3": {"ang": 99}, "s4": {"ang": 99}, "s5": {"ang": 99}}, 0,
     "WARNING: fold_s1: all that trains is ang, nothing is learned"),
    ("fewer than a batch", each(5, size=20), 0,
     "WARNING: 5 of 5 folds train on fewer utterances than a batch of 128, such as fold_s1 on 120"),
])
def test_before_features_are_made(tmp_path, outcome, fault, counts, status, said):
    result = check(write(tmp_path / "data", counts))
    line = next((line for line in result.stderr.splitlines() if said in line), "")
    assert result.returncode == status and line, result.stderr
    assert status == 0 or len(result.stderr.splitlines()) == 1
    outcome(fault, "1 data", status, line[line.index(said[:5]):])


def test_training_finds_what_the_check_says(tmp_path):
    """The folds that are written have those parts: counted here from their lists."""
    data = write(tmp_path / "data", {**WORKS, "s1": {"ang": 40, "sad": 40, "fea": 3}})
    result = run("local/make_folds.py", "--protocol", "loso", data)
    assert "fold_s1: no utterance of fea in train (3 in test, 0 in valid)" in result.stderr
    for fold in (data / "folds/list").read_text().split():
        train = (data / "folds" / fold / "train").read_text()
        missing = "-fea" not in train
        assert missing == (f"{fold}: no utterance of fea in train" in result.stderr)


def test_the_batch_is_that_of_the_configuration(tmp_path):
    data = write(tmp_path / "data", each(5, size=20))
    (tmp_path / "conf").write_text("# of a small corpus\n--batch-size=32\n--epochs=3\n")
    assert check(data, "--training-config", tmp_path / "conf").stderr == ""
    assert "--training-config nowhere" not in check(data, "--training-config", "conf/finetune.conf").stderr
    result = check(data, "--training-config", tmp_path / "nowhere")
    assert result.returncode == 1 and "nowhere: no such configuration file" in result.stderr


def test_labels_that_are_missing(tmp_path):
    data = write(tmp_path / "data", WORKS)
    lines = (data / "utt2emo").read_text().splitlines()
    (data / "utt2emo").write_text("\n".join(lines[2:]) + "\n")
    result = check(data)
    assert result.returncode == 1 and "has no label for s1-ang000 (2 missing)" in result.stderr


@pytest.mark.parametrize("counts, status, said", [
    (each(1), 1, "pre-training needs 2 or more speakers, found 1"),
    (each(3, size=1, labels=["ang"]), 1, "nothing to validate on"),
    (each(2, size=20), 0, "WARNING: 72 utterances to pre-train on, fewer than a batch of 128"), (WORKS, 0, "")])
def test_speakers_to_pretrain_on(tmp_path, counts, status, said):
    data = write(tmp_path / "data", counts)
    result = check(data, protocol="identification")
    assert result.returncode == status and said in result.stderr and not (data / "identification").exists()
    assert len(result.stderr.splitlines()) == bool(said)


def test_many_warnings_are_counted(tmp_path):
    counts = {f"s{number:02d}": {"ang": 40, "sad": 40, f"own{number:02d}": 1} for number in range(15)}
    data = write(tmp_path / "data", counts)
    result = check(data)
    assert len(result.stderr.splitlines()) == 11 and "and 35 more of this kind" in result.stderr
    assert (data / "log/fold_warnings").read_text().count("cannot be recognized there") == 30


def test_run_sh_stops_before_features(tmp_path, outcome):
    source = write(tmp_path / "corpus", each(4, ["ang"], 3))
    with wave.open(str(source / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(b"\1\0\0\0" * 8000)
    utts = [line.split()[0] for line in (source / "utt2spk").read_text().splitlines()]
    (source / "wav.scp").write_text("".join(f"{utt} a.wav\n" for utt in utts))
    options = ("--data-dir", tmp_path / "data", "--exp-dir", tmp_path / "exp", "--systems", "vgg5_baseline",
               "--stop-stage", "2", "--ser-data", source)
    result = run("./run.sh", *options, check=False)
    assert result.returncode == 1 and "has only one label, ang" in result.stderr and "stage 2" not in result.stdout
    outcome("one class, the whole recipe", "1 data", 1, result.stderr.splitlines()[-1].replace(f"{tmp_path}/", ""))
    # With a mended source the same command goes on
    rest = [f"{utt} {('ang', 'sad')[number % 2]}" for number, utt in enumerate(utts[2:])]
    (source / "utt2emo").write_text("\n".join(rest) + "\n")
    result = run("./run.sh", *options, check=False)
    assert result.returncode == 1 and "--allow-unlabelled true" in result.stderr
    result = run("./run.sh", *options, "--allow-unlabelled", "true", check=False)
    assert result.returncode == 0 and "WARNING: fold_s1: only s3 and s4 train" in result.stderr, result.stderr
    result = run("./run.sh", "--allow-unlabelled", "true", "--exp-dir", tmp_path / "other", check=False)
    assert result.returncode == 1 and "--allow-unlabelled is not for --corpus mini" in result.stderr

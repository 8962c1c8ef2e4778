"""The stamp of a data directory: another for every change of content, the same wherever and whenever it was made."""

import os
import shutil
from dataclasses import asdict

import numpy as np
import pytest
import soundfile

from conftest import read_matrices, read_vectors, run
from ser.data.archives import write_archive
from ser.data.data_dir import read_table, write_table
from ser.model_dir import data_stamp
from ser.model_dir.data_stamp import stamp_data
from stages import moved

FOLD = "folds/fold_s1"


@pytest.fixture(scope="module")
def stamp(tiny):
    return stamp_data(tiny, FOLD, "utterance-mean")


@pytest.fixture
def data(tiny, tmp_path):
    """A copy in another place, whose tables name archives of that place."""
    return moved(tiny.parent, tmp_path / "elsewhere") / "data"


def edit(name, old, new):
    def change(data):
        text = (data / name).read_text()
        assert old in text
        (data / name).write_text(text.replace(old, new, 1))
    return change


def one_feature(data):
    matrices = dict(read_matrices(read_table(data / "feats.scp")))
    voiced = np.flatnonzero(dict(read_vectors(read_table(data / "vad.scp")))["s3-sad2"])
    matrices["s3-sad2"] = matrices["s3-sad2"].copy()
    matrices["s3-sad2"][voiced[0], 7] += 1e-4
    write_archive(data / "feats", matrices.items())


def one_decision(data):
    vectors = dict(read_vectors(read_table(data / "vad.scp")))
    vectors["s3-sad2"] = vectors["s3-sad2"].copy()
    vectors["s3-sad2"][np.flatnonzero(vectors["s3-sad2"])[0]] = 0
    write_archive(data / "vad", vectors.items())


def an_utterance_less(data):
    for name in ("feats.scp", "vad.scp"):
        table = read_table(data / name)
        del table["s4-sad5"]
        write_table(data / name, table)


CHANGES = {
    "a feature": (one_feature, "features (48 utterances, now 48)"),
    "a VAD decision": (one_decision, "features (48 utterances, now 48)"),
    "an utterance less": (an_utterance_less, "features (48 utterances, now 47)"),
    "a label": (edit("utt2emo", "s1-ang0 ang", "s1-ang0 sad"), "labels (utt2emo)"),
    "a speaker": (edit("utt2spk", "s1-ang0 s1", "s1-ang0 s9"), "speakers (utt2spk)"),
    "the data set": (edit("dataset", "source-2", "source-3"), "name of the data set"),
    "fbank.conf": (edit("conf/fbank.conf", "--frame-shift=10", "--frame-shift=9"),
                   "configuration of the features (in its folder conf)"),
    "vad.conf": (edit("conf/vad.conf", "--aggressiveness=2", "--aggressiveness=3"),
                 "configuration of the features (in its folder conf)"),
    "a list of the fold": (edit(f"{FOLD}/train", "s3-ang0\n", ""), "lists of utterances"),
    "the protocol": (edit("folds/protocol", "loso", "kfold"), "lists of utterances"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_of_content_is_seen_and_named(what, data, stamp):
    change, words = CHANGES[what]
    assert stamp_data(data, FOLD, "utterance-mean") == stamp
    change(data)
    now = stamp_data(data, FOLD, "utterance-mean")
    assert now.changes_since(asdict(stamp)) == [words]
    assert (now.of_data == stamp.of_data) == (words == "lists of utterances")


def test_one_recording_exchanged_and_extracted_again(data, stamp):
    """The only change is the sound of a file of the same name; then that very sound comes back."""
    path = read_table(data / "wav.scp")["s2-ang1"]
    samples, rate = soundfile.read(path, dtype="int16")
    for sound, changes in ((samples[::-1], ["features (48 utterances, now 48)"]), (samples, [])):
        soundfile.write(path, sound, rate)
        run("steps/make_fbank.sh", "--nj", "3", data)
        run("steps/compute_vad.sh", "--nj", "1", data)
        assert stamp_data(data, FOLD, "utterance-mean").changes_since(asdict(stamp)) == changes


def test_neither_times_nor_comments_nor_the_bank_count(data, stamp):
    edit("conf/fbank.conf", "--frame-shift=10", "# every 10 ms\n--frame-shift=10  # ms")(data)
    for path in data.rglob("*"):
        os.utime(path, (1e9, 1e9))
    shutil.rmtree(data / "bank", ignore_errors=True)
    for norm, dtype in (("none", np.float16), ("utterance", np.float32)):
        assert stamp_data(data, FOLD, norm, dtype) == stamp
    data_stamp._stamp_without_lists.cache_clear()
    (data / "bank" / "none.float16" / "index").write_bytes(b"")
    assert stamp_data(data, FOLD, "utterance") == stamp
    assert (data / "bank" / "utterance.float32" / "index").exists()


def test_without_room_for_a_bank_the_archives_are_read(data, stamp, capsys):
    shutil.rmtree(data / "bank", ignore_errors=True)
    (data / "bank").touch()
    assert stamp_data(data, FOLD, "utterance-mean") == stamp
    assert "bank: cannot be made" in capsys.readouterr().err
    one_feature(data)
    assert stamp_data(data, FOLD, "utterance-mean").features != stamp.features


def test_a_copy_of_the_users_in_bank_is_left_alone(data):
    own = data / "bank" / "mine"
    own.mkdir(parents=True, exist_ok=True)
    (own / "index").write_text("mine")
    (own / "notes").write_text("mine")
    one_feature(data)
    stamp_data(data, FOLD, "utterance-mean")
    assert (own / "index").read_text() == (own / "notes").read_text() == "mine"


def test_a_data_directory_is_looked_at_once_for_many_trainings(data, monkeypatch):
    looks = []
    whole = data_stamp.content_checksums
    monkeypatch.setattr(data_stamp, "content_checksums", lambda features: looks.append(1) or whole(features))
    stamps = [stamp_data(data, f"folds/fold_s{number}", "utterance-mean") for number in (1, 2, 3, 4) * 50]
    assert len(looks) == 1 and len({stamp.lists for stamp in stamps}) == 4
    assert len({stamp.of_data for stamp in stamps}) == 1

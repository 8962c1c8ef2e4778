"""steps/make_functionals.sh: one vector of each utterance, whatever the number of jobs, and what it says when it
cannot."""

import shutil

import kaldi_native_io as kio
import numpy as np
import pytest
from test_feature_stage import (  # fixtures of features
    copy_of,
    five,  # noqa: F401
    five_done,  # noqa: F401
    make_data,
    noise,
)

from conftest import run
from ser.audio.fbank import FbankConfig
from ser.audio.functionals import functionals
from ser.audio.vad import VadConfig, voiced_frames
from ser.data.archives import write_archive
from ser.data.data_dir import read_table, write_table
from stages import moved


def vectors(data):
    with kio.RandomAccessFloatVectorReader(f"scp:{data}/functionals.scp") as reader:
        return {utt: np.array(reader[utt]) for utt in read_table(data / "functionals.scp")}


@pytest.fixture(scope="module")
def five_voiced(five_done):  # noqa: F811
    data = copy_of(five_done, five_done.parent / "voiced")
    run("steps/compute_vad.sh", "--nj", 1, data)
    return data


def test_of_segments_at_the_frames_of_the_configuration_by_two_jobs(tmp_path, script):
    """Utterances of two recordings, on frames of 32 ms every 8 ms."""
    sounds = {"a-r": noise(40000), "b-r": noise(16000, 1)}
    data = make_data(tmp_path / "data", sounds, {"a-1": "a-r 0.5 1.5", "a-2": "a-r 1.25 2.0", "b-1": "b-r 0.0 0.9"})
    conf = tmp_path / "fbank.conf"
    conf.write_text("--frame-length=32\n--frame-shift=8\n")
    script("steps/make_fbank.sh", "--nj", 1, "--fbank-config", conf, data)
    script("steps/compute_vad.sh", "--nj", 1, data)
    said = script("steps/make_functionals.sh", "--nj", 2, data).stdout
    assert f"wrote functionals of 3 of 3 utterances: {data}/functionals.scp" in said
    for job in (1, 2):
        assert (data / f"data/functionals_data.{job}.ark").is_file()
        assert (data / f"log/functionals_data.{job}.log").is_file()
    assert not list((data / "data").glob(".functionals*"))
    script("steps/validate_data_dir.py", data)
    config = FbankConfig(frame_length=32.0, frame_shift=8.0)
    found = vectors(data)
    assert list(found) == ["a-1", "a-2", "b-1"]
    parts = sounds["a-r"][8000:24000], sounds["a-r"][20000:32000], sounds["b-r"][:14400]
    for vector, part in zip(found.values(), parts, strict=True):
        samples = part.astype(np.float32)
        expected = functionals(samples, voiced_frames(samples, config, VadConfig()), config)
        assert vector.tobytes() == expected.tobytes()


def described(source, target):
    """A copy with functionals, some numbers, where those of one job lie."""
    data = moved(source, target)
    numbers = np.random.default_rng(0).normal(size=(len(read_table(data / "utt2spk")), 4)).astype(np.float32)
    write_archive(data / "data" / f"functionals_{data.name}.1", zip(read_table(data / "utt2spk"), numbers, strict=True))
    shutil.move(data / "data" / f"functionals_{data.name}.1.scp", data / "functionals.scp")
    return data


def test_features_made_again_take_them_away(five_voiced, tmp_path, script):
    data = described(five_voiced, tmp_path / "data")
    said = (data / "functionals.scp").read_text()
    script("steps/compute_vad.sh", "--nj", 1, data)
    assert not (data / "functionals.scp").exists()
    (data / "functionals.scp").write_text(said)
    script("steps/make_fbank.sh", "--nj", 1, data)
    assert not (data / "functionals.scp").exists()


@pytest.mark.parametrize("missing", ["vad.scp", "conf/fbank.conf"])
def test_it_needs_features_and_voice_activity(missing, five_voiced, tmp_path, script, outcome):
    data = copy_of(five_voiced, tmp_path / "data")
    (data / missing).unlink()
    result = script("steps/make_functionals.sh", data, check=False)
    outcome(f"no {missing} for functionals", "2 functionals", result.returncode,
            result.stderr.replace(f"{tmp_path}/", "").splitlines()[0])
    assert result.returncode == 1 and not (data / "functionals.scp").exists()
    assert result.stderr.splitlines() == [
        f"make_functionals.sh: {data}/{missing}: no such file",
        f"make_functionals.sh: run steps/make_fbank.sh {data} and steps/compute_vad.sh {data} first"]


def test_audio_that_has_changed_since_is_said_and_those_of_before_stay(five_voiced, tmp_path, script, outcome):
    data = described(five_voiced, tmp_path / "data")  # whose archive this run might overwrite
    before = (data / "functionals.scp").read_text(), vectors(data)
    table = read_table(data / "wav.scp")
    other = {"a-00": "b-01", "a-02": "a-04", "a-04": "b-03", "b-01": "a-00", "b-03": "a-02"}
    write_table(data / "wav.scp", {utt: table[other[utt]] for utt in table})
    result = script("steps/make_functionals.sh", "--nj", 1, data, check=False)
    said = next(line for line in result.stderr.splitlines() if "b-01" in line)
    outcome("audio changed after the features", "2 functionals", result.returncode, said)
    assert result.returncode == 1 and result.stderr.count("make_functionals.sh: skipping ") == 5
    assert said == ("make_functionals.sh: skipping b-01: 15 frames and 18 decisions of vad.scp; was the audio changed? "
                    "run steps/make_fbank.sh and steps/compute_vad.sh again")
    after = vectors(data)
    assert (data / "functionals.scp").read_text() == before[0]
    assert all(np.array_equal(after[utt], vector) for utt, vector in before[1].items())


def test_a_file_of_the_users_is_not_removed(five_voiced, tmp_path, script):
    data = copy_of(five_voiced, tmp_path / "data")
    pieces = data / "data" / ".functionals_data"
    pieces.mkdir()
    shutil.copy(data / "wav.scp", pieces / "mine")
    result = script("steps/make_functionals.sh", data, check=False)
    assert result.returncode == 1 and "holds files that are not of this script; move them away" in result.stderr
    assert (pieces / "mine").exists()

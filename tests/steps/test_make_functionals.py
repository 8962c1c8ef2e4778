"""steps/make_functionals.sh: one vector of each utterance, whatever the number of jobs, and what it says when it
cannot."""

import shutil

import kaldi_native_io as kio
import numpy as np
import pytest
from test_feature_stage import (  # fixtures of features
    copy_of,
    decisions,
    five,  # noqa: F401
    five_done,  # noqa: F401
    make_data,
    noise,
)

from conftest import run
from ser.audio.fbank import FbankConfig
from ser.audio.functionals import functionals
from ser.audio.vad import VadConfig, voiced_frames
from ser.audio.waveform import load_audio
from ser.data.data_dir import read_table, write_table


def vectors(data):
    with kio.RandomAccessFloatVectorReader(f"scp:{data}/functionals.scp") as reader:
        return {utt: np.array(reader[utt]) for utt in read_table(data / "functionals.scp")}


@pytest.fixture(scope="module")
def five_voiced(five_done):  # noqa: F811
    data = copy_of(five_done, five_done.parent / "voiced")
    run("steps/compute_vad.sh", "--nj", 1, data)
    return data


@pytest.fixture(scope="module")
def five_described(five_voiced):
    """With functionals of two jobs, which lie in archives of this folder, and what was said."""
    data = copy_of(five_voiced, five_voiced.parent / "described")
    return data, run("steps/make_functionals.sh", "--nj", 2, data).stdout


def test_same_bits_whatever_nj(five_described, script):
    """Of two jobs as of none; the next test is of one."""
    data, said = five_described
    assert f"wrote functionals of 5 of 5 utterances: {data}/functionals.scp" in said
    found = vectors(data)
    for job in (1, 2):
        assert (data / f"data/functionals_{data.name}.{job}.ark").is_file()
        assert (data / f"log/functionals_{data.name}.{job}.log").is_file()
    assert list(found) == sorted(read_table(data / "utt2spk"))
    assert not list((data / "data").glob(".functionals*"))
    script("steps/validate_data_dir.py", data)
    sounds = read_table(data / "wav.scp")
    for utt, voiced in decisions(data).items():
        assert found[utt].tobytes() == functionals(load_audio(sounds[utt]), voiced, FbankConfig()).tobytes()


def test_of_segments_at_the_frames_of_the_configuration(tmp_path, script):
    """Two utterances of a recording, on frames of 32 ms every 8 ms."""
    sound = noise(40000)
    data = make_data(tmp_path / "data", {"a-r": sound}, {"a-1": "a-r 0.5 1.5", "a-2": "a-r 1.25 2.0"})
    conf = tmp_path / "fbank.conf"
    conf.write_text("--frame-length=32\n--frame-shift=8\n")
    script("steps/make_fbank.sh", "--nj", 1, "--fbank-config", conf, data)
    script("steps/compute_vad.sh", "--nj", 1, data)
    script("steps/make_functionals.sh", "--nj", 1, data)
    config = FbankConfig(frame_length=32.0, frame_shift=8.0)
    found = vectors(data)
    assert list(found) == ["a-1", "a-2"]
    for vector, part in zip(found.values(), (slice(8000, 24000), slice(20000, 32000)), strict=True):
        samples = sound[part].astype(np.float32)
        expected = functionals(samples, voiced_frames(samples, config, VadConfig()), config)
        assert np.array_equal(vector, expected)


def test_features_made_again_take_them_away(five_described, tmp_path, script):
    for again in ("steps/make_fbank.sh", "steps/compute_vad.sh"):
        data = copy_of(five_described[0], tmp_path / again[6:])
        assert (data / "functionals.scp").exists()
        script(again, "--nj", 1, data)
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


def test_audio_that_has_changed_since_is_said_and_those_of_before_stay(five_described, tmp_path, script, outcome):
    data = copy_of(five_described[0], tmp_path / "described")
    (data / "functionals.scp").write_text((data / "functionals.scp").read_text().replace(
        str(five_described[0]), str(data)))  # whose archives this run might overwrite
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

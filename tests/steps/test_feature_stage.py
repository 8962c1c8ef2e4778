"""steps/make_fbank.sh and steps/compute_vad.sh from wav.scp to scp, with good data and with every kind of bad."""

import os
import re
import shutil
import signal
import subprocess
import time

import kaldi_native_io as kio
import numpy as np
import pytest
import soundfile

from conftest import run
from ser.audio.fbank import FbankConfig, FbankExtractor
from ser.audio.vad import VadConfig, voiced_frames
from ser.data.data_dir import read_table, spk2utt_of, write_table
from ser.data.feature_bank import load_bank
from stages import moved


def noise(samples, seed=0, rate=16000):
    time = np.arange(samples) / rate
    buzz = sum(np.sin(2 * np.pi * 130 * k * time) / k for k in range(1, 20)) * (1 + np.sin(2 * np.pi * 3 * time))
    return np.int16(3000 * buzz + np.random.default_rng(seed).normal(0, 200, samples))


def make_data(data, sounds, segments=None):
    """A data directory of `{recording: samples, or bytes of a file, or None}`; two speakers, labels, genders."""
    audio = data.parent / f"audio of {data.name}"
    audio.mkdir(parents=True)
    data.mkdir(parents=True, exist_ok=True)
    for key, sound in sounds.items():
        if isinstance(sound, bytes):
            (audio / f"{key}.wav").write_bytes(sound)
        elif sound is not None:
            soundfile.write(audio / f"{key}.wav", sound, 16000)
    write_table(data / "wav.scp", {key: audio / f"{key}.wav" for key in sounds})
    utt2spk = {utt: utt[0] for utt in segments or sounds}
    write_table(data / "utt2spk", utt2spk)
    write_table(data / "spk2utt", spk2utt_of(utt2spk))
    write_table(data / "utt2emo", dict.fromkeys(utt2spk, "neu"))
    write_table(data / "text", dict.fromkeys(utt2spk, "neu"))
    write_table(data / "spk2gender", {speaker: "m" for speaker in set(utt2spk.values())})
    if segments:
        write_table(data / "segments", segments)
    return data


def utterances(count):
    return {f"{'ab'[n % 2]}-{n:02d}": noise(3000 + 371 * (n % 30), n) for n in range(count)}


def features(data):
    with kio.RandomAccessFloatMatrixReader(f"scp:{data}/feats.scp") as reader:
        return {utt: np.array(reader[utt]) for utt in read_table(data / "feats.scp")}


def decisions(data):
    with kio.RandomAccessFloatVectorReader(f"scp:{data}/vad.scp") as reader:
        return {utt: np.array(reader[utt]) for utt in read_table(data / "vad.scp")}


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("five") / "five", utterances(5))


@pytest.fixture(scope="module")
def five_done(five):
    data = copy_of(five, five.parent / "done" / "nj1")
    run("steps/make_fbank.sh", "--nj", 1, data)
    return data


def copy_of(data, target):
    return shutil.copytree(data, target)


@pytest.fixture(scope="module")
def by_jobs(five, five_done):
    """Features and VAD by one job and by two, `{nj: data directory}`, and what make_fbank.sh said of two."""
    made = {1: moved(five_done, five.parent / "nj1"), 2: copy_of(five, five.parent / "nj2")}
    said = run("steps/make_fbank.sh", "--nj", 2, made[2]).stdout
    for nj, data in made.items():
        run("steps/compute_vad.sh", "--nj", nj, data)
    return made, said


def test_same_bits_whatever_nj(by_jobs, script):
    made, _ = by_jobs
    for nj, data in made.items():
        jobs = range(1, nj + 1)
        assert {path.name for path in (data / "data").iterdir()} == {
            f"{kind}_nj{nj}.{job}.ark" for kind in ("raw_fbank", "vad") for job in jobs}
        assert {path.name for path in (data / "log").iterdir()} == {
            f"{kind}_nj{nj}.{job}.log" for kind in ("make_fbank", "vad") for job in jobs}
        for table in ("feats.scp", "vad.scp"):
            places = read_table(data / table)
            assert list(places) == sorted(read_table(data / "utt2spk"))
            assert all(place.startswith(f"{data}/data/") for place in places.values())
    one, two = made.values()
    script("steps/validate_data_dir.py", two)
    assert (one / "utt2dur").read_text() == (two / "utt2dur").read_text()
    for read in (features, decisions):
        ours, others = read(one), read(two)
        assert ours.keys() == others.keys() and all(ours[utt].tobytes() == others[utt].tobytes() for utt in ours)


def test_tables_follow_from_the_samples(by_jobs):
    made, said = by_jobs
    data = made[2]
    assert f"wrote features of 5 of 5 utterances: {data}/feats.scp" in said
    samples = {utt: len(sound) for utt, sound in utterances(5).items()}
    frames = {utt: 1 + (size - 640) // 160 for utt, size in samples.items()}
    assert {utt: int(word) for utt, word in read_table(data / "utt2num_frames").items()} == frames
    assert {utt: round(float(word) * 16000) for utt, word in read_table(data / "utt2dur").items()} == samples
    assert {utt: matrix.shape for utt, matrix in features(data).items()} == {utt: (n, 41) for utt, n in frames.items()}
    assert {utt: len(vector) for utt, vector in decisions(data).items()} == frames
    assert set(np.concatenate(list(decisions(data).values()))) <= {0, 1}
    assert (data / "frame_shift").read_text() == "0.010\n"
    assert (data / "conf/fbank.conf").read_bytes() == open("conf/fbank.conf", "rb").read()


def test_directories_and_configuration_of_ones_own(five, tmp_path, script):
    data, conf = copy_of(five, tmp_path / "data"), tmp_path / "fbank.conf"
    conf.write_text("  --num-mel-bins=40  # and\n--use-energy=true\n\n --frame-shift=20 # ms\n--frame-length=25\n")
    logs, archives = tmp_path / "some/logs", tmp_path / "some/archives"
    script("steps/make_fbank.sh", "--nj", 1, "--fbank-config", conf, data, logs, archives)
    script("steps/compute_vad.sh", "--nj", 1, data, logs, archives)
    assert (data / "frame_shift").read_text() == "0.020\n"
    assert {path.name for path in logs.iterdir()} == {"make_fbank_data.1.log", "vad_data.1.log"}
    assert {path.name for path in archives.iterdir()} == {"raw_fbank_data.1.ark", "vad_data.1.ark"}
    assert not (data / "data").exists() and not (data / "log").exists()
    for utt, sound in utterances(5).items():
        matrix = features(data)[utt]
        assert matrix.shape == (1 + (len(sound) - 400) // 320, 41) and len(decisions(data)[utt]) == len(matrix)
        frame = sound[:400] - sound[:400].mean()
        assert abs(matrix[0, 0] - np.log(np.sum(frame**2))) < 1e-3  # the energy is column 0


def test_segments(tmp_path, script):
    sound = noise(48000)
    segments = {"a-1": "rec1 0.0 1.0", "a-2": "rec1 1.25 -1", "b-1": "rec2 0.5 1.5", "b-2": "rec1 2.5 2.75"}
    data = make_data(tmp_path / "data", {"rec1": sound, "rec2": noise(16000, 1)}, segments)
    parts = {"a-1": sound[:16000], "a-2": sound[20000:], "b-1": noise(16000, 1)[8000:], "b-2": sound[40000:44000]}
    script("steps/make_fbank.sh", "--nj", 2, data)
    script("steps/compute_vad.sh", "--nj", 2, data)
    script("steps/validate_data_dir.py", data)
    found, voiced = features(data), decisions(data)
    assert {utt: round(float(word) * 16000) for utt, word in read_table(data / "utt2dur").items()} == {
        utt: len(part) for utt, part in parts.items()}
    for utt, part in parts.items():
        samples, config = part.astype(np.float32), FbankConfig()
        assert found[utt].tobytes() == FbankExtractor(config)(samples).tobytes()
        assert np.array_equal(voiced[utt], voiced_frames(samples, config, VadConfig()))


def test_a_recording_that_no_segment_keeps(tmp_path, script):
    segments = {f"a-{n:02d}": f"rec1 {n}.0 {n}.5" for n in range(20)} | {"b-1": "rec2 0.0 1.0"}
    data = make_data(tmp_path / "data", {"rec1": noise(20 * 16000), "rec2": b"not a wav"}, segments)
    result = script("steps/make_fbank.sh", "--nj", 1, data)
    assert "skipping b-1: " in result.stderr and "rec2.wav: cannot be read" in result.stderr
    assert "fix_data_dir.py: kept 20 of 21" in script("steps/fix_data_dir.py", data).stdout
    script("steps/validate_data_dir.py", data)
    assert list(read_table(data / "wav.scp")) == ["rec1"] and list(read_table(data / "spk2gender")) == ["a"]


BAD = {  # utterance: what stands in place of its sound, and what is said of it
    "a-04": (b"not a wav", "Format not recognised"),
    "b-19": (b"", "it is empty"),
    "a-40": (None, "No such file"),
    "b-61": (noise(639), "639 samples are shorter than one window"),
}


def test_bad_audio_is_named_and_left_out(tmp_path, script):
    data = make_data(tmp_path / "my data", utterances(80) | {utt: what for utt, (what, _) in BAD.items()})
    result = script("steps/make_fbank.sh", "--nj", 2, data)
    for utt, (_, reason) in BAD.items():
        assert re.search(f"^make_fbank.sh: skipping {utt}: .*{reason}", result.stderr, re.MULTILINE), result.stderr
    assert f"run steps/fix_data_dir.py {data}" in result.stderr and "76 of 80" in result.stdout
    assert script("steps/validate_data_dir.py", data, check=False).returncode == 1
    script("steps/fix_data_dir.py", data)
    result = script("steps/compute_vad.sh", "--nj", 2, data)
    assert result.stderr == "" and "76 of 76" in result.stdout
    script("steps/validate_data_dir.py", data)
    assert features(data).keys() == decisions(data).keys() == set(read_table(data / "utt2spk"))
    assert BAD.keys() == set(read_table(data / ".backup/wav.scp")) - set(features(data))


def test_two_bad_of_twenty_fail_and_leave_what_was_there(tmp_path, script):
    data = make_data(tmp_path / "data", utterances(20))
    script("steps/make_fbank.sh", "--nj", 1, data)
    script("steps/compute_vad.sh", "--nj", 1, data)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file() and path.parent.name != "log"}
    for utt in ("a-04", "b-11"):
        open(read_table(data / "wav.scp")[utt], "wb").write(b"RIFF")
    for script_name in ("make_fbank", "compute_vad"):
        result = script(f"steps/{script_name}.sh", "--nj", 1, data, check=False)
        assert result.returncode == 1
        assert "skipping a-04" in result.stderr and "skipping b-11" in result.stderr
        assert "only 18 of 20" in result.stderr and "fewer than 95 %" in result.stderr
        assert {path: path.read_bytes() for path in before} == before
    assert len(features(data)) == 20


def test_silence_is_kept_and_counted(tmp_path, script, capsys):
    data = make_data(tmp_path / "data", {"a-1": noise(16000), "b-1": np.zeros(16000, np.int16)})
    script("steps/make_fbank.sh", "--nj", 9, data)
    script("steps/compute_vad.sh", data)
    assert not list((data / "data").glob("*.3.ark")), "more jobs than utterances"
    assert not decisions(data)["b-1"].any() and decisions(data)["a-1"].any()
    bank = load_bank(data, ["a-1", "b-1"])
    assert bank.lengths.tolist() == [decisions(data)["a-1"].sum(), 97]
    assert "1 of 2 utterances have no voiced frame and keep all their frames: b-1" in capsys.readouterr().err


def test_audio_that_changed_between_the_stages(tmp_path, script):
    data = make_data(tmp_path / "data", utterances(30))
    script("steps/make_fbank.sh", "--nj", 1, data)
    soundfile.write(read_table(data / "wav.scp")["a-10"], noise(20000), 16000)
    result = script("steps/compute_vad.sh", "--nj", 1, data)
    assert re.search("skipping a-10: 122 decisions for 38 feature frames; was the audio changed", result.stderr)
    assert "a-10" not in read_table(data / "vad.scp")


@pytest.mark.parametrize("name, line, reason", [
    ("make_fbank", "--num-mel-binz=41", "unrecognized arguments: --num-mel-binz=41"),
    ("make_fbank", "num-mel-bins 41", "expected --key=value, found 'num-mel-bins 41'"),
    ("make_fbank", "--num-mel-bins=many", "many"),
    ("make_fbank", "--sample-frequency=8000", "sample-frequency must be 16000, not 8000"),
    ("compute_vad", "--aggressiveness=7", "aggressiveness must be 0, 1, 2 or 3, not 7"),
    ("compute_vad", "--mode=2", "unrecognized arguments: --mode=2"),
])
def test_bad_configuration_is_seen_on_the_terminal(five, five_done, tmp_path, script, name, line, reason):
    data, conf = copy_of(five if name == "make_fbank" else five_done, tmp_path / "data"), tmp_path / "own.conf"
    conf.write_text(line + "\n")
    option = {"make_fbank": "--fbank-config", "compute_vad": "--vad-config"}[name]
    result = script(f"steps/{name}.sh", "--nj", 1, option, conf, data, check=False)
    assert result.returncode == 1 and reason in result.stderr and "Traceback" not in result.stderr
    assert re.search(r"log/\w+_data.1.log", result.stderr)
    assert not (data / {"make_fbank": "feats.scp", "compute_vad": "vad.scp"}[name]).exists()


def test_missing_files_and_wrong_calls(five, tmp_path, script):
    data = copy_of(five, tmp_path / "data")
    for words, reason in [
        (("make_fbank.sh", "--fbank-config", "absent.conf", data), "make_fbank.sh: absent.conf: no such file"),
        (("make_fbank.sh", tmp_path / "absent"), f"make_fbank.sh: {tmp_path}/absent/wav.scp: no such file"),
        (("make_fbank.sh", "--nj", "0", data), "--nj needs a number above 0, not '0'"),
        (("make_fbank.sh", "--nj", "some", data), "--nj needs a number above 0, not 'some'"),
        (("make_fbank.sh",), "Usage: steps/make_fbank.sh"),
        (("compute_vad.sh", "--vad-config", "absent.conf", data), "compute_vad.sh: absent.conf: no such file"),
        (("compute_vad.sh", data), f"run steps/make_fbank.sh {data} first"),
    ]:
        result = script(f"steps/{words[0]}", *words[1:], check=False)
        assert result.returncode == 1 and reason in result.stderr, result.stderr
        assert "feats.scp" not in os.listdir(data) and "vad.scp" not in os.listdir(data)


def test_wav_scp_that_points_nowhere(tmp_path, script):
    data = make_data(tmp_path / "data", dict.fromkeys(utterances(25)))
    result = script("steps/make_fbank.sh", "--nj", 2, data, check=False)
    assert result.returncode == 1 and not (data / "feats.scp").exists()
    assert result.stderr.count("No such file") == 10 and "and 15 more" in result.stderr


@pytest.mark.parametrize("killed", ["job", "everything"])
def test_a_kill_leaves_no_half_of_an_scp(five_done, tmp_path, script, killed):
    """The run after it keeps the scp of the first in .backup."""
    data = moved(five_done, tmp_path / "nj1")
    before, wav, first = features(data), read_table(data / "wav.scp"), (data / "feats.scp").read_text()
    (data / "vad.scp").write_text(first)
    write_table(data / "wav.scp", {**wav, "b-03": f"cd {tmp_path}; echo $PPID > part; mv part job; sleep 60 |"})
    process = subprocess.Popen(["steps/make_fbank.sh", "--nj", "1", str(data)], stderr=subprocess.PIPE, text=True,
                               stdout=subprocess.DEVNULL, start_new_session=True)
    while not (tmp_path / "job").exists():
        assert process.poll() is None
        time.sleep(0.05)
    if killed == "everything":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(int((tmp_path / "job").read_text()), signal.SIGKILL)
        assert "killed by signal 9" in process.communicate(timeout=20)[1] and process.returncode == 1
    process.wait(20)
    assert all(before[utt].tobytes() == matrix.tobytes() for utt, matrix in features(data).items())
    write_table(data / "wav.scp", wav)
    script("steps/make_fbank.sh", "--nj", 2, data)
    assert features(data).keys() == before.keys()
    assert {path.name for path in (data / "data").iterdir()} == {"raw_fbank_nj1.1.ark", "raw_fbank_nj1.2.ark"}
    assert (data / ".backup/feats.scp").read_text() == first != (data / "feats.scp").read_text()
    assert not (data / "vad.scp").exists()  # it belonged to the first features

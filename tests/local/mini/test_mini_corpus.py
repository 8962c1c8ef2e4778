"""The mini corpora: deterministic, in the real corpora's layouts, speech-like, and neither trivial nor hopeless."""

import csv
import hashlib
import re
import wave
from collections import Counter, defaultdict

import numpy as np
import pytest
import webrtcvad
from scipy.signal import lfilter

from conftest import ROOT, SMALL, run

SUMMARY = re.compile(r"^\[(\d+\.\d{4}) - (\d+\.\d{4})\]\t(\S+)\t(\w{3})\t\[\d\.\d{4}, \d\.\d{4}, \d\.\d{4}\]$")
IEMOCAP_ID = re.compile(r"^Ses0[1-5][FM]_(impro0[1-8][ab]?|script0[123]_[123]b?)_[FM]\d{3}$")
WORDS = {"neu": "Neutral", "hap": "Happiness", "exc": "Excited", "sad": "Sadness", "ang": "Anger",
         "fru": "Frustration"}  # fmt: skip


def make(out, *options):
    return run("local/mini/make_mini_corpora.py", *options, out, check=False)


def contents(root):
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def mini(small_corpora):
    return small_corpora


@pytest.fixture(scope="module")
def factors(mini):
    with open(mini / "factors.tsv", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def wav_of(mini, row):
    if row["corpus"] == "iemocap":
        name = row["utt"].split("-", 1)[1]
        return mini / f"IEMOCAP_full_release/Session{name[4]}/sentences/wav/{name.rsplit('_', 1)[0]}/{name}.wav"
    speaker, video, segment = row["utt"][:7], row["utt"][8:19], row["utt"][20:]
    return next(mini.glob(f"VoxCeleb1/*/wav/{speaker}/{video}/{segment}.wav"))


def read_wav(path):
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2), path
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


def evaluations(mini):
    for path in sorted(mini.glob("IEMOCAP_full_release/Session?/dialog/EmoEvaluation/Ses*.txt")):
        yield path.stem, path.read_bytes().decode("latin-1")


def test_same_bytes_for_any_number_of_processes_and_old_content_is_replaced(mini, tmp_path):
    stale = tmp_path / "VoxCeleb1"
    stale.mkdir()
    (stale / "SYNTHETIC").touch()
    (stale / "stale.wav").touch()
    made = make(tmp_path, *SMALL, "--nj", "1")
    assert made.returncode == 0, made.stderr
    assert "synthetic" in made.stdout and made.stdout.count("\n") == 1
    assert contents(tmp_path) == contents(mini)
    assert {path.name for path in tmp_path.iterdir()} == {"IEMOCAP_full_release", "VoxCeleb1", "factors.tsv"}


def test_another_seed_draws_another_corpus(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "local")
    from local.mini.voxceleb1 import plan_voxceleb1

    one = plan_voxceleb1(0, 2, 2).recordings
    other = plan_voxceleb1(1, 2, 2).recordings
    assert one == plan_voxceleb1(0, 2, 2).recordings
    assert {recording.delivery.f0_mean_hz for recording in one}.isdisjoint(
        recording.delivery.f0_mean_hz for recording in other)


def test_refuses_to_replace_what_may_be_a_real_corpus(tmp_path):
    (tmp_path / "IEMOCAP_full_release").mkdir()
    (tmp_path / "IEMOCAP_full_release/precious").touch()
    made = make(tmp_path, *SMALL)
    assert made.returncode == 1
    assert made.stderr.count("\n") == 1 and "IEMOCAP_full_release" in made.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["IEMOCAP_full_release", "precious"]


@pytest.mark.parametrize("options", [("--utterances-per-class", "0"), ("--speakers", "1"), ("--no-such", "1")])
def test_bad_options_end_in_one_line(tmp_path, options):
    made = make(tmp_path / "out", *options)
    assert made.returncode == 1 and made.stderr.count("\n") == 1 and options[0] in made.stderr
    assert not (tmp_path / "out").exists()


def test_iemocap_every_label_has_its_wav_and_every_wav_its_label(mini):
    labelled = {}
    for dialog, text in evaluations(mini):
        turns = [match.groups() for match in map(SUMMARY.match, text.splitlines()) if match]
        names = [name for _, _, name, _ in turns]
        assert names == sorted(names) and all(name.startswith(dialog + "_") for name in names)  # F before M
        for letter in "FM":
            numbers = [int(name[-3:]) for name in names if name[-4] == letter]
            assert numbers == list(range(len(numbers)))
        for start, end, name, label in turns:
            assert IEMOCAP_ID.match(name)
            labelled[name] = (label, (round(float(end) * 10000) - round(float(start) * 10000)) * 16 // 10)
    wavs = {path.stem: path for path in mini.glob("IEMOCAP_full_release/Session?/sentences/wav/*/[!.]*.wav")}
    assert wavs.keys() == labelled.keys()
    for name, path in wavs.items():
        assert path.parent.name == name.rsplit("_", 1)[0]
        assert len(read_wav(path)) == labelled[name][1]
        assert 1.0 <= labelled[name][1] / 16000 <= 2.0
    voices = {name: name[:5] + name[-4] for name in labelled}
    assert sorted(set(voices.values())) == [f"Ses0{session}{letter}" for session in range(1, 6) for letter in "FM"]
    elsewhere = sum(name[:6] != voice for name, voice in voices.items())
    assert 0.3 < elsewhere / len(voices) < 0.7
    improvised = Counter((voices[name], label) for name, (label, _) in labelled.items() if "_impro" in name)
    assert all(improvised[voice, label] >= 1 for voice in voices.values() for label in ("neu", "sad", "ang", "hap"))
    assert {"exc", "fru", "xxx"} <= {label for label, _ in labelled.values()}


def test_iemocap_evaluation_blocks_agree_with_their_label(mini):
    for _, text in evaluations(mini):
        header, *blocks = text.replace("\r\n", "\n").split("\n\n")
        assert header == "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]" and blocks.pop() == ""
        for block in blocks:
            summary, *lines = block.split("\n")
            label = SUMMARY.match(summary)[4]
            votes = Counter(line.split("\t")[1].rstrip(";") for line in lines if line.startswith("C-E"))
            winner, count = votes.most_common(1)[0]
            assert (winner == WORDS[label] and count >= 2) if label != "xxx" else count == 1
            ratings = [[int(n) for n in re.findall(r"\d", line.split("\t")[1])] for line in lines
                       if line.startswith("A-E")]
            mean = [float(value) for value in summary.rsplit("[", 1)[1].rstrip("]").split(", ")]
            assert mean == [sum(values) / len(values) for values in zip(*ratings, strict=True)]
            assert re.fullmatch(r"C-[FM]1:\t\w+; \w+;\t\(.*\)", lines[3])


def test_iemocap_quirks(mini):
    root = mini / "IEMOCAP_full_release"
    texts = dict(evaluations(mini))
    assert {"Ses05M_script01_1", "Ses05M_script01_1b"} <= texts.keys()
    assert any("\r\n" in text for text in texts.values()) and any("\r" not in text for text in texts.values())
    doubles = list(root.rglob("._*"))
    assert {path.parent.name for path in doubles} >= {"EmoEvaluation", "Ses01F_impro01"}
    assert all(len(path.read_bytes()) == 222 and path.read_bytes()[37] == 0xAC for path in doubles)
    with pytest.raises(UnicodeDecodeError):
        (root / "Session3/dialog/EmoEvaluation/Ses03M_impro01.txt").read_text(encoding="utf-8")
    for kind in ("Categorical", "Attribute", "Self-evaluation"):
        assert len(list(root.glob(f"Session?/dialog/EmoEvaluation/{kind}/*.txt"))) >= len(texts)
    uncut = 0
    for dialog, text in texts.items():
        lines = next(root.glob(f"Session?/dialog/transcriptions/{dialog}.txt")).read_text("latin-1").splitlines()
        stated = {line.split()[0]: line.split()[1] for line in lines}
        starts = [float(times[1:9]) for times in stated.values()]
        assert starts == sorted(starts)
        for start, end, name, _ in [match.groups() for match in map(SUMMARY.match, text.splitlines()) if match]:
            assert stated.pop(name) == f"[{float(start):08.4f}-{float(end):08.4f}]:"
        uncut += len(stated)
    assert uncut == 1


def test_voxceleb1_layout(mini):
    root = mini / "VoxCeleb1"
    with open(root / "vox1_meta.csv", newline="") as file:
        meta = list(csv.DictReader(file, delimiter="\t"))
    assert list(meta[0]) == ["VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set"]
    parts = {row["VoxCeleb1 ID"]: row["Set"] for row in meta}
    videos = defaultdict(set)
    for path in root.rglob("*.wav"):
        part, folder, speaker, video, name = path.relative_to(root).parts
        assert folder == "wav" and parts[speaker] == part
        assert re.match(r"^(id1\d{4})-(.{11})-(\d{5})$", f"{speaker}-{video}-{name[:-4]}")
        assert 1.5 <= len(read_wav(path)) / 16000 <= 2.0
        videos[speaker].add(video)
    assert videos.keys() == parts.keys() and len(parts) == 8 and "test" in parts.values()
    assert all((speaker >= "id10270") == (part == "test") for speaker, part in parts.items())
    assert {len(of_speaker) for of_speaker in videos.values()} == {4}  # one for each utterance
    assert {"-", "_"} <= {video[0] for of_speaker in videos.values() for video in of_speaker}


def test_says_that_it_is_synthetic(mini):
    for corpus in ("IEMOCAP_full_release", "VoxCeleb1"):
        assert (mini / corpus / "SYNTHETIC").read_text().startswith("Synthetic")


def test_factors_name_every_recording(mini, factors):
    assert all(row["utt"].startswith(row["speaker"] + "-") for row in factors)
    wavs = {path for path in mini.rglob("*.wav") if not path.name.startswith("._")}
    assert {wav_of(mini, row) for row in factors} == wavs and len(factors) == len(wavs)


def test_a_voice_of_iemocap_and_a_video_of_voxceleb_has_its_own_channel(factors):
    channels = defaultdict(set)
    for row in factors:
        source = row["speaker"] if row["corpus"] == "iemocap" else row["utt"].rpartition("-")[0]
        channels[source].add((row["noise_db"], row["gain_db"]))
    assert {len(of_source) for of_source in channels.values()} == {1}
    assert len(set.union(*channels.values())) == len(channels) > 10 + 8


def test_speakers_and_channels_change_the_spectrum_more_than_emotions_do(mini, factors):
    """What the paper sets out from: the mean spectrum tells who speaks, and an emotion is little beside that."""
    spectra, labels = [], []
    for row in factors:
        if row["corpus"] == "iemocap":
            samples = read_wav(wav_of(mini, row)) / 32768
            power = np.abs(np.fft.rfft(samples, 1 << 16)) ** 2
            spectra.append(10 * np.log10([band.mean() for band in np.array_split(power[400:24000], 40)]))
            labels.append((row["speaker"], row["emotion"]))

    def variance_between(groups, spectra):
        means = [spectra[[group == name for group in groups]].mean(0) for name in sorted(set(groups))]
        return np.var(means, axis=0).mean()

    spectra = np.array(spectra) - np.mean(spectra, axis=1, keepdims=True)  # the level apart
    speakers, emotions = zip(*labels, strict=True)
    of_speakers = variance_between(speakers, spectra)
    assert of_speakers > 3 * variance_between(emotions, spectra)
    assert of_speakers > 4  # dB squared


def test_webrtcvad_hears_speech_and_silence(mini, factors):
    detector, shares = webrtcvad.Vad(2), []
    for row in factors:
        samples = read_wav(wav_of(mini, row))
        hops = [detector.is_speech(samples[at : at + 160].tobytes(), 16000) for at in range(0, len(samples) - 159, 160)]
        shares.append(np.mean(hops))
    assert np.mean([0.4 <= share <= 0.98 for share in shares]) >= 0.95
    assert min(shares) > 0.2


def test_pitch_and_level_are_the_stated_ones(mini, factors):
    errors, levels = [], defaultdict(list)
    for row in [row for row in factors if row["corpus"] == "iemocap"][::2]:
        samples = read_wav(wav_of(mini, row)) / 32768.0
        stated = float(row["f0_mean_hz"])
        frames = np.lib.stride_tricks.sliding_window_view(samples, 640)[::160]
        loud = frames[np.std(frames, axis=1) > 0.5 * samples.std()]
        spectrum = np.abs(np.fft.rfft(loud * np.hanning(640), 2048)) ** 2
        correlation = np.fft.irfft(spectrum)[:, :400]
        lags = np.arange(int(16000 / (1.8 * stated)), int(16000 / (0.55 * stated)))
        found = 16000 / lags[np.argmax(correlation[:, lags], axis=1)]
        errors.append(12 * np.log2(np.median(found) / stated))
        levels[row["speaker"]].append(20 * np.log10(samples.std()) - float(row["energy_db"]))
    # A speaker's microphone changes the level by what it is for all of them.
    assert max(np.abs(of_speaker - np.median(of_speaker)).max() for of_speaker in levels.values()) < 5
    assert np.median(np.abs(errors)) < 0.7 and np.percentile(np.abs(errors), 90) < 3


def test_emotions_differ_on_average_and_overlap_one_by_one(factors):
    values, pitch_of = defaultdict(list), defaultdict(list)
    for row in factors:
        pitch_of[row["speaker"]].append(np.log2(float(row["f0_mean_hz"])))
    for row in factors:
        relative = np.log2(float(row["f0_mean_hz"])) - np.mean(pitch_of[row["speaker"]])
        values["f0", row["emotion"]].append(relative)
        for factor in ("rate", "energy_db", "tilt", "f0_range_semitones"):
            values[factor, row["emotion"]].append(float(row[factor]))
    for factor, more, less in (("f0", "ang", "sad"), ("f0", "hap", "neu"), ("rate", "ang", "sad"),
                               ("energy_db", "ang", "sad"), ("energy_db", "ang", "neu"), ("tilt", "sad", "ang"),
                               ("f0_range_semitones", "hap", "neu")):
        high, low = np.array(values[factor, more]), np.array(values[factor, less])
        assert high.mean() > low.mean(), factor
        right = np.mean(high[:, None] > low)  # probability that a random pair is in the right order
        assert 0.6 < right < 0.99, (factor, more, less, right)


def test_a_channel_has_the_response_that_it_says():
    from local.mini.synthesis import Channel, _record

    impulse = np.zeros(8000)
    impulse[4000] = 1
    response_db = (-3.0, 5.0, 0.0, -6.0, 2.0)
    recorded = _record(impulse, Channel(-200.0, -4.0, response_db), np.random.default_rng(0))
    mel = np.linspace(0, np.log1p(8000 / 700), 5)
    found = 20 * np.log10(np.abs(np.fft.rfft(recorded))[np.round((np.exp(mel) - 1) * 700 * 8000 / 16000).astype(int)])
    np.testing.assert_allclose(found, np.array(response_db) - 4, atol=0.05)


def test_still_resonators_are_klatts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "local")
    from local.mini.synthesis import _resonate

    signal = np.zeros(4000)
    signal[1000:1400] = np.random.default_rng(0).standard_normal(400)
    centres, bandwidths = np.array([700.0, 1200.0]), np.array([90.0, 110.0])
    expected = signal
    for centre, bandwidth in zip(centres, bandwidths, strict=True):
        radius, angle = np.exp(-np.pi * bandwidth / 16000), 2 * np.pi * centre / 16000
        poles = [1, -2 * radius * np.cos(angle), radius**2]
        expected = lfilter([sum(poles)], poles, expected)
    found = _resonate(signal, np.tile(centres, (50, 1)), np.tile(bandwidths, (50, 1)))
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())

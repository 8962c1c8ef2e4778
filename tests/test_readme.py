"""The commands that README prints for corpora, run as they stand on a small CREMA-D and a small LibriSpeech."""

import os
import re
import subprocess

import numpy as np
import pytest
import soundfile

from conftest import ROOT, run, short_schedule
from local.mini.emotional_delivery import draw_channel, draw_recording, draw_speaker, rng_of
from local.mini.synthesis import SAMPLE_RATE

ACTORS, SENTENCES = ("1001", "1002", "1003"), ("IEO", "DFA")
EMOTIONS = ("NEU", "HAP", "ANG", "SAD", "DIS", "FEA")


def speak(path, speaker, emotion, seconds):
    """Write a made-up utterance."""
    recording = draw_recording(path.name, path.stem, "", speaker, emotion, seconds, 0,
                               draw_channel(rng_of(0, speaker.name)))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.round(recording.render() * 32767).astype(np.int16), SAMPLE_RATE)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with CREMA-D of three actors, LibriSpeech of four readers, and configurations of one epoch."""
    place = short_schedule(tmp_path_factory.mktemp("readme"))
    for number, actor in enumerate(ACTORS):
        speaker = draw_speaker(actor, number % 2 == 1, rng_of(0, actor))
        for sentence in SENTENCES:
            for emotion in EMOTIONS:
                for level in ("LO", "HI") if sentence == "IEO" and emotion != "NEU" else ("XX",):
                    speak(place / "CREMA-D/AudioWAV" / f"{actor}_{sentence}_{emotion}_{level}.wav", speaker,
                          emotion.lower(), (0.8, 1.5))
    (place / "CREMA-D/VideoDemographics.csv").write_text(
        "ActorID,Age,Sex,Race,Ethnicity\n" + "".join(
            f"{actor},30,{('Male', 'Female')[number % 2]},Asian,Not Hispanic\n" for number, actor in enumerate(ACTORS)))
    root = place / "LibriSpeech"
    for number, reader in enumerate(("19", "103", "1034", "4014")):
        speaker = draw_speaker(reader, number % 2 == 0, rng_of(0, reader))
        for take in range(4):
            speak(root / f"train-clean-100/{reader}/{198 + take % 2}" / f"{reader}-{198 + take % 2}-{take:04d}.flac",
                  speaker, "neu", (1.2, 1.8))
    (root / "SPEAKERS.TXT").write_text(";ID |SEX| SUBSET |MINUTES| NAME\n" + "".join(
        f"{reader} | {sex} | train-clean-100 | 25 | |Made|Up\n"
        for reader, sex in zip(("19", "103", "1034", "4014"), "FMFM", strict=True)))
    for corpus in ("CREMA-D", "LibriSpeech"):
        (place / corpus / "SYNTHETIC").touch()
    return place


def commands(begins):
    """The block of README that begins like this, without its indentation."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block, = re.findall(rf"^    {re.escape(begins)}.*\n(?:    .*\n)*", text, re.MULTILINE)
    return re.sub(r"^    ", "", block, flags=re.MULTILINE)


def type_in(lines, place, options):
    """Run commands with folders of `place` for DIR, mine and exp, and options that make it short."""
    for old, new in ((r"--cremad DIR", f"--cremad {place}/CREMA-D"), (r"--librispeech DIR", f"--librispeech {place}"),
                     (r"DIR/AudioWAV", f"{place}/CREMA-D/AudioWAV"), (r"(?<!exp/)\bmine\b", f"{place}/mine"),
                     (r"\bexp/", f"{place}/exp/"),
                     (r"\./run\.sh", f"./run.sh --data-dir {place}/data --pretrain-config {place}/pretrain.conf "
                                     f"--finetune-config {place}/finetune.conf {options}")):
        lines = re.sub(old, new, lines)
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", lines], cwd=ROOT, capture_output=True, text=True,
                            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"})
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_cremad_and_librispeech_from_files_to_table(place):
    """From raw files to a table, pre-training included; one system, to be short."""
    line, = (line for line in commands("./run.sh --corpus iemocap").splitlines() if "cremad" in line)
    said = type_in(line, place, "--stop-stage 6 --systems resnet18_pretrain_ad")
    table = (place / "exp/cremad/RESULTS").read_text()
    assert table in said and table.startswith("synthetic-cremad-4, loso, 3 folds, seed 0")
    assert "dataset synthetic-librispeech-train-clean-100" in said
    genders, = place.glob("data/librispeech_*/spk2gender")
    assert sorted(genders.read_text().split()[::2]) == "0019 0103 1034 4014".split()


def test_a_corpus_of_ones_own_with_six_classes(place):
    """From raw files to table and comparison, and on to probes and report, with class names that no script knows."""
    said = type_in(commands("mkdir mine"), place, "--stop-stage 6")
    data, = place.glob("data/mine_*")
    exp = place / "exp" / "mine"
    table = (exp / "RESULTS").read_text()
    assert table.startswith("mine-6, loso, 3 folds, seed 0") and said.count(table) == 2
    assert re.findall(r"^(\w+) +VGG5", table, re.MULTILINE) == ["vgg5_baseline", "vgg5_ad"]
    assert re.search(r"^vgg5_ad is .* vgg5_baseline on mine-6 \(seed 0, 51 utterances of 3 s", said, re.MULTILINE)
    model = exp / "vgg5_ad" / "fold_1001"
    assert (model / "score/classes").read_text().split() == sorted(EMOTIONS)
    assert {len(line.split()) for line in (model / "score/per_utt").read_text().splitlines()} == {3 + len(EMOTIONS)}

    run("steps/analyse.py", "--device", "cpu", "--num-threads", "1",
        *(f"--dir={exp}/vgg5_baseline/fold_{actor}" for actor in ACTORS))
    for script in ("make_probes", "make_confusions", "make_curves", "make_report"):
        run(f"local/results/{script}.py", "--systems", "vgg5_baseline", data, exp)
    assert re.search(rf"^chance +{100 / 6:.2f} ", (exp / "analysis/PROBES").read_text(), re.MULTILINE)
    confusions = [line.split("\t") for line in (exp / "analysis/confusions.tsv").read_text().splitlines()[1:]]
    assert len(confusions) == 36 and sum(int(row[-1]) for row in confusions) == 51
    page = (exp / "report.html").read_text()
    assert all(f">{emotion}<" in page for emotion in EMOTIONS)

"""The commands that README and docs/ print, typed into a fresh terminal, with small made-up corpora for real ones."""

import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from conftest import ROOT, SHORT, run
from local.mini.emotional_delivery import draw_channel, draw_recording, draw_speaker, rng_of
from local.mini.synthesis import SAMPLE_RATE
from scripts import run_script

FRESH = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/"}
ACTORS, SENTENCES = ("1001", "1002", "1003"), ("IEO", "DFA")
EMOTIONS = ("NEU", "HAP", "ANG", "SAD", "DIS", "FEA")
READERS = ("19", "103", "1034", "4014")


def speak(path, speaker, emotion, seconds):
    """Write a made-up utterance."""
    recording = draw_recording(path.name, path.stem, "", speaker, emotion, seconds, 0,
                               draw_channel(rng_of(0, speaker.name)))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.round(recording.render() * 32767).astype(np.int16), SAMPLE_RATE)


def make_cremad(root):
    """CREMA-D of three actors, thirteen files of each."""
    for number, actor in enumerate(ACTORS):
        speaker = draw_speaker(actor, number % 2 == 1, rng_of(0, actor))
        for sentence in SENTENCES:
            for emotion in EMOTIONS:
                for level in ("LO", "HI") if sentence == "IEO" and emotion == "ANG" else ("XX",):
                    speak(root / "AudioWAV" / f"{actor}_{sentence}_{emotion}_{level}.wav", speaker, emotion.lower(),
                          (0.8, 1.5))
    (root / "VideoDemographics.csv").write_text("ActorID,Age,Sex,Race,Ethnicity\n" + "".join(
        f"{actor},30,{('Male', 'Female')[number % 2]},Asian,Not Hispanic\n" for number, actor in enumerate(ACTORS)))
    (root / "SYNTHETIC").touch()


def make_librispeech(root):
    """LibriSpeech of four readers."""
    for number, reader in enumerate(READERS):
        speaker = draw_speaker(reader, number % 2 == 0, rng_of(0, reader))
        for take in range(4):
            speak(root / f"train-clean-100/{reader}/{198 + take % 2}" / f"{reader}-{198 + take % 2}-{take:04d}.flac",
                  speaker, "neu", (1.2, 1.8))
    (root / "SPEAKERS.TXT").write_text(";ID |SEX| SUBSET |MINUTES| NAME\n" + "".join(
        f"{reader} | {sex} | train-clean-100 | 25 | |Made|Up\n" for reader, sex in zip(READERS, "FMFM", strict=True)))
    (root / "SYNTHETIC").touch()


def make_ravdess(root):
    """RAVDESS of nine actors, an utterance of each of the four classes."""
    for number in range(1, 10):
        actor = f"{number:02d}"
        speaker = draw_speaker(actor, number % 2 == 0, rng_of(0, actor))
        for emotion, code in (("neu", "01"), ("hap", "03"), ("sad", "04"), ("ang", "05")):
            speak(root / f"Actor_{actor}" / f"03-01-{code}-01-01-01-{actor}.wav", speaker, emotion, (0.8, 1.2))
    (root / "SYNTHETIC").touch()


def make_speakers(root, librispeech):
    """A Kaldi data directory to pre-train on."""
    root.mkdir()
    files = sorted(librispeech.rglob("*.flac"))
    (root / "wav.scp").write_text("".join(f"{path.stem} {path}\n" for path in files))
    (root / "utt2spk").write_text("".join(f"{path.stem} {path.stem.partition('-')[0]}\n" for path in files))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A clone of the recipe whose trainings take an epoch, and small corpora below its folder corpora/.

    Its mini corpora have a turn of the rarest class of each voice, and two speakers.
    """
    place = tmp_path_factory.mktemp("readme") / "clone"
    for name in ("steps", "local", "conf"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run.sh", "path.sh", "cmd.sh", "requirements.txt"):
        shutil.copy(ROOT / name, place)
    (place / ".venv").symlink_to(ROOT / ".venv")
    for name in ("pretrain.conf", "finetune.conf", "strong.conf", "mini/pretrain.conf", "mini/finetune.conf"):
        (place / "conf" / name).write_text("\n".join(SHORT) + "\n")
    mini = place / "local/mini/make_mini_corpora.py"
    mini.write_text(re.sub(r", default=(4|64|8),", lambda found: ", default=1," if found[1] == "4" else ", default=2,",
                           mini.read_text()))
    make_cremad(place / "corpora/CREMA-D")
    make_librispeech(place / "corpora/LibriSpeech")
    make_ravdess(place / "corpora/RAVDESS")
    make_speakers(place / "corpora/speakers", place / "corpora/LibriSpeech")
    return place


def blocks(page, *words):
    """The blocks of commands of a page that have all of these words."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [block for block in re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
            if all(word in block for word in words)]


def type_in(recipe, lines, options=""):
    """Type lines into a fresh terminal in the clone, with its own corpora and options that make run.sh shorter."""
    lines = lines.replace("/corpora/", f"{recipe}/corpora/")
    lines = lines.replace("./run.sh ", f"./run.sh --nj 1 {options} ") if options else lines
    result = subprocess.run(["bash", "-eu", "-c", lines], cwd=recipe, capture_output=True, text=True, env=FRESH)
    assert result.returncode == 0 and "leaked" not in result.stderr, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def started(recipe):
    """The clone after the first command of README, here of one system, in five folds and without the analysis."""
    (block,) = blocks("README.md", "tests/run.sh")
    first, second = (line.partition("#")[0].strip() for line in block.splitlines())
    assert (first, second) == ("./run.sh", "tests/run.sh")  # the second runs this test
    type_in(recipe, f"{first} --systems vgg5_ad --protocol 5fold --stop-stage 6 --nj 1")
    assert (recipe / "exp/RESULTS").read_text().startswith("synthetic-iemocap-impro-4, 5fold, 5 folds, seed 0")
    return recipe


def test_predict_of_readme(started):
    (block,) = blocks("README.md", "steps/predict.py")
    header, *rows = type_in(started, block).splitlines()
    again = rows.index(header)
    wavs = list((started / "data/local/mini/IEMOCAP_full_release/Session1/sentences/wav").rglob("*.wav"))
    assert header.split("\t") == ["file", "label", "ang", "hap", "neu", "sad", "reason"]
    names = sorted(str(wav.relative_to(started)) for wav in wavs if not wav.name.startswith("._"))
    for lines in (rows[:again], rows[again + 1 :]):  # of the model directories, and of the ONNX file
        assert sorted(row.split("\t")[0] for row in lines if "\t" in row) == names
    assert any("docs/onnx_example.py model.onnx x.wav" in row for row in rows)
    assert (started / "model.onnx").stat().st_size > 10000


def test_models(started):
    """Each block of docs/models.md: the command line, Python, and files for other programs but for that of README."""
    command_line, python, export = blocks("docs/models.md")
    onnx, exported = export.splitlines()
    said = type_in(started, command_line).splitlines()
    assert len([json.loads(line)["label"] for line in said if line.startswith("{")]) == 3
    assert "file\tstart\tend\tlabel\tang\thap\tneu\tsad\treason" in said
    whole, *parts = type_in(started, python).splitlines()
    assert re.fullmatch(r"(ang|hap|neu|sad|unsure) \{'ang': [\d.e-]+, .*\}", whole)
    of_part = r"[\d.]+ [\d.]+ (\w+ None|None (unsure|no speech|too short))"
    assert parts and all(re.fullmatch(of_part, part) for part in parts)
    assert any(onnx in block.splitlines() for block in blocks("README.md"))
    assert "model.pt2" in type_in(started, exported)
    assert (started / "model.pt2").stat().st_size > 10000


def test_the_table_of_readme(recipe):
    """Up to the lists of its folds."""
    (block,) = blocks("README.md", "--ravdess")
    said = type_in(recipe, block, "--stop-stage 3 --systems resnet18_pretrain")
    assert "8 folds, protocol kfold" in said
    assert "36 utterances of 9 speakers, dataset synthetic-ravdess-4" in said and "16 utterances of 4 speakers" in said


def test_the_papers_corpora(started):
    """Up to the data directories, of the synthetic corpora."""
    (block,) = blocks("docs/corpora.md", "--iemocap")
    corpora = started / "corpora"
    for name in ("IEMOCAP_full_release", "VoxCeleb1"):
        (corpora / name).symlink_to(started / "data/local/mini" / name)
    said = type_in(started, block, "--stop-stage 1")
    assert "dataset synthetic-iemocap-impro-4" in said and "dataset synthetic-voxceleb1" in said


def test_cremad_and_librispeech_from_files_to_table(recipe):
    """From raw files to a table, pre-training included; one system, to be short."""
    (block,) = blocks("docs/corpora.md", "--cremad")
    said = type_in(recipe, block, "--stop-stage 6 --systems resnet18_pretrain_ad")
    table = (recipe / "exp/cremad/RESULTS").read_text()
    assert table in said and table.startswith("synthetic-cremad-4, loso, 3 folds, seed 0")
    assert "dataset synthetic-librispeech-train-clean-100" in said
    genders, = recipe.glob("data/librispeech_*/spk2gender")
    assert sorted(genders.read_text().split()[::2]) == "0019 0103 1034 4014".split()


def test_a_corpus_of_ones_own_with_six_classes(recipe):
    """From raw files to table and comparison, and on to probes and report, with class names that no script knows."""
    (block,) = blocks("README.md", "mine/wav.scp")
    said = type_in(recipe, block, "--stop-stage 6")
    assert type_in(recipe, block.partition("./run.sh")[0]) == ""  # typed in twice, it makes the same tables
    assert len((recipe / "mine/wav.scp").read_text().splitlines()) == 39
    data, = recipe.glob("data/mine_*")
    exp = recipe / "exp" / "mine"
    table = (exp / "RESULTS").read_text()
    assert table.startswith("mine-6, loso, 3 folds, seed 0") and said.count(table) == 1
    assert re.findall(r"^(\w+) +(?:ResNet18|SVM) ", table, re.MULTILINE) == ["resnet18_strong", "svm_functionals"]
    assert ", one pre-trained extractor (speech_commands, 449 speakers)\n" in table
    assert re.search(r"^resnet18_strong is .* svm_functionals on mine-6 \(seed 0, 39 utterances of 3 s", said,
                     re.MULTILINE)
    model = exp / "resnet18_strong" / "fold_1001"
    assert (model / "score/classes").read_text().split() == sorted(EMOTIONS)
    assert {len(line.split()) for line in (model / "score/per_utt").read_text().splitlines()} == {3 + len(EMOTIONS)}

    analyse = ["steps/analyse.py", "--device", "cpu", "--num-threads", "1",
               *(f"--dir=exp/mine/resnet18_strong/fold_{actor}" for actor in ACTORS)]
    results = [[f"local/results/make_{name}.py", "--systems", "resnet18_strong", f"data/{data.name}", "exp/mine"]
               for name in ("probes", "confusions", "report")]
    entered = os.environ | {"SER_ROOT": str(recipe), "PYTHONPATH": f"{recipe}/steps:{recipe}"}
    for words in (analyse, *results):
        result = run_script(words, recipe, entered)
        assert result.returncode == 0, result.stderr
    assert re.search(rf"^chance +{100 / 6:.2f} ", (exp / "analysis/PROBES").read_text(), re.MULTILINE)
    confusions = [line.split("\t") for line in (exp / "analysis/confusions.tsv").read_text().splitlines()[1:]]
    assert len(confusions) == 36 and sum(int(row[-1]) for row in confusions) == 39
    page = (exp / "report.html").read_text()
    assert all(f">{emotion}<" in page for emotion in EMOTIONS)


@pytest.mark.parametrize("page", ["README.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))])
def test_commands_are_understood(page):
    """Also those that need a cluster: the shell understands them, and run.sh has their options."""
    help_text = run("./run.sh", "--help").stdout
    for block in blocks(page):
        result = subprocess.run(["bash", "-n", "-c", block], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        for command in re.findall(r"\./run\.sh((?:[^\n#>&]|\\\n)*)", block):
            assert all(option in help_text for option in re.findall(r"--[a-z][\w-]*", command)), command

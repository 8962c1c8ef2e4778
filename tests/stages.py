"""The commands of the recipe's stages with what they make, and what holds of each when something is wrong."""

import os
import re
import shutil
from dataclasses import dataclass

import numpy as np
import soundfile

from conftest import run, tone
from ser.data.data_dir import write_table

TRAINING = ("--backbone", "vgg5", "--epochs", "1", "--batch-size", "16", "--crop", "40", "--num-threads", "1",
            "--device", "cpu", "--precision", "fp32")
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(")
FOLD = "exp/vgg5_baseline/fold_s1"


@dataclass(frozen=True)
class Stage:
    """A command of the recipe, and what it reads and makes in a place of its own.

    Attributes
    ----------
    name : str
        A stage of docs/running.md by its number, and what it does.
    words : tuple of str
        `{}` stands for the place.
    makes : tuple of str
        Files or folders below the place that must survive a failure as they were.
    """

    name: str
    words: tuple
    makes: tuple

    def __call__(self, place, *more, **kwargs):
        script, *words = self.words
        words = [*more, *words] if script.endswith(".sh") else [*words, *more]
        return run(script, *(word.replace("{}", str(place)) for word in words), check=False, **kwargs)


DATA = Stage("1 data", ("local/kaldi_data_prep.py", "--emotion", "true", "{}/source", "{}/data"), ("data",))
IEMOCAP = Stage("1 IEMOCAP", ("local/iemocap_data_prep.py", "{}/corpus", "{}/data"), ("data",))
FBANK = Stage("2 features", ("steps/make_fbank.sh", "--nj", "1", "{}/data"),
              ("data/feats.scp", "data/data/raw_fbank_data.1.ark"))
VAD = Stage("2 VAD", ("steps/compute_vad.sh", "--nj", "1", "{}/data"), ("data/vad.scp", "data/data/vad_data.1.ark"))
FOLDS = Stage("3 folds", ("local/make_folds.py", "--protocol", "loso", "{}/data"), ("data/folds",))
PRETRAIN = Stage("4 pre-training", ("steps/pretrain.py", *TRAINING, "{}/data", "{}/exp/m"), ())
TRAIN = Stage("5 training", ("steps/finetune.py", *TRAINING, "--data", "{}/data", "--fold", "fold_s1", "--dir",
                             "{}/exp/m"), ())
SCORE = Stage("5 scoring", ("steps/score.py", "--device", "cpu", "{}/exp/vgg5_baseline/fold_s1", "{}/data"),
              ("exp/vgg5_baseline/fold_s1",))
RESULTS = Stage("6 results", ("local/results/make_results.py", "--systems", "vgg5_baseline", "{}/data", "{}/exp"),
                ("exp/RESULTS", "exp/vgg5_baseline/RESULT"))
CURVES = Stage("7 analysis", ("local/results/make_curves.py", "--systems", "vgg5_baseline", "{}/data", "{}/exp"),
               ("exp/analysis",))


def files_of(folder):
    """Every file below a folder as bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def made(stage, place):
    """What a stage has made in a place, wherever that place is: its files, or the weights and scores of its model."""
    files = {name: content.replace(os.fsencode(place), b"{}") for name, content in files_of(place).items()}
    if stage in (PRETRAIN, TRAIN):
        model = "exp/m/" if "exp/m/RESULT" in files else f"{FOLD}/"
        return [files[model + name] for name in ("best.safetensors", "last.safetensors", "score/per_utt")]
    return {name: content for name, content in files.items()
            if name.startswith(stage.makes) and "/tensorboard/" not in name
            and not name.endswith((".left_out", "/log/left_out"))}


def moved(source, target):
    """Copy a place; its text names the copy then."""
    shutil.copytree(source, target)
    for path in target.rglob("*"):
        if path.suffix in (".scp", ".json") or path.name.startswith("RESULT"):
            path.write_bytes(path.read_bytes().replace(os.fsencode(source), os.fsencode(target)))
    return target


def kaldi_source(folder):
    """A data directory as users have them: four speakers with ten short utterances each, two labels."""
    (folder / "audio").mkdir(parents=True)
    utts = [f"s{speaker}-{number}" for speaker in (1, 2, 3, 4) for number in range(10)]
    for number, utt in enumerate(utts):
        soundfile.write(folder / "audio" / f"{utt}.wav", tone(np.random.default_rng(number), 150, 0.2), 16000)
    write_table(folder / "wav.scp", {utt: f"audio/{utt}.wav" for utt in utts})
    write_table(folder / "utt2spk", {utt: utt[:2] for utt in utts})
    write_table(folder / "utt2emo", {utt: ("ang", "sad")[number % 2] for number, utt in enumerate(utts)})


def iemocap_corpus(folder, number=1):
    """A session of one improvised dialog of 40 turns of two emotions."""
    dialog, session = f"Ses0{number}F_impro01", folder / f"Session{number}"
    labels = session / "dialog" / "EmoEvaluation" / f"{dialog}.txt"
    labels.parent.mkdir(parents=True)
    wavs = session / "sentences" / "wav" / dialog
    wavs.mkdir(parents=True)
    turns = [f"{dialog}_{voice}{number:03d}" for voice in "FM" for number in range(20)]
    labels.write_text("".join(f"[1.0000 - 2.0000]\t{turn}\t{'neu' if turn[-1] < '5' else 'ang'}\t"
                              "[2.5, 2.5, 2.5]\n\n" for turn in turns))
    for turn in turns:
        soundfile.write(wavs / f"{turn}.wav", np.ones(1600, np.int16), 16000)


def trained(place, tiny):
    """The models of all folds of the data directory `tiny`, their results and curves."""
    shutil.copytree(tiny, place / "data")
    for table in ("feats.scp", "vad.scp"):
        path = place / "data" / table
        path.write_text(path.read_text().replace(str(tiny), str(place / "data")))
    for fold in ("fold_s1", "fold_s2", "fold_s3", "fold_s4"):
        run("steps/finetune.py", *TRAINING, "--data", place / "data", "--fold", fold, "--dir",
            place / "exp" / "vgg5_baseline" / fold)
    RESULTS(place)
    CURVES(place)


def place_of(stage, tiny, make_once):
    """The place in which a stage has done its work without any fault, one for the whole session."""
    kind = {DATA: "source", IEMOCAP: "corpus", FBANK: "features", VAD: "features"}.get(stage, "trained")

    def make(place):
        if kind == "trained":
            trained(place, tiny)
        elif kind == "corpus":
            iemocap_corpus(place / "corpus")
            IEMOCAP(place)
        else:
            kaldi_source(place / "source")
            DATA(place)
        if kind == "features":
            FBANK(place)
            VAD(place)

    return make_once(f"place-{kind}", make)


def spoken(result, said, place):
    """The line of an output that has what it must say; else its last line, marked. Files are named from the place."""
    lines = [LOG_LINE.sub("(", line) for line in (result.stderr + result.stdout).replace(f"{place}/", "").splitlines()]
    return next((line for line in lines if re.search(said, line)), f"NOT EXPECTED: {''.join(lines[-1:])}")


def check(stage, place, result, status, said, before):
    """What holds of every fault; `before` is what the stage had made."""
    assert result.returncode == status and re.search(said, result.stderr + result.stdout), result.stderr + result.stdout
    assert "Traceback" not in result.stderr + result.stdout
    if status:
        own = [line for line in result.stderr.splitlines() if not LOG_LINE.match(line)]
        assert len(own) == 1 or stage.words[0].endswith(".sh"), own
        assert made(stage, place) == before
        assert not (place / "exp" / "m" / "RESULT").exists()
        assert not [path for path in place.rglob(".*.????????") if path.is_file()], "half-written"

"""Nothing breaks it: a table of faults, one row each, met by the stage that they are made for.

A row damages what a stage reads, or where it runs, and says how the stage must end: its exit status and the one line
that it must say. Whatever the row, there is no traceback, what stood there before stands there still, nothing is
half-written, and once the damage is mended the same command makes what it always makes. The report ends with the
outcomes (conftest.py).
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import ROOT, read_matrices, run, tone

import finetune as finetune_script
import options
import score as score_script
from ser import evaluation, finetuning
from ser.archives import write_archive
from ser.checkpoint import load_tensors, save_tensors
from ser.data_dir import read_table, write_table
from ser.errors import UserError

TRAINING = ("--backbone", "vgg5", "--epochs", "1", "--batch-size", "16", "--crop", "40", "--num-threads", "1",
            "--device", "cpu", "--precision", "fp32")
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(")


@dataclass(frozen=True)
class Stage:
    """A command of the recipe, and what it reads and makes in a place of its own.

    Attributes
    ----------
    name : str
        As in the README's table.
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
RESULTS = Stage("6 results", ("local/make_results.py", "--systems", "vgg5_baseline", "{}/data", "{}/exp"),
                ("exp/RESULTS", "exp/vgg5_baseline/RESULT"))
CURVES = Stage("7 analysis", ("local/make_curves.py", "--systems", "vgg5_baseline", "{}/data", "{}/exp"),
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
            if name.startswith(stage.makes) and "/tensorboard/" not in name}


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


def iemocap_corpus(folder):
    """One improvised dialog of 40 turns."""
    dialog, session = "Ses01F_impro01", folder / "Session1"
    labels = session / "dialog" / "EmoEvaluation" / f"{dialog}.txt"
    labels.parent.mkdir(parents=True)
    wavs = session / "sentences" / "wav" / dialog
    wavs.mkdir(parents=True)
    turns = [f"{dialog}_{voice}{number:03d}" for voice in "FM" for number in range(20)]
    labels.write_text("".join(f"[1.0000 - 2.0000]\t{turn}\tneu\t[2.5, 2.5, 2.5]\n\n" for turn in turns))
    for turn in turns:
        soundfile.write(wavs / f"{turn}.wav", np.ones(1600, np.int16), 16000)


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """Give the place in which a stage has done its work without any fault."""
    places = {}

    def trained(place):
        shutil.copytree(tiny, place / "data")
        for table in ("feats.scp", "vad.scp"):
            path = place / "data" / table
            path.write_text(path.read_text().replace(str(tiny), str(place / "data")))
        for fold in ("fold_s1", "fold_s2", "fold_s3", "fold_s4"):
            run("steps/finetune.py", *TRAINING, "--data", place / "data", "--fold", fold, "--dir",
                place / "exp" / "vgg5_baseline" / fold)
        RESULTS(place)
        CURVES(place)

    def make(kind):
        place = tmp_path_factory.mktemp("whole") / "place"
        place.mkdir()
        if kind == "trained":
            trained(place)
        elif kind == "corpus":
            iemocap_corpus(place / "corpus")
            IEMOCAP(place)
        else:
            kaldi_source(place / "source")
            DATA(place)
        if kind == "features":
            FBANK(place)
            VAD(place)
        return place

    def get(stage):
        kind = {DATA: "source", IEMOCAP: "corpus", FBANK: "features", VAD: "features"}.get(stage, "trained")
        if kind not in places:
            places[kind] = make(kind)
        return places[kind]

    return get


def edit(name, change):
    """A damage: the text of a file below the place becomes another; a lone surrogate stands for a byte."""
    def damage(place):
        path = place / name
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        path.write_bytes(change(text).encode("utf-8", "surrogateescape"))
    return damage


def replaced(name, old, new, count=1):
    def change(text):
        assert old in text
        return text.replace(old, new, count)
    return edit(name, change)


def gone(name):
    def damage(place):
        path = place / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return damage


def cut(name, share=0.5):
    def damage(place):
        path = place / name
        os.truncate(path, int(path.stat().st_size * share))
    return damage


def sound(name, samples, rate=16000, **kwargs):
    return lambda place: soundfile.write(place / name, samples, rate, **kwargs)


def both(*damages):
    return lambda place: [damage(place) for damage in damages]


def nothing(place):
    """The fault is not in what is read."""


def config(model, **changes):
    """A damage: config.json has other options, or lacks those that are None."""
    def change(text):
        whole = json.loads(text)
        whole["options"].update(changes)
        whole["options"] = {key: value for key, value in whole["options"].items() if value != "LACKS"}
        return json.dumps(whole)
    return edit(f"exp/{model}/config.json", change)


def narrow(place, utts=None):
    """Features of 40 dimensions, of all or some utterances."""
    path = place / "data" / "feats.scp"
    table = read_table(path)
    write_archive(place / "data" / "narrow", [(utt, matrix[:, :40]) for utt, matrix in read_matrices(table)
                                              if utts is None or utt in utts])
    write_table(path, table | read_table(place / "data" / "narrow.scp"))


def narrow_pretraining(place):
    """A model that was pre-trained on features of 40 dimensions."""
    whole = (place / "data" / "feats.scp").read_text()
    narrow(place)
    assert PRETRAIN(place).returncode == 0
    (place / "exp" / "m").rename(place / "exp" / "narrow")
    (place / "data" / "feats.scp").write_text(whole)


def model(name, **changes):
    """A damage: another fold's model stands at exp/NAME, with other options."""
    def damage(place):
        shutil.copytree(place / FOLD, place / "exp" / name)
        (place / "exp" / name / "RESULT").unlink()
        config(name, **changes)(place)
    return damage


def leaked(place):
    """A speaker of train is in valid, too."""
    fold = place / "data" / "folds" / "fold_s1"
    (fold / "train").write_text((fold / "train").read_text().replace("s3-ang0\n", ""))
    (fold / "valid").write_text((fold / "valid").read_text() + "s3-ang0\n")


def lines_lost(name):
    return edit(name, lambda text: "".join(text.splitlines(True)[:-2]))


WAV = "source/audio/s1-0.wav"
FOLD = "exp/vgg5_baseline/fold_s1"
NOISE = np.random.default_rng(0).normal(0, 0.1, 3200)

# stage, fault, damage, exit status, what must be said, words behind the command
TABLE = [
    # audio; of 40 utterances two may be unusable, they are left out by name
    (DATA, "audio cut short", cut(WAV), 0, r"left out: s1-0: .*s1-0.wav is cut short: \d+ of 6400 bytes"),
    (DATA, "audio file empty", cut(WAV, 0), 0, r"left out: s1-0: .*s1-0.wav cannot be read: it is empty"),
    (DATA, "audio without samples", cut(WAV, 44 / 6444), 0, r"left out: s1-0: .*s1-0.wav holds no samples"),
    (DATA, "audio is text", edit(WAV, lambda text: "hello\n" * 50), 0, r"left out: s1-0: .* cannot be read"),
    (DATA, "audio missing", gone(WAV), 0, r"left out: s1-0: .*s1-0.wav is missing"),
    (DATA, "audio is a folder", both(gone(WAV), lambda place: (place / WAV).mkdir()), 0, r"cannot be read: Is a di"),
    (DATA, "audio of 3 samples a second", edit(WAV, lambda text: text[:24] + "\3\0\0\0" + text[28:]), 0,
     r"left out: s1-0: .* says 3 samples a second"),
    (DATA, "FLAC at 44.1 kHz, stereo, called .wav", sound(WAV, np.stack([NOISE, NOISE], 1), 44100, format="FLAC"), 0,
     r"40 utterances of 4 speakers"),
    (DATA, "no audio at all", gone("source/audio"), 1, r"only 0 of 40 utterances can be used, .* nothing was written"),
    (FBANK, "NaN in the audio", sound(WAV, np.where(np.arange(3200) == 7, np.nan, NOISE), subtype="FLOAT"), 0,
     r"skipping s1-0: .*s1-0.wav: sample 7 is nan, where full scale is 1"),
    (FBANK, "audio shorter than a window", sound(WAV, NOISE[:600]), 0, r"skipping s1-0: 600 samples are shorter than"),
    (FBANK, "recording that utt2spk lacks", replaced("data/wav.scp", "s1-1 ", "s1-0x x.wav\ns1-1 "), 1,
     r"wav.scp: has unknown 1 recordings, the first is s1-0x"),
    (FBANK, "pipe that fails", edit("data/wav.scp", lambda text: re.sub("s1-0 .*", "s1-0 no-such-tool x |", text)), 0,
     r"skipping s1-0: no-such-tool x \|: exit status 127: .*not found"),
    (FBANK, "every audio file gone", gone("source/audio"), 1, r"only 0 of 40 utterances of .* came out, fewer than"),
    (VAD, "audio changed since the features", sound(WAV, NOISE[:2000]), 0, r"skipping s1-0: \d+ decisions for"),
    (VAD, "audio lost since the features", gone(WAV), 0, r"skipping s1-0: .*No such file"),
    (VAD, "utt2num_frames of more utterances", edit("data/utt2num_frames", lambda text: text + "s5-0 17\n"), 0,
     r"skipping s5-0: recording s5-0: not in wav.scp"),

    # text
    (DATA, "carriage returns", edit("source/utt2emo", lambda text: text.replace("\n", "\r\n")), 0, r"40 utterances"),
    (DATA, "no final newline", edit("source/utt2spk", str.rstrip), 0, r"40 utterances of 4 speakers"),
    (DATA, "byte-order mark", edit("source/wav.scp", "\ufeff{}".format), 0, r"40 utterances of 4 speakers"),
    (DATA, "unsorted", edit("source/wav.scp", lambda text: "".join(text.splitlines(True)[::-1])), 0, r"40 utterances"),
    (DATA, "id twice", edit("source/utt2emo", lambda text: text + "s1-0 sad\n"), 1,
     r"utt2emo:41: s1-0 stands here for the second time"),
    (DATA, "id with a space", replaced("source/utt2spk", "s1-0 s1", "s1 0 s1"), 1,
     r"utt2spk:1: expected 2 fields, found 's1 0 s1'"),
    (DATA, "id with a no-break space", replaced("source/wav.scp", "s1-0", "s1\u00a00"), 1,
     r"wav.scp:1: 's1\\xa00' holds a blank that is no space"),
    (DATA, "label with a space", replaced("source/utt2emo", "ang", "very ang"), 1, r"utt2emo:1: expected 2 fields"),
    (DATA, "speaker missing", replaced("source/utt2spk", "s1-0 s1\n", ""), 0, r"left out: s1-0: not in utt2spk"),
    (DATA, "speaker's column missing", replaced("source/utt2spk", "s1-0 s1", "s1-0"), 1,
     r"utt2spk:1: expected 'key value', found 's1-0'"),
    (DATA, "empty line", replaced("source/utt2emo", "s1-1", "\ns1-1"), 1, r"utt2emo:2: expected 'key value', found ''"),
    (DATA, "not UTF-8", replaced("source/wav.scp", "audio/", "audi\udcf6/"), 1, r"wav.scp: not UTF-8 text \(byte 9\)"),
    (DATA, "segment without an end", lambda place: write_table(place / "source/segments", {
        f"s{speaker}-{number}": f"s{speaker}-{number} 0 {0.1 if number or speaker > 1 else 'inf'}"
        for speaker in (1, 2, 3, 4) for number in range(10)}), 0, r"left out: s1-0: segments: expected 'recording st"),
    (DATA, "no labels", gone("source/utt2emo"), 1, r"no labels; needs utt2emo, or a text of one word per utterance"),
    (DATA, "table is a folder", both(gone("source/utt2spk"), lambda place: (place / "source/utt2spk").mkdir()), 1,
     r"Is a directory: .*utt2spk"),
    (IEMOCAP, "label file cut in a line", cut("corpus/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt", 0.995), 1,
     r"1 problems in the label files, named above; nothing was written"),
    (IEMOCAP, "wav that no label file names", lambda place: soundfile.write(
        place / "corpus/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F099.wav", NOISE, 16000), 0,
     r"WARNING: .*F099.wav has no label line"),
    (FBANK, "unsorted", edit("data/wav.scp", lambda text: "".join(text.splitlines(True)[::-1])), 1,
     r"wav.scp:2: s4-8 stands behind s4-9; sort with LC_ALL=C"),
    (FBANK, "carriage returns", edit("data/utt2spk", lambda text: text.replace("\n", "\r\n")), 1,
     r"utt2spk: has carriage returns; convert it to Unix line ends"),
    (FBANK, "option that is none", lambda place: (place / "own.conf").write_text("--num-mel-binz=3\n"), 1,
     r"unrecognized arguments: --num-mel-binz=3", "--fbank-config", "{}/own.conf"),
    (FOLDS, "two speakers only", edit("data/utt2spk", lambda text: re.sub("s[34]$", "s1", text, flags=re.M)), 1,
     r"loso needs 3 or more speakers, and there are 2"),
    (FOLDS, "speaker that cannot name a folder", replaced("data/utt2spk", " s2", " ../s2", -1), 1,
     r"utt2spk: speaker ../s2 cannot name a folder"),
    (FOLDS, "ids in Greek", edit("data/utt2spk", lambda text: text.replace(" s", " ς")), 0, r"4 folds, protocol loso"),
    (TRAIN, "speaker in two parts of a fold", leaked, 1, r"fold_s1: speaker s3 is in train and in valid"),
    (TRAIN, "label missing", replaced("data/utt2emo", "s1-ang0 ang\n", ""), 1, r"utt2emo: has no label for s1-ang0"),
    (TRAIN, "one label", edit("data/utt2emo", lambda text: text.replace(" sad", " ang")), 1, r"has the label ang al"),
    (TRAIN, "list of a fold empty", cut("data/folds/fold_s1/valid", 0), 1, r"folds/fold_s1/valid: empty"),
    (TRAIN, "fold that is not there", gone("data/folds/fold_s1"), 1, r"folds/fold_s1/train: no such file"),

    # archives
    (TRAIN, "archive cut", cut("data/data/raw_fbank_data.1.ark"), 1,
     r"raw_fbank_data.1.ark:\d+: cannot be read, the archive is cut short or damaged .*; extract the features"),
    (TRAIN, "archive gone", gone("data/data/raw_fbank_data.2.ark"), 1, r"ark:\d+: no such archive .*; extract"),
    (TRAIN, "feats.scp cut in a line", edit("data/feats.scp", lambda text: text[:-9]), 1, r"no such archive|cut sh"),
    (TRAIN, "vad.scp cut", lines_lost("data/vad.scp"), 1, r"vad.scp: has no entry for s4-sad4 \(2 missing\)"),
    (TRAIN, "feats.scp points into vad's archive", replaced("data/feats.scp", "raw_fbank", "vad", -1), 1,
     r"vad_data.\d.ark:\d+: (holds no matrix|cannot be read)"),
    (TRAIN, "features of several dimensions", lambda place: narrow(place, ["s4-sad5"]), 1,
     r"feats.scp: s4-sad5 has dimension 40, the others 41"),
    (SCORE, "features of another dimension", narrow, 1, r"feats.scp: has dimension 40, .*fold_s1 takes 41"),
    (TRAIN, "pre-trained on another dimension", narrow_pretraining, 1,
     r"exp/narrow: takes features of dimension 40, those of .*data have 41", "--pretrained-dir", "{}/exp/narrow"),
    (SCORE, "another label set", edit("data/utt2emo", lambda text: text.replace(" sad", " hap")), 1,
     r"utt2emo: has the labels ang hap, .*fold_s1 was trained with ang sad"),

    # model directories
    (SCORE, "weights cut", cut(f"{FOLD}/best.safetensors"), 1, r"best.safetensors: cut short or damaged .*train again"),
    (SCORE, "weights gone", gone(f"{FOLD}/best.safetensors"), 1, r"best.safetensors: no such file; tr"),
    (SCORE, "configuration cut", cut(f"{FOLD}/config.json"), 1, r"config.json: not valid JSON .*train again"),
    (SCORE, "configuration of another kind", edit(f"{FOLD}/config.json", lambda text: "[1]"), 1, r"has no options"),
    (SCORE, "another version: unknown option", config("vgg5_baseline/fold_s1", pooling="attentive"), 1,
     r"config.json: has an option 'pooling' that this version does not know; copy .* or train again"),
    (SCORE, "another version: option missing", config("vgg5_baseline/fold_s1", seed="LACKS"), 1,
     r"config.json: seed must be a whole number, not None; copy .* or train again"),
    (SCORE, "another version: key missing", replaced(f"{FOLD}/config.json", '"classes"', '"labels"'), 1,
     r"config.json: is not that of an emotion model, for it has no classes; copy .* or train again"),
    (SCORE, "another version: network unknown", config("vgg5_baseline/fold_s1", backbone="vgg7"), 1,
     r"config.json: backbone is one of resnet18 vgg5, not 'vgg7'; copy .* or train again"),
    (SCORE, "another version: other weights", config("vgg5_baseline/fold_s1", backbone="resnet18"), 1,
     r"best.safetensors: does not fit the network of config.json; train again"),
    (TRAIN, "model directory of other options", model("m", crop=41), 1,
     r"exp/m: was made with crop 41, asked for is 40; take another directory"),
    (TRAIN, "fine-tuned model as a pre-trained one", model("pre"), 1, r"pre/config.json: has no 'num_speakers'",
     "--pretrained-dir", "{}/exp/pre"),
    (RESULTS, "scores cut in a line", edit(f"{FOLD}/score/per_utt", lambda text: text[:-12]), 1, r"per_utt:12: expe"),
    (RESULTS, "scores cut behind a line", lines_lost(f"{FOLD}/score/per_utt"), 1,
     r"per_utt: has 10 utterances, its RESULT 12; run steps/score.py again"),
    (RESULTS, "a fold missing", gone(f"{FOLD}/RESULT"), 1, r"fold_s1/RESULT: not there; run stage 5"),
    (CURVES, "log of epochs cut", cut(f"{FOLD}/log/epochs.tsv"), 1, r"epochs.tsv.*: .*train the model again"),

    # options and machine
    (TRAIN, "no GPU where one was asked for", nothing, 1, r"device cuda: this machine shows no GPU; use --device cpu",
     "--device", "cuda"),
    (TRAIN, "learning rate below 0", nothing, 1, r"lr and its factors must not", "--lr", "-1"),
    (TRAIN, "seed of 40 digits", nothing, 1, r"argument --seed: expected a whole number", "--seed", "9" * 40),
    (TRAIN, "loss that explodes", nothing, 1, r"the loss is .* in epoch \d; lower --lr", "--lr", "1e30", "--epochs",
     "3"),
    (TRAIN, "configuration that names itself", lambda place: (place / "own.conf").write_text(
        f"--config={place}/own.conf\n"), 1, r"own.conf: names itself with --config", "--config", "{}/own.conf"),
]


def put_back(place, before, damaged):
    """Take a damage back, and leave what the stage has done since."""
    for name in before.keys() | damaged.keys():
        path = place / name
        if before.get(name) == damaged.get(name):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        if name in before:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(before[name])


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


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0].name}: {row[1]}")
def test_table(row, whole, tmp_path, outcome):
    stage, fault, damage, status, said, *words = row
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    place = moved(whole(stage), tmp_path / "place")
    whole_files, reference = files_of(place), made(stage, place)
    damage(place)
    damaged, before = files_of(place), made(stage, place)
    result = stage(place, *words)
    outcome(fault, stage.name, result.returncode, spoken(result, said, place))
    check(stage, place, result, status, said, before)
    if status == 0 and "40 utterances" in said:
        assert made(stage, place) == reference
    put_back(place, whole_files, damaged)
    again = stage(place, *(["--restart", "true"] if (place / "exp" / "m").exists() else []))
    assert again.returncode == 0, again.stderr
    assert made(stage, place) == reference


OUT_OF_MEMORY = ("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 14.75 GiB of which "
                 "12.71 GiB is free. If reserved but unallocated memory is large try setting something else.")


@pytest.mark.parametrize(("stage", "where", "error", "said"), [
    (TRAIN, (finetuning, "overall_loss"), torch.cuda.OutOfMemoryError(OUT_OF_MEMORY),
     r"the GPU's memory is full; lower --batch-size or --crop, .* \(.*12.71 GiB is free.\)$"),
    (TRAIN, (finetuning, "load_bank"), MemoryError("Unable to allocate 3 TiB"), r"the memory is full; lower --batch"),
    (SCORE, (evaluation, "posteriors"), torch.cuda.OutOfMemoryError(OUT_OF_MEMORY), r"the GPU's memory is full; lower"),
], ids=lambda value: getattr(value, "name", None))
def test_out_of_memory(stage, where, error, said, whole, tmp_path, outcome, monkeypatch, capsys):
    place = moved(whole(stage), tmp_path / "place")
    before, script = made(stage, place), {TRAIN: finetune_script, SCORE: score_script}[stage]

    def fill(*_, **__):
        raise error

    monkeypatch.setattr(*where, fill)
    monkeypatch.setattr(sys, "argv", [word.replace("{}", str(place)) for word in stage.words])
    with pytest.raises(SystemExit) as end:
        options.run(script.main)
    result = subprocess.CompletedProcess((), end.value.code, "", capsys.readouterr().err)
    what = "out of memory on the GPU" if "CUDA" in str(error) else "out of memory"
    outcome(what, stage.name, result.returncode, spoken(result, said, place))
    check(stage, place, result, 1, said, before)
    assert stage(place).returncode == 0


def test_checkpoint_cut_at_every_tenth_byte(whole, tmp_path, outcome):
    """The header at every tenth byte, and the much longer rest at as many places; a state at a few by the script."""
    path = tmp_path / "state.safetensors"
    tensors, _ = load_tensors(whole(SCORE) / FOLD / "best.safetensors")
    save_tensors(path, tensors, {"identity": "x", "history": [[1, 2, 3.0, 4.0]] * 50})
    size, header = path.stat().st_size, 8 + int.from_bytes(path.read_bytes()[:8], "little")
    step = max(10, (size - header) // 1000)
    cuts = sorted({*range(0, header, 10), *range(header, size, step), size - 1}, reverse=True)
    said = set()
    for place in cuts:
        os.truncate(path, place)
        with pytest.raises(UserError, match="cut short or damaged .*; remove its directory and train again") as caught:
            load_tensors(path)
        assert "\n" not in str(caught.value)
        said.add(str(caught.value))
    outcome(f"checkpoint cut at {len(cuts)} places", "5 training", "-", next(iter(said)).replace(f"{tmp_path}/", ""))


@pytest.mark.parametrize("damage", ["cut", "of another training", "without its metadata"])
def test_state_to_resume_from(damage, whole, tmp_path, outcome):
    place = moved(whole(TRAIN), tmp_path / "place")
    state = place / "exp" / "m" / "state.safetensors"
    tensors, _ = load_tensors(whole(TRAIN) / FOLD / "best.safetensors")
    metadata = None if damage == "without its metadata" else {"identity": "another"}
    save_tensors(state, {f"model.{name}": tensor for name, tensor in tensors.items()}, metadata)
    if damage == "cut":
        os.truncate(state, state.stat().st_size // 2)
    before = state.read_bytes()
    said = "cut short or damaged" if damage == "cut" else "made from other data or options; remove .* or give --restart"
    result = TRAIN(place)
    outcome(f"state {damage}", TRAIN.name, result.returncode, spoken(result, said, place))
    check(TRAIN, place, result, 1, rf"exp/m/state.safetensors: {said}", made(TRAIN, place))
    assert state.read_bytes() == before
    assert TRAIN(place, "--restart", "true").returncode == 0 and made(TRAIN, place) == made(TRAIN, whole(TRAIN))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MB of its own, whose options may be changed; skips where none may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(words):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", words, "tmpfs", disk], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")

    mount("size=64m")
    yield disk, lambda words: mount(f"remount,{words}")
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk):
    """Leave no room on a disk; returns the file that takes it."""
    free = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(free.f_bavail * free.f_bsize))
    return filler


@pytest.mark.parametrize("stage", [DATA, FBANK, FOLDS, TRAIN, SCORE, RESULTS], ids=lambda stage: stage.name)
def test_disk_full(stage, whole, small_disk, outcome):
    disk, _ = small_disk
    place = moved(whole(stage), disk / "place")
    reference, filler = made(stage, place), fill(disk)
    said = r"\S+.*No space left on device"
    result = stage(place)
    outcome("disk full", stage.name, result.returncode, spoken(result, said, place))
    check(stage, place, result, 1, said, reference)
    filler.unlink()
    again = stage(place)
    assert again.returncode == 0 and made(stage, place) == reference, again.stderr


@pytest.mark.parametrize("stage", [DATA, FBANK, FOLDS, TRAIN, SCORE, RESULTS], ids=lambda stage: stage.name)
def test_read_only_disk(stage, whole, small_disk, outcome):
    disk, remount = small_disk
    place = moved(whole(stage), disk / "place")
    reference = made(stage, place)
    remount("ro")
    result = stage(place)
    outcome("read-only disk", stage.name, result.returncode, spoken(result, "Read-only file system", place))
    check(stage, place, result, 1, r"Read-only file system.*place|place.*Read-only file system", reference)
    remount("rw")
    assert stage(place).returncode == 0 and made(stage, place) == reference


def test_read_only_data(whole, small_disk, tmp_path, outcome):
    disk, remount = small_disk
    place = moved(whole(TRAIN), disk / "place")
    shutil.rmtree(place / "data" / "bank", ignore_errors=True)
    remount("ro")
    model = tmp_path / "m"
    result = TRAIN(place, "--dir", str(model))
    said = r"data/bank/.*: cannot be made \(Read-only file system\), so the archives are read each time"
    outcome("data on a read-only disk", TRAIN.name, result.returncode, spoken(result, said, place))
    assert result.returncode == 0 and re.search(said, result.stderr)
    assert (model / "best.safetensors").read_bytes() == (place / FOLD / "best.safetensors").read_bytes()


def kill_all(process):
    """kill -9 of a process and everything that it has started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(path.parent.name)] = int(fields[1])
    doomed, grown = {process.pid}, True
    while grown:
        grown = {pid for pid, parent in parents.items() if parent in doomed} - doomed
        doomed |= grown
    for pid in doomed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()


# The corpora of stage 0 without most of their recordings.
MINI = """import sys, mini_corpus, mini_iemocap, mini_voxceleb1
def few(plan):
    return lambda *words: (plan(*words)[0][:8], plan(*words)[1])
mini_iemocap.plan_iemocap = few(mini_iemocap.plan_iemocap)
mini_voxceleb1.plan_voxceleb1 = few(mini_voxceleb1.plan_voxceleb1)
mini_corpus.main()
"""
# stage: command, what it has when it is killed, what must be there only later, where all that it makes is
KILLED = {
    "0 corpora": (("-c", MINI, "--nj", "1", "{}/mini"), "mini/.mini_corpus.*/new/*/*/*/*", "mini/VoxCeleb1", "mini"),
    "4 pre-training": ((*PRETRAIN.words, "--epochs", "8", "--save-every", "0"), "exp/m/state.safetensors",
                       "exp/m/RESULT", "exp/m"),
}


@pytest.mark.parametrize("stage", KILLED)
def test_kill_of_a_script(stage, whole, tmp_path, outcome):
    words, sign, later, makes = KILLED[stage]
    places = [moved(whole(PRETRAIN), tmp_path / name) for name in ("killed", "whole")]
    first, second = ([sys.executable, *(word.replace("{}", str(place)) for word in words)] for place in places)
    local = {"env": os.environ | {"PYTHONPATH": f"{ROOT}/steps:{ROOT}/local"}, "cwd": ROOT, "stderr": subprocess.PIPE,
             "text": True}
    process = subprocess.Popen(first, **local)
    while not list(places[0].glob(sign)):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    kill_all(process)
    process.stderr.close()
    unfinished = not (places[0] / later).exists()
    again = subprocess.run(first, stdout=subprocess.DEVNULL, **local)
    assert again.returncode == subprocess.run(second, stdout=subprocess.DEVNULL, **local).returncode == 0, again.stderr
    files = [{name: content for name, content in files_of(place / makes).items()
              if not name.endswith(("config.json", "RESULT"))} for place in places]
    outcome("kill -9", stage, again.returncode, "the same command made the same")
    assert unfinished and files[0] == files[1]


def recipe(root, place, *words, **kwargs):
    """The command line of a short run.sh over a data directory of one's own; all that it makes is below a place."""
    (place / "own.conf").write_text("--epochs=1\n--batch-size=16\n--crop=15\n")
    return [str(word) for word in (
        root / "run.sh", "--ser-data", place / "source", "--systems", "vgg5_baseline", "--finetune-config",
        place / "own.conf", "--data-dir", place / "data", "--exp-dir", place / "exp", "--nj", "2", "--stop-stage", "6",
        *words)]


@pytest.fixture(scope="module")
def odd_clone(whole, tmp_path_factory):
    """A clone whose path is odd, and how a run of it went that was started from another directory."""
    root = tmp_path_factory.mktemp("clone") / "it's my clone, ä 語音#1"
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                           capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / ".venv").symlink_to((ROOT / ".venv").resolve())
    shutil.copytree(whole(DATA) / "source", root / "source")
    return root, subprocess.run(recipe(root, root), cwd="/", capture_output=True, text=True)


def scores(place):
    return {path.parent.parent.name: path.read_text() for path in place.glob("exp/vgg5_baseline/fold_*/score/per_utt")}


def test_clone_in_an_odd_path_from_another_directory(odd_clone, outcome):
    root, result = odd_clone
    said = "vgg5_baseline +VGG5"
    for fault in ("clone in a path with blanks, quotes, unicode", "run from another directory"):
        outcome(fault, "1 to 6", result.returncode, spoken(result, said, root))
    assert result.returncode == 0, result.stderr
    assert re.search(said, result.stdout) and len(scores(root)) == 4


KILLS = {"1": 0.1, "2": 0.7, "3": 0.1, "5": 3.0, "6": 0.5}  # stage: seconds behind its line in the log


def test_kill_in_every_stage(odd_clone, whole, tmp_path, outcome):
    """Each run is killed with all of its jobs, in the stage behind that in which the one before it was killed."""
    shutil.copytree(whole(DATA) / "source", tmp_path / "source")
    words, killed = recipe(ROOT, tmp_path), {}
    for stage, seconds in KILLS.items():
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        reached = any(f"(run.sh) stage {stage}:" in line and "done" not in line for line in process.stdout)
        time.sleep(seconds)
        killed[stage] = reached and process.poll() is None
        kill_all(process)
        process.stdout.close()
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    for stage in KILLS:
        outcome("kill -9", f"{stage}, of run.sh", result.returncode,
                "the same command made the same" if killed[stage] else "NOT EXPECTED: not killed")
    assert result.returncode == 0, result.stderr
    assert all(killed.values()), killed
    assert scores(tmp_path) == scores(odd_clone[0])
    assert not list(tmp_path.glob("exp/*/*/.*")) and not list(tmp_path.glob("exp/*/*/state*"))


def test_runs_at_once(whole, tmp_path, outcome):
    """Two runs make the same data directory for experiments of their own; a third is not let into another's."""
    shutil.copytree(whole(DATA) / "source", tmp_path / "source")
    words, names = recipe(ROOT, tmp_path, "--stop-stage", "3"), ("exp1", "exp2", "exp3")
    (tmp_path / "exp3").mkdir()
    with open(tmp_path / "exp3" / ".lock", "w") as file:  # the first run into it
        fcntl.flock(file, fcntl.LOCK_EX)
        runs = [subprocess.Popen([*words, "--exp-dir", str(tmp_path / name)], cwd=ROOT, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True) for name in names]
        *said, refused = [process.communicate()[0] for process in runs]
    assert [process.returncode for process in runs] == [0, 0, 1], said
    waiting, = [line for text in said for line in text.splitlines() if "waiting for it" in line]
    outcome("two runs make one data directory", "1 to 3", 0, LOG_LINE.sub("(", waiting).replace(f"{tmp_path}/", ""))
    assert sum("already done" in text for text in said) == 1
    outcome("two runs into one experiment", "run.sh", 1, refused.replace(f"{tmp_path}/", "").strip())
    assert re.fullmatch("run.sh: another run.sh is working in .*exp3; wait for it or give another --exp-dir\n", refused)


@pytest.fixture
def path_without(tmp_path):
    """Give an environment whose PATH has all programs but some."""
    def make(*missing):
        folder = tmp_path / "bin"
        folder.mkdir()
        for place in os.environ["PATH"].split(os.pathsep):
            for program in Path(place).glob("*"):
                if program.name not in missing and not (folder / program.name).is_symlink():
                    (folder / program.name).symlink_to(program)
        return os.environ | {"PATH": str(folder)}
    return make


def test_without_flock(whole, tmp_path, path_without, outcome):
    shutil.copytree(whole(DATA) / "source", tmp_path / "source")
    result = run(*recipe(ROOT, tmp_path), check=False, env=path_without("flock"))
    outcome("flock missing", "run.sh", result.returncode, spoken(result, "flock", tmp_path))
    assert result.returncode == 1 and result.stderr == "run.sh: no flock in PATH; install util-linux\n"


def test_without_git(whole, tmp_path, path_without, outcome):
    place = moved(whole(TRAIN), tmp_path / "place")
    result = TRAIN(place, env=path_without("git"))
    outcome("git missing", TRAIN.name, result.returncode, spoken(result, "%WF1", place))
    assert result.returncode == 0 and made(TRAIN, place) == made(TRAIN, whole(TRAIN))


def test_without_a_scheduler(tmp_path, path_without, outcome):
    result = run("steps/parallel/slurm.py", tmp_path / "x.log", "true", check=False, env=path_without("sbatch"))
    outcome("sbatch missing", "slurm.py", result.returncode, spoken(result, "sbatch", tmp_path))
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "sbatch" in result.stderr


PYTHONS = {
    "Python missing": (None, r"install.sh: no own-python; install Python 3.10 or newer"),
    "Python too old": ("case $1 in --version) echo Python 3.6.8;; *) exit 1;; esac", r"Python 3.6.8 is too old; set"),
    "Python without venv": ("case $1 in -m) exit 1;; esac", r"install.sh: cannot make .venv; install the venv module"),
    "Python of .venv removed": (None, r"install.sh: no own-python; install Python 3.10 or newer"),
}


@pytest.mark.parametrize("fault", PYTHONS)
def test_python(fault, tmp_path, outcome):
    program, said = PYTHONS[fault]
    (tmp_path / "local").mkdir()
    shutil.copy(ROOT / "local" / "install.sh", tmp_path / "local")
    (tmp_path / "requirements.txt").write_text("numpy\n")
    (tmp_path / "bin").mkdir()
    if program:
        (tmp_path / "bin" / "own-python").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "bin" / "own-python").chmod(0o755)
    if "removed" in fault:
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        (tmp_path / ".venv" / "bin" / "python").symlink_to(tmp_path / "gone")
        (tmp_path / ".venv" / ".requirements.txt").write_text("numpy\n")
    result = run(tmp_path / "local" / "install.sh", "requirements.txt", check=False, env=os.environ | {
        "PYTHON": "own-python", "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
    outcome(fault, "path.sh", result.returncode, spoken(result, said, tmp_path))
    assert result.returncode == 1 and re.search(said, result.stderr) and result.stderr.count("\n") == 1


PLACES = {
    "Turkish locale": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "POSIX locale": {"LC_ALL": "POSIX", "LANG": "", "PYTHONUTF8": ""},
    "time zone of the Pacific": {"TZ": "Pacific/Kiritimati"},
}


@pytest.mark.parametrize("fault", PLACES)
def test_locale_and_time_zone(fault, whole, tmp_path, outcome):
    place = moved(whole(FBANK), tmp_path / "Iıİi ö")
    for stage in (DATA, FBANK):
        command = [word.replace("{}", str(place)) for word in stage.words]
        command = [sys.executable, *command] if command[0].endswith(".py") else command
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | PLACES[fault])
        outcome(fault, stage.name, result.returncode, spoken(result, "prepared|wrote features", place))
        assert result.returncode == 0 and "Traceback" not in result.stderr, result.stderr
    reference = made(FBANK, whole(FBANK))
    assert made(FBANK, place) == reference


def test_corpus_in_a_folder_that_is_not_utf8(whole, tmp_path, outcome):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/fran\xe7ais"))
    shutil.copytree(whole(DATA) / "source", folder)
    result = run("local/kaldi_data_prep.py", "--emotion", "true", folder, tmp_path / "data", check=False)
    said = r"wav.scp: cannot hold .*fran\\udce7ais.*, a name that is not UTF-8; rename"
    outcome("folder whose name is not UTF-8", DATA.name, result.returncode, spoken(result, said, tmp_path))
    assert result.returncode == 1 and re.search(said, result.stderr) and result.stderr.count("\n") == 1
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize(("name", "status", "said"), [
    ("exp#1", 0, "1$"), ("exp #1", 1, r"finetune.1.conf; take a name without ' #' and without blanks at its end")])
def test_comment_sign_in_a_path(name, status, said, whole, tmp_path, outcome):
    place = moved(whole(RESULTS), tmp_path / "place")
    (place / "exp").rename(place / name)
    shutil.rmtree(place / name / "vgg5_baseline" / "fold_s2")
    words = [word for option in zip(TRAINING[::2], TRAINING[1::2], strict=True) for word in ("=".join(option),)]
    (place / "own.conf").write_text("\n".join(word for word in words if "device" not in word) + "\n")
    result = run("local/plan_finetuning.py", "--systems", "vgg5_baseline", "--finetune-config", place / "own.conf",
                 place / "data", place / name, place / name / "tasks", check=False)
    outcome(f"experiment in {name!r}", "5 training", result.returncode, spoken(result, said, place))
    assert result.returncode == status and re.search(said, result.stderr + result.stdout), result.stderr
    if status == 0:
        run("steps/finetune.py", "--config", place / name / "tasks" / "finetune.1.conf")
        assert (place / name / "vgg5_baseline" / "fold_s2" / "RESULT").exists()

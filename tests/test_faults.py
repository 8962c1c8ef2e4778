"""Nothing that is read breaks it: a table of faults, one row each, met by the stage that they are made for.

A row damages what a stage reads, and says how the stage must end: its exit status and the one line that it must say.
Whatever the row, there is no traceback, what stood there before stands there still, nothing is half-written, and once
the damage is mended the same command makes what it always makes. The report ends with the outcomes (conftest.py).
"""

import json
import os
import re
import shutil

import numpy as np
import pytest
import soundfile
import torch

from conftest import read_matrices, run
from ser.base.errors import UserError
from ser.data.archives import write_archive
from ser.data.data_dir import read_table, write_table
from ser.model_dir.checkpoint import load_tensors, save_tensors
from stages import (
    CURVES,
    DATA,
    FBANK,
    FOLD,
    FOLDS,
    IEMOCAP,
    PRETRAIN,
    RESULTS,
    SCORE,
    TRAIN,
    TRAINING,
    VAD,
    check,
    files_of,
    made,
    moved,
    spoken,
)


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
NOISE = np.random.default_rng(0).normal(0, 0.1, 3200)

# stage, fault, damage, exit status, what must be said, words after the command
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
     r"utt2emo:41: duplicate key s1-0; keep one of its lines, or swap the columns if"),
    (DATA, "columns swapped", edit("source/utt2spk", lambda text: re.sub(r"(?m)^(\S+) (\S+)$", r"\2 \1", text)), 1,
     r"utt2spk:2: duplicate key s1; keep one of its lines, or swap the columns if the keys are in another"),
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
     r"1 problem in the label files, named above; nothing was written"),
    (IEMOCAP, "wav that no label file names", lambda place: soundfile.write(
        place / "corpus/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F099.wav", NOISE, 16000), 0,
     r"WARNING: .*F099.wav has no label line"),
    (FBANK, "unsorted", edit("data/wav.scp", lambda text: "".join(text.splitlines(True)[::-1])), 1,
     r"wav.scp:2: s4-8 comes after s4-9; sort with LC_ALL=C"),
    (FBANK, "carriage returns", edit("data/utt2spk", lambda text: text.replace("\n", "\r\n")), 1,
     r"utt2spk: has carriage returns; convert it to Unix line ends"),
    (FBANK, "option that is none", lambda place: (place / "own.conf").write_text("--num-mel-binz=3\n"), 1,
     r"unrecognized arguments: --num-mel-binz=3", "--fbank-config", "{}/own.conf"),
    (FOLDS, "two speakers only", edit("data/utt2spk", lambda text: re.sub("s[34]$", "s1", text, flags=re.M)), 1,
     r"loso needs 3 or more speakers, found 2"),
    (FOLDS, "speaker that cannot name a folder", replaced("data/utt2spk", " s2", " ../s2", -1), 1,
     r"utt2spk: speaker ../s2 cannot name a folder"),
    (FOLDS, "ids in Greek", edit("data/utt2spk", lambda text: text.replace(" s", " ς")), 0, r"4 folds, protocol loso"),
    (TRAIN, "speaker in two parts of a fold", leaked, 1, r"fold_s1: speaker s3 is in train and in valid"),
    (TRAIN, "label missing", replaced("data/utt2emo", "s1-ang0 ang\n", ""), 1, r"utt2emo: has no label for s1-ang0"),
    (TRAIN, "one label", edit("data/utt2emo", lambda text: text.replace(" sad", " ang")), 1, r"has only one label"),
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
    (SCORE, "another version: unknown option", config("vgg5_baseline/fold_s1", dropout=0.5), 1,
     r"config.json: has an option 'dropout' that this version does not know; copy .* or train again"),
    (SCORE, "another version: option missing", config("vgg5_baseline/fold_s1", seed="LACKS"), 1,
     r"config.json: seed must be a whole number, not None; copy .* or train again"),
    (SCORE, "another version: key missing", replaced(f"{FOLD}/config.json", '"classes"', '"labels"'), 1,
     r"config.json: is not that of an emotion model, for it has no classes; copy .* or train again"),
    (SCORE, "another version: network unknown", config("vgg5_baseline/fold_s1", backbone="vgg7"), 1,
     r"config.json: backbone is one of resnet18 vgg5 conv1d, not 'vgg7'; copy .* or train again"),
    (SCORE, "another version: other weights", config("vgg5_baseline/fold_s1", backbone="resnet18"), 1,
     r"best.safetensors: does not fit the network of config.json; train again"),
    (TRAIN, "model directory of other options", model("m", crop=41), 1,
     r"exp/m: was made with crop 41, asked for is 40; take another directory"),
    (TRAIN, "fine-tuned model as a pre-trained one", model("pre"), 1, r"pre/config.json: has no 'num_speakers'",
     "--pretrained-dir", "{}/exp/pre"),
    (RESULTS, "scores cut in a line", edit(f"{FOLD}/score/per_utt", lambda text: text[:-12]), 1, r"per_utt:12: expe"),
    (RESULTS, "scores cut after a line", lines_lost(f"{FOLD}/score/per_utt"), 1,
     r"per_utt: has 10 utterances, results.json 12; run steps/score.py again"),
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
    shutil.copytree(place / FOLD, place / "exp" / "m")
    (place / "exp" / "m" / "RESULT").unlink()
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


@pytest.mark.parametrize(("name", "status", "said"), [
    ("exp#1", 0, "1$"), ("exp #1", 1, r"finetune.1.conf; take a name without ' #' and without blanks at its end")])
def test_comment_sign_in_a_path(name, status, said, whole, tmp_path, outcome):
    place = moved(whole(RESULTS), tmp_path / "place")
    (place / "exp").rename(place / name)
    shutil.rmtree(place / name / "vgg5_baseline" / "fold_s2")
    words = [word for option in zip(TRAINING[::2], TRAINING[1::2], strict=True) for word in ("=".join(option),)]
    (place / "own.conf").write_text("\n".join(word for word in words if "device" not in word) + "\n")
    result = run("local/experiment/plan_finetuning.py", "--systems", "vgg5_baseline", "--finetune-config",
                 place / "own.conf", place / "data", place / name, place / name / "tasks", check=False)
    outcome(f"experiment in {name!r}", "5 training", result.returncode, spoken(result, said, place))
    assert result.returncode == status and re.search(said, result.stderr + result.stdout), result.stderr
    if status == 0:
        run("steps/finetune.py", "--config", place / name / "tasks" / "finetune.1.conf")
        assert (place / name / "vgg5_baseline" / "fold_s2" / "RESULT").exists()

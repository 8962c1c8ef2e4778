"""Training: killed and resumed, repeated, blind to the test speaker, and refusing what does not fit."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import torch

import finetune as finetune_script
import options
from conftest import ROOT, read_matrices, run
from ser.base.files import write_text
from ser.data.archives import write_archive
from ser.data.data_dir import read_table, write_table
from ser.model_dir.checkpoint import load_tensors

PRETRAIN = ("steps/pretrain.py", "--epochs", "3", "--batch-size", "8", "--crop", "40", "--num-threads", "1")
FINETUNE = ("steps/finetune.py", "--batch-size", "16", "--crop", "40", "--lr-milestones", "3,4,5", "--num-threads", "1",
            "--fold", "fold_s1")


def finetune(data, directory, *words, check=True):
    return run(*FINETUNE, "--data", data, "--dir", directory, *words, check=check)


def weights(directory):
    """Every file that holds weights, as bytes."""
    return {name: (Path(directory) / name).read_bytes() for name in ("best.safetensors", "last.safetensors")}


@pytest.fixture(scope="module")
def pretrained(tiny, tmp_path_factory):
    directory = tmp_path_factory.mktemp("exp") / "pretrain_resnet18"
    run(*PRETRAIN, tiny, directory)
    return directory


def test_pretraining_leaves_a_model_directory(pretrained):
    assert re.fullmatch(r"%IDACC [\d.]+ \[ best of 3 epochs on \d+ held-out utterances, 4 speakers, EER none, "
                        r"seed 0, .* \] .*\n",
                        (pretrained / "RESULT").read_text())
    names = {path.name for path in pretrained.iterdir()}
    assert names == {"RESULT", "results.json", "best.safetensors", "last.safetensors", "config.json", "log"}
    assert len((pretrained / "log" / "epochs.tsv").read_text().splitlines()) == 4
    assert json.loads((pretrained / "config.json").read_text())["format_version"] == 1


def test_a_pretrained_model_of_another_format_is_refused_and_one_without_is_of_format_1(tiny, pretrained, tmp_path):
    shutil.copytree(pretrained, tmp_path / "pre")
    path = tmp_path / "pre" / "config.json"
    config = json.loads(path.read_text())
    words = ("--epochs", "1", "--pretrained-dir", tmp_path / "pre")
    path.write_text(json.dumps({**config, "format_version": 2}))
    refused = finetune(tiny, tmp_path / "m", *words, check=False)
    assert refused.returncode == 1 and not (tmp_path / "m").exists()
    assert f"{path}: has format_version 2, this version of the recipe reads 1" in refused.stderr.splitlines()[-1]
    del config["format_version"]
    path.write_text(json.dumps(config))
    finetune(tiny, tmp_path / "m", *words)
    finetune(tiny, tmp_path / "with", *words[:2], "--pretrained-dir", pretrained)
    assert weights(tmp_path / "m") == weights(tmp_path / "with")


def test_result_line_and_per_utt(tiny, pretrained, tmp_path):
    finetune(tiny, tmp_path / "m", "--epochs", "2", "--ad-after", "last", "--pretrained-dir", pretrained)
    line = (tmp_path / "m" / "RESULT").read_text()
    assert re.fullmatch(r"%WF1 [\d.]+ \[ \d+ / 12 correct, UA [\d.]+, WA [\d.]+, fold s1, seed 0, source-2 loso, .* \] "
                        rf"{tmp_path}/m\n", line)
    rows = [row.split() for row in (tmp_path / "m" / "score" / "per_utt").read_text().splitlines()]
    assert {row[0] for row in rows} == {utt for utt in read_table(tiny / "utt2spk") if utt.startswith("s1-")}
    assert (tmp_path / "m" / "score" / "classes").read_text().split() == ["ang", "sad"]
    for row in rows:
        probabilities = [float(word) for word in row[3:]]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert row[2] == ["ang", "sad"][int(np.argmax(probabilities))]
    correct = sum(row[1] == row[2] for row in rows)
    assert f"[ {correct} / 12 correct" in line
    again = run("steps/score.py", tmp_path / "m", tiny)
    assert again.stdout == line == (tmp_path / "m" / "RESULT").read_text()


def test_same_seed_same_weights_other_seed_others(tiny, tmp_path):
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        finetune(tiny, tmp_path / name, "--epochs", "2", "--backbone", "vgg5", "--seed", seed)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


@pytest.mark.parametrize("what", ["pretrain", "finetune"])
def test_killed_at_any_moment_ends_with_the_same_weights(what, tiny, pretrained, tmp_path):
    def words(directory):
        if what == "pretrain":
            return [*PRETRAIN, "--save-every", "0", "--epochs", "8", tiny, directory]
        return [*FINETUNE, "--save-every", "0", "--epochs", "12", "--ad-after", "last", "--pretrained-dir", pretrained,
                "--data", tiny, "--dir", directory]

    run(*words(tmp_path / "whole"))
    killed = tmp_path / "killed"
    resumed = 0
    # After two epochs the state of the first is on the disk, however slow that is.
    for epochs, seconds in ((1, 0.0), (2, 0.05), (2, 0.15), (2, 0.3)):
        process = subprocess.Popen([sys.executable, *map(str, words(killed))], cwd=ROOT,
                                   stderr=subprocess.PIPE, text=True)
        for line in process.stderr:
            resumed += bool(re.search("continuing (behind|after) epoch", line))
            epochs -= " step " in line
            if epochs == 0:
                break
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    assert resumed >= 2, "the kills never came after a saved state"
    run(*words(killed))
    assert weights(killed) == weights(tmp_path / "whole")
    assert (killed / "log" / "epochs.tsv").read_text() == (tmp_path / "whole" / "log" / "epochs.tsv").read_text()
    result = (tmp_path / "whole" / "RESULT").read_text().replace("/whole", "/killed")
    assert (killed / "RESULT").read_text() == result
    assert not list(killed.glob("*state*")) and not list(killed.glob(".*"))


@pytest.mark.parametrize("norm", ["corpus", "utterance-mean"])
def test_nothing_of_the_test_speaker_touches_the_weights(norm, tiny, tmp_path):
    scrambled = tmp_path / "scrambled"
    shutil.copytree(tiny, scrambled)
    rng = np.random.default_rng(0)
    of_test = [utt for utt, speaker in read_table(tiny / "utt2spk").items() if speaker == "s1"]
    features = dict(read_matrices(read_table(tiny / "feats.scp")))
    features |= {utt: rng.normal(50, 20, features[utt].shape).astype(np.float32) for utt in of_test}
    write_archive(scrambled / "scrambled", sorted(features.items()))
    shutil.copy(scrambled / "scrambled.scp", scrambled / "feats.scp")
    labels = read_table(tiny / "utt2emo")
    labels |= {utt: "ang" if labels[utt] == "sad" else "sad" for utt in of_test}
    write_table(scrambled / "utt2emo", labels)
    for data, name in ((tiny, "clean"), (scrambled, "blind")):
        finetune(data, tmp_path / name, "--epochs", "3", "--backbone", "vgg5", "--ad-after", "last",
                 "--feature-norm", norm, "--class-weights", "balanced")
    assert weights(tmp_path / "clean") == weights(tmp_path / "blind")
    scores = [(tmp_path / name / "score" / "per_utt").read_text() for name in ("clean", "blind")]
    assert scores[0] != scores[1]


def test_the_best_epoch_of_the_validation_speaker_is_kept(tiny, tmp_path):
    finetune(tiny, tmp_path / "m", "--epochs", "6", "--backbone", "vgg5", "--extractor-lr-factor", "1")
    rows = [line.split("\t") for line in (tmp_path / "m" / "log" / "epochs.tsv").read_text().splitlines()[1:]]
    best = max(range(6), key=lambda epoch: (float(rows[epoch][3]), -epoch)) + 1
    finetune(tiny, tmp_path / "short", "--epochs", str(best), "--backbone", "vgg5", "--extractor-lr-factor", "1")
    assert (tmp_path / "m" / "best.safetensors").read_bytes() == (tmp_path / "short" / "last.safetensors").read_bytes()


def test_done_is_done_and_other_options_are_refused(tiny, tmp_path):
    words = ("--epochs", "1", "--backbone", "vgg5")
    finetune(tiny, tmp_path / "m", *words)
    before = weights(tmp_path / "m")
    assert "already there" in finetune(tiny, tmp_path / "m", *words).stderr
    refused = finetune(tiny, tmp_path / "m", *words, "--crop", "30", check=False)
    assert refused.returncode == 1 and "was made with crop 40, asked for is 30" in refused.stderr
    assert weights(tmp_path / "m") == before
    finetune(tiny, tmp_path / "m", *words, "--crop", "30", "--restart", "true")
    assert weights(tmp_path / "m") != before


def test_extractor_learns_at_a_hundredth(tiny, pretrained, tmp_path):
    """Adam's first step is the learning rate itself, so one step shows the rates of section 4.2."""
    finetune(tiny, tmp_path / "m", "--epochs", "1", "--batch-size", "64", "--pretrained-dir", pretrained,
             "--precision", "fp32", "--lr-milestones", "21,31,41")
    start, _ = load_tensors(pretrained / "best.safetensors")
    end, _ = load_tensors(tmp_path / "m" / "last.safetensors")
    moved = (end["extractor.layers.stage2.block1.conv1.conv.weight"]
             - start["extractor.layers.stage2.block1.conv1.conv.weight"]).abs()
    assert moved.max().item() == pytest.approx(1e-4, rel=0.05)


def test_learning_rate_falls_at_the_milestones():
    from ser.train.schedules import step_decay
    factors = [step_decay([21, 31, 41], 0.1)(epoch, 0.0) for epoch in (1, 20, 21, 30, 31, 40, 41, 50)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_tasks_in_one_process_are_those_of_one_each(tiny, tmp_path):
    words = ["--epochs", "2", "--backbone", "vgg5", "--ad-after", "last"]
    for number, fold in enumerate(("fold_s1", "fold_nobody", "fold_s2", "fold_s3"), 1):
        lines = [f"{key}={value}" for key, value in zip(words[::2], words[1::2], strict=True)]
        lines += ["--batch-size=16", "--crop=40", "--lr-milestones=3,4,5", "--num-threads=1", "--device=cpu",
                  f"--data={tiny}", f"--fold={fold}", f"--dir={tmp_path / fold}"]
        write_text(tmp_path / "tasks" / f"finetune.{number}.conf", "\n".join(lines) + "\n")
    place = ("steps/finetune_tasks.py", tmp_path / "tasks", tmp_path / "log", "--num-jobs", "2")
    first, second = (run(*place, "--job", job, check=False) for job in ("1", "2"))
    assert (first.returncode, second.returncode) == (0, 1)
    assert re.findall(r"(\d of 2 done): steps/finetune.py --config .*/finetune.(\d).conf", first.stderr) == [
        ("1 of 2 done", "1"), ("2 of 2 done", "3")]
    assert re.search(r"1 of 2 failed: steps/finetune.py --config .*/finetune.2.conf: .*fold_nobody/train: no",
                     second.stderr)
    logs = {number: (tmp_path / "log" / f"finetune.{number}.log").read_text() for number in (1, 2, 3, 4)}
    assert re.search(r"\nfinetune.py: .*fold_nobody.*\n# Accounting: .*\n.*\n# Ended \(code 1\)", logs[2])
    assert all("%WF1" in logs[number] and "# Ended (code 0)" in logs[number] for number in (1, 3, 4))
    finetune(tiny, tmp_path / "alone", *words, "--fold", "fold_s3")
    assert weights(tmp_path / "alone") == weights(tmp_path / "fold_s3")


def leak_a_speaker(data):
    fold = data / "folds" / "fold_s1"
    (fold / "train").write_text((fold / "train").read_text().replace("s3-ang0\n", ""))
    with open(fold / "valid", "a") as file:
        file.write("s3-ang0\n")


FAULTS = {
    "fold that is not there": (lambda d: None, ("--fold", "fold_s9"), r"folds/fold_s9/train: no such file"),
    "speaker in two parts": (leak_a_speaker, (), r"speaker s3 is in train and in valid"),
    "label missing": (lambda d: write_table(d / "utt2emo", {"s1-ang0": "ang"}), (), r"utt2emo: has no label for "),
    "vad missing": (lambda d: (d / "vad.scp").unlink(), (), r"vad.scp: no such file"),
    "features of nobody": (lambda d: write_table(d / "feats.scp", {"x": "y:1"}), (), r"feats.scp: has no entry for "),
    "archive gone": (lambda d: write_table(d / "feats.scp", {u: "/nowhere.ark:5" for u in read_table(d / "utt2spk")}),
                     (), r"/nowhere.ark:5: no such archive"),
    "pre-trained directory gone": (lambda d: None, ("--pretrained-dir", "/nowhere"), r"/nowhere/config.json: no such"),
    "layer that is not there": (lambda d: None, ("--ad-after", "conv9"), r"vgg5 has no layer 'conv9'"),
    "milestones": (lambda d: None, ("--lr-milestones", "5,x"), r"lr-milestones must be epochs with commas between"),
    "unknown option": (lambda d: None, ("--learning-rate", "1"), r"unrecognized arguments: --learning-rate"),
    "gpu": (lambda d: None, ("--device", "cuda"), r"device cuda: this machine shows no GPU; use --device cpu"),
    "loss explodes": (lambda d: None, ("--lr", "1e30", "--epochs", "3"), r"the loss is .* in epoch"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_clear_line(fault, tiny, tmp_path, monkeypatch, capsys):
    if fault == "gpu" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    damage, words, message = FAULTS[fault]
    data = tmp_path / "data"
    shutil.copytree(tiny, data)
    damage(data)
    place = ("--data", str(data), "--dir", str(tmp_path / "m"))
    monkeypatch.setattr(sys, "argv", [*FINETUNE, *place, "--backbone", "vgg5", "--epochs", "1", *words])
    with pytest.raises(SystemExit) as end:
        options.run(finetune_script.main)
    said = [line for line in capsys.readouterr().err.splitlines() if not re.match(r"[\d-]+ [\d:]+ \(", line)]
    assert end.value.code == 1 and len(said) == 1 and re.search(message, said[0]), said
    assert not (tmp_path / "m" / "RESULT").exists()


def test_archives_hold_what_kaldiio_reads(tiny):
    for place in list(read_table(tiny / "feats.scp").values())[:3]:
        assert kaldiio.load_mat(place).dtype == np.float32

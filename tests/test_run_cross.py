"""run.sh --cross as a user types it: two finished experiments, again, killed, changed, and typed wrongly."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import ROOT, run
from ser.data.data_dir import read_table, write_table
from stages import LOG_LINE, RESULTS, TRAINING, files_of, moved


def other_corpus(data, target):
    """A copy of a data directory with speakers t1, t2, …, the label angry for ang, and other audio by its digest."""
    shutil.copytree(data, target)
    for path in [*target.iterdir(), *target.glob("folds/*")]:
        if path.is_file() and path.name not in ("feats.scp", "vad.scp"):
            path.write_text(re.sub(r"\bs(\d)\b", r"t\1", path.read_text()))
    for name in ("feats.scp", "vad.scp"):
        write_table(target / name, {f"t{utt[1:]}": place for utt, place in read_table(target / name).items()})
    for folder in sorted(target.glob("folds/fold_s*")):
        for path in folder.iterdir():
            path.write_text(re.sub(r"\bs(\d)-", r"t\1-", path.read_text()))
        folder.rename(folder.with_name(folder.name.replace("_s", "_t")))
    for name in ("folds/list", "folds/protocol"):
        path = target / name
        path.write_text(path.read_text().replace("fold_s", "fold_t"))
    write_table(target / "utt2emo", {utt: label.replace("ang", "angry")
                                     for utt, label in read_table(target / "utt2emo").items()})
    write_table(target / "utt2audio_digest", {utt: f"t{digest}" for utt, digest in
                                              read_table(target / "utt2audio_digest").items()})
    (target / "dataset").write_text("other-2\n")
    shutil.rmtree(target / "bank")


@pytest.fixture(scope="module")
def experiments(whole, make_once):
    """Finished experiments exp/one and exp/two of one system, on data/one and data/two."""
    def make(place):
        moved(whole(RESULTS), place / "made")
        (place / "data").mkdir()
        (place / "exp").mkdir()
        shutil.move(place / "made" / "data", place / "data" / "one")
        shutil.move(place / "made" / "exp", place / "exp" / "one")
        for path in place.rglob("*"):
            if path.suffix in (".scp", ".json") or path.name == "RESULT":
                path.write_bytes(path.read_bytes().replace(os.fsencode(place / "made" / "data"),
                                                           os.fsencode(place / "data" / "one")))
        other_corpus(place / "data" / "one", place / "data" / "two")
        for fold in ("fold_t1", "fold_t2", "fold_t3", "fold_t4"):
            run("steps/finetune.py", *TRAINING, "--data", place / "data" / "two", "--fold", fold, "--dir",
                place / "exp" / "two" / "vgg5_baseline" / fold)
        run("local/results/make_results.py", "--systems", "vgg5_baseline", place / "data" / "two",
            place / "exp" / "two")

    return make_once("cross", make)


@pytest.fixture
def place(experiments, tmp_path):
    return moved(experiments, tmp_path / "place")


def cross(place, *words, **kwargs):
    return run("./run.sh", "--cross", "one two", "--exp-dir", place / "exp", "--data-dir", place / "data", "--nj", "2",
               *words, **kwargs)


def plan_cross(place, **kwargs):
    """What run.sh --cross starts with."""
    return run("local/experiment/plan_cross.py", "--cross", "one two", "--exp", place / "exp", "--data-dir",
               place / "data", place / "exp" / "cross", **kwargs)


def scores(place):
    return {path: content for path, content in files_of(place / "exp" / "cross").items()
            if re.search("per_utt$|RESULT$|results.json$|cross.json$|CROSS$|svg$", path)}


def test_killed_failed_again_and_elsewhere(place):
    """A damaged model takes no other down, what is missing is done by the same command, and all is as if at once."""
    # Killed
    exp = place / "exp" / "cross"
    process = subprocess.Popen(["./run.sh", "--cross", "one two", "--exp-dir", place / "exp", "--nj", "1"], cwd=ROOT,
                               start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (exp / "one_on_two/vgg5_baseline/fold_s1/RESULT").exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (exp / "CROSS").exists()

    # One model is damaged, and mended
    weights = place / "exp" / "two" / "vgg5_baseline" / "fold_t2" / "best.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-9])
    result = cross(place, check=False)
    assert result.returncode == 1 and "best.safetensors: cut short or damaged" in result.stdout + result.stderr
    assert result.stderr.splitlines()[-1].startswith("run.sh: not all is scored, see above; do just what is missing "
                                                     'with: ./run.sh --cross "one two" --exp-dir ')
    assert len(list(exp.glob("*/*/*/RESULT"))) == 7
    weights.write_bytes(whole)
    said = cross(place).stdout
    assert " 1 job with models to score" in said
    plan = json.loads((exp / "plan.json").read_text())
    assert plan["systems"] == ["vgg5_baseline"] and [corpus["name"] for corpus in plan["corpora"]] == ["one", "two"]

    made = scores(place)
    text = made["CROSS"].decode()
    assert text in said and text.startswith("source-2 (loso), other-2 (loso): models of each scored on the others")
    assert len([path for path in made if path.endswith("/RESULT")]) == 8
    assert re.findall(r"^(one|two) +(one|two) +vgg5_baseline +\d", text, re.MULTILINE) == [("one", "two"),
                                                                                          ("two", "one")]
    line = made["one_on_two/vgg5_baseline/fold_s1/RESULT"].decode()
    assert "fold s1 scored on other-2, classes ang+sad, seed 0, source-2 loso" in line
    assert len(made["two_on_one/vgg5_baseline/fold_t1/score/per_utt"].splitlines()) == 48

    # The two corpora sound the same, so a model says the same of both
    own = read_table(place / "exp/one/vgg5_baseline/fold_s1/score/per_utt")
    there = read_table(exp / "one_on_two/vgg5_baseline/fold_s1/score/per_utt")
    assert {f"t{utt[1:]}": row.split()[:2] for utt, row in own.items()} == {
        utt: row.split()[:2] for utt, row in there.items() if utt.startswith("t1-")}

    # Again
    again = cross(place)
    assert " 0 jobs with models to score" in again.stdout and scores(place) == made
    assert (exp / "commands").read_text().count('--cross "one two"') == 4

    # At once, on data that moved, which is found below the folder of data
    shutil.rmtree(exp)
    (place / "data").rename(place / "elsewhere")
    result = cross(place, check=False)
    assert result.returncode == 1
    assert re.search(r"data/one: no such directory, and .*config.json names it", result.stderr)
    for path in (place / "elsewhere").rglob("*.scp"):
        path.write_text(path.read_text().replace(f"{place}/data/", f"{place}/elsewhere/"))
    cross(place, "--data-dir", place / "elsewhere")
    assert {path: content.replace(b"/elsewhere/", b"/data/") for path, content in scores(place).items()} == made


def test_wrong_calls_are_said_in_one_line(place, outcome):
    path = place / "data" / "two" / "utt2audio_digest"
    digests = path.read_text()
    results = place / "exp" / "two" / "vgg5_baseline" / "fold_t1" / "RESULT"

    def same_recordings():
        path.write_text(digests.replace(" t", " "))

    def unfinished():
        path.write_text(digests)
        results.rename(results.with_name("kept"))

    def other_labels():
        results.with_name("kept").rename(results)
        emotions = place / "data" / "two" / "utt2emo"
        emotions.write_text(emotions.read_text().replace("t1-ang0 angry", "t1-ang0 sad"))

    nothing = int
    for fault, start, words, prepare, said in (
            ("--corpus beside --cross", cross, ("--corpus", "mini"), nothing,
             "run.sh: --corpus is not for --cross, which takes --cross --systems --seeds"),
            ("no such system", cross, ("--systems", "vgg"), nothing, "no system 'vgg'; similar: vgg5_baseline"),
            ("a seed that is not trained", cross, ("--seeds", "3"), nothing,
             "vgg5_baseline_seed3: holds no trained fold; train it with ./run.sh … --exp-dir .*exp/one --systems"),
            ("--nj without a number", cross, ("--nj", "x"), nothing, "run.sh: --nj 'x' is not a number"),
            ("the same recordings in both", plan_cross, (), same_recordings,
             r"all its speakers are in .*/one, too \(t1: t1-ang0 is the recording s1-ang0, "),
            ("a fold that is not finished", plan_cross, (), unfinished, "fold_t1/RESULT: not there; run stage 5"),
            ("a label changed since", plan_cross, (), other_labels, "was trained on other data than .*/two holds now")):
        prepare()
        result = start(place, *words, check=False)
        line, = (line for line in result.stderr.splitlines() if not LOG_LINE.match(line))
        outcome(fault, "cross", result.returncode, line.replace(str(place), ""))
        assert result.returncode == 1 and re.search(said, line), line
        assert not (place / "exp" / "cross" / "CROSS").exists()
    (place / "exp" / "cross" / ".corpus").write_text("mini 10fold\n")
    assert "holds an experiment on mini 10fold; give it another name" in cross(place, check=False).stderr

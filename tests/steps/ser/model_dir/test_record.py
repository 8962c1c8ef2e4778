"""A model directory is done for just what it was made from, and nothing that is not a training's is ever removed."""

import json
import re
import shutil
from pathlib import Path

import pytest

from conftest import SHORT, run
from ser import load_model
from ser.data.data_dir import read_table
from ser.model_dir.record import _MADE, clear_model_dir
from stages import files_of, moved

TRAINING = (*SHORT, "--epochs", "2", "--extractor-lr-factor", "1", "--ad-lr-factor", "1", "--backbone", "vgg5",
            "--ad-after", "last", "--num-threads", "1", "--fold", "fold_s1")
REMADE = "it is made again from the start"


def finetune(place, *words):
    """Train in the place as the fixture `trained` did; returns status and what was said."""
    result = run("steps/finetune.py", *TRAINING, "--data", place / "data", "--dir", place / "m", *words, check=False)
    return result.returncode, result.stderr.replace(f"{place}/", "")


def said(text):
    """The lines of a message that are no log."""
    return [line for line in text.splitlines() if not re.match(r"\d{4}-\d\d-\d\d ", line)]


@pytest.fixture
def place(tiny, trained, tmp_path):
    """A copy of data and of a model that was trained on it, which had the data in another place."""
    moved(tiny.parent, tmp_path / "place")
    shutil.copytree(trained / "vgg5_ad" / "fold_s1", tmp_path / "place" / "m")
    return tmp_path / "place"


def change_label(place):
    path = place / "data" / "utt2emo"
    path.write_text(path.read_text().replace("s3-ang0 ang", "s3-ang0 sad"))


def weights(place):
    return [(place / "m" / name).read_bytes() for name in ("best.safetensors", "last.safetensors")]


def test_data_that_moved_are_the_same(place, outcome):
    before = files_of(place / "m")
    status, text = finetune(place)
    outcome("data directory moved", "5 training", status, text.splitlines()[-1])
    assert status == 0 and "already there: m/RESULT" in text and REMADE not in text
    assert files_of(place / "m") == before


@pytest.mark.parametrize("state", ["finished", "in training"])
def test_other_data_are_trained_on_from_the_start(state, place, outcome):
    before = weights(place)
    if state == "in training":
        (place / "m" / "RESULT").unlink()
        (place / "m" / "state.safetensors").write_text("that of the data of before; whoever reads this fails")
    (place / "m" / "analysis").mkdir()
    (place / "m" / "analysis" / "probes.tsv").write_text("of the model of before")
    (place / "m" / "notes.txt").write_text("the user's")
    change_label(place)
    status, text = finetune(place)
    line, = (line for line in text.splitlines() if REMADE in line)
    outcome(f"a label changed, model {state}", "5 training", status, line.partition("(finetune.py) ")[2])
    assert status == 0 and "m: changed since it was made: labels (utt2emo); it is made again from the start" in line
    assert weights(place) != before and not (place / "m" / "analysis").exists()
    assert (place / "m" / "notes.txt").read_text() == "the user's"
    again = weights(place)
    shutil.rmtree(place / "m")
    assert finetune(place)[0] == 0 and weights(place) == again
    assert "already there" in finetune(place)[1]


def test_when_the_new_data_have_a_fault_the_model_of_before_stays(place):
    change_label(place)
    (place / "data" / "folds" / "fold_s1" / "valid").write_text("")
    before = files_of(place / "m")
    for words in ((), ("--restart", "true")):
        status, text = finetune(place, *words)
        assert status == 1 and said(text) == ["finetune.py: data/folds/fold_s1/valid: empty"]
        assert files_of(place / "m") == before


def test_restart_with_a_wrong_option_removes_nothing(place):
    before = files_of(place / "m")
    status, text = finetune(place, "--restart", "true", "--ad-after", "conv9")
    assert status == 1 and "vgg5 has no layer 'conv9'" in text
    assert files_of(place / "m") == before


def test_restart_leaves_what_is_not_the_trainings(place, tmp_path):
    (place / "m" / "log" / "finetune.log").write_text("of a job runner")
    (place / "m" / "notes.txt").write_text("the user's")
    shutil.rmtree(place / "m" / "score")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "per_utt").write_text("the user's")
    (place / "m" / "score").symlink_to(tmp_path / "elsewhere")
    assert finetune(place, "--restart", "true")[0] == 0
    assert (place / "m" / "log" / "finetune.log").exists() and (place / "m" / "notes.txt").exists()
    assert (tmp_path / "elsewhere" / "per_utt").read_text() == "the user's"
    assert not (place / "m" / "score").is_symlink()


OWN = {
    "papers": ({"README.md": "mine", "score/x": "mine"}, "is no model directory, for it holds README.md and no"),
    "another program's": ({"config.json": '{"name": "mine"}', "README.md": "mine"},
                          "config.json: is not that of a training; take another directory, or remove this one yours"),
    "another program's with a version": ({"config.json": '{"format_version": "1.0"}', "score/x": "mine"},
                                         "config.json: is not that of a training; take another directory"),
    "damaged": ({"config.json": '{"format_version": 1,'}, "config.json: is not that of a training; take another"),
    "of systems": ({"fold_s1/RESULT": "%WF1"}, "is no model directory, for it holds fold_s1 and no config.json"),
}


@pytest.mark.parametrize("restart", ["true", "false"])
@pytest.mark.parametrize("script", ["finetune", "pretrain"])
@pytest.mark.parametrize("what", OWN)
def test_a_directory_that_is_not_a_trainings_is_refused_untouched(what, script, restart, tiny, tmp_path, outcome):
    files, message = OWN[what]
    for name, text in files.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(text)
    before = files_of(tmp_path)
    words = {"finetune": (*TRAINING, "--data", tiny, "--dir", tmp_path / "own"),
             "pretrain": (*SHORT, tiny, tmp_path / "own")}[script]
    result = run(f"steps/{script}.py", *words, "--restart", restart, check=False)
    lines = said(result.stderr)
    if script == "finetune" and restart == "true":
        outcome(f"--restart of a directory {what}", "5 training", result.returncode,
                lines[-1].replace(f"{tmp_path}/", ""))
    assert result.returncode == 1 and len(lines) == 1 and message in lines[0], result.stderr
    assert files_of(tmp_path) == before


def test_a_job_runners_log_may_be_there_first(place):
    shutil.rmtree(place / "m")
    (place / "m" / "log").mkdir(parents=True)
    (place / "m" / "log" / "finetune.1.log").write_text("# Started\n")
    assert finetune(place)[0] == 0 and (place / "m" / "log" / "finetune.1.log").exists()


def older(place, version):
    """Turn a model directory into one of before the stamp was of content."""
    path = place / "m" / "config.json"
    config = json.loads(path.read_text())
    for key in ("data", "options_digest"):
        del config[key]
    if not version:
        del config["format_version"]
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("version", [True, False])
def test_a_model_of_before_is_used_as_it_is_and_trained_again(version, place, outcome):
    sound = read_table(place / "data" / "wav.scp")["s1-ang0"]
    expected = load_model(place / "m").predict(sound)
    trained = weights(place)
    older(place, version)
    assert load_model(place / "m").predict(sound) == expected
    assert run("steps/predict.py", place / "m", sound).returncode == 0
    assert re.search(r", options [0-9a-f]{6} \] ", run("steps/score.py", place / "m", place / "data").stdout)
    older_files = files_of(place / "m")
    analysed = run("steps/analyse.py", "--dir", place / "m", check=False)
    assert analysed.returncode == 1 and files_of(place / "m") == older_files
    status, text = finetune(place)
    line, = (line for line in text.splitlines() if REMADE in line)
    outcome("model of a version before", "5 training", status, line.partition("(finetune.py) ")[2])
    assert status == 0 and "the version of the recipe (it kept no checksums of features)" in line
    assert weights(place) == trained and "already there" in finetune(place)[1]


def test_an_option_that_a_model_of_before_did_not_have_is_no_other_option(place):
    path = place / "m" / "config.json"
    config = json.loads(path.read_text())
    del config["options"]["ad_head"]
    path.write_text(json.dumps(config))
    status, text = finetune(place)
    assert status == 0 and "changed since it was made: the version of the recipe (it had no ad_head); it is" in text


def test_a_removal_that_is_killed_leaves_no_result(place, monkeypatch):
    """Whenever it ends, there is no RESULT without weights, and the directory is still known for a training's."""
    whole = Path.unlink
    for survived in range(len(_MADE)):
        target = shutil.copytree(place / "m", place / f"copy{survived}")
        left = iter(range(survived))

        def killed(path, missing_ok=False, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            whole(path, missing_ok)

        monkeypatch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            clear_model_dir(target)
        monkeypatch.setattr(Path, "unlink", whole)
        assert (target / "RESULT").exists() == (survived == 0)
        clear_model_dir(target)
        assert {path.name for path in target.iterdir()} == {"config.json", "log"}


def test_notes_of_the_user_in_the_folders_of_a_training_stay(place):
    notes = [place / "m" / folder / "notes.txt" for folder in ("score", "analysis", "log")]
    for path in notes:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    clear_model_dir(place / "m")
    assert {path for path in (place / "m").rglob("*") if path.is_file()} == {place / "m" / "config.json", *notes}

"""config.json: which format a model directory has, and that of another format is said in one line."""

import json
import shutil

import pytest

from conftest import run
from ser import load_model
from ser.base.errors import UserError
from ser.data.data_dir import read_table
from ser.model_dir.checkpoint import load_config
from ser.model_dir.record import is_done
from ser.train.finetuning import finished_task


@pytest.fixture
def model(trained, tmp_path):
    """A copy of a model directory."""
    return shutil.copytree(trained / "vgg5_ad" / "fold_s1", tmp_path / "m")


def edit(model, change):
    config = json.loads((model / "config.json").read_text())
    change(config)
    (model / "config.json").write_text(json.dumps(config))
    return {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}


def test_fine_tuning_writes_the_format(model):
    assert json.loads((model / "config.json").read_text())["format_version"] == 1


def test_without_a_format_a_model_is_read_as_format_1(tiny, model):
    sound = read_table(tiny / "wav.scp")["s1-ang0"]
    expected = load_model(model).predict(sound)
    edit(model, lambda config: config.pop("format_version"))
    assert load_model(model).predict(sound) == expected
    assert is_done(model, finished_task(model).made_from())


@pytest.mark.parametrize("version", [2, 0, "1", True, None, 1.0, [1] * 1000])
def test_another_format_is_refused(version, model):
    edit(model, lambda config: config.update(format_version=version))
    with pytest.raises(UserError, match=r"m/config.json: has format_version .*, this version of the recipe reads 1; "
                       r"use the version that wrote it, or train again") as error:
        load_model(model)
    assert len(str(error.value).splitlines()) == 1 and len(str(error.value)) < 300


def test_what_another_format_holds_is_not_looked_at(model):
    (model / "config.json").write_text('{"format_version": 7, "training": {}}')
    with pytest.raises(UserError, match="has format_version 7, this version of the recipe reads 1"):
        load_config(model)


@pytest.mark.parametrize("script", ["predict", "score", "finetune"])
def test_scripts_say_so_in_one_line_and_change_nothing(script, tiny, model):
    before = edit(model, lambda config: config.update(format_version=2))
    sound = read_table(tiny / "wav.scp")["s1-ang0"]
    words = {"predict": (model, sound), "score": (model, tiny),
             "finetune": ("--data", tiny, "--fold", "fold_s1", "--dir", model)}[script]
    result = run(f"steps/{script}.py", *words, check=False)
    said = [line for line in result.stderr.splitlines() if "training and validation in" not in line]
    assert result.returncode == 1 and len(said) == 1 and "has format_version 2" in said[0]
    assert before == {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}

"""Options of the Python scripts: configuration files, overrides, and one line for what is wrong."""

import re
import subprocess
import sys

import pytest

from conftest import ROOT, run
from options import OptionParser, read_conf, str2bool
from ser.base.errors import UserError


@pytest.fixture
def parser():
    parser = OptionParser("Does nothing.", "nothing.py data")
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--flag", type=str2bool, default=False)
    parser.add_argument("data")
    return parser


def test_command_line_overrides_a_file_wherever_it_stands(parser, tmp_path):
    (tmp_path / "x.conf").write_text("# comment\n--rate=2   # behind\n\n--flag=true\r\n")
    path = str(tmp_path / "x.conf")
    for words in (["--config", path, "--rate", "3", "d"], ["--rate=3", "d", f"--config={path}"]):
        args = parser.parse_args(words)
        assert (args.rate, args.flag, args.data) == (3.0, True, "d")


def test_a_file_may_name_another(parser, tmp_path):
    (tmp_path / "inner.conf").write_text("--rate=5\n--flag=true\n")
    (tmp_path / "outer.conf").write_text(f"--config={tmp_path}/inner.conf\n--rate=6\n")
    args = parser.parse_args(["--config", str(tmp_path / "outer.conf"), "d"])
    assert (args.rate, args.flag) == (6.0, True)


@pytest.mark.parametrize(("text", "message"), [("rate=2\n", "x.conf:1: expected --key=value"),
                                               ("\n--rate 2\n", "x.conf:2: expected --key=value")])
def test_wrong_files(text, message, tmp_path):
    (tmp_path / "x.conf").write_text(text)
    with pytest.raises(UserError, match=message):
        read_conf(tmp_path / "x.conf")


@pytest.mark.parametrize(("words", "message"), [
    (["--crop", "x"], "argument --crop: invalid int value: 'x'"),
    (["--learn", "1"], "unrecognized arguments: --learn"),
    (["--class-weights", "some"], r"argument --class-weights: invalid choice: 'some'"),
    (["--config", "/nowhere"], "/nowhere: no such configuration file"),
    (["--restart", "yes"], "argument --restart: expected true or false, not 'yes'"),
    (["--epochs", "0"], "epochs, batch-size and crop must be 1 or more"),
])
def test_one_line_and_status_1(words, message):
    result = run("steps/finetune.py", "--data", "d", "--fold", "f", "--dir", "m", *words, check=False)
    assert result.returncode == 1 and re.search(message, result.stderr)
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("script", [
    "steps/finetune.py", "steps/finetune_tasks.py", "steps/pretrain.py", "steps/score.py", "steps/predict.py",
    "steps/export.py", "steps/compute_fbank.py", "steps/compute_vad.py", "steps/fix_data_dir.py",
    "steps/validate_data_dir.py", "local/make_folds.py", "local/iemocap_data_prep.py", "local/results/make_results.py",
    "local/results/compare.py", "local/experiment/plan_finetuning.py", "local/mini/make_mini_corpora.py",
])
def test_help_has_an_example(script):
    text = run(script, "--help").stdout
    assert "example:" in text and script.split("/")[1] in text


IMPORTS = """
import gc, sys
sys.modules["__main__"].__file__ = {script!r}
import recipe_environment
while_importing = gc.isenabled()
from options import run
run(lambda: print(while_importing, gc.isenabled()))
"""


@pytest.mark.parametrize("script, said", [("steps/score.py", "False True\n"), ("a/notebook.py", "True True\n")])
def test_garbage_is_looked_for_once_a_script_has_imported_what_it_needs(script, said):
    """And all the time where another program imports the recipe."""
    words = [sys.executable, "-c", IMPORTS.format(script=script)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == said, done.stderr

"""Kaldi's grammar for cluster runners, read as slurm.py reads it; sbatch here is a script that shows its arguments."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

# What Kaldi's slurm.pl uses when it finds no file.
KALDI = """
command sbatch --export=PATH  --ntasks-per-node=1
option time=* --time $0
option mem=* --mem-per-cpu $0
option mem=0          # Do not add anything to qsub_opts
option num_threads=* --cpus-per-task $0 --ntasks-per-node=1
option num_threads=1 --cpus-per-task 1  --ntasks-per-node=1 # Do not add anything to qsub_opts
default gpu=0
option gpu=0 -p shared
option gpu=* -p gpu --gres=gpu:$0 --time 4:0:0  # in reality, we probably should have --cpus-per-task=$((6*$0))
# note: the --max-jobs-run option is supported as a special case
# by slurm.pl and you don't have to handle it in the config file.
"""


@pytest.fixture
def submit(tmp_path):
    """Call slurm.py with a configuration; return what sbatch was given, and the runner's message."""
    program = tmp_path / "bin/sbatch"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport json, sys\njson.dump(sys.argv[1:], open('given', 'w'))\n"
                       "sys.exit('sbatch: error: not today')\n")
    program.chmod(0o755)
    env = {"PATH": f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def call(conf, *options):
        (tmp_path / "my.conf").write_text(conf)
        (tmp_path / "given").unlink(missing_ok=True)
        done = subprocess.run([ROOT / "steps/parallel/slurm.py", "--config", "my.conf", *options, "x.log", "true"],
                              cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        given = tmp_path / "given"
        words = json.loads(given.read_text()) if given.exists() else None
        assert words is None or words[-2:] == ["q/x.sh", "0"]
        return words and words[:-2], done.stderr
    return call


@pytest.mark.parametrize("options, words", [
    ([], "-p shared"),
    (["--mem", "4G"], "--mem-per-cpu 4G -p shared"),
    (["--mem", "0"], "-p shared"),
    (["--num-threads", "1"], "--cpus-per-task 1 --ntasks-per-node=1 -p shared"),
    (["--num-threads", "8", "--time", "1:0:0"], "--time 1:0:0 --cpus-per-task 8 --ntasks-per-node=1 -p shared"),
    (["--gpu", "2"], "-p gpu --gres=gpu:2 --time 4:0:0"),
])
def test_kaldis_own_file(submit, options, words):
    given, message = submit(KALDI, *options)
    assert given[:2] == ["--export=PATH", "--ntasks-per-node=1"]
    ours = [word for word in given[2:] if re.match("--(parsable|job-name|output|array)", word)]
    assert [word for word in given[2:] if word not in ours] == words.split()
    assert "sbatch refused the job: sbatch: error: not today" in message


@pytest.mark.parametrize("conf, options, words", [
    ("command sbatch\noption kind=* --constraint=$0", ["--kind", "a b"], ["--constraint=a b"]),
    ("command sbatch --comment='two words' -l x=*64*", [], ["--comment=two words", "-l", "x=*64*"]),
    ("command sbatch\noption gpu=* -c $((6*$0))\ndefault gpu=2", [], ["-c", "12"]),
    ("command sbatch\noption my_option=* --x=$0", ["--my-option", "7"], ["--x=7"]),
])
def test_words_are_those_of_a_shell(submit, conf, options, words):
    given, _ = submit(conf, *options)
    assert [word for word in given if not re.match("--(parsable|job-name|output|array)", word)] == words


@pytest.mark.parametrize("conf, options, words", [
    ("option mem=* --mem=$0", [], r"my.conf: has no line 'command ...'"),
    ("command sbatch\nmemory=4G", [], r"my.conf:2: cannot understand 'memory=4G'"),
    ("command sbatch", ["--mem", "4G"], r"unknown option --mem, expected one of --config, --max-jobs-run"),
    ("command sbatch\noption gpu=0\noption gpu=1 -G 1", ["--gpu", "3"], r"does not describe --gpu 3, only 0, 1"),
    ("command sbatch\noption mem=* --mem=$0", ["--mem", "lots"], r"--mem needs a size such as 4G, not 'lots'"),
])
def test_what_is_wrong_is_said_before_anything_is_submitted(submit, conf, options, words):
    given, message = submit(conf, *options)
    assert given is None and re.search(words, message), message

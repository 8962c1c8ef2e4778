"""steps/parse_options.sh, sourced by small scripts."""

import subprocess
from pathlib import Path

import pytest

PARSE_OPTIONS = Path(__file__).resolve().parents[2] / "steps/parse_options.sh"
SETTINGS = """\
nj=4
some_option=default
name=script
config_like=x
force=false
empty=
cmd=run.pl
"""
SHOW = """
for v in nj some_option name force empty cmd; do printf '%s=<%s>\\n' "$v" "${!v}"; done
for a in "$@"; do printf 'arg=<%s>\\n' "$a"; done
"""


def call(tmp_path, *arguments, settings=SETTINGS, show=SHOW):
    script = tmp_path / "prog.sh"
    script.write_text(f"set -euo pipefail\n{settings}\n. {PARSE_OPTIONS}\n{show}\n")
    return subprocess.run(["bash", "prog.sh", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=10)


def values(tmp_path, *arguments, **more):
    """Run the script; return its variables and its remaining arguments."""
    done = call(tmp_path, *arguments, **more)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    pairs = [line.partition("=") for line in done.stdout.splitlines()]
    return {name: value[1:-1] for name, _, value in pairs if name != "arg"}, \
        [value[1:-1] for name, _, value in pairs if name == "arg"]


def test_defaults_stay_without_arguments(tmp_path):
    options, rest = values(tmp_path)
    assert options == dict(nj="4", some_option="default", name="script", force="false", empty="", cmd="run.pl")
    assert rest == []


def test_options_are_set_and_the_rest_remains(tmp_path):
    options, rest = values(tmp_path, "--nj", "8", "--some-option", "a b", "--some_option", "c  d", "--force", "true",
                           "data/a b", "", "--nj", "9")
    assert (options["nj"], options["some_option"], options["force"]) == ("8", "c  d", "true")
    assert rest == ["data/a b", "", "--nj", "9"]


@pytest.mark.parametrize("value", ["$(touch evil)", "`touch evil`", 'a"b', "it's", "$HOME", "-3", "--mem 4G", "", "a=b",
                                   "*", "%s\\n"])
def test_values_arrive_as_given(tmp_path, value):
    assert values(tmp_path, "--some-option", value)[0]["some_option"] == value
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("arguments, words", [
    (["--unknown", "1"], "prog.sh: invalid option --unknown (see prog.sh --help)"),
    (["--unknown"], "invalid option --unknown"),
    (["--nj[$(touch evil)]", "1"], "invalid option"),
    (["--", "1"], "invalid option --"),
    (["--parse-options", "1"], "invalid option --parse-options"),
    (["--nj"], "option --nj needs a value"),
    (["--nj", "3", "--config"], "option --config needs a value"),
    (["--nj=8"], "write --nj 8, not --nj=8"),
    (["--force", "yes"], "--force true or --force false, not 'yes'"),
    (["--force", ""], "--force true or --force false"),
    (["--cmd", "", "data"], "empty argument to --cmd"),
    (["--config", "missing.conf"], "missing.conf: no such file"),
])
def test_wrong_options_end_in_one_line(tmp_path, arguments, words):
    done = call(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("prog.sh: ") and words in done.stderr
    assert not (tmp_path / "evil").exists()


def test_config_is_read_first_wherever_it_stands(tmp_path):
    (tmp_path / "my.conf").write_text("# jobs\nnj=16\nsome_option=$nj-from-file\n")
    options, rest = values(tmp_path, "--nj", "8", "--config", "my.conf", "data")
    assert (options["nj"], options["some_option"], rest) == ("8", "16-from-file", ["data"])


def test_config_sets_the_variable_only_where_the_script_has_it(tmp_path):
    (tmp_path / "my.conf").write_text("nj=16\n")
    show = 'echo "config=<${config-none}>"'
    assert values(tmp_path, "--config", "my.conf", show=show)[0] == {"config": "none"}
    assert values(tmp_path, "--config", "my.conf", settings="config=\nnj=4", show=show)[0] == {"config": "my.conf"}


def test_config_after_the_options_is_an_argument(tmp_path):
    assert values(tmp_path, "data", "--config", "missing.conf")[1] == ["data", "--config", "missing.conf"]


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help(tmp_path, word):
    message = "help_message='Usage: prog.sh [--nj 4] <data>  # 100%'\n"
    done = call(tmp_path, "--nj", "3", word, settings=SETTINGS + message)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Usage: prog.sh [--nj 4] <data>  # 100%\n", "")
    assert call(tmp_path, word).returncode == 0


def test_nothing_is_left_behind(tmp_path):
    names = "{ compgen -v; declare -F; } | grep -vE '^(BASH_REMATCH|PIPESTATUS|_)$' | sort > "
    done = call(tmp_path, "--nj", "3", "--config", "/dev/null", "a", settings=f"nj=1\n{names}before",
                show=f"{names}after")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text() != ""


def test_a_readonly_variable_is_an_error(tmp_path):
    assert call(tmp_path, "--fixed", "2", settings="readonly fixed=1", show="echo $fixed").returncode == 1

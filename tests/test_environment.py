"""The environment on every machine and for every user: made once, never half, found from anywhere, hurt by nothing.

Most tests work on a copy of the recipe whose Python is a stub, as making a real environment takes minutes.
"""

import ast
import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import pytest

from conftest import ROOT
from ser.model_dir.record import version

VERSION = (ROOT / "steps/ser/VERSION").read_text().strip()
FRESH = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), "PIP_NO_INDEX": "1"}
SCRIPTS = sorted(path for folder in ("steps", "local", "tests/bench") for path in (ROOT / folder).rglob("*.py")
                 if path.read_text().startswith("#!") and path.parent.name != "parallel")
# Makes an environment of itself; notes what pip is asked, and does $ON_PIP then.
STUB = """#!/bin/bash
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo venv >> calls ;;
  "-m pip") [ "$3" = --version ] || { echo "pip ${*: -1}" >> calls; eval "$ON_PIP"; } ;;
esac
"""


def copy(place):
    """The recipe without an environment."""
    for name in ("steps", "local", "conf"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run.sh", "path.sh", "cmd.sh", ".gitattributes"):
        shutil.copy(ROOT / name, place / name)
    (place / "requirements.txt").write_text("numpy\n")
    (place / "requirements-dev.txt").write_text("pytest\n")
    return place


@pytest.fixture
def recipe(tmp_path):
    place = tmp_path / "recipe"
    place.mkdir()
    return copy(place)


@pytest.fixture
def stub(tmp_path):
    """The environment of a shell whose Python is the stub."""
    path = tmp_path / "own-python"
    path.write_text(STUB)
    path.chmod(0o755)
    return FRESH | {"PYTHON": str(path)}


def sh(line, cwd, env, *before):
    return subprocess.run([*before, "bash", "-c", line], cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


def calls(recipe):
    """What was asked of the stub since the last question."""
    path = recipe / "calls"
    words = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return words


def row(outcome, fault, stage, result, place):
    """A row of the table of faults: what was said, without the place."""
    said = (result.stderr or result.stdout).splitlines()
    outcome(fault, stage, result.returncode, said[0].replace(f"{place}/", ""))


def one_line(result, said):
    """The command ended in the one line that it must say."""
    assert result.returncode not in (0, 126, 127), result.stderr
    assert re.search(said, result.stderr) and result.stderr.count("\n") == 1, result.stderr


# An environment is whole or made anew

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_killed_first_run(number, recipe, stub, outcome):
    env = FRESH | {"PYTHON": sys.executable}
    process = subprocess.Popen(["bash", "-ec", ". ./path.sh"], cwd=recipe, env=env, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    while not (recipe / ".venv/bin/python").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, number)
    _, error = process.communicate()
    assert "Traceback" not in error
    if number == signal.SIGINT:
        assert process.returncode == 130 and error == "install.sh: interrupted; the same command begins anew\n"
        return
    assert not (recipe / ".venv/.requirements.txt").exists()
    again = sh(". ./path.sh", recipe, stub)
    row(outcome, f"first run ended by {number.name}, again", "path.sh", again, recipe)
    assert again.returncode == 0 and "was left unfinished" in again.stderr
    assert calls(recipe) == ["venv", "pip requirements.txt"]
    assert {path.name for path in (recipe / ".venv").iterdir()} == {
        ".made_by_install.sh", ".requirements.txt", "bin"}, "something of the first run is left"
    assert sh(". ./path.sh", recipe, stub).stderr == "" and calls(recipe) == []


def test_killed_change_of_a_whole_environment(recipe, stub):
    assert sh(". ./path.sh", recipe, stub).returncode == 0 and calls(recipe) == ["venv", "pip requirements.txt"]
    both = "local/install.sh requirements.txt requirements-dev.txt"
    assert sh(both, recipe, stub | {"ON_PIP": "kill -9 $PPID"}).returncode == -signal.SIGKILL
    assert calls(recipe) == ["pip requirements-dev.txt"]
    again = sh(both, recipe, stub)
    assert again.returncode == 0 and "was left unfinished" in again.stderr
    assert calls(recipe) == ["venv", "pip requirements.txt", "pip requirements-dev.txt"]
    assert sh(both, recipe, stub).stderr == "" and calls(recipe) == []


def test_a_package_that_cannot_be_had_leaves_a_whole_environment_as_it_is(recipe, stub):
    sh(". ./path.sh", recipe, stub)
    (recipe / "requirements.txt").write_text("numpy\nnowhere\n")
    result = sh(". ./path.sh", recipe, stub | {"ON_PIP": "exit 1"})
    assert result.returncode == 1 and "pip could not install requirements.txt" in result.stderr
    assert calls(recipe) == ["venv", "pip requirements.txt", "pip requirements.txt"]
    (recipe / "requirements.txt").write_text("numpy\n")
    assert sh(". ./path.sh", recipe, stub).returncode == 0 and calls(recipe) == []


def test_another_tools_environment_is_never_removed(recipe, stub):
    (recipe / ".venv/bin").mkdir(parents=True)
    shutil.copy(stub["PYTHON"], recipe / ".venv/bin/python")
    (recipe / ".venv/mine").touch()
    assert sh(". ./path.sh", recipe, stub | {"ON_PIP": "kill -9 $PPID"}).returncode == 128 + signal.SIGKILL
    assert sh(". ./path.sh", recipe, stub).returncode == 0 and (recipe / ".venv/mine").exists()
    assert calls(recipe) == ["pip requirements.txt"] * 2
    (recipe / ".venv/bin/python").unlink()
    one_line(sh(". ./path.sh", recipe, stub), r"/\.venv has no Python that can be run; remove it \(rm -r \.venv\)$")
    assert (recipe / ".venv/mine").exists() and calls(recipe) == []


def test_another_python_makes_it_anew(recipe, stub):
    """As after an upgrade of the system, when the packages are those of the Python before."""
    sh(". ./path.sh", recipe, stub)
    python = recipe / ".venv/bin/python"
    python.rename(recipe / "python3.99")
    python.symlink_to(recipe / "python3.99")
    calls(recipe)
    assert "its Python has changed" in sh(". ./path.sh", recipe, stub).stderr
    assert calls(recipe) == ["venv", "pip requirements.txt"]


def test_an_environment_without_pip_gets_one_and_packages(recipe):
    with zipfile.ZipFile(recipe / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    (recipe / "requirements.txt").write_text("./tiny-1.0-py3-none-any.whl\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", recipe / ".venv"], check=True)
    assert sh(". ./path.sh && python -c 'import tiny'", recipe, FRESH).returncode == 0
    assert sh(". ./path.sh", recipe, FRESH).stderr == ""


def test_a_second_call_waits_and_says_so(recipe, stub):
    with open(recipe / ".venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen(["local/install.sh", "requirements.txt"], cwd=recipe, env=stub, text=True,
                                   stderr=subprocess.PIPE)
        said, _, _ = select.select([process.stderr], [], [], 10)
        assert calls(recipe) == [] and process.poll() is None
    assert said and "another call is installing into" in process.stderr.readline()
    process.communicate()
    assert process.returncode == 0 and calls(recipe) == ["venv", "pip requirements.txt"]


def test_pip_settings_of_the_user_do_not_send_packages_elsewhere(recipe, stub):
    settings = {"PIP_USER": "1", "PIP_TARGET": "/x", "PIP_PREFIX": "/x", "PIP_INDEX_URL": "kept"}
    stub["ON_PIP"] = "echo ${PIP_USER-} ${PIP_TARGET-} ${PIP_PREFIX-} ${PIP_INDEX_URL-} >> calls"
    sh(". ./path.sh", recipe, stub | settings)
    assert calls(recipe) == ["venv", "pip requirements.txt", "0 kept"]


# What installs nothing

@pytest.mark.parametrize("script", ["run.sh", "steps/make_fbank.sh", "steps/compute_vad.sh"])
def test_help_and_version_install_nothing(script, recipe, stub):
    shown = sh(f"{script} --help", recipe, stub | {"PATH": f".:{FRESH['PATH']}"})
    assert shown.returncode == 0 and "Usage: " in shown.stdout and shown.stderr == ""
    shown = sh(f"./{script} --version", recipe, stub)
    assert shown.returncode == 0 and f"{Path(script).name} {VERSION} (neither a git" in shown.stdout
    assert calls(recipe) == [] and not (recipe / ".venv").exists()


GIT = "git -c user.name=a -c user.email=a@b "


def test_version_and_commit(recipe, tmp_path, stub):
    line = f"git init -q . && git add . && {GIT} commit -qm x && git rev-parse --short HEAD && ./run.sh --version"
    commit, version = sh(line, recipe, stub).stdout.splitlines()
    assert version == f"run.sh {VERSION} ({commit})"
    (recipe / "cmd.sh").write_text("")
    assert sh("./run.sh --version", recipe, stub).stdout == f"run.sh {VERSION} ({commit}+changes)\n"
    archive = "mkdir ../zip && git archive HEAD | tar -x -C ../zip && git init -q .. && ../zip/run.sh --version"
    assert sh(archive, recipe, stub).stdout == f"run.sh {VERSION} ({commit})\n"


def test_the_version_is_in_one_place_and_the_changes_say_what_is_new_in_it():
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION) and version() == VERSION
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == VERSION
    assert VERSION not in (ROOT / "CITATION.cff").read_text()


def test_the_citation_file_can_be_read():
    """By the rules of the Citation File Format 1.2.0: what must be there, and names."""
    text = (ROOT / "CITATION.cff").read_text()
    keys = re.findall(r"^([a-z-]+):", text, re.MULTILINE)
    assert {"cff-version", "message", "title", "authors"} <= set(keys) and len(set(keys)) == len(keys)
    assert "cff-version: 1.2.0" in text and text.count("family-names:") == 5


def test_a_wrong_option_is_said_before_anything_is_installed(recipe, stub):
    one_line(sh("./run.sh --sytems x", recipe, stub), "invalid option --sytems")
    assert calls(recipe) == []


@pytest.mark.parametrize("name", ["SLURM_JOB_ID", "SGE_TASK_ID", "PBS_JOBID", "LSB_JOBID", "CI_NODE_INDEX"])
def test_a_job_never_installs(name, recipe, stub, outcome):
    result = sh("./run.sh", recipe, stub | {name: "7"})
    row(outcome, f"no environment, {name}", "run.sh", result, recipe)
    one_line(result, rf"nothing is installed inside a job \({name}=7\); run this once before, on the submit host: "
                     rf"\. {recipe}/path.sh$")
    assert calls(recipe) == [] and not (recipe / ".venv").exists()
    assert sh(". ./path.sh", recipe, stub).returncode == 0
    assert sh(". ./path.sh", recipe, stub | {name: "7"}).stderr == ""


# Scripts find the environment

@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A fresh shell whose Python has no package at all."""
    place = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    return FRESH | {"PATH": f"{place}/bin:{FRESH['PATH']}"}


def test_every_script_finds_the_environment_first():
    for path in SCRIPTS:
        tree = ast.parse(path.read_text(), feature_version=(3, 8))  # an older Python finds it, too
        first = next(node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom)))
        assert ast.unparse(first) == "import recipe_environment", path
        assert (path.parent / "recipe_environment.py").exists()
    ast.parse((ROOT / "steps/recipe_environment.py").read_text(), feature_version=(3, 7))
    assert len(SCRIPTS) > 30


@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="the tests run without .venv")
@pytest.mark.parametrize("script", ["steps/predict.py", "local/make_folds.py", "local/experiment/list_systems.py",
                                    "local/mini/make_mini_corpora.py", "local/results/compare.py"])
def test_a_script_in_a_fresh_shell(script, bare, tmp_path, outcome):
    result = sh(f"'{ROOT}/{script}' --help", tmp_path, bare)
    row(outcome, "no path.sh, in another folder", script.rpartition("/")[2], result, tmp_path)
    assert result.returncode == 0 and result.stdout.startswith("usage: ") and result.stderr == ""


@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="the tests run without .venv")
def test_words_status_and_folder_stay(bare, tmp_path):
    """Also where path.sh was sourced, and another Python has come first since."""
    (tmp_path / "recipe").symlink_to(ROOT)
    for before in ("", f". recipe/path.sh; PATH={bare['PATH']}; "):
        result = sh(f"{before}python3 -u recipe/steps/fix_data_dir.py 'no such'", tmp_path, bare)
        assert result.returncode == 1 and result.stderr.startswith("fix_data_dir.py: no such")


def test_a_script_without_any_environment(recipe, bare, stub):
    """It makes the environment as run.sh does, or says what to do."""
    line = f"{recipe}/local/results/compare.py a b"
    one_line(sh(line, "/", bare | {"SLURM_JOB_ID": "7"}), "nothing is installed inside a job")
    one_line(sh(line, "/", bare | {"PYTHON": "no-python"}), "install.sh: no no-python; install Python 3.10")
    assert sh(line, "/", bare | {"PYTHON": stub["PYTHON"]}).returncode == 0
    assert calls(recipe) == ["venv", "pip requirements.txt"]


def test_a_python_with_the_packages_needs_no_environment(recipe):
    result = sh(f"'{sys.executable}' '{recipe}/local/experiment/list_systems.py' --systems vgg5_ad pretraining", "/",
                FRESH | {"SER_ROOT": str(recipe)})
    assert (result.returncode, result.stderr) == (0, "") and not (recipe / ".venv").exists()


# What a shell has set

@pytest.fixture
def decoy(tmp_path):
    """A folder with what must not be found."""
    for name in ("recipe/local", "recipe/steps", f"lib/python3.{sys.version_info[1]}/site-packages"):
        (tmp_path / "decoy" / name).mkdir(parents=True)
        (tmp_path / "decoy" / name / "tqdm.py").write_text("raise SystemExit('decoy')")
    (tmp_path / "decoy/tqdm.py").write_text("raise SystemExit('decoy')")
    (tmp_path / "decoy/noise").write_text("echo noise\n")
    return tmp_path / "decoy"


SETTINGS = {
    "PYTHONHOME": "/nowhere",
    "PYTHONPATH": "{}",
    "PYTHONSAFEPATH": "1",
    "PYTHONIOENCODING": "ascii",
    "PYTHONUSERBASE": "{}",
    "PYTHONINSPECT": "1",
    "MPLBACKEND": "module://notebook_inline.backend_inline",
    "CDPATH": "{}",
    "BASH_ENV": "{}/noise",
    "POSIXLY_CORRECT": "1",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A recipe in a .venv that sees the packages of the tests and, as one that another tool made may, those of the
    user."""
    place = tmp_path_factory.mktemp("installed")
    (place / "recipe").mkdir()
    recipe = copy(place / "recipe")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", recipe / ".venv"], check=True)
    config = recipe / ".venv/pyvenv.cfg"
    config.write_text(config.read_text().replace("site-packages = false", "site-packages = true"))
    folder, = (recipe / ".venv/lib").glob("python3*/site-packages")
    (folder / "tests.pth").write_text(str(Path(pytest.__file__).parent.parent))
    shutil.copy(recipe / "requirements.txt", recipe / ".venv/.requirements.txt")
    return recipe


@pytest.mark.parametrize("name", SETTINGS)
def test_what_a_shell_has_set_breaks_nothing(name, installed, decoy, outcome):
    value = SETTINGS[name].format(decoy)
    packages = "tqdm, matplotlib" if name == "MPLBACKEND" else "tqdm"
    program = f"import site, {packages}; print(chr(8230) * (not site.ENABLE_USER_SITE))"
    line = (f"{'' if name == 'BASH_ENV' else 'export'} {name}={value}; . recipe/path.sh && echo $SER_ROOT && "
            f"python -c '{program}' < /dev/null && bash -c 'echo sound' && bash recipe/run.sh --help | head -n 1")
    result = sh(line, installed.parent, FRESH | {name: value})
    output = result.stdout.removeprefix("noise\n").splitlines()  # of the outermost shell, before path.sh
    row(outcome, f"{name} set", "path.sh", result, installed.parent)
    assert output == [str(installed), "…", "sound", "Usage: ./run.sh [options]"] and result.stderr == ""


def test_cdpath_and_run_sh(recipe, decoy, tmp_path, stub):
    result = sh("bash recipe/run.sh --help", tmp_path, stub | {"CDPATH": str(decoy)})
    assert result.returncode == 0 and result.stdout.startswith("Usage")
    result = sh("bash recipe/local/install.sh requirements.txt", tmp_path, stub | {"CDPATH": str(decoy)})
    assert result.returncode == 0 and calls(recipe)


@pytest.mark.parametrize("works", [True, False])
def test_an_interactive_shell_stays_as_it_is(works, recipe, stub):
    """Its options, its CDPATH and its life, whether path.sh succeeds or not."""
    show = "set +o; shopt -p; echo $CDPATH; trap; pwd"
    lines = f"set +H -u -o noclobber; CDPATH=/usr\n{show}\necho ====\n. ./path.sh\necho $?; echo ====\n{show}\n"
    env = stub if works else stub | {"PYTHON": "no-python"}
    result = subprocess.run(["bash", "--norc", "--noprofile", "-i"], input=lines, cwd=recipe, env=env | {"PS1": ""},
                            capture_output=True, text=True, timeout=60, start_new_session=True)
    before, status, after = result.stdout.split("====\n")
    assert before == after and status == f"{int(not works)}\n"


# How the clone came about, and where it is started

def test_windows_line_ends(recipe, tmp_path, stub):
    line = (f"git init -q . && git add . && {GIT} commit -qm x && "
            f"git clone -q -c core.autocrlf=true . ../clone && cd ../clone && ./run.sh --help")
    result = sh(line, recipe, stub)
    assert result.returncode == 0 and "Usage" in result.stdout
    assert not [path for path in (tmp_path / "clone").rglob("*.*") if path.is_file() and ".git/" not in str(path)
                and path.suffix != ".safetensors" and b"\r\n" in path.read_bytes()]
    weights = "local/pretrained/speech_commands_resnet18/best.safetensors"
    assert (tmp_path / "clone" / weights).read_bytes() == (recipe / weights).read_bytes()


@pytest.mark.parametrize("name", ["SLURM_SUBMIT_DIR", "SGE_O_WORKDIR", "PBS_O_WORKDIR"])
def test_a_submitted_run_sh(name, recipe, tmp_path, stub, outcome):
    """A scheduler runs a copy in a folder of its own."""
    (tmp_path / "spool").mkdir()
    shutil.copy(recipe / "run.sh", tmp_path / "spool/slurm_script")
    result = sh("bash spool/slurm_script --help", tmp_path, stub | {name: str(recipe)})
    assert result.returncode == 0 and result.stdout.startswith("Usage")
    result = sh("bash spool/slurm_script", tmp_path, stub | {name: str(tmp_path)})
    row(outcome, f"run.sh in a spool folder, {name}", "run.sh", result, tmp_path)
    one_line(result, rf"^run.sh: {tmp_path} is not the recipe's folder; start or submit ./run.sh there$")


@pytest.mark.parametrize("shell", ["dash", "bash --posix"])
@pytest.mark.parametrize("words", ["run.sh --help", "steps/make_fbank.sh --help", "local/install.sh requirements.txt"])
def test_started_with_sh(shell, words, recipe, stub):
    if not shutil.which(shell.split()[0]):
        pytest.skip(f"no {shell}")
    result = sh(f"{shell} {words}", recipe, stub)
    assert result.returncode == 0, result.stderr


def test_started_in_another_folder(recipe, tmp_path, stub):
    one_line(sh("recipe/steps/make_fbank.sh data", tmp_path, stub), "start it in the recipe's folder, as steps/make_fb")
    one_line(sh("recipe/steps/compute_vad.sh data", tmp_path, stub), "start it in the recipe's folder, as steps/comput")


def lose_execute_bits(recipe):
    for path in recipe.rglob("*"):
        if path.is_file():
            path.chmod(path.stat().st_mode & ~0o111)


@pytest.mark.parametrize("line", ["bash run.sh", ". ./path.sh", "bash steps/make_fbank.sh x"])
def test_execute_bits_lost(line, recipe, stub, outcome):
    lose_execute_bits(recipe)
    result = sh(line, recipe, stub)
    row(outcome, "execute bits lost", line.split()[1], result, recipe.parent)
    one_line(result, r"path.sh: the scripts in .* cannot be executed; give them the right to")
    advice = re.search(r"grep -rlZ [^)]*", result.stderr)[0]
    (recipe / ".ci").mkdir()
    (recipe / "tests").mkdir()
    assert sh(advice, recipe, stub).returncode == 0 and sh("./run.sh --help", recipe, stub).returncode == 0
    assert {path for path in recipe.rglob("*.py") if os.access(path, os.X_OK)} == {
        recipe / path.relative_to(ROOT) for folder in ("steps", "local") for path in (ROOT / folder).rglob("*.py")
        if os.access(path, os.X_OK)}


def test_disk_mounted_noexec(tmp_path, stub, outcome):
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", disk], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    try:
        result = sh("bash run.sh", copy(disk), stub)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
    row(outcome, "disk mounted noexec", "run.sh", result, tmp_path)
    one_line(result, r"path.sh: the scripts in .* cannot be executed; .* no.* noexec")


# Whose it is

@pytest.fixture
def other_user():
    """A recipe that is not this user's to write, and the words that make a command run as another user."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield copy(Path(folder)), ("setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups")


def test_a_recipe_of_someone_else(other_user, stub, outcome):
    recipe, as_other = other_user
    shutil.copy(stub["PYTHON"], recipe / "own-python")
    stub["PYTHON"] = str(recipe / "own-python")
    result = sh("./run.sh", recipe, stub, *as_other)
    row(outcome, "recipe of another user, no .venv", "run.sh", result, recipe)
    one_line(result, r"you may not write to /\S+, which belongs to root; have .* or make a clone of your own$")
    assert sh(". ./path.sh", recipe, stub).returncode == 0
    assert sh(". ./path.sh", recipe, stub, *as_other).stderr == ""
    (recipe / ".venv").chmod(0o700)
    result = sh("./run.sh", recipe, stub, *as_other)
    row(outcome, ".venv of another user, not readable", "run.sh", result, recipe)
    one_line(result, r"you may not read /\S+/\.venv, which belongs to root; ask for chmod -R a\+rX \.venv, or make")


def test_a_lock_of_someone_else(other_user, stub):
    recipe, as_other = other_user
    recipe.chmod(0o777)
    (recipe / ".venv.lock").touch(0o600)
    one_line(sh("./run.sh", recipe, stub, *as_other), r"you may not write to /\S+/\.venv.lock; remove it$")

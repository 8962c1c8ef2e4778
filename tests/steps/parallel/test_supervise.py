"""steps/parallel/kill_with_parent.py: what it starts ends with it."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from conftest import ROOT

SUPERVISE = ROOT / "steps/parallel/kill_with_parent.py"


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_status_output_and_input_pass_through():
    done = subprocess.run([SUPERVISE, "bash", "-c", "read -r line; echo got $line; echo to stderr >&2; exit 7"],
                          input="words\n", capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, "got words\n", "to stderr\n")
    assert subprocess.run([SUPERVISE, "bash", "-c", "kill -9 $$"]).returncode == 137


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_shell_and_what_it_waits_for_end(tmp_path, number):
    script = "echo $$ > pids; bash -c 'echo $$ >> pids; touch ready; sleep 100; true'; touch went-on"
    process = subprocess.Popen([SUPERVISE, "bash", "-c", script], cwd=tmp_path)
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(timeout=10) == (128 + number if number != signal.SIGKILL else -number)
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    deadline = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, pids)) and not (tmp_path / "went-on").exists()


def test_hangup_that_is_ignored_stays_ignored(tmp_path):
    process = subprocess.Popen(["nohup", SUPERVISE, "bash", "-c", "touch ready; sleep 0.5"], cwd=tmp_path,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGHUP)
    assert process.wait(timeout=10) == 0

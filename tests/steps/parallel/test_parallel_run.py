"""steps/parallel/run.py as its users meet it: a program in front of other programs."""

import fcntl
import itertools
import json
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from parallel import job_log, kaldi_convention

ROOT = Path(__file__).resolve().parents[3]
RUN = ROOT / "steps/parallel/run.py"
SHOW_ARGUMENTS = "import json, sys; print('ARGS', json.dumps(sys.argv[1:]))"


def environment(**more):
    """What a job starts from: PATH alone."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"PATH": path} | more


def run(cwd, *arguments, env=None):
    return subprocess.run([RUN, *arguments], cwd=cwd, env=env or environment(), capture_output=True, text=True,
                          timeout=60)


def arguments_in(log):
    return json.loads(re.search(r"^ARGS (.*)$", log.read_text(), re.M)[1])


def wait_for(condition, seconds=30.0):
    """Wait until the condition holds; return whether it did in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def is_alive(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_log_of_a_job_that_succeeds(tmp_path):
    script = "echo out; echo err >&2; printf 'no newline'"
    done = run(tmp_path, "--num-threads", "2", "exp/log/x.log", "bash", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = (tmp_path / "exp/log/x.log").read_text().splitlines()
    assert lines[0].startswith("# ") and shlex.split(lines[0][2:]) == ["bash", "-c", script]
    assert re.fullmatch(r"# Started at \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \S+ \d{4}", lines[1])
    assert lines[2:7] == [f"# Running on {socket.gethostname()}", "#", "out", "err", "no newline"]
    assert re.fullmatch(r"# Accounting: time=\d+ threads=2", lines[7])
    assert re.fullmatch(r"# Finished at .* \d{4} with status 0", lines[8])
    assert re.fullmatch(r"# Ended \(code 0\) at .* \d{4}, elapsed time \d+ seconds", lines[9])
    assert len(lines) == 10


def test_previous_log_is_overwritten(tmp_path):
    run(tmp_path, "x.log", "echo", "first")
    run(tmp_path, "x.log", "echo", "second")
    assert "first" not in (tmp_path / "x.log").read_text()


def test_arguments_arrive_as_given(tmp_path):
    odd = ["a b", 'say "hi"', "it's", "$HOME `id` $(id)", "two\nlines\n", "", "*", "a|b > c \\ ;&", "--mem", "ü"]
    assert run(tmp_path, "x.log", sys.executable, "-c", SHOW_ARGUMENTS, *odd).returncode == 0
    assert arguments_in(tmp_path / "x.log") == odd


def test_index_replaces_the_whole_word_only(tmp_path):
    words = ["MYJOBNAME", "JOBS", "JOB", "a.JOB.scp", "split4/JOB/wav.scp", "x_JOB", "JOB=1:4"]
    done = run(tmp_path, "JOB=2:3", "log/x.JOB.log", sys.executable, "-c", SHOW_ARGUMENTS, *words)
    assert done.returncode == 0
    assert arguments_in(tmp_path / "log/x.3.log") == \
        ["MYJOBNAME", "JOBS", "3", "a.3.scp", "split4/3/wav.scp", "x_JOB", "3=1:4"]
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["x.2.log", "x.3.log"]


def test_range_of_another_name_and_of_one_job(tmp_path):
    assert run(tmp_path, "SPLIT=4", "x.SPLIT.log", sys.executable, "-c", SHOW_ARGUMENTS, "JOB", "SPLIT").returncode == 0
    assert arguments_in(tmp_path / "x.4.log") == ["JOB", "4"]


@pytest.mark.parametrize("arguments, words", [
    (["--memory", "4G", "x.log", "true"], "unknown option --memory"),
    (["-V", "x.log", "true"], "unknown option -V"),
    (["JOB=1:2", "--tc", "1", "x.JOB.log", "true"], "unknown option --tc"),
    (["--mem=4G", "x.log", "true"], "--mem VALUE"),
    (["--mem", "lots", "x.log", "true"], "--mem needs a size"),
    (["--num-threads", "0", "x.log", "true"], "--num-threads needs"),
    (["--gpu"], "--gpu needs"),
    (["JOB=0:2", "x.JOB.log", "true"], "bad range JOB=0:2"),
    (["JOB=3:2", "x.JOB.log", "true"], "bad range JOB=3:2"),
    (["JOB=1:", "x.JOB.log", "true"], "bad range JOB=1:"),
    (["JOB=1:2", "x.log", "true"], "put JOB in it"),
    (["x.JOB.log", "true"], "no range"),
    (["x.log"], "LOG COMMAND"),
    ([], "LOG COMMAND"),
])
def test_wrong_calls_end_in_one_line(tmp_path, arguments, words):
    done = run(tmp_path, *arguments)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("run.py: ") and words in done.stderr
    assert not list(tmp_path.iterdir())


def test_options_before_and_after_the_range_but_not_after_the_log(tmp_path):
    done = run(tmp_path, "--mem", "4G", "JOB=1:1", "--time", "4:0:0", "--max-jobs-run", "2", "x.JOB.log",
               sys.executable, "-c", SHOW_ARGUMENTS, "--mem", "5")
    assert done.returncode == 0, done.stderr
    assert arguments_in(tmp_path / "x.1.log") == ["--mem", "5"]


def test_failures_are_reported_and_the_others_still_run(tmp_path):
    done = run(tmp_path, "--max-jobs-run", "1", "JOB=1:3", "log/x.JOB.log", "bash", "-c",
               "echo I am JOB; [ JOB != 1 ] || exit 7; touch done.JOB")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "run.py: task 1 failed, the others go on; log is in log/x.1.log: exit code 7"
    assert lines[1] == "run.py: 1 / 3 failed, log is in log/x.*.log"
    assert lines[2] == "== log/x.1.log: exit code 7"
    assert "I am 1" in done.stderr and "I am 2" not in done.stderr
    assert "# Ended (code 7) at" in (tmp_path / "log/x.1.log").read_text()
    assert sorted(path.name for path in tmp_path.glob("done.*")) == ["done.2", "done.3"]


def test_a_failure_is_said_while_the_others_run(tmp_path, outcome):
    script = "[ JOB != 1 ] || exit 7; until [ -e go ]; do sleep 0.05; done"
    runner = subprocess.Popen([RUN, "--num-threads", "1", "JOB=1:2", "x.JOB.log", "bash", "-c", script], cwd=tmp_path,
                              env=environment(), stderr=subprocess.PIPE, text=True)
    said = runner.stderr.readline()  # the second task waits for a file that comes after this line
    (tmp_path / "go").touch()
    _, report = runner.communicate(timeout=20)
    outcome("one of two jobs fails", "run.py", runner.returncode, said.strip())
    assert said == "run.py: task 1 failed, the others go on; log is in x.1.log: exit code 7\n"
    assert runner.returncode == 1 and report.startswith("run.py: 1 / 2 failed, log is in x.*.log\n")


def test_past_ten_failures_are_counted_and_a_file_has_all(tmp_path, outcome):
    done = run(tmp_path, "--max-jobs-run", "1", "JOB=1:25", "log/x.JOB.log", "bash", "-c", "exit JOB")
    during, _, report = done.stderr.partition("run.py: 25 / 25 failed, log is in log/x.*.log\n")
    assert re.findall(r"task (\d+) failed", during) == [str(task) for task in range(1, 11)]
    assert during.count("more tasks have failed, log/x.failed_tasks names them all\n") == 1
    assert "\nrun.py: 20 / 25 jobs ended, 20 failed\n" in during
    assert re.findall(r"^== (\S+):", report, re.M) == [f"log/x.{task}.log" for task in range(1, 11)]
    assert report.count("# Ended (code") == 3
    assert report.endswith("== and 15 more; all are in log/x.failed_tasks\n")
    assert (tmp_path / "log/x.failed_tasks").read_text().splitlines() == [
        f"log/x.{task}.log: exit code {task}" for task in range(1, 26)]
    outcome("25 of 25 jobs fail", "run.py", done.returncode, report.splitlines()[-1])

    # A call in which nothing fails leaves no such file
    assert run(tmp_path, "JOB=1:25", "log/x.JOB.log", "true").returncode == 0
    assert not (tmp_path / "log/x.failed_tasks").exists()


@pytest.mark.parametrize("words", [
    ["JOB=1:2", "a JOB b/log/x.JOB.log", "true"],
    ["JOB=1:2", "a JOB b/x.JOB.log", "true"],
    ["JOB=1:2", "log/x.JOB.log", "cat", "./a JOB b"],
    ["JOB=1:2", "log/x.JOB.log", "cat", "--data=a JOB b/wav.scp"],
    ["JOB=1:2", "log/x.JOB.log", "copy-feats", "ark:a JOB b/x.ark", "ark,t:-"],
    ["a=1:2", "a JOB b/x.a.log", "true"],
])
def test_a_folder_that_has_the_name_of_the_range_is_refused(tmp_path, outcome, words):
    (tmp_path / "a JOB b/log").mkdir(parents=True)
    done = run(tmp_path, *words)
    said = done.stderr.replace("./", "")
    outcome("a folder with the name of the range", "run.py", done.returncode, said.strip())
    assert done.returncode == 1 and said.count("\n") == 1
    assert re.match(r"run\.py: a JOB b is a folder, but (JOB|a) in it would become the number of a task", said)
    assert [path.name for path in tmp_path.rglob("*")] == ["a JOB b", "log"]


def test_without_a_range_such_a_folder_is_as_good_as_any(tmp_path):
    folder = tmp_path / "JOB" / "a JOB b"
    folder.mkdir(parents=True)
    assert run(tmp_path, folder / "x.log", "touch", folder / "done").returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == ["done", "x.log"]
    done = run(tmp_path, folder / "x.JOB.log", "true")
    assert done.returncode == 1 and "no range" in done.stderr


def test_a_folder_of_a_task_may_have_its_number(tmp_path):
    (tmp_path / "split/1").mkdir(parents=True)
    done = run(tmp_path, "JOB=1:2", "log/JOB/x.log", "touch", "split/JOB/done")
    assert done.returncode == 1 and (tmp_path / "split/1/done").exists() and (tmp_path / "log/2/x.log").exists()


def test_a_long_array_says_how_far_it_is(tmp_path):
    done = run(tmp_path, "JOB=1:20", "x.JOB.log", "true")
    assert done.stderr.splitlines() == [f"run.py: {ended} / 20 jobs ended" for ended in range(2, 21, 2)]
    assert run(tmp_path, "JOB=1:4", "x.JOB.log", "true").stderr == ""
    assert run(tmp_path, "--progress", "false", "JOB=1:20", "x.JOB.log", "true").stderr == ""


def test_a_terminal_shows_what_the_oldest_job_said_last(tmp_path):
    script = "echo 2026-11-26 08:19:21 '(pretrain.py) epoch 2/9'; until [ -e go ]; do sleep 0.05; done"
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 70, 0, 0))
    with subprocess.Popen([RUN, "JOB=1:2", "x.JOB.log", "bash", "-c", script], cwd=tmp_path, env=environment(),
                          stderr=its) as runner:
        shown = b""
        while b"epoch" not in shown:  # the jobs wait for a file that comes after this
            shown += os.read(ours, 1000)
        (tmp_path / "go").touch()
        assert runner.wait(timeout=20) == 0
    os.set_blocking(ours, False)
    shown += os.read(ours, 1000)
    os.close(ours), os.close(its)
    lines = shown.decode().split("\r\033[K")
    assert re.fullmatch(r"run.py: 0 / 2 jobs ended after 0:0\d, x.1.log: \(pretrain.py\) epoch 2/9", lines[1])
    assert lines[-1] == "" and max(map(len, lines)) < 70 and b"\n" not in shown


def test_a_log_says_how_far_a_few_long_jobs_are_ever_more_seldom(tmp_path, monkeypatch, capsys):
    clock = itertools.count()
    monkeypatch.setattr(job_log.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(sys, "argv", ["run.py"])
    (tmp_path / "x.2.log").write_text("# cmd\n#\nepoch 1\n")
    progress = job_log.Progress(kaldi_convention.parse(["JOB=1:2", f"{tmp_path}/x.JOB.log", "true"],
                                                       lambda _: kaldi_convention.OPTIONS))
    for _ in range(100):
        progress.show_time(1, 0, 2)
    assert capsys.readouterr().err.splitlines() == [
        f"run.py: 1 / 2 jobs ended after {time}, x.2.log: epoch 1" for time in ("0:10", "0:30", "1:10")]


@pytest.mark.parametrize("command, code, reason", [
    (["no-such-command"], "code 127", "cannot run no-such-command"),
    (["./notes.txt"], "code 126", "cannot run ./notes.txt"),
    (["bash", "-c", "kill -9 $$"], "code 137; signal 9", "killed by signal 9"),
])
def test_job_that_cannot_start_or_is_killed(tmp_path, command, code, reason):
    (tmp_path / "notes.txt").write_text("not a program")
    done = run(tmp_path, "x.log", *command)
    assert done.returncode == 1
    assert done.stderr.startswith("run.py: job failed, log is in x.log") and reason in done.stderr
    assert f"# Ended ({code}) at" in (tmp_path / "x.log").read_text()


def test_runs_from_any_directory_by_relative_path(tmp_path):
    relative = os.path.relpath(RUN, tmp_path)
    done = subprocess.run([relative, "x.log", "true"], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_starts_fast(tmp_path):
    def seconds():
        begin = time.monotonic()
        run(tmp_path, "x.log", "true")
        return time.monotonic() - begin
    assert any(seconds() < 0.1 for _ in range(50))  # other tests may keep the cores busy for a while


def most_at_a_time(cwd, *options, jobs=4):
    """Run jobs that note when they begin and end; return how many overlapped at most."""
    script = "date +%s.%N > begin.JOB; sleep 0.5; date +%s.%N > end.JOB"
    done = run(cwd, *options, f"JOB=1:{jobs}", "x.JOB.log", "bash", "-c", script)
    assert done.returncode == 0, done.stderr
    spans = [[float((cwd / f"{name}.{job}").read_text()) for name in ("begin", "end")] for job in range(1, jobs + 1)]
    return max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans)


def test_concurrency(tmp_path):
    cores = len(os.sched_getaffinity(0))
    assert most_at_a_time(tmp_path, "--max-jobs-run", "1", jobs=3) == 1
    assert most_at_a_time(tmp_path, "--num-threads", str(cores), jobs=3) == 1
    assert most_at_a_time(tmp_path, "--num-threads", str(2 * cores), jobs=2) == 1
    assert most_at_a_time(tmp_path, jobs=min(cores, 8) + 1) == min(cores, 8) or cores > 8


def test_threads_are_told_to_the_job(tmp_path):
    show, env = ["bash", "-c", "echo threads $OMP_NUM_THREADS"], environment(OMP_NUM_THREADS="9")
    run(tmp_path, "--num-threads", "3", "x.log", *show, env=env)
    run(tmp_path, "y.log", *show, env=env)
    assert "\nthreads 3\n" in (tmp_path / "x.log").read_text()
    assert "\nthreads 1\n" in (tmp_path / "y.log").read_text()


@pytest.fixture
def three_gpus(tmp_path):
    """An environment in which nvidia-smi lists three devices."""
    program = tmp_path / "bin/nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n'\n")
    program.chmod(0o755)
    env = environment()
    return env | {"PATH": f"{program.parent}:{env['PATH']}"}


def gpu_spans(cwd, env, *options, jobs):
    """Run GPU jobs; return (begin, end, CUDA_VISIBLE_DEVICES) of each."""
    script = "b=$(date +%s.%N); sleep 0.5; echo SPAN $b $(date +%s.%N) $CUDA_VISIBLE_DEVICES"
    done = run(cwd, *options, f"JOB=1:{jobs}", "x.JOB.log", "bash", "-c", script, env=env)
    assert done.returncode == 0, done.stderr
    lines = [re.search("^SPAN (.*)", (cwd / f"x.{job}.log").read_text(), re.M)[1] for job in range(1, jobs + 1)]
    return [(float(begin), float(end), devices) for begin, end, devices in map(str.split, lines)]


def most_sharing(spans):
    """The largest number of jobs that ran at a time, and on the same devices at a time."""
    together = [[d for begin, end, d in spans if begin <= moment < end] for moment, _, _ in spans]
    return max(map(len, together)), max(devices.count(d) for devices in together for d in devices)


def test_each_gpu_job_has_its_own_device(tmp_path, three_gpus):
    spans = gpu_spans(tmp_path, three_gpus, "--gpu", "1", jobs=7)
    assert {devices for _, _, devices in spans} == {"0", "1", "2"}
    assert most_sharing(spans) == (3, 1)


def test_jobs_of_two_gpus(tmp_path, three_gpus):
    assert [devices for _, _, devices in gpu_spans(tmp_path, three_gpus, "--gpu", "2", jobs=2)] == ["0,1", "0,1"]


def test_shared_gpus_are_filled_evenly(tmp_path, three_gpus):
    env = three_gpus | {"CUDA_VISIBLE_DEVICES": "5,GPU-ab"}
    spans = gpu_spans(tmp_path, env, "--gpu", "1", "--jobs-per-gpu", "2", jobs=4)
    assert [devices for _, _, devices in spans] == ["5", "GPU-ab", "5", "GPU-ab"]
    assert most_sharing(spans) == (4, 2)


CONTROL = """#!/bin/bash
[ "${1-}" = -f ] || { read -r word; echo "$word" >> "$FOLDER/control"; touch "$CUDA_MPS_PIPE_DIRECTORY/quit"; exit; }
echo "$CUDA_VISIBLE_DEVICES $CUDA_MPS_PIPE_DIRECTORY" >> "$FOLDER/control"
until [ -e "$CUDA_MPS_PIPE_DIRECTORY/quit" ]; do sleep 0.05; done
echo ended >> "$FOLDER/control"
"""


def run_with_service(cwd, env, probe, *words, status=0,
                     job="echo SET $CUDA_VISIBLE_DEVICES ${CUDA_MPS_PIPE_DIRECTORY-none}"):
    """Run jobs beside a stand-in of the multi-process service; return what it was told and the jobs' settings."""
    programs = {"nvidia-cuda-mps-control": CONTROL, "nvidia-smi": "#!/bin/sh\necho 0, GPU-a; echo 1, GPU-b\n"}
    for name, program in programs.items():
        (cwd / "bin" / name).write_text(program)
        (cwd / "bin" / name).chmod(0o755)
    code = (f"import sys; sys.path.insert(0, {str(RUN.parent)!r}); import mps, run; mps.PROBE = {probe!r}; "
            "sys.exit(run.main())")
    done = subprocess.run([sys.executable, "-c", code, "--gpu", "1", *words, "x.JOB.log", "bash", "-c", job], cwd=cwd,
                          env=env | {"FOLDER": str(cwd), "CUDA_VISIBLE_DEVICES": "0,1"}, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    told = (cwd / "control").read_text().splitlines() if (cwd / "control").exists() else []
    return told, [re.search("^SET (.*)", path.read_text(), re.M)[1] for path in sorted(cwd.glob("x.*.log"))]


def test_jobs_that_share_a_gpu_have_a_multi_process_service(tmp_path, three_gpus):
    told, jobs = run_with_service(tmp_path, three_gpus, "pass", "--jobs-per-gpu", "2", "JOB=1:4")
    names, folder = told[0].split()
    assert names == "GPU-a,GPU-b" and told[1:] == ["quit", "ended"]
    assert sorted(jobs) == sorted(f"{name} {folder}" for name in ("GPU-a", "GPU-b") for _ in range(2))
    assert not Path(folder).exists()


def test_a_service_that_does_not_work_is_left_out(tmp_path, three_gpus):
    told, jobs = run_with_service(tmp_path, three_gpus, "raise SystemExit(1)", "--jobs-per-gpu", "2", "JOB=1:2")
    assert told[1:] == ["quit", "ended"] and sorted(jobs) == ["GPU-a none", "GPU-b none"]


def test_a_stopped_runner_ends_the_service_too(tmp_path, three_gpus):
    told, jobs = run_with_service(tmp_path, three_gpus, "pass", "--jobs-per-gpu", "2", "JOB=1:2", status=143,
                                  job="echo SET $CUDA_VISIBLE_DEVICES in; "
                                  "[ JOB = 2 ] || { until grep -q ^SET x.2.log; do sleep 0.1; done; kill $PPID; }; "
                                  "sleep 100")
    assert told[1:] == ["quit", "ended"] and len(jobs) == 2


@pytest.mark.parametrize("alone", [True, False])
def test_no_service_for_jobs_alone_or_where_the_user_has_one(alone, tmp_path, three_gpus):
    env = three_gpus if alone else three_gpus | {"CUDA_MPS_PIPE_DIRECTORY": "/own"}
    told, jobs = run_with_service(tmp_path, env, "pass", "--jobs-per-gpu", "1" if alone else "2", "JOB=1:2")
    assert not told and sorted(jobs) == [f"{number} {'none' if alone else '/own'}" for number in (0, 1)]


@pytest.mark.parametrize("more", [{}, {"CUDA_VISIBLE_DEVICES": ""}, {"CUDA_VISIBLE_DEVICES": "-1"}])
def test_gpu_job_without_gpus(tmp_path, more):
    if not more and shutil.which("nvidia-smi"):
        pytest.skip("this machine has GPUs")
    done = run(tmp_path, "--gpu", "1", "x.log", "true", env=environment(**more))
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "shows 0 GPUs" in done.stderr


def start_family(cwd, trap=""):
    """Start a runner whose two jobs have a child each; return it and the four processes' ids."""
    script = f"{trap} sleep 300 & echo $$ $! > tmp.JOB; mv tmp.JOB pids.JOB; wait; wait"
    runner = subprocess.Popen([RUN, "--max-jobs-run", "2", "JOB=1:4", "x.JOB.log", "bash", "-c", script],
                              cwd=cwd, env=environment(), stderr=subprocess.PIPE, text=True)
    expected = min(2, len(os.sched_getaffinity(0)))
    assert wait_for(lambda: len(list(cwd.glob("pids.*"))) == expected)
    pids = [int(word) for path in cwd.glob("pids.*") for word in path.read_text().split()]
    assert all(map(is_alive, pids))
    return runner, pids


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_to_the_runner_ends_jobs_and_their_children(tmp_path, number):
    runner, pids = start_family(tmp_path)
    runner.send_signal(number)
    _, errors = runner.communicate(timeout=10)
    assert runner.returncode == 128 + number
    assert not any(map(is_alive, pids))
    assert errors.count("\n") == 1 and number.name in errors
    assert "# Ended (code 143; signal 15) at" in (tmp_path / "x.1.log").read_text()
    assert not (tmp_path / "x.3.log").exists()


def test_job_that_ignores_term_is_killed_after_the_grace(tmp_path):
    runner, pids = start_family(tmp_path, trap="trap '' TERM;")
    begin = time.monotonic()
    runner.terminate()
    runner.communicate(timeout=20)
    assert 4 < time.monotonic() - begin < 20
    assert not any(map(is_alive, pids))


def test_nothing_outlives_a_runner_that_is_killed(tmp_path):
    runner, pids = start_family(tmp_path)
    runner.kill()
    runner.wait()
    assert wait_for(lambda: not any(map(is_alive, pids)), seconds=10)


def test_what_a_job_leaves_in_the_background_ends_with_it(tmp_path):
    assert run(tmp_path, "x.log", "bash", "-c", "sleep 300 & echo $! > pid").returncode == 0
    assert wait_for(lambda: not is_alive(int((tmp_path / "pid").read_text())), seconds=10)


def test_jobs_start_with_ordinary_signals_and_no_input(tmp_path):
    script = "grep -E '^Sig(Blk|Ign)' /proc/self/status; wc -c"
    subprocess.run([RUN, "x.log", "bash", "-c", script], cwd=tmp_path, env=environment(), input="typed", text=True)
    log = (tmp_path / "x.log").read_text()
    assert re.search(r"^SigBlk:\s0+$", log, re.M) and re.search(r"^SigIgn:\s0+$", log, re.M) and "\n0\n" in log


def test_hangup_that_is_ignored_stays_ignored(tmp_path):
    runner = subprocess.Popen(["nohup", RUN, "x.log", "bash", "-c", "touch started; sleep 0.5"], cwd=tmp_path,
                              env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert wait_for((tmp_path / "started").exists)
    runner.send_signal(signal.SIGHUP)
    assert runner.wait(timeout=10) == 0

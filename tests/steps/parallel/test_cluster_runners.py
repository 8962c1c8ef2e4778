"""steps/parallel/slurm.py and sge.py in front of real schedulers, which are started here for these tests.

They are skipped where the schedulers are not installed (tests/install_packages.sh installs them).
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from conftest import ROOT, recipe, results, run, short_schedule
from ser.model_dir.checkpoint import load_tensors

NOTICE_SECONDS = 10.0  # 5 on a machine that does nothing else
SHOW = "import json, os, sys; print('SHOW', json.dumps([sys.argv[1:], dict(os.environ)]))"


class Cluster:
    """A running scheduler: its runner, what it needs in the environment, and its own commands."""

    def __init__(self, backend, folder):
        self.backend = backend
        self.runner = ROOT / "steps/parallel" / f"{backend}.py"
        variables = subprocess.run(["bash", "-c", ". $0/env.sh; env -0", folder], capture_output=True, text=True,
                                   check=True, env={"PATH": os.environ["PATH"]}).stdout
        self.env = dict(line.split("=", 1) for line in variables.split("\0") if "=" in line)
        self.env["PATH"] = f"{Path(sys.executable).parent}:{self.env['PATH']}"

    def command(self, *words):
        return subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=60)

    def begin(self, cwd, *words):
        """Start the runner in the background."""
        return subprocess.Popen([self.runner, *map(str, words)], cwd=cwd, env=self.env, stderr=subprocess.PIPE,
                                text=True)

    def run(self, cwd, *words):
        process = self.begin(cwd, *words)
        _, errors = process.communicate(timeout=120)
        return process.returncode, errors

    def jobs(self):
        """Ids of the jobs in the queue."""
        if self.backend == "slurm":
            return set(self.command("squeue", "--noheader", "--format=%F").stdout.split())
        return set(re.findall(r"^ *(\d+) ", self.command("qstat").stdout, re.MULTILINE))

    def cancel(self, task):
        job, = self.jobs()
        words = ["scancel", f"{job}_{task}"] if self.backend == "slurm" else ["qdel", job, "-t", str(task)]
        assert self.command(*words).returncode == 0


@contextlib.contextmanager
def running(backend, folder, **variables):
    """Start a cluster of one's own for a while, or skip the test."""
    script, needs = {"slurm": ("slurm.sh", "slurmctld"), "sge": ("gridengine.sh", "qconf")}[backend]
    if not shutil.which(needs, path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip(f"{needs} is not installed: tests/install_packages.sh as root installs it, where it can")
    if backend == "sge" and os.geteuid() != 0:
        pytest.skip("a Grid Engine cell of one's own needs root")
    command = [ROOT / "tests/clusters" / script]
    subprocess.run([*command, "start", folder], check=True, timeout=120, env=os.environ | variables)
    try:
        yield Cluster(backend, folder)
    finally:
        subprocess.run([*command, "stop", folder], check=True, timeout=120)


@pytest.fixture(scope="module", params=["slurm", "sge"])
def cluster(request, tmp_path_factory):
    with running(request.param, tmp_path_factory.mktemp(request.param)) as started:
        yield started


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_arguments_environment_and_log(cluster, tmp_path):
    odd = ["a b", 'say "hi"', "it's", "$HOME `id` $(id)", "two\nlines\n", "", "*", "a|b > c \\ ;&", "ü", "MYJOB", "JOB"]
    place = tmp_path / "a folder"
    place.mkdir()
    cluster.env["SECRET"] = "of the caller"
    code, errors = cluster.run(place, "--num-threads", "2", "--mem", "200M", "JOB=2:3", "log/x.JOB.log", sys.executable,
                               "-c", SHOW, *odd)
    assert errors == "" and code == 0
    for task in ("2", "3"):
        log = (place / f"log/x.{task}.log").read_text()
        arguments, environment = json.loads(re.search(r"^SHOW (.*)$", log, re.M)[1])
        assert arguments == [*odd[:-1], task]
        assert environment["OMP_NUM_THREADS"] == "2" and environment["PATH"] == cluster.env["PATH"]
        assert "SECRET" not in environment
        assert re.search(r"^# Running on \S+$", log, re.M) and re.search(r"with status 0$", log, re.M)
        assert re.fullmatch(r"# Ended \(code 0\) at .*, elapsed time \d+ seconds", log.splitlines()[-1])
    assert sorted(path.name for path in (place / "log/q").iterdir()) == ["x.sh"]


def test_path_sh_makes_the_environment(cluster, tmp_path):
    (tmp_path / "path.sh").write_text("export MADE_BY_PATH_SH=yes\n")
    assert cluster.run(tmp_path, "x.log", "bash", "-c", '[ "$MADE_BY_PATH_SH" = yes ]') == (0, "")


def test_a_failing_task_takes_no_other_down(cluster, tmp_path):
    code, errors = cluster.run(tmp_path, "JOB=1:3", "log/x.JOB.log", "bash", "-c",
                               "echo I am JOB; [ JOB != 2 ] || exit 7; touch done.JOB")
    assert code == 1
    assert f"{cluster.runner.name}: 1 / 3 failed, log is in log/x.*.log\n== log/x.2.log: exit code 7\n" in errors
    assert "I am 2" in errors and "I am 1" not in errors
    assert sorted(path.name for path in tmp_path.glob("done.*")) == ["done.1", "done.3"]


def begin_two(cluster, cwd, *options):
    """Start two tasks, of which the first ends at once; return the runner and the second's processes."""
    script = "echo begun; [ JOB = 2 ] || exit 0; echo $PPID $$ > tmp.pids; mv tmp.pids pids; sleep 100; true"
    process = cluster.begin(cwd, *options, "JOB=1:2", "x.JOB.log", "bash", "-c", script)
    wait_for((cwd / "pids").exists)
    return process, [int(word) for word in (cwd / "pids").read_text().split()]


def kill_on_node(cluster, pids):
    """Kill a task as a kernel out of memory might: script, runner and command at once, and all they started."""
    runner, command = pids
    script = int(re.search(r"^PPid:\s+(\d+)", Path(f"/proc/{runner}/status").read_text(), re.M)[1])
    for pid in (script, runner):
        os.kill(pid, signal.SIGKILL)
    os.killpg(command, signal.SIGKILL)


@pytest.mark.parametrize("how", ["cancelled", "killed"])
def test_a_task_that_ends_without_a_word_is_noticed(cluster, tmp_path, how, record_property):
    process, pids = begin_two(cluster, tmp_path)
    time.sleep(1.5)
    begin = time.monotonic()
    if how == "cancelled":
        cluster.cancel(2)
    else:
        kill_on_node(cluster, pids)
    _, errors = process.communicate(timeout=60)
    seconds = time.monotonic() - begin
    record_property("seconds", seconds)
    print(f"{cluster.backend}: {how} task noticed after {seconds:.1f} s:\n{errors}")
    assert process.returncode == 1 and seconds < NOTICE_SECONDS
    reasons = {("slurm", "cancelled"): r"Slurm job \d+_2: CANCELLED, signal 15", ("slurm", "killed"): r"signal 9",
               ("sge", "cancelled"): r"Grid Engine job \d+\.2: .*", ("sge", "killed"): r"Grid Engine job \d+\.2: .*137"}
    assert re.search(rf"== x\.2\.log: .*{reasons[cluster.backend, how]}", errors)
    assert "   begun" in errors and "1 / 2 failed" in errors
    wait_for(lambda: not any(map(alive, pids)))


@pytest.mark.parametrize("what", ["failed", "cancelled while it runs", "cancelled while it waits"])
def test_a_task_that_ends_badly_is_said_while_the_others_go_on(cluster, tmp_path, what, outcome):
    script = "touch begun.JOB; until [ -e fail.JOB ]; do sleep 0.1; done; exit 7"
    process = cluster.begin(tmp_path, "--max-jobs-run", "2", "JOB=1:3", "x.JOB.log", "bash", "-c", script)
    wait_for(lambda: (tmp_path / "begun.1").exists() and (tmp_path / "begun.2").exists())
    task = 3 if what.endswith("waits") else 1
    if what == "failed":
        (tmp_path / "fail.1").touch()
    else:
        cluster.cancel(task)
    begin = time.monotonic()
    said = process.stderr.readline()
    seconds = time.monotonic() - begin
    process.terminate()
    process.communicate(timeout=60)
    print(f"{cluster.backend}: task {what}, said after {seconds:.1f} s: {said}")
    outcome(f"a task of an array {what}", cluster.runner.name, process.returncode, said.strip())
    assert seconds < NOTICE_SECONDS
    reason = {"failed": "exit code 7"}.get(what, rf"(Slurm job \d+_{task}: CANCELLED|Grid Engine job \d+\.{task}: ).*")
    assert re.fullmatch(rf"\S+: task {task} failed, the others go on; log is in x\.{task}\.log: {reason}\n", said)
    assert process.returncode == 128 + signal.SIGTERM and not cluster.jobs()


def test_of_many_tasks_those_that_are_cancelled_and_no_others(cluster, tmp_path):
    process = cluster.begin(tmp_path, "--max-jobs-run", "1", "JOB=1:80", "x.JOB.log", "sleep", "100")
    wait_for((tmp_path / "x.1.log").exists)
    job, = cluster.jobs()
    odd = range(21, 80, 2)
    tasks = ",".join(map(str, odd))
    words = ["scancel", f"{job}_[{tasks}]"] if cluster.backend == "slurm" else ["qdel", job, "-t", "21-79:2"]
    assert cluster.command(*words).returncode == 0
    file = tmp_path / "x.failed_tasks"
    wait_for(lambda: file.exists() and len(file.read_text().splitlines()) >= len(odd))
    time.sleep(NOTICE_SECONDS / 2)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert sorted(int(task) for task in re.findall(r"^x\.(\d+)\.log: ", file.read_text(), re.M)) == list(odd)
    assert len(re.findall("task .* failed", errors)) == 10


def limit(cluster, folder, **limits):
    """Change limits of a Grid Engine cell."""
    conf = cluster.command("qconf", "-sconf").stdout
    for name, value in limits.items():
        conf = re.sub(rf"^({name}) .*", rf"\1 {value}", conf, flags=re.MULTILINE)
    (folder / "global").write_text(conf)
    assert cluster.command("qconf", "-Mconf", folder / "global").returncode == 0


@contextlib.contextmanager
def arrays_of_few_tasks(cluster, folder):
    """A cluster whose arrays have four tasks at most; of Grid Engine's, a user may have but two jobs at a time."""
    if cluster.backend == "slurm":
        with running("slurm", folder / "small", SLURM_ARRAY_SIZE="5") as small:
            yield small
    else:
        wait_for(lambda: not cluster.jobs())  # those that have just ended are counted, too
        limit(cluster, folder, max_aj_tasks=4, max_u_jobs=2)
        try:
            yield cluster
        finally:
            limit(cluster, folder, max_aj_tasks=75000, max_u_jobs=0)


def test_larger_arrays_go_in_parts(cluster, tmp_path, outcome):
    script = "date +%s.%N > begin.JOB; sleep 0.5; date +%s.%N > end.JOB; echo JOB >> ran; [ JOB != 11 ]"
    with arrays_of_few_tasks(cluster, tmp_path) as small:
        code, errors = small.run(tmp_path, "--max-jobs-run", "3", "JOB=1:12", "x.JOB.log", "bash", "-c", script)
        assert code == 1 and "1 / 12 failed" in errors and "== x.11.log: exit code 1\n" in errors
        assert sorted(map(int, (tmp_path / "ran").read_text().split())) == list(range(1, 13))
        assert most_at_a_time(spans(tmp_path, 12)) in (2, 3)
        outcome("an array of 12 tasks, 4 allowed", cluster.runner.name, code, re.search(".*1 / 12 failed.*", errors)[0])

        # An array of one task with a number above the limit, and all parts go with a runner that is killed
        wait_for(lambda: not small.jobs())
        assert small.run(tmp_path, "JOB=7", "y.JOB.log", "touch", "done.JOB") == (0, "")
        assert (tmp_path / "done.7").exists()
        wait_for(lambda: not small.jobs())
        process = small.begin(tmp_path, "JOB=1:6", "z.JOB.log", "bash", "-c", "touch z.JOB; sleep 100")
        wait_for(lambda: (tmp_path / "z.1").exists() and len(small.jobs()) == 2)
        process.kill()
        process.communicate()
        wait_for(lambda: not small.jobs())


def test_a_part_that_is_never_taken_is_reported(cluster, tmp_path, outcome):
    if cluster.backend == "slurm":
        pytest.skip("Slurm's limits change by a new start only")
    script = "until [ -e go ]; do sleep 0.1; done; touch done.JOB"
    with arrays_of_few_tasks(cluster, tmp_path):
        process = cluster.begin(tmp_path, "JOB=1:20", "x.JOB.log", "bash", "-c", script)
        wait_for(lambda: len(cluster.jobs()) == 2)
        limit(cluster, tmp_path, max_aj_tasks=2)
        (tmp_path / "go").touch()
        _, errors = process.communicate(timeout=60)
    said = re.search("^.* task 9 failed.*", errors, re.MULTILINE)[0]
    outcome("the third part of an array is refused", cluster.runner.name, process.returncode, said)
    assert process.returncode == 1 and "12 / 20 failed, log is in x.*.log" in errors
    assert re.search("qsub refused the job: .*more than 2 tasks", said)
    assert len(errors.splitlines()) < 40 and errors.endswith("== and 2 more; all are in x.failed_tasks\n")
    assert sorted(path.name for path in tmp_path.glob("done.*")) == [f"done.{task}" for task in range(1, 9)]


def test_whatever_the_user_is_called(cluster, tmp_path, monkeypatch):
    for name in ("LOGNAME", "USER"):
        monkeypatch.setitem(cluster.env, name, "somebody-else")
    assert cluster.run(tmp_path, "x.log", "sleep", "3") == (0, "")


def test_over_memory(cluster, tmp_path, record_property):
    options = ["--mem", "300M"]
    if cluster.backend == "sge":  # Kaldi's resources reserve memory; a cell that limits it does so by h_vmem
        (tmp_path / "queue.conf").write_text("command qsub -v PATH -cwd -S /bin/bash -j y\noption mem=* -l h_vmem=$0\n")
        options += ["--config", "queue.conf"]
    greedy = "import time; print(time.time(), 'begun', flush=True); x = bytearray(2 * 10**9); time.sleep(60)"
    code, errors = cluster.run(tmp_path, *options, "x.log", sys.executable, "-c", greedy)
    seconds = time.time() - float(re.search(r"(\S+) begun$", errors, re.MULTILINE)[1])
    record_property("seconds", seconds)
    print(f"{cluster.backend}: over memory noticed after {seconds:.1f} s:\n{errors}")
    assert code == 1 and seconds < NOTICE_SECONDS
    wanted = "exceeded memory limit" if cluster.backend == "slurm" else "MemoryError|h_vmem"
    assert re.search(wanted, errors), errors


def test_memory_is_that_of_a_task_whatever_its_threads(cluster, tmp_path):
    assert cluster.run(tmp_path, "--mem", "4G", "--num-threads", "4", "x.log", "true") == (0, "")


# A scheduler may start the second task of an array a second after the first, which therefore waits for it.
SPAN = ("date +%s.%N > begin.JOB; for i in {1..100}; do begun=(begin.*); [ ${#begun[@]} -gt 1 ] && break; sleep 0.1; "
        "done; sleep 1; date +%s.%N > end.JOB")


def spans(cwd, count):
    return [[float((cwd / f"{name}.{task}").read_text()) for name in ("begin", "end")] for task in range(1, count + 1)]


def most_at_a_time(times):
    return max(sum(begin <= moment < end for begin, end in times) for moment, _ in times)


def test_max_jobs_run(cluster, tmp_path):
    assert cluster.run(tmp_path, "--max-jobs-run", "2", "JOB=1:5", "x.JOB.log", "bash", "-c", SPAN) == (0, "")
    assert most_at_a_time(spans(tmp_path, 5)) == 2


def test_gpus_are_given_out_by_the_scheduler(cluster, tmp_path):
    script = f"echo DEVICE $CUDA_VISIBLE_DEVICES; {SPAN}"
    assert cluster.run(tmp_path, "--gpu", "1", "JOB=1:4", "x.JOB.log", "bash", "-c", script) == (0, "")
    assert most_at_a_time(spans(tmp_path, 4)) == 2  # the cluster has two
    if cluster.backend == "slurm":
        logs = [(tmp_path / f"x.{task}.log").read_text() for task in range(1, 5)]
        assert {re.search("^DEVICE (.*)", log, re.M)[1] for log in logs} == {"0", "1"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_runner(cluster, tmp_path, number):
    process, pids = begin_two(cluster, tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        wait_for(lambda: not cluster.jobs())
    else:
        assert process.returncode == 128 + number
        assert re.fullmatch(rf"\S+: stopped by {number.name}, job \d+ was cancelled; log is in x\.\*\.log\n", errors)
    assert not cluster.jobs()
    wait_for(lambda: not any(map(alive, pids)))


@pytest.mark.parametrize("options, words", [
    (["--mem", "900G"], "refused the job: .*(Memory specification can not|no suitable queues)"),
    (["--gpu", "9"], "refused the job: .*(configuration is not available|no suitable queues)"),
    (["--memory", "1G"], "unknown option --memory"),
    (["--config", "nowhere.conf"], "nowhere.conf: cannot be read"),
])
def test_what_cannot_run_is_refused_in_one_line(cluster, tmp_path, options, words):
    code, errors = cluster.run(tmp_path, *options, "x.log", "true")
    assert code == 1 and errors.count("\n") == 1 and re.search(words, errors), errors
    assert not cluster.jobs()


def test_a_task_that_the_scheduler_cannot_start(cluster, tmp_path):
    command, broken, words = {
        "slurm": ("sbatch --export=PATH", "--output=/nowhere/x", r"Slurm job \d+_1: FAILED, reason JobLaunchFailure"),
        "sge": ("qsub -v PATH -S /bin/bash -j y", "-wd /nowhere", r"in an error state; .*/nowhere"),
    }[cluster.backend]
    (tmp_path / "my.conf").write_text(f"command {command}\noption num_threads=* {broken}\n")
    code, errors = cluster.run(tmp_path, "--config", "my.conf", "--num-threads", "1", "x.log", "true")
    assert code == 1 and re.search(words, errors), errors
    wait_for(lambda: not cluster.jobs())


def test_the_recipe_gives_the_results_of_a_local_run(cluster, finished, tmp_path):
    short_schedule(tmp_path)
    shutil.copytree(finished / "data" / "local", tmp_path / "data" / "local")
    system = {"slurm": "resnet18_pretrain_ad", "sge": "vgg5_ad"}[cluster.backend]
    recipe(tmp_path, "--cmd-backend", cluster.backend, "--systems", system, env=cluster.env)
    assert results(tmp_path) == results(finished, system)
    assert (tmp_path / "exp" / system / "RESULT").read_text().replace(str(tmp_path), str(finished)) == (
        finished / "exp" / system / "RESULT").read_text()
    assert (tmp_path / "exp/log/q/finetune.sh").exists()
    assert (tmp_path / "exp/log/q/pretrain.sh").exists() == (cluster.backend == "slurm")


def test_pretraining_over_two_nodes_trains_what_one_process_does(tiny, tmp_path):
    """Up to half a step of Adam, which makes steps of gradients that are rounding alone."""
    words = ["steps/pretrain.py", "--backbone", "vgg5", "--precision", "fp32", "--device", "cpu", "--epochs", "1",
             "--batch-size", "13", "--crop", "40", "--num-threads", "1", "--global-batch", "true", "--sync-batch-norm",
             "true", tiny]
    run(*words, tmp_path / "alone")
    with running("slurm", tmp_path / "slurm", SLURM_NODES="2") as cluster:
        code, errors = cluster.run(ROOT, "--mem", "2G", "--num-nodes", "2", tmp_path / "x.log",
                                   "steps/launch_distributed.py", "--nproc-per-node", "1", *words,
                                   tmp_path / "together")
    assert code == 0 and not [line for line in errors.splitlines() if " RUNNING" not in line and " ended " not in line]
    assert "2 processes" in (tmp_path / "x.log").read_text()
    alone, together = (load_tensors(tmp_path / name / "last.safetensors")[0] for name in ("alone", "together"))
    for name, tensor in alone.items():
        assert torch.allclose(tensor.double(), together[name].double(), rtol=5e-4, atol=5e-4), name

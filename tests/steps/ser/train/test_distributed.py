"""Pre-training as several processes: the weights of one, resuming, failing, ending, devices and Slurm's nodes."""

import multiprocessing
import os
import re
import signal
import stat
import subprocess
import sys
import time

import pytest
import torch
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

import launch_distributed
from conftest import ROOT, run
from scripts import start_script
from ser.base.device import claim_first_free
from ser.model_dir.checkpoint import load_tensors
from ser.train import pretraining
from ser.train.pretrain_config import PretrainConfig
from ser.train.trainer import Plan

AS_ONE = ("--global-batch", "true", "--sync-batch-norm", "true")
LAUNCH = ("steps/launch_distributed.py", "--nproc-per-node", "2")
PRETRAIN = ("--backbone", "vgg5", "--crop", "40", "--num-threads", "1", "--precision", "fp32", "--device", "cpu")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, in which nothing may be left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield
    assert not list(folder.iterdir())


@pytest.fixture
def launch(tmp_path):
    """Start two processes; returns the launcher and the end of a pipe for what all of them write to a stream."""
    def start(stream, *words):
        streams = {name: tmp_path / name for name in ("stdout", "stderr")}
        os.mkfifo(streams[stream])
        launcher = start_script([str(word) for word in (*LAUNCH, *words)], ROOT, dict(os.environ),
                                list(streams.values()))
        return launcher, open(streams[stream])
    return start


@pytest.fixture
def write_script(tmp_path):
    """Write a script whose main() the processes run as those of the recipe do."""
    def write(name, body):
        path = tmp_path / name
        path.write_text("import os, signal, sys, time, torch\nfrom options import run\n"
                        "from ser.base.processes import rank\nfrom ser.train import distributed\n"
                        f"from ser.base.errors import UserError\n{body}\nrun(main)\n")
        return path
    return write


def assert_same_training(directory, reference, tolerance):
    """The same weights, running statistics and losses."""
    weights, expected = (load_tensors(d / "last.safetensors")[0] for d in (directory, reference))
    assert weights.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(weights[name], expected[name], rtol=tolerance, atol=tolerance,
                                   msg=lambda text, name=name: f"{name}: {text}")
    rows, expected = ([line.split("\t") for line in (d / "log" / "epochs.tsv").read_text().splitlines()[1:]]
                      for d in (directory, reference))
    for row, wanted in zip(rows, expected, strict=True):
        assert [float(x) for x in row] == pytest.approx([float(x) for x in wanted], abs=max(tolerance, 2e-6))


def test_killed_and_continued_by_two_processes_is_the_training_of_one_in_float64(tiny, tmp_path, write_script):
    """A step of 22 + 21 utterances and one of a single utterance; float64 hides no wrong factor behind rounding."""
    script = write_script("pretrain64.py", "torch.set_default_dtype(torch.float64)\n"
                          "torch.Tensor.float = torch.Tensor.double\nfrom pretrain import main")
    words = [str(word) for word in (script, *PRETRAIN, "--epochs", "6", "--batch-size", "43", "--save-every", "0",
                                    *AS_ONE, tiny)]
    run(*words, tmp_path / "one")
    os.mkfifo(tmp_path / "said")
    process = start_script([*words, str(tmp_path / "two")], ROOT, dict(os.environ),
                           [tmp_path / "stdout", tmp_path / "said"])
    with open(tmp_path / "said") as said:
        assert any(" epoch 3/" in line for line in said)
        process.kill()
        process.join()
    assert not (tmp_path / "two" / "last.safetensors").exists()
    continued = run(*LAUNCH, *words, tmp_path / "two").stderr
    assert "continuing after epoch" in continued and " epoch 6/" in continued
    assert_same_training(tmp_path / "two", tmp_path / "one", 1e-10)
    result = (tmp_path / "one" / "RESULT").read_text().replace(f"{tmp_path}/one", f"{tmp_path}/two")
    assert (tmp_path / "two" / "RESULT").read_text() == result
    assert {path.name for path in (tmp_path / "two").iterdir()} == {path.name for path in (tmp_path / "one").iterdir()}


ON_TWO_NODES = """
def close(ours, theirs, atol=1e-11):
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=atol)

def of_all_batches():
    torch.manual_seed(0)
    reference, model = (torch.nn.Sequential(torch.nn.BatchNorm2d(3)).double() for _ in range(2))
    x, factors = torch.randn(5, 3, 4, 2).double() * 5 + 30, torch.randn(5, 3, 4, 2).double()
    with torch.no_grad():
        reference[0].weight.uniform_(), reference[0].bias.normal_()
    model.load_state_dict(reference.state_dict())
    distributed.distribute(model, sync_batch_norm=True)
    distributed.synchronize(model, len(x))
    part, weight = distributed.share(len(x))
    assert weight == len(x[part]) * 2 / 5 and len(x[part]) == 3 - rank()
    whole, mine = x.clone().requires_grad_(), x[part].clone().requires_grad_()
    for _ in range(2):
        (reference(whole) * factors).sum().backward()
        (model(mine) * factors[part]).sum().backward()
    close(model(mine), reference(whole)[part])
    close(mine.grad, whole.grad[part])
    for name in ("weight", "bias"):
        close(2 * distributed.average(getattr(model[0], name).grad), getattr(reference[0], name).grad)
    assert model.state_dict().keys() == reference.state_dict().keys()
    for name, value in reference.state_dict().items():
        close(model.state_dict()[name], value)
    assert distributed.share(1) == (slice(None), 1.0)
    distributed.synchronize(model, 1)
    close(model(x[:1]), reference(x[:1]))
    close(model[0].running_var, reference[0].running_var)
    close(model.eval()(x), reference.eval()(x))
    half = model.train().float()(x.bfloat16())
    assert half.dtype == torch.bfloat16

def each_its_own():
    torch.manual_seed(rank())  # the weights of the first process count
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, bias=False), torch.nn.BatchNorm2d(4)).double()
    model.to(memory_format=torch.channels_last)
    distributed.distribute(model, sync_batch_norm=False)
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(6, 1, 7, 7, generator=generator, dtype=torch.float64)
    factors = torch.randn(6, 4, 5, 5, generator=generator, dtype=torch.float64)
    torch.manual_seed(0)
    alone = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, bias=False), torch.nn.BatchNorm2d(4)).double()
    close(model[0].weight, alone[0].weight, 1e-12)
    part, weight = distributed.share(6)
    (weight * (model(x[part]) * factors[part]).mean()).backward()
    distributed.average_gradients(model)
    sum((alone(x[of::2]) * factors[of::2]).mean() / 2 for of in (0, 1)).backward()
    for mine, expected in zip(model.parameters(), alone.parameters()):
        close(mine.grad, expected.grad, 1e-12)
    first = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, bias=False), torch.nn.BatchNorm2d(4)).double()
    first[0].weight.data.copy_(alone[0].weight)
    first(x[::2])
    distributed.share_buffers(model)
    close(model[1].running_mean, first[1].running_mean, 1e-12)

def main():
    with distributed.group(torch.device("cpu")):
        of_all_batches()
        each_its_own()
"""


def test_batch_normalization_on_two_nodes(write_script, tmp_path):
    """It is torch's over all processes, or each normalizes its own batch and the first one's statistics count. The
    environment is what Slurm's srun sets on each of two nodes, here both on this machine."""
    slurm = {"SLURM_JOB_NUM_NODES": "2", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2",
             "SLURM_JOB_ID": str(os.getpid()), "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1"}
    words = ["steps/launch_distributed.py", "--nproc-per-node", "1", str(write_script("norm.py", ON_TWO_NODES))]
    # Processes of their own: where torch is loaded already, it says that one of them has ended before the other.
    nodes = [subprocess.Popen([sys.executable, *words], env={**os.environ, **slurm, "SLURM_NODEID": str(node)},
                              cwd=ROOT, stderr=subprocess.PIPE, text=True) for node in (0, 1)]
    reports = [node.communicate(timeout=60)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0] and reports == ["", ""], "".join(reports)


def test_a_batch_of_each_process_at_the_rate_for_all_of_them(tiny, tmp_path, launch):
    """44 utterances: a step of 2 times 16 and one of 2 times 6."""
    words = ("steps/pretrain.py", *PRETRAIN, "--epochs", "6", "--batch-size", "16", tiny, tmp_path / "m")
    launcher, said = launch("stderr", *words, "--save-every", "0")
    with said:
        assert any(" epoch 2/6 step 4 " in line for line in said)
        launcher.kill()
        said.read()  # to its end, which is that of the processes, too
    assert not (tmp_path / "m" / "last.safetensors").exists(), "the processes have trained on"
    continued = run(*words, check=False)
    assert continued.returncode == 1
    assert "state.safetensors: made from other data or options" in continued.stderr
    assert "continuing after epoch" in run(*LAUNCH, *words).stderr
    assert " 2 processes, fp32" in (tmp_path / "m" / "RESULT").read_text()
    assert '"processes": 2' in (tmp_path / "m" / "config.json").read_text()


def test_rates_grow_with_the_square_root_of_the_batch(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    options = {"epochs": 1, "batch_size": 16, "crop": 8, "seed": 0, "learning_rates": {}, "schedule": None,
               "precision": "fp32", "fast": True, "save_every": 1}
    assert (Plan(**options).total_batch_size, Plan(**options).rate_factor) == (64, 2)
    of_all = Plan(**options, global_batch=True)
    assert (of_all.total_batch_size, of_all.rate_factor) == (16, 1)


@pytest.mark.usefixtures("temporary")
def test_where_there_is_little_to_train_the_first_process_does_it_alone(write_script):
    job = write_script("job.py", "def main():\n    distributed.begin()\n    distributed.train_alone()\n"
                       "    with distributed.group(torch.device('cpu')):\n"
                       "        print('alone', rank(), distributed.average(torch.ones(1)).item())")
    assert run(*LAUNCH, job).stdout == "alone 0 1.0\n"


def test_little_is_counted_in_crops(tiny, monkeypatch):
    monkeypatch.setattr(pretraining, "WORTH_SEVERAL", 44 * 5)
    assert pretraining.is_too_small(tiny, PretrainConfig(epochs=4))
    assert not pretraining.is_too_small(tiny, PretrainConfig(epochs=5))


def test_a_batch_script_of_several_nodes_calls_srun(tmp_path):
    srun = tmp_path / "srun"
    srun.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    srun.chmod(0o755)
    slurm = {"SLURM_JOB_NUM_NODES": "3", "SLURM_CPUS_PER_TASK": "4", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    words = ["steps/launch_distributed.py", "--nproc-per-node", "2", "steps/pretrain.py", "--config", "x.conf", "a b"]
    called = run(*words, env={**os.environ, **slurm}).stdout.splitlines()
    assert called[-len(words):] == words
    assert {"--nodes=3", "--ntasks=3", "--ntasks-per-node=1", "--cpus-per-task=4"} <= set(called)


def failure(*words):
    """Exit status and all that is said but the log."""
    result = run(*LAUNCH, *words, check=False)
    said = [line for line in result.stderr.splitlines() if not re.match(r"\d{4}-.* \(\w+\.py\) ", line)]
    return result.returncode, said


def test_what_all_find_wrong_is_said_once(tiny, tmp_path):
    status, said = failure("steps/pretrain.py", *PRETRAIN, "--epochs", "2", "--batch-size", "13", "--lr", "1e30", tiny,
                           tmp_path / "m")
    assert status == 1 and len(said) == 1, said
    assert re.fullmatch(r"pretrain.py: .*/m: the loss is \w+ in epoch \d; .*", said[0])
    assert not (tmp_path / "m" / "RESULT").exists()


FAULTS = {  # what process 1 does, exit status, what is said
    "raise UserError('x: no such file')": (1, ["job.py: x: no such file"]),
    "os.kill(os.getpid(), signal.SIGKILL)": (137, ["launch_distributed.py: process 1 was killed by SIGKILL"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_process_fails(fault, write_script):
    job = write_script("job.py", "def main():\n    with distributed.group(torch.device('cpu')):\n"
                       f"        if rank() == 1:\n            {fault}\n"
                       "        while True:\n            distributed.average(torch.ones(1))")
    status, said = failure(job)
    lost = "job.py: lost the connection to another process, which was killed or is out of reach"
    assert (status, [line for line in said if line != lost]) == FAULTS[fault]


@pytest.fixture
def supervise(monkeypatch):
    """supervise() of two processes, with a function for what torch does with them."""
    def supervise(launch):
        monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", lambda config, program: launch)
        monkeypatch.setattr(launch_distributed.logging, "disable", lambda: None)
        monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "ERROR")  # which it sets, too
        return launch_distributed.supervise(2, ["job.py"], launch_distributed.meeting_place())

    return supervise


@pytest.mark.parametrize("codes, status, said", [
    ((1, -signal.SIGKILL), 137, "launch_distributed.py: process 1 was killed by SIGKILL\n"),
    ((-signal.SIGTERM, 1), 1, "")])
def test_of_failures_of_the_same_second_that_which_others_follow_from_counts(codes, status, said, supervise, capsys):
    """A process may see that another is gone before the launcher does, which ends those that are left by TERM."""
    failures = {rank: ProcessFailure(local_rank=rank, pid=rank, exitcode=code, error_file="")
                for rank, code in enumerate(codes)}
    for failure in failures.values():
        failure.timestamp = 0

    def fail(*command):
        raise ChildFailedError("job.py", failures)

    assert supervise(fail) == status
    assert capsys.readouterr().err == said


def test_term_while_torch_starts_the_processes_ends_them(supervise, capsys):
    """torch does not know then of what it has started."""
    started = []

    def interrupted(*command):
        started.append(subprocess.Popen(["sleep", "100"], start_new_session=True))
        raise SignalException("", signal.SIGTERM)

    with subprocess.Popen(["sleep", "100"]) as other:
        assert supervise(interrupted) == 143
        assert other.poll() is None
        other.kill()
    assert started[0].wait(10) == -signal.SIGKILL
    assert capsys.readouterr().err == "launch_distributed.py: stopped by SIGTERM, its processes were ended\n"


@pytest.mark.usefixtures("temporary")
def test_term_ends_the_processes(launch, tmp_path):
    job = tmp_path / "job.py"
    job.write_text("import os, time\nos.write(1, b'running\\n')\ntime.sleep(100)\n")
    launcher, said = launch("stdout", job)
    with said:
        assert [said.readline() for _ in range(2)] == ["running\n"] * 2
        launcher.terminate()
        launcher.join(10)
        assert launcher.exitcode == 143
        begin = time.monotonic()
        assert said.read() == ""  # to the end of what the processes write to, too
        assert time.monotonic() - begin < 30
    assert (tmp_path / "stderr").read_text() == (
        "launch_distributed.py: stopped by SIGTERM, its processes were ended\n")


@pytest.mark.parametrize(("words", "message"), [
    (["steps/pretrain.py"], "required: --nproc-per-node"),
    (["--nproc-per-node", "0", "steps/pretrain.py"], "--nproc-per-node must be 1 or more"),
    (["--nproc-per-node", "2"], "COMMAND is missing, a Python script and its options"),
    (["--nproc-per-node", "2", "nothing.py"], "nothing.py: no such script"),
])
def test_wrong_calls(words, message):
    result = run("steps/launch_distributed.py", *words, check=False)
    assert result.returncode == 1 and message in result.stderr and len(result.stderr.splitlines()) == 1


def claim(names, start, folder):
    """Start a process that claims a device; returns it and the device's position."""
    def work(end):
        os.umask(0o077)
        end.send(claim_first_free(names, start, folder))
        signal.pause()
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,), daemon=True)
    process.start()
    return process, ours.recv()


def test_processes_claim_devices_of_their_own(tmp_path):
    names = ["a", "b", "c"]
    claims = [claim(names, first, tmp_path) for first in (0, 0, 2, 1)]
    assert [position for _, position in claims] == [0, 1, 2, 1], "the fourth comes to claimed devices only"
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o666 for path in tmp_path.iterdir())
    claims[2][0].kill()
    claims[2][0].join()
    claims.append(claim(names, 0, tmp_path))
    assert claims[-1][1] == 2, "a process that has ended holds nothing"
    claims += [claim(names, first, tmp_path / "nowhere") for first in (1, 5)]
    assert [position for _, position in claims[-2:]] == [1, 2]
    for process, _ in claims:
        process.kill()
        process.join()

"""A training that finds no memory on the GPU is tried once more, alone, before it counts as failed."""

import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest
import torch

import finetune
import finetune_tasks
from conftest import ROOT
from ser.base.device import explain_out_of_memory
from ser.base.errors import UserError


@pytest.fixture
def share(tmp_path, monkeypatch):
    """Trainings 1 to 4, whose outcomes are faked: `{number: errors to raise, one each time}`."""
    (tmp_path / "tasks").mkdir()
    paths = [tmp_path / "tasks" / f"finetune.{number}.conf" for number in range(1, 5)]
    tried = []

    def work(errors):
        @explain_out_of_memory()
        def train_and_score(number, *_):
            tried.append(number)
            if errors.get(number):
                raise errors[number].pop(0)

        monkeypatch.setattr(finetune, "parse", lambda words: (int(words[-1].split(".")[-2]), None))
        monkeypatch.setattr(finetune, "prepare", lambda options: (torch.device("cpu"), "fp32"))
        monkeypatch.setattr(finetune, "train_and_score", train_and_score)
        return finetune_tasks.Worker(finetune, tmp_path / "tasks", tmp_path / "log").do_all(paths), tried

    return work


def full():
    return torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def test_tried_once_more_at_the_end(share, tmp_path, capsys):
    failed, tried = share({2: [full()], 3: [RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x")]})
    assert (failed, tried) == (0, [1, 2, 3, 4, 2, 3])
    log = (tmp_path / "log" / "finetune.2.log").read_text()
    assert "# Ended (code 0)" in log and "memory" not in log
    said = capsys.readouterr().err
    assert "2 of 4 no memory: steps/finetune.py --config " in said and "the GPU's memory is full" in said
    assert said.count("once more, alone, done: ") == 2


def test_twice_without_memory_is_failed(share, tmp_path):
    failed, tried = share({1: [full(), full()]})
    assert (failed, tried) == (1, [1, 2, 3, 4, 1])
    assert "finetune.py: the GPU's memory is full" in (tmp_path / "log" / "finetune.1.log").read_text()


def test_other_failures_are_not_tried_again(share):
    failed, tried = share({1: [UserError("x: no such file")], 4: [MemoryError()]})
    assert (failed, tried) == (2, [1, 2, 3, 4])


def test_an_error_of_ours_is_in_the_log_of_its_training_as_python_says_it(share, tmp_path, capsys):
    failed, tried = share({1: [RuntimeError("shape")], 2: [KeyError("valid")]})
    assert (failed, tried) == (2, [1, 2, 3, 4])
    log = (tmp_path / "log" / "finetune.1.log").read_text()
    assert "Traceback (most recent call last)" in log and "\nRuntimeError: shape\n# Accounting: " in log
    assert "2 of 4 failed: steps/finetune.py --config " in capsys.readouterr().err


def test_alone_is_when_no_other_process_trains_on_the_gpu(share, tmp_path):
    """Another share holds the lock, as all do while they train; the retry waits until it has ended."""
    outcome = []
    with open(tmp_path / "tasks" / ".gpu-none.lock", "a") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        thread = threading.Thread(target=lambda: outcome.append(share({3: [full()]})), daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not (tmp_path / "log" / "finetune.4.log").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.3)
        assert thread.is_alive() and not outcome
    thread.join(20)
    assert outcome == [(0, [1, 2, 3, 4, 3])]


def test_nothing_else_starts_while_one_retries(share, tmp_path):
    outcome = []
    with open(tmp_path / "tasks" / ".gpu-none.lock", "a") as retrying:
        fcntl.flock(retrying, fcntl.LOCK_EX)
        thread = threading.Thread(target=lambda: outcome.append(share({})), daemon=True)
        thread.start()
        time.sleep(0.3)
        assert thread.is_alive() and not outcome
    thread.join(20)
    assert outcome == [(0, [1, 2, 3, 4])]


@pytest.mark.parametrize("classifier, system", [("svm", "svm_functionals"), ("majority", "majority")])
def test_a_classifier_without_a_network_is_trained_without_torch(classifier, system, finished, tmp_path):
    """Which takes a second to import; the result is that of the whole recipe."""
    data = finished / "data" / "mini_iemocap_protocol-5fold"
    (tmp_path / "train_classical.1.conf").write_text(
        f"--classifier={classifier}\n--data={data}\n--fold=fold_Ses01M\n--dir={tmp_path}/model\n")
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')\n")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ['PYTHONPATH']}"}
    done = subprocess.run([sys.executable, "steps/finetune_tasks.py", "--script=train_classical", "--job=1",
                           "--num-jobs=1", tmp_path, tmp_path / "log"], cwd=ROOT, env=env, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    expected = (finished / "exp" / system / "fold_Ses01M" / "RESULT").read_text()
    assert (tmp_path / "model" / "RESULT").read_text().partition(" ] ")[0] == expected.partition(" ] ")[0] != ""

#!/usr/bin/env python3
"""Do a share of the trainings that local/experiment/plan_finetuning.py listed, one after another in one process.

A small training takes seconds, and so does starting a process. Each training has a log of its own, LOGS/SCRIPT.N.log.
One that fails takes no other down; the exit status is then 1. One that finds no memory on the GPU is tried once more at
the end, when the other shares on that GPU are done or wait, too.
"""

import recipe_environment

import contextlib
import fcntl
import gc
import importlib
import re
import shlex
import time
import traceback
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING

from options import OptionParser, dealt_share, run
from parallel.job_log import end_log, start_log
from ser.base.errors import UserError
from ser.base.log import log

if TYPE_CHECKING:  # a training without a network does not wait for its import
    import torch

_FULL = re.compile("CUDA out of memory|CUDA error: out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED")


@contextlib.contextmanager
def logged(path: Path, command: Sequence[str]) -> Iterator[None]:
    """Send standard error to a log like a job runner's, whatever becomes of the block."""
    log = start_log(path, command)
    started = time.monotonic()
    status = 1
    try:
        with open(log, "w", encoding="utf-8", closefd=False) as file, contextlib.redirect_stderr(file):
            try:
                yield
                status = 0
            except (UserError, OSError) as error:
                print(f"{Path(command[0]).name}: {error}", file=file)
                raise
            except Exception:  # no fault of the user's
                traceback.print_exc(file=file)
                raise
    finally:
        end_log(log, status, time.monotonic() - started, threads=1)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error says, or was raised for one that says, that the GPU's memory is full."""
    while error is not None:
        if type(error).__name__ == "OutOfMemoryError" or _FULL.search(str(error)):  # torch's
            return True
        error = error.__cause__ or error.__context__
    return False


class Worker:
    """Does trainings in this process, and says what became of each.

    All processes that train on a GPU share a lock; to try a training alone, one takes it for itself.

    Parameters
    ----------
    script : module
        With parse(), prepare() and train_and_score(), such as steps/finetune.py.
    tasks, logs : Path
        Folders of the configuration files, where the lock is, too, and for the logs.
    """

    def __init__(self, script: ModuleType, tasks: Path, logs: Path):
        self.script = script
        self.tasks = tasks
        self.logs = logs
        self._processor: tuple[torch.device | None, str] | None = None
        self._lock: IO[str] | None = None

    def do_all(self, paths: Sequence[Path]) -> int:
        """Do the trainings of some configuration files; return how many have failed."""
        outcomes = {path: self._do(path, f"{number} of {len(paths)}") for number, path in enumerate(paths, 1)}
        without_memory = [path for path, outcome in outcomes.items() if outcome == "no memory"]
        for path in without_memory:
            outcomes[path] = self._do_alone(path)
        return sum(outcome != "done" for outcome in outcomes.values())

    def _do(self, path: Path, which: str) -> str:
        """Return `done`, `failed` or `no memory`, and say it of a training; `which` says how far the share is."""
        command = self._command(path)
        try:
            with logged(self.logs / f"{path.stem}.log", command):
                options, task = self.script.parse(command[1:])
                device, precision = self._prepared(options)
                self.script.train_and_score(options, task, device, precision)
        except Exception as error:  # whatever it is, the other trainings go on
            outcome = "no memory" if is_out_of_memory(error) else "failed"
            log(f"{which} {outcome}: {shlex.join(command)}: {error}")
        else:
            outcome = "done"
            log(f"{which} done: {shlex.join(command)}")
        if outcome == "no memory":  # after the error, which holds on to what it met
            import torch

            gc.collect()
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
        return outcome

    def _do_alone(self, path: Path) -> str:
        """The same for the second and last time, while no other process trains on this GPU."""
        assert self._lock  # since the first time
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            return self._do(path, "once more, alone,")
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _command(self, path: Path) -> list[str]:
        return [f"steps/{self.script.__name__}.py", "--config", str(path)]

    def _prepared(self, options: Namespace) -> "tuple[torch.device | None, str]":
        """Device and precision, picked once; from then on this process has its share of the GPU's lock."""
        if self._processor is None:
            device, precision = self.script.prepare(options)
            gpu = "none"
            if device is not None and device.type == "cuda":
                import torch

                gpu = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
            self._lock = open(self.tasks / f".gpu-{gpu}.lock", "a")
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            self._processor = device, precision
        return self._processor


def main() -> int:
    parser = OptionParser(__doc__, "steps/finetune_tasks.py --job 1 --num-jobs 2 exp/tasks exp/log")
    parser.add_share()
    parser.add_argument("--script", default="finetune", choices=("finetune", "train_classical"),
                        help="what trains, a script of steps/ (default: finetune)")
    parser.add_argument("tasks", type=Path, help="folder with SCRIPT.1.conf, SCRIPT.2.conf, …")
    parser.add_argument("logs", type=Path, help="folder for the logs")
    args = parser.parse_args()
    paths = sorted(args.tasks.glob(f"{args.script}.*.conf"), key=lambda path: int(path.name.split(".")[1]))
    script = importlib.import_module(args.script)
    failed = Worker(script, args.tasks, args.logs).do_all(dealt_share(paths, args.job, args.num_jobs))
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)

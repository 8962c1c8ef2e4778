#!/usr/bin/env python3
"""Do a share of the trainings that local/experiment/plan_finetuning.py listed, one after another in one process.

On a GPU a training takes seconds, and so does starting a process. Each training has a log of its own,
LOGS/finetune.N.log. One that fails takes no other down; the exit status is then 1.
"""

import recipe_environment

import contextlib
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from finetune import parse, prepare, train_and_score
from options import OptionParser, run, share
from parallel.job_log import end_log, start_log
from ser.base.errors import UserError
from ser.base.log import log, progress


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
                print(f"finetune.py: {error}", file=file)
                raise
    finally:
        end_log(log, status, time.monotonic() - started, threads=1)


def main() -> int:
    parser = OptionParser(__doc__, "steps/finetune_tasks.py --job 1 --num-jobs 2 exp/tasks exp/log")
    parser.add_share()
    parser.add_argument("tasks", type=Path, help="folder with finetune.1.conf, finetune.2.conf, …")
    parser.add_argument("logs", type=Path, help="folder for the logs")
    args = parser.parse_args()
    paths = sorted(args.tasks.glob("finetune.*.conf"), key=lambda path: int(path.name.split(".")[1]))
    device_and_precision = None
    failed = 0
    for path in progress(share(paths, args.job, args.num_jobs), unit="training"):
        command = ["steps/finetune.py", "--config", str(path)]
        try:
            with logged(args.logs / f"{path.stem}.log", command):
                options, task = parse(command[1:])
                device_and_precision = device_and_precision or prepare(options)
                train_and_score(options, task, *device_and_precision)
        except (UserError, OSError) as error:
            failed += 1
            log(f"failed: {shlex.join(command)}: {error}")
        else:
            log(f"done: {shlex.join(command)}")
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)

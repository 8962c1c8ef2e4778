#!/usr/bin/env python3
"""Do a share of the trainings that local/experiment/plan_finetuning.py listed, one behind the other in one process.

On a GPU a training takes seconds, and so does starting a process. Each training has a log of its own,
LOGS/finetune.N.log. One that fails takes no other down; the exit status is then 1.
"""

import contextlib
import shlex
import time
from pathlib import Path

from finetune import parse, train_and_score
from options import OptionParser, run, share
from parallel.job_log import end_log, start_log
from ser.base.errors import UserError
from ser.base.log import log, progress
from training_options import pick


@contextlib.contextmanager
def logged(path, command):
    """Send standard error to a log like a job runner's, whatever becomes of the block."""
    log, started, status = start_log(path, command), time.monotonic(), 1
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


def main():
    parser = OptionParser(__doc__, "steps/finetune_tasks.py --job 1 --num-jobs 2 exp/tasks exp/log")
    parser.add_share()
    parser.add_argument("tasks", type=Path, help="folder with finetune.1.conf, finetune.2.conf, …")
    parser.add_argument("logs", type=Path, help="folder for the logs")
    args = parser.parse_args()
    paths = sorted(args.tasks.glob("finetune.*.conf"), key=lambda path: int(path.name.split(".")[1]))
    place, failed = None, 0
    for path in progress(share(paths, args.job, args.num_jobs), unit="training"):
        command = ["steps/finetune.py", "--config", str(path)]
        try:
            with logged(args.logs / f"{path.stem}.log", command):
                options, task = parse(command[1:])
                place = place or pick(options)
                train_and_score(options, task, *place)
        except (UserError, OSError) as error:
            failed += 1
            log(f"failed: {shlex.join(command)}: {error}")
        else:
            log(f"done: {shlex.join(command)}")
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)

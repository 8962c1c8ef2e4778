#!/usr/bin/env python3
"""Do a share of the trainings that local/plan_finetuning.py listed, one behind the other in one process.

On a GPU a training takes seconds, and so does starting a process. Each training has a log of its own,
LOGS/finetune.N.log. One that fails takes no other down; the exit status is then 1.
"""

import contextlib
import time
from pathlib import Path

from finetune import parse, train_and_score
from options import OptionParser, run, share
from ser.errors import UserError
from ser.log import log, progress
from training_options import pick


@contextlib.contextmanager
def logged(path, command):
    """Send standard error to a log with the first and last lines of a job runner's, whatever becomes of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file, contextlib.redirect_stderr(file):
        print(f"# {command}\n# Started at {time.ctime()}\n#", file=file, flush=True)
        code = 1
        try:
            yield
            code = 0
        except (UserError, OSError) as error:
            print(f"finetune.py: {error}", file=file)
            raise
        finally:
            print(f"# Ended (code {code}) at {time.ctime()}", file=file)


def main():
    parser = OptionParser(__doc__, "steps/finetune_tasks.py --job 1 --num-jobs 2 exp/tasks exp/log")
    parser.add_argument("--job", type=int, default=1, help="number of this share, from 1 (default: 1)")
    parser.add_argument("--num-jobs", type=int, default=1, help="number of shares (default: 1)")
    parser.add_argument("tasks", type=Path, help="folder with finetune.1.conf, finetune.2.conf, …")
    parser.add_argument("logs", type=Path, help="folder for the logs")
    args = parser.parse_args()
    paths = sorted(args.tasks.glob("finetune.*.conf"), key=lambda path: int(path.name.split(".")[1]))
    place, failed = None, 0
    for path in progress(share(paths, args.job, args.num_jobs), unit="training"):
        command = f"steps/finetune.py --config {path}"
        try:
            with logged(args.logs / f"{path.stem}.log", command):
                options, task = parse(["--config", str(path)])
                place = place or pick(options)
                train_and_score(options, task, *place)
        except (UserError, OSError) as error:
            failed += 1
            log(f"failed: {command}: {error}")
        else:
            log(f"done: {command}")
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)

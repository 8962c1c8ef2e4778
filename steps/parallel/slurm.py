#!/usr/bin/env python3
"""Run a command, or an array of them, through Slurm, in the calling convention of Kaldi's slurm.pl.

usage: slurm.py [options] [JOB=1:N] LOG COMMAND...
example:
  steps/parallel/slurm.py --mem 4G --max-jobs-run 20 JOB=1:80 exp/log/count.JOB.log wc -l data/split80/JOB/wav.scp

Options, before or after the range, are those that conf/slurm.conf describes, among them:
  --mem 4G           memory of a task
  --num-threads N    its CPUs, and its OMP_NUM_THREADS (default: 1)
  --gpu N            its GPUs
  --time 4:0:0       its time limit
  --num-nodes N      nodes that it spans; it starts on the first of them
and of the runner itself:
  --max-jobs-run N   at most N tasks at a time
  --config FILE      another file in the grammar of Kaldi's slurm.pl (default: conf/slurm.conf)

The word JOB in LOG and COMMAND becomes the task index; arguments arrive as given. A task starts from PATH
alone in the folder where the call was made, and reads ./path.sh there. An array above Slurm's MaxArraySize
is submitted in parts. A task that fails, is cancelled, over a limit or killed is named within seconds, with
the reason; the others go on, and a report with the ends of logs follows. Exit status: 0 if all succeeded, 1 if not,
128 + signal after TERM, INT or HUP, which cancel the job. Scripts and what Slurm wrote are in q/ beside the logs.
"""

import math
import re
import sys

import cluster
from cluster import Task
from submission import Unreachable, ask, expand

ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
         "REVOKED", "TIMEOUT"}
HELD_AFTER_FAILURE = {"launch_failed_requeued_held"}


class Slurm:
    """Slurm's commands and what they print."""

    CONF = "conf/slurm.conf"
    TASK = "SLURM_ARRAY_TASK_ID"
    TASK_IN_PATH = "%a"
    CANCEL = ["scancel"]

    def resources(self, options):
        """The options as Slurm counts them."""
        return options

    def submission(self, name, output, span, limit):
        """Options of sbatch for an array of tasks."""
        span += f"%{limit}" if limit else ""
        return ["--parsable", f"--job-name={name}", f"--output={output}", f"--array={span}"]

    def job_id(self, printed):
        """The id in what sbatch printed, "" without one."""
        return printed.strip().partition(";")[0] if re.match(r"\d+", printed.strip()) else ""

    def most_tasks(self):
        """The largest task id that an array may have; raises Unreachable."""
        printed = ask(["scontrol", "show", "config"])
        limits = [int(limit) for limit in re.findall(r"\bmax_array_tasks=(\d+)", printed)]
        limits += [int(size) - 1 for size in re.findall(r"^MaxArraySize\s*=\s*(\d+)", printed, re.MULTILINE)]
        return min(limits, default=math.inf)

    def throttling(self, job, limit):
        """Let another number of tasks of an array run at a time."""
        return ["scontrol", "update", f"JobId={job}", f"ArrayTaskThrottle={limit}"]

    def tasks(self, jobs):
        """What Slurm knows of the jobs' tasks, `{job: {index: Task}}`; raises Unreachable."""
        return {job: self._tasks_of(job) for job in jobs}

    def _tasks_of(self, job):
        try:
            # Without the variable, Slurm ends a long list of tasks with "..."
            printed = ask(["env", "SLURM_BITSTR_LEN=0", "scontrol", "--oneliner", "show", "job", job])
        except Unreachable as error:
            if "Invalid job id" in str(error):  # all its tasks ended a while ago
                return {}
            raise
        tasks = {}
        for line in printed.splitlines():
            fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
            for index in expand(fields.get("ArrayTaskId", "")):
                tasks[index] = self._task(job, index, fields)
        return tasks

    def _task(self, job, index, fields):
        """What the fields of `scontrol show job` say of a task."""
        state = fields["JobState"]
        reason = fields["Reason"]
        state_and_reason = state if reason == "None" else f"{state} ({reason})"
        if state not in ENDED and reason not in HELD_AFTER_FAILURE:
            return Task(True, state_and_reason)
        if state == "COMPLETED":
            return Task(False, "" if reason == "None" else state_and_reason)
        reasons = [state]
        if reason not in ("None", "NonZeroExitCode"):
            reasons.append(f"reason {reason}")
        code, _, number = fields.get("ExitCode", "0:0").partition(":")
        if code != "0":
            reasons.append(f"exit code {code}")
        if number != "0":
            reasons.append(f"signal {number}")
        return Task(False, f"Slurm job {job}_{index}: {', '.join(reasons)}")

    def accounts(self, job, indices):
        """Why tasks ended that Slurm has forgotten."""
        return {index: f"Slurm job {job}_{index}: it left the queue without a status (cancelled, or killed on its "
                       f"node); 'sacct -j {job}_{index}' may say more" for index in indices}


if __name__ == "__main__":
    sys.exit(cluster.main(Slurm(), __doc__))

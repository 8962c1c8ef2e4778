#!/usr/bin/env python3
"""Run a command, or an array of them, through Grid Engine, in the calling convention of Kaldi's queue.pl.

usage: sge.py [options] [JOB=1:N] LOG COMMAND...
example:
  steps/parallel/sge.py --mem 4G --max-jobs-run 20 JOB=1:80 exp/log/count.JOB.log wc -l data/split80/JOB/wav.scp

Options, before or after the range, are those that conf/queue.conf describes, among them:
  --mem 4G           memory of a task; each of its slots asks for its share, since Grid Engine counts by slot
  --num-threads N    its slots, and its OMP_NUM_THREADS (default: 1)
  --gpu N            its GPUs
  --time 4:0:0       its time limit
and of the runner itself:
  --max-jobs-run N   at most N tasks at a time
  --config FILE      another file in the grammar of Kaldi's queue.pl (default: conf/queue.conf)

The word JOB in LOG and COMMAND becomes the task index; arguments arrive as given. A task starts from PATH
alone in the folder where the call was made, and reads ./path.sh there. An array above Grid Engine's max_aj_tasks
is submitted in parts. A task that fails, is deleted, over a limit or killed is named within seconds, with
the reason; the others go on, and a report with the ends of logs follows. Exit status: 0 if all succeeded, 1 if not,
128 + signal after TERM, INT or HUP, which delete the job. Scripts and what Grid Engine wrote are in q/ beside the logs.
"""

import math
import re
import sys
import time
from xml.etree import ElementTree

import cluster
from cluster import Task
from submission import Unreachable, ask, expand

ACCOUNT_SECONDS = 1.5  # how long to wait for qacct, which writes with a delay


class GridEngine:
    """Grid Engine's commands and what they print."""

    CONF = "conf/queue.conf"
    TASK = "SGE_TASK_ID"
    TASK_IN_PATH = "$TASK_ID"
    CANCEL = ["qdel"]

    def resources(self, options):
        """The options as Grid Engine counts them: memory by slot."""
        size, unit = re.fullmatch(r"(\d*)([KMGT]?)", options.get("mem", "")).groups()
        slots = int(options.get("num-threads") or 1)
        if not size or slots == 1:
            return options
        kilobytes = int(size) * {"": 1 / 1024, "K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}[unit]
        return options | {"mem": f"{math.ceil(kilobytes / slots)}K"}

    def submission(self, name, output, span, limit):
        """Options of qsub for an array of tasks."""
        return ["-terse", "-N", re.sub(r"^(?=\d)|[^\w.-]", "_", name), "-o", output, "-t", span,
                *(["-tc", str(limit)] if limit else [])]

    def job_id(self, printed):
        """The id in what qsub printed, "" without one."""
        match = re.search(r"^(\d+)(?:\.\d+-\d+:\d+)?$", printed, re.MULTILINE)
        return match[1] if match else ""

    def most_tasks(self):
        """How many tasks an array may have; raises Unreachable."""
        match = re.search(r"^max_aj_tasks\s+(\d+)", ask(["qconf", "-sconf"]), re.MULTILINE)
        return int(match[1]) if match and match[1] != "0" else math.inf

    def throttling(self, job, limit):
        """Let another number of tasks of an array run at a time."""
        return ["qalter", "-tc", str(limit), job]

    def tasks(self, jobs):
        """What Grid Engine knows of the jobs' tasks, `{job: {index: Task}}`; raises Unreachable."""
        printed = ask(["qstat", "-xml", "-u", "$user"])  # qstat's own word
        tasks = {job: {} for job in jobs}
        for element in ElementTree.fromstring(printed).iter("job_list"):
            job = element.findtext("JB_job_number")
            if job in tasks:
                state = element.findtext("state")
                note = self._error(job) if "E" in state else element.get("state")
                tasks[job] |= dict.fromkeys(expand(element.findtext("tasks") or "1"), Task("E" not in state, note))
        return tasks

    def _error(self, job):
        """Why a task is in an error state, in which it would stay for ever."""
        reasons = re.findall(r"^error reason.*?:\s*(?:\d+:\s*)?(.*)", ask(["qstat", "-j", job]), re.MULTILINE)
        return f"Grid Engine job {job}: in an error state; {' '.join(reasons).strip()}"

    def accounts(self, job, indices):
        """Why tasks ended that have left the queue, "" for a success."""
        known = {}
        deadline = time.monotonic() + ACCOUNT_SECONDS
        while not set(indices) <= known.keys() and time.monotonic() < deadline:
            known = self._accounting(job, deadline - time.monotonic())
            time.sleep(0.2)
        unknown = f"it left the queue without a status (deleted, or killed on its node); 'qacct -j {job}' will say more"
        return {index: known.get(index, f"Grid Engine job {job}.{index}: {unknown}") for index in indices}

    def _accounting(self, job, timeout):
        try:
            printed = ask(["qacct", "-j", job], timeout=timeout)
        except Unreachable:  # nothing is written of this job so far
            return {}
        known = {}
        for block in re.split(r"^=+$", printed, flags=re.MULTILINE):
            pairs = re.findall(r"^(\w+) +(.*)$", block, re.MULTILINE)
            fields = {name: " ".join(value.split()) for name, value in pairs}
            if fields.get("taskid", "").isdigit():
                known[int(fields["taskid"])] = reason_of(job, fields)
        return known


def reason_of(job, fields):
    """Why a task ended, from its accounting record; "" for a success."""
    failed = fields.get("failed", "0")
    status = fields.get("exit_status", "0")
    reasons = []
    if failed != "0":
        reasons.append(f"failed {failed}")
    if status != "0":
        reasons.append(f"exit status {status}")
    return f"Grid Engine job {job}.{fields['taskid']}: {', '.join(reasons)}" if reasons else ""


if __name__ == "__main__":
    sys.exit(cluster.main(GridEngine(), __doc__))

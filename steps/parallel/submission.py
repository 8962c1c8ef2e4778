"""An array of tasks in a scheduler's hands: submitted in as many parts as it takes, and cancelled with the runner."""

import math
import re
import shlex
import subprocess
from collections import namedtuple


class Refused(Exception):
    """The scheduler did not take the job."""


class Unreachable(Exception):
    """The scheduler did not answer; it may at the next question."""


def ask(command, timeout=30.0):
    """Output of a scheduler's client program; raises Unreachable."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"{command[0]}: {error}") from None
    if done.returncode:
        raise Unreachable(f"{shlex.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def expand(indices):
    """Task ids of the schedulers' notation.

    >>> expand("1,3-5%2,8-12:2")
    [1, 3, 4, 5, 8, 10, 12]
    """
    matches = re.findall(r"(\d+)(?:-(\d+))?(?::(\d+))?", re.sub(r"%\d+", "", indices))
    return [index for first, last, step in matches
            for index in range(int(first), int(last or first) + 1, int(step or 1))]


# offset: what a task id of the scheduler lacks to the task index
# suffix: of the names of its files, "" when it is the whole array; job: its id, "" until it is submitted
Part = namedtuple("Part", "indices offset suffix job")


def split(indices, most):
    """The parts of an array for a scheduler whose task ids may be 1 to `most`."""
    if indices[-1] <= most:
        return [Part(indices, 0, "", "")]
    starts = range(0, len(indices), most)
    return [Part(indices[start:start + most], indices[start] - 1, f".part{number}", "")
            for number, start in enumerate(starts, 1)]


class Submission:
    """The parts of a request's array.

    Of --max-jobs-run tasks at a time, the last submitted part may run what the earlier ones leave; the next one is
    submitted once there is room in it, so that the tasks start in their order and no more run in all.

    parts: those submitted, in order
    to_come: those that are not yet
    """

    def __init__(self, scheduler, conf, additions, request, files):
        self.scheduler = scheduler
        self.conf = conf
        self.additions = additions
        self.files = files
        self.limit = int(request.options["max-jobs-run"] or 0) or math.inf
        self.throttle = math.inf  # of the last submitted part
        self.parts = []
        self.to_come = split(request.indices, max(self._most_tasks(), 1))
        self.guard = Guard(scheduler.CANCEL)

    def _most_tasks(self):
        try:
            return self.scheduler.most_tasks()
        except Unreachable:  # it may still take the job, or says why it does not
            return math.inf

    def go_on(self, waiting):
        """Submit the parts that there is room for; `waiting` are the tasks that have not ended.

        Raises Refused, or Unreachable where the limit of a part could not be raised.
        """
        room = self._room(waiting, self.parts[:-1])
        if self.parts and self.throttle < min(room, self.count(waiting, self.parts[-1:])):
            ask(self.scheduler.throttling(self.parts[-1].job, room))
            self.throttle = room
        while self.to_come and (room := self._room(waiting, self.parts)) > 0:
            job = self._submit(self.to_come[0], room)
            self.guard.watch_over(job)
            self.parts.append(self.to_come.pop(0)._replace(job=job))
            self.throttle = room

    def count(self, waiting, parts):
        """How many tasks of some parts have not ended."""
        return sum(index in waiting for part in parts for index in part.indices)

    def _room(self, waiting, parts):
        return self.limit - self.count(waiting, parts)

    def _submit(self, part, room):
        """Hand a part to the scheduler and return the job's id."""
        span = f"1-{len(part.indices)}" if part.offset else f"{part.indices[0]}-{part.indices[-1]}"
        output = self.files.output(part, self.scheduler.TASK_IN_PATH)
        ours = self.scheduler.submission(self.files.name, output, span, room if room < math.inf else 0)
        line = f'set -f; {self.conf.command} "${{@:3}}" {self.additions} "$1" "$2"'
        done = subprocess.run(["bash", "-c", line, "submit", self.files.script, str(part.offset), *ours],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, start_new_session=True)
        job = self.scheduler.job_id(done.stdout)
        if done.returncode or not job:
            said = " ".join((done.stderr + done.stdout).split()) or f"exit code {done.returncode}"
            raise Refused(f"{self.conf.command.split()[0]} refused the job: {said} "
                          f"(it was asked for by cmd.sh and {self.conf.path})")
        return job

    def jobs(self):
        """Ids of the jobs, for people."""
        return ", ".join(part.job for part in self.parts)


class Guard:
    """A process that cancels jobs once the runner is gone, by whatever signal.

    It reads the ids, one a line; "all ended" dismisses it.
    """

    SCRIPT = ('jobs=; while read -r job; do [ "$job" != "all ended" ] || exit 0; jobs="$jobs $job"; done; '
              '[ -z "$jobs" ] || exec "$@" $jobs')

    def __init__(self, command):
        self.process = subprocess.Popen(["sh", "-c", self.SCRIPT, "guard", *command], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)

    def watch_over(self, job):
        self.process.stdin.write(f"{job}\n")
        self.process.stdin.flush()

    def cancel(self):
        self.process.communicate()

    def dismiss(self):
        self.process.communicate("all ended\n")

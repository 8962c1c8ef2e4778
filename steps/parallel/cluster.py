"""What the cluster runners share: submit one array of tasks, watch it, report it, and never leave it running.

On its node, a task is run by run.py: cluster and local logs are the same, and so are arguments, threads
and what becomes of children. Its status comes back as a file; the scheduler is asked about tasks that
have not written one, so that those it killed are noticed, too.
"""

import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, namedtuple

import job_log
import kaldi_convention as kaldi
from process_groups import stop_signals
from queue_conf import QueueConf
from submission import Refused, Submission, Unreachable

HERE = os.path.dirname(os.path.abspath(__file__))
LOOK_SECONDS = 0.25  # between two looks at the status files
POLL_SECONDS = 1.5   # between two questions to the scheduler
GRACE_SECONDS = 1.0  # for the status file of a task that the scheduler says has ended
SAY_SECONDS = 60.0   # before a line about what tasks wait for, and the next; from then on twice as long each time
SAY_SECONDS_MOST = 3600.0
RETRY_SECONDS = 5.0  # before a part that was refused is submitted again
CANCEL_SECONDS = 20.0

# What a scheduler says of a task. live: it runs or waits, and note says which; else note says why it
# ended, "" for a success.
Task = namedtuple("Task", "live note")


class Files:
    """Where a submission lives: next to the logs, in q/."""

    def __init__(self, request):
        self.folder = os.path.join(request.folder, "q")
        os.makedirs(self.folder, exist_ok=True)
        self.name = request.stem
        self.script = os.path.join(self.folder, f"{self.name}.sh")
        self.statuses = tempfile.mkdtemp(prefix=f"{self.name}.", dir=self.folder)

    def output(self, part, task):
        """What the scheduler itself writes of a task of its own numbering; `task` may be its word for that."""
        return os.path.join(self.folder, f"{self.name}{part.suffix}.{task}.log")

    def write_script(self, request, task_variable):
        """The program of a task: the environment, the command through run.py, the status."""
        task = "$task"
        threads = request.options.get("num-threads") or "1"
        runner = [os.path.join(HERE, "run.py"), "--progress", "false", "--num-threads", threads]
        index = [f'{request.name}="{task}"'] if request.name else []
        command = " ".join([shlex.join(runner), *index, shlex.join([request.log, *request.command])])
        statuses = shlex.quote(os.path.abspath(self.statuses))
        text = (f"#!/usr/bin/env bash\n# Written by {job_log.program()} for the scheduler.\n"
                f"task=$(({task_variable} + $1))  # the task index; the scheduler counts the tasks of a part from 1\n"
                f"cd {shlex.quote(os.getcwd())} || exit 1\n"
                f"export PATH={shlex.quote(os.environ['PATH'])}\n"  # Grid Engine's login shells set their own
                f"[ ! -f path.sh ] || . ./path.sh || exit 1\n"
                f"{command}\nstatus=$?\n"
                f'echo $status > {statuses}/."{task}" && mv {statuses}/."{task}" {statuses}/"{task}"\n'
                f"[ $status -eq 0 ]\n")
        with open(self.script, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.chmod(self.script, 0o755)

    def read_statuses(self):
        """Exit status of run.py by task index, for those that have ended."""
        statuses = {}
        for name in filter(str.isdigit, os.listdir(self.statuses)):
            with open(os.path.join(self.statuses, name), encoding="ascii") as file:
                statuses[int(name)] = int(file.read())
        return statuses

    def refresh(self):
        """Change the folder, so that a network file system forgets what it remembers of it."""
        kick = os.path.join(self.statuses, ".kick")
        open(kick, "w").close()
        os.unlink(kick)

    def remove_outputs(self, parts, empty=False):
        """Remove what the scheduler wrote of some parts' tasks, or what is empty of it."""
        for part in parts:
            for index in part.indices:
                output = self.output(part, index - part.offset)
                if os.path.exists(output) and not (empty and os.path.getsize(output)):
                    os.unlink(output)


class Watch:
    """Follows a submission until all its tasks have ended."""

    def __init__(self, scheduler, request, files, submission):
        self.scheduler = scheduler
        self.request = request
        self.files = files
        self.submission = submission
        self.waiting = set(request.indices)
        self.failures = job_log.Failures(request)
        self.progress = job_log.Progress(request)
        self.lost = set()  # those that ended without a status
        self.gone_since = {}  # task index to when the scheduler first did not know it
        self.next_poll = 0.0
        self.next_submission = 0.0
        self.idle_when_refused = False
        self.silence = SAY_SECONDS
        self.next_message = time.monotonic() + self.silence

    def look(self):
        """Take in what has ended."""
        self._read_statuses()
        if self.waiting and time.monotonic() >= self.next_poll:
            try:
                self._poll()
                self.submit_more()
            except Unreachable as error:
                self._say_sometimes(f"the scheduler does not answer, trying again: {error}")
            self.next_poll = time.monotonic() + (GRACE_SECONDS if self.gone_since else POLL_SECONDS)
        if self.waiting:
            self.progress.show_time(self._ended(), len(self.failures.reasons), min(self.waiting))

    def _read_statuses(self):
        for index, status in self.files.read_statuses().items():
            if index in self.waiting:
                self._end(index, self._reason_in_log(index) if status else "")

    def submit_more(self):
        """Submit what there is room for; a part that is refused may be taken once others have ended.

        Raises Refused for the first part.
        """
        if time.monotonic() < self.next_submission:
            return
        try:
            self.submission.go_on(self.waiting)
        except Refused as error:
            if not self.submission.parts:
                raise
            idle = not self.submission.count(self.waiting, self.submission.parts)
            if idle and self.idle_when_refused:
                for part in self.submission.to_come:
                    for index in part.indices:
                        self._end(index, str(error))
            self.idle_when_refused = idle
            self.next_submission = time.monotonic() + RETRY_SECONDS

    def _poll(self):
        parts = [part for part in self.submission.parts if self.submission.count(self.waiting, [part])]
        known = self.scheduler.tasks([part.job for part in parts])
        tasks = {part.offset + task: what for part in parts for task, what in known[part.job].items()}
        submitted = {index for part in parts for index in part.indices if index in self.waiting}
        live = {index for index, task in tasks.items() if task.live}
        notes = Counter(tasks[index].note for index in live & submitted)
        notes["to be submitted"] = len(self.waiting) - len(submitted)
        self._say_sometimes(f"waiting for job {self.submission.jobs()}: "
                            + ", ".join(f"{count} {note}" for note, count in notes.items() if count))

        # Tasks that have been gone for some time without a status
        now = time.monotonic()
        self.gone_since = {index: self.gone_since.get(index, now) for index in submitted - live}
        lost = [index for index, since in self.gone_since.items() if now - since >= GRACE_SECONDS]
        if not lost:
            return
        self.files.refresh()
        self._read_statuses()

        # Why they ended, from the queue or from the accounts
        notes = {index: task.note for index, task in tasks.items()}
        for part in parts:
            unknown = [index - part.offset for index in lost
                       if index in part.indices and index in self.waiting and index not in notes]
            accounts = self.scheduler.accounts(part.job, unknown) if unknown else {}
            notes |= {part.offset + task: note for task, note in accounts.items()}
        for index in lost:
            if index in self.waiting:
                self.lost.add(index)
                self._end(index, notes[index] and self._explain(index, notes[index]))

    def _end(self, index, reason):
        self.waiting.discard(index)
        if reason:
            self.failures.add(index, reason, bool(self.waiting))
        self.progress.show_end(self._ended(), len(self.failures.reasons))

    def _ended(self):
        return len(self.request.indices) - len(self.waiting)

    def _reason_in_log(self, index):
        """Why run.py called the task a failure: the end of its log says it."""
        lines = job_log.last_lines(self.request.log_of(index), 1)
        match = re.match(r"# Ended \(code (\d+)(?:; signal (\d+))?\)", lines[0] if lines else "")
        if not match:
            return "its runner on the node failed; " + self._said(index)
        return job_log.reason_of(-int(match[2]) if match[2] else int(match[1]))

    def _said(self, index):
        """The last words of the scheduler and of the job script."""
        part = next(part for part in self.submission.parts if index in part.indices)
        lines = job_log.last_lines(self.files.output(part, index - part.offset), 4)
        return " ".join(" ".join(line for line in lines if not line.startswith("run.py:")).split())

    def _explain(self, index, note):
        """Add what the scheduler wrote of a killed task, and end its log with the reason."""
        said = self._said(index)
        reason = f"{note}; {said}" if said else note
        path = self.request.log_of(index)
        if os.path.exists(path):
            with open(path, "a", encoding="utf-8") as log:
                log.write(f"\n# {reason}\n")
        return reason

    def _say_sometimes(self, message):
        if time.monotonic() >= self.next_message:
            job_log.say(message)
            self.next_message = time.monotonic() + self.silence
            self.silence = min(2 * self.silence, SAY_SECONDS_MOST)

    def wait_until_cancelled(self):
        """Wait until the scheduler has ended what was cancelled, for a while."""
        deadline = time.monotonic() + CANCEL_SECONDS
        while time.monotonic() < deadline:
            try:
                known = self.scheduler.tasks([part.job for part in self.submission.parts])
                if not any(task.live for tasks in known.values() for task in tasks.values()):
                    return
            except Unreachable:
                pass
            time.sleep(LOOK_SECONDS)


def main(scheduler, usage):
    """Run a cluster runner; returns its exit status."""
    if sys.argv[1:] in (["--help"], ["-h"]):
        print(usage.strip())
        return 0
    confs = []

    def options_of(config):
        own = os.path.normpath(os.path.join(HERE, "..", "..", scheduler.CONF))
        confs.append(QueueConf(config or (scheduler.CONF if os.path.exists(scheduler.CONF) else own)))
        return confs[0].options()

    try:
        request = kaldi.parse(sys.argv[1:], options_of)
        return run(scheduler, confs[0], request)
    except kaldi.UsageError as error:
        job_log.say(f"{error} (see {job_log.program()} --help)")
    except (Refused, OSError) as error:
        job_log.say(error)
    return 1


def run(scheduler, conf, request):
    """Submit a request and stay with it to its end; returns the exit status."""
    additions = conf.shell_words(scheduler.resources(request.options))
    stops = stop_signals()
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    files = Files(request)
    submission = Submission(scheduler, conf, additions, request, files)
    try:
        # What an earlier call left must not pass for that of a task that never starts
        for index in request.indices:
            if os.path.exists(request.log_of(index)):
                os.unlink(request.log_of(index))
        files.remove_outputs(submission.to_come)
        files.write_script(request, scheduler.TASK)

        # Submission, and what becomes of it
        watch = Watch(scheduler, request, files, submission)
        watch.submit_more()
        while watch.waiting:
            stopped = signal.sigtimedwait(stops, LOOK_SECONDS)
            if stopped:
                submission.guard.cancel()
                watch.wait_until_cancelled()
                job_log.say(f"stopped by {signal.Signals(stopped.si_signo).name}, job {submission.jobs()} was "
                            f"cancelled; log is in {request.log_of('*')}")
                return 128 + stopped.si_signo
            watch.look()
        if watch.lost:  # what the scheduler holds in an error state is still there
            submission.guard.cancel()
        else:
            submission.guard.dismiss()
        if watch.failures.reasons:
            watch.failures.report()
        return int(bool(watch.failures.reasons))
    finally:
        shutil.rmtree(files.statuses, ignore_errors=True)
        files.remove_outputs(submission.parts, empty=True)

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
import subprocess
import sys
import tempfile
import time
from collections import Counter, namedtuple

import job_log
import kaldi_convention as kaldi
from process_groups import stop_signals
from queue_conf import QueueConf

HERE = os.path.dirname(os.path.abspath(__file__))
LOOK_SECONDS = 0.25  # between two looks at the status files
POLL_SECONDS = 1.5   # between two questions to the scheduler
GRACE_SECONDS = 1.0  # for the status file of a task that the scheduler says has ended
SAY_SECONDS = 60.0   # between two lines about what tasks wait for
CANCEL_SECONDS = 20.0

# What a scheduler says of a task. live: it runs or waits, and note says which; else note says why it
# ended, "" for a success.
Task = namedtuple("Task", "live note")


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


class Files:
    """Where a submission lives: next to the logs, in q/."""

    def __init__(self, request):
        job = rf"[._-]?\b{request.name}\b" if request.name else r"(?!)"  # the word JOB, if any, in the log's path
        folder, name = os.path.split(request.log)
        self.folder = os.path.join(re.sub(rf"[^/]*{job}.*", "", folder), "q")
        os.makedirs(self.folder, exist_ok=True)
        self.name = re.sub(job, "", name.removesuffix(".log")) or "job"
        self.script = os.path.join(self.folder, f"{self.name}.sh")
        self.statuses = tempfile.mkdtemp(prefix=f"{self.name}.", dir=self.folder)

    def output(self, task):
        """What the scheduler itself writes of a task; `task` may be its word for the task index."""
        return os.path.join(self.folder, f"{self.name}.{task}.log")

    def write_script(self, request, task_variable):
        """The program of a task: the environment, the command through run.py, the status."""
        task = f"${task_variable}"
        runner = [os.path.join(HERE, "run.py"), "--num-threads", request.options.get("num-threads") or "1"]
        index = [f'{request.name}="{task}"'] if request.name else []
        command = " ".join([shlex.join(runner), *index, shlex.join([request.log, *request.command])])
        statuses = shlex.quote(os.path.abspath(self.statuses))
        text = (f"#!/usr/bin/env bash\n# Written by {job_log.program()} for the scheduler; {task} is the task index.\n"
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

    def clean(self, indices):
        shutil.rmtree(self.statuses, ignore_errors=True)
        for index in indices:
            if os.path.exists(self.output(index)) and not os.path.getsize(self.output(index)):
                os.unlink(self.output(index))


class Watch:
    """Follows a submission until all its tasks have ended."""

    def __init__(self, scheduler, request, files, job):
        self.scheduler = scheduler
        self.request = request
        self.files = files
        self.job = job
        self.waiting = set(request.indices)
        self.failed = {}  # task index to why
        self.lost = set()  # those that ended without a status
        self.gone_since = {}  # task index to when the scheduler first did not know it
        self.next_poll = 0.0
        self.next_message = time.monotonic() + SAY_SECONDS

    def look(self):
        """Take in what has ended."""
        self._read_statuses()
        if self.waiting and time.monotonic() >= self.next_poll:
            try:
                self._poll()
            except Unreachable as error:
                self._say_sometimes(f"the scheduler does not answer, trying again: {error}")
            self.next_poll = time.monotonic() + POLL_SECONDS

    def _read_statuses(self):
        for index, status in self.files.read_statuses().items():
            if index in self.waiting:
                self._end(index, self._reason_in_log(index) if status else "")

    def _poll(self):
        tasks = self.scheduler.tasks(self.job)
        live = {index for index, task in tasks.items() if task.live}
        notes = Counter(tasks[index].note for index in live & self.waiting)
        self._say_sometimes(f"waiting for job {self.job}: "
                            + ", ".join(f"{count} {note}" for note, count in notes.items()))

        # Tasks that have been gone for some time without a status
        now = time.monotonic()
        self.gone_since = {index: self.gone_since.get(index, now) for index in self.waiting - live}
        lost = [index for index, since in self.gone_since.items() if now - since >= GRACE_SECONDS]
        if not lost:
            return
        self.files.refresh()
        self._read_statuses()

        # Why they ended, from the queue or from the accounts
        unknown = [index for index in lost if index in self.waiting and index not in tasks]
        accounts = self.scheduler.accounts(self.job, unknown) if unknown else {}
        for index in lost:
            if index in self.waiting:
                self.lost.add(index)
                note = tasks[index].note if index in tasks else accounts[index]
                self._end(index, note and self._explain(index, note))

    def _end(self, index, reason):
        self.waiting.discard(index)
        if reason:
            self.failed[index] = reason
        total = len(self.request.indices)
        job_log.show_progress(total - len(self.waiting), total)

    def _reason_in_log(self, index):
        """Why run.py called the task a failure: the end of its log says it."""
        lines = job_log.last_lines(self.request.log_of(index), 1)
        match = re.match(r"# Ended \(code (\d+)(?:; signal (\d+))?\)", lines[0] if lines else "")
        if not match:
            return "its runner on the node failed; " + self._said(index)
        return job_log.reason_of(-int(match[2]) if match[2] else int(match[1]))

    def _said(self, index):
        """The last words of the scheduler and of the job script."""
        lines = job_log.last_lines(self.files.output(index), 4)
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
            self.next_message = time.monotonic() + SAY_SECONDS

    def wait_until_cancelled(self):
        """Wait until the scheduler has ended what was cancelled, for a while."""
        deadline = time.monotonic() + CANCEL_SECONDS
        while time.monotonic() < deadline:
            try:
                if not any(task.live for task in self.scheduler.tasks(self.job).values()):
                    return
            except Unreachable:
                pass
            time.sleep(LOOK_SECONDS)


class Guard:
    """A process that cancels a submission once the runner is gone, by whatever signal."""

    def __init__(self, command):
        self.process = subprocess.Popen(["sh", "-c", 'read -r _ || exec "$@"', "guard", *command], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)

    def cancel(self):
        self.process.communicate()

    def dismiss(self):
        self.process.communicate("all ended\n")


def submit(scheduler, conf, additions, request, files):
    """Hand the tasks to the scheduler and return the job's id; raises Refused with what it said."""
    files.write_script(request, scheduler.TASK)
    span = f"{request.indices[0]}-{request.indices[-1]}"
    ours = scheduler.submission(files.name, files.output(scheduler.TASK_IN_PATH), span, request.options["max-jobs-run"])
    line = f'set -f; {conf.command} "${{@:2}}" {additions} "$1"'
    done = subprocess.run(["bash", "-c", line, "submit", files.script, *ours], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, start_new_session=True)
    job = scheduler.job_id(done.stdout)
    if done.returncode or not job:
        said = " ".join((done.stderr + done.stdout).split()) or f"exit code {done.returncode}"
        raise Refused(f"{conf.command.split()[0]} refused the job: {said} (it was asked for by cmd.sh and {conf.path})")
    return job


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
    for index in request.indices:  # an earlier log must not pass for that of a task that never starts
        if os.path.exists(request.log_of(index)):
            os.unlink(request.log_of(index))
    try:
        job = submit(scheduler, conf, additions, request, files)
        guard = Guard(scheduler.cancellation(job))
        watch = Watch(scheduler, request, files, job)
        while watch.waiting:
            stopped = signal.sigtimedwait(stops, LOOK_SECONDS)
            if stopped:
                guard.cancel()
                watch.wait_until_cancelled()
                job_log.say(f"stopped by {signal.Signals(stopped.si_signo).name}, job {job} was cancelled; "
                            f"log is in {request.log_of('*')}")
                return 128 + stopped.si_signo
            watch.look()
        if watch.lost:  # what the scheduler holds in an error state is still there
            guard.cancel()
        else:
            guard.dismiss()
        if watch.failed:
            job_log.report_failures(request, watch.failed)
        return int(bool(watch.failed))
    finally:
        files.clean(request.indices)

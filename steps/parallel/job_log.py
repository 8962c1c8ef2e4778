"""What a runner writes: the first and last lines of a job's log, and its own messages to the user.

The lines are those that Kaldi's tools and users look for in logs of run.pl, queue.pl and slurm.pl.
"""

import os
import re
import shlex
import signal
import socket
import sys
import time

CLEAR = "\r\033[K"  # of a terminal's line, that of Progress


def program():
    return os.path.basename(sys.argv[0])


def say(message):
    print(f"{CLEAR if sys.stderr.isatty() else ''}{program()}: {message}", file=sys.stderr, flush=True)


def start_log(path, command):
    """Make or empty the log, write its header, and return its file descriptor for the job to append to."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
    os.write(log, os.fsencode(f"# {shlex.join(command)}\n# Started at {_date()}\n"
                              f"# Running on {socket.gethostname()}\n#\n"))
    return log


def end_log(log, status, seconds, threads):
    """Write the closing lines that Kaldi's tools look for, and close the log.

    status: the exit code, or minus the signal's number; the log then says code 128 + signal
    """
    last = os.pread(log, 1, max(os.lseek(log, 0, os.SEEK_END) - 1, 0))
    line_end = "" if last == b"\n" else "\n"
    if status >= 0:
        code = status
        signalled = ""
    else:
        code = 128 - status
        signalled = f"; signal {-status}"
    os.write(log, (f"{line_end}# Accounting: time={seconds:.0f} threads={threads}\n"
                   f"# Finished at {_date()} with status {code}\n"
                   f"# Ended (code {code}{signalled}) at {_date()}, elapsed time {seconds:.0f} seconds\n").encode())
    os.close(log)


def _date():
    return time.strftime("%a %b %e %H:%M:%S %Z %Y")


def reason_of(status):
    """The exit code, or minus the signal's number, in words."""
    return f"exit code {status}" if status >= 0 else f"killed by signal {-status} ({signal.strsignal(-status)})"


class Failures:
    """The failed tasks of a request: each said when it fails, up to ten; all of them, when more, in a file.

    reasons: for every failed task index, why
    """

    LISTED = 10
    SHOWN = 3  # with the end of their logs

    def __init__(self, request):
        self.request = request
        self.reasons = {}
        self.path = os.path.join(request.folder, f"{request.stem}.failed_tasks")
        if len(request.indices) > self.LISTED and os.path.exists(self.path):
            os.unlink(self.path)  # an earlier call's

    def add(self, index, reason, others_go_on):
        """Take in a failed task; it is said now unless the report follows at once."""
        self.reasons[index] = reason
        count = len(self.reasons)
        if count > self.LISTED:
            self._write([index] if count > self.LISTED + 1 else self.reasons)
        if others_go_on and count <= self.LISTED:
            say(f"task {index} failed, the others go on; log is in {self.request.log_of(index)}: {reason}")
        elif others_go_on and count == self.LISTED + 1:
            say(f"more tasks have failed, {self.path} names them all")

    def _write(self, indices):
        os.makedirs(self.request.folder or ".", exist_ok=True)
        with open(self.path, "a", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(f"{self.request.log_of(index)}: {self.reasons[index]}\n" for index in indices)

    def report(self, lines=10):
        """Say how many tasks failed and why, and show the end of the log of the first few."""
        indices = self.request.indices
        if len(indices) == 1:
            say(f"job failed, log is in {self.request.log_of(indices[0])}")
        else:
            say(f"{len(self.reasons)} / {len(indices)} failed, log is in {self.request.log_of('*')}")
        for number, index in enumerate(sorted(self.reasons)[:self.LISTED]):
            path = self.request.log_of(index)
            end = last_lines(path, lines) if number < self.SHOWN else []
            print(f"== {path}: {self.reasons[index]}", *end, sep="\n   ", file=sys.stderr, flush=True)
        if len(self.reasons) > self.LISTED:
            print(f"== and {len(self.reasons) - self.LISTED} more; all are in {self.path}", file=sys.stderr, flush=True)


def last_lines(path, count, size=8192):
    """The last lines of a text file, none when it is missing; of a progress bar's line, what it showed last."""
    try:
        with open(path, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - size, 0))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip("\n").split("\n")[-count:]]


class Progress:
    """Says how far a request is: on a terminal in one line that is written anew, in a log with a line now and then.

    An array of ten and more has a line in the log for every tenth. Whatever takes long has one after ten seconds, and
    the next after twice as long each time, with the last words of the oldest job.
    """

    TERMINAL_SECONDS = 1.0
    LOG_SECONDS = 10.0
    LONG_ARRAY = 10

    def __init__(self, request, wanted=True):
        self.request = request
        self.wanted = wanted
        self.total = len(request.indices)
        self.on_terminal = sys.stderr.isatty()
        self.started = time.monotonic()
        self.pause = self.TERMINAL_SECONDS if self.on_terminal else self.LOG_SECONDS
        self.next_time = self.started + self.pause

    def show_end(self, ended, failed):
        """A job has ended."""
        count = self._count(ended, failed)
        if self.on_terminal:
            self._rewrite(count if self.total >= self.LONG_ARRAY else "")
            if ended == self.total >= self.LONG_ARRAY:
                self._say("")
        elif self.total >= self.LONG_ARRAY and ended * 10 // self.total > (ended - 1) * 10 // self.total:
            self._say(count)

    def show_time(self, ended, failed, oldest):
        """Time has passed; `oldest` is the index of the job that has run longest."""
        now = time.monotonic()
        if now < self.next_time:
            return
        minutes, seconds = divmod(int(now - self.started), 60)
        text = f"{self._count(ended, failed)} after {minutes}:{seconds:02}{self._last_words(oldest)}"
        if self.on_terminal:
            self._rewrite(text[:os.get_terminal_size(sys.stderr.fileno()).columns - 1])
        else:
            self._say(text)
            self.pause *= 2
        self.next_time = now + self.pause

    def _count(self, ended, failed):
        return f"{program()}: {ended} / {self.total} jobs ended" + (f", {failed} failed" if failed else "")

    def _last_words(self, index):
        path = self.request.log_of(index)
        line = "".join(last_lines(path, 1))
        line = re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line)  # as ser.base.log writes it
        return "" if not line or line.startswith("#") else f", {os.path.basename(path)}: {line}"

    def _rewrite(self, text):
        self._say(f"{CLEAR}{text}", end="")

    def _say(self, text, end="\n"):
        if self.wanted:
            print(text, end=end, file=sys.stderr, flush=True)

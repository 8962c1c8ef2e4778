"""What a runner writes: the first and last lines of a job's log, and its own messages to the user.

The lines are those that Kaldi's tools and users look for in logs of run.pl, queue.pl and slurm.pl.
"""

import os
import shlex
import signal
import socket
import sys
import time


def program():
    return os.path.basename(sys.argv[0])


def say(message):
    clear = "\r\033[K" if sys.stderr.isatty() else ""  # the line of show_progress
    print(f"{clear}{program()}: {message}", file=sys.stderr, flush=True)


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


def show_progress(ended, total, failed):
    """Count the jobs of a long array: on one line of a terminal, in a log with a line for every tenth."""
    text = f"{program()}: {ended} / {total} jobs ended" + (f", {failed} failed" if failed else "")
    if total < 10:
        return
    if sys.stderr.isatty():
        print(f"\r{text}", end="\n" if ended == total else "", file=sys.stderr, flush=True)
    elif ended * 10 // total > (ended - 1) * 10 // total:
        print(text, file=sys.stderr, flush=True)

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
    print(f"{program()}: {message}", file=sys.stderr, flush=True)


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


def report_failures(request, reasons, listed=20, shown=3, lines=10):
    """Say how many jobs failed and why, and show the end of the log of the first few.

    reasons: for every failed task index, why
    """
    if len(request.indices) == 1:
        say(f"job failed, log is in {request.log_of(request.indices[0])}")
    else:
        say(f"{len(reasons)} / {len(request.indices)} failed, log is in {request.log_of('*')}")
    for number, index in enumerate(sorted(reasons)[:listed]):
        path = request.log_of(index)
        end = last_lines(path, lines) if number < shown else []
        print(f"== {path}: {reasons[index]}", *end, sep="\n   ", file=sys.stderr, flush=True)
    if len(reasons) > listed:
        print(f"== and {len(reasons) - listed} more", file=sys.stderr, flush=True)


def last_lines(path, count, size=8192):
    """The last lines of a text file, none when it is missing; of a progress bar's line, what it showed last."""
    try:
        with open(path, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - size, 0))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip("\n").split("\n")[-count:]]


def show_progress(ended, total):
    """Count the jobs of a long array: on one line of a terminal, in a log with a line for every tenth."""
    text = f"{program()}: {ended} / {total} jobs ended"
    if total < 10:
        return
    if sys.stderr.isatty():
        print(f"\r{text}", end="\n" if ended == total else "", file=sys.stderr, flush=True)
    elif ended * 10 // total > (ended - 1) * 10 // total:
        print(text, file=sys.stderr, flush=True)

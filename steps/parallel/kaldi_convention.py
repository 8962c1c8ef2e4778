"""Kaldi's calling convention for job runners: `RUNNER [options] [JOB=1:N] LOG COMMAND...`

What every backend shares: reading the call, putting the task index in place of JOB, the first and
last lines of a log, and the report of failed jobs. A runner starts often, and on cluster nodes from
PATH alone: import nothing here but the quick parts of the standard library.
"""

import os
import re
import shlex
import signal
import sys
import time

COUNT = r"[1-9]\d*"

# name: (what its value must match, the same in words, default)
OPTIONS = {
    "mem": (r"\d+[KMGT]?", "a size such as 4G", ""),
    "gpu": (r"\d+", "a number of devices", 0),
    "num-threads": (COUNT, "a number above 0", 1),
    "max-jobs-run": (COUNT, "a number above 0", 0),
    "time": (r"(\d+-)?\d+(:\d+){0,2}", "a time such as 4:0:0", ""),
}


class UsageError(Exception):
    """The call is wrong or asks for what the machine does not have; the message is one line."""


class Request:
    """One call of a runner.

    options: value of every option by its name, a number or a string; 0 and "" mean not given
    name, indices: the range's name (None without a range) and its task indices
    log, command: as given, the name still in them
    """

    def __init__(self, options, name, indices, log, command):
        self.options, self.name, self.indices, self.log, self.command = options, name, indices, log, command

    def put_index(self, index, text):
        """Replace the whole word JOB, or whatever the range's name is, in `text`."""
        return re.sub(rf"\b{self.name}\b", str(index), text) if self.name else text

    def log_of(self, index):
        return self.put_index(index, self.log)

    def command_of(self, index):
        return [self.put_index(index, word) for word in self.command]


def parse(argv, options=OPTIONS):
    """Read a runner's arguments into a Request; raises UsageError. `options` is a table like OPTIONS."""
    values = {name: default for name, (_, _, default) in options.items()}
    name, indices, rest = None, range(1, 2), list(argv)
    while rest:
        if rest[0].startswith("-"):
            option, value = _read_option(rest, options)
            values[option] = value
            rest = rest[2:]
        elif name is None and re.fullmatch(r"[A-Za-z_]\w*=[^/]*", rest[0]):
            name, indices = _read_range(rest[0])
            rest = rest[1:]
        else:
            break
    if len(rest) < 2:
        raise UsageError("expected [options] [JOB=1:N] LOG COMMAND...")
    log, *command = rest
    if len(indices) > 1 and not re.search(rf"\b{name}\b", log):
        raise UsageError(f"{len(indices)} jobs would write to {log}: put {name} in it as a word, as in x.{name}.log")
    if name is None and re.search(r"\bJOB\b", log):
        raise UsageError(f"the log {log} names JOB, but no range such as JOB=1:4 is given")
    return Request(values, name, indices, log, command)


def _read_option(words, options):
    name, equals, _ = words[0].removeprefix("--").partition("=")
    if not words[0].startswith("--") or name not in options:
        raise UsageError(f"unknown option {words[0]}, expected one of --{', --'.join(options)}")
    if equals:
        raise UsageError(f"write --{name} VALUE, not {words[0]}")
    pattern, meaning, default = options[name]
    if len(words) < 2 or not re.fullmatch(pattern, words[1]):
        raise UsageError(f"--{name} needs {meaning}" + (f", not {words[1]!r}" if len(words) > 1 else ""))
    return name, type(default)(words[1])


def _read_range(word):
    match = re.fullmatch(r"(\w+)=(\d+)(?::(\d+))?", word, re.ASCII)
    first, last = (int(match[2]), int(match[3] or match[2])) if match else (0, 0)
    if not 0 < first <= last:
        raise UsageError(f"bad range {word}, expected NAME=1:N or NAME=K, counted from 1 (a log may be ./{word})")
    return match[1], range(first, last + 1)


def say(message):
    print(f"{os.path.basename(sys.argv[0])}: {message}", file=sys.stderr, flush=True)


def start_log(path, command):
    """Make or empty the log, write its header, and return its file descriptor for the job to append to."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
    os.write(log, os.fsencode(f"# {shlex.join(command)}\n# Started at {_date()}\n#\n"))
    return log


def end_log(log, status, seconds, threads):
    """Write the closing lines that Kaldi's tools look for, and close the log.

    status: the exit code, or minus the signal's number; the log then says code 128 + signal
    """
    last = os.pread(log, 1, max(os.lseek(log, 0, os.SEEK_END) - 1, 0))
    code = f"code {status}" if status >= 0 else f"code {128 - status}; signal {-status}"
    os.write(log, (("" if last == b"\n" else "\n") + f"# Accounting: time={seconds:.0f} threads={threads}\n"
                   f"# Ended ({code}) at {_date()}, elapsed time {seconds:.0f} seconds\n").encode())
    os.close(log)


def _date():
    return time.strftime("%a %b %e %H:%M:%S %Z %Y")


def reason_of(status):
    """The exit code, or minus the signal's number, in words."""
    return f"exit code {status}" if status >= 0 else f"killed by signal {-status} ({signal.strsignal(-status)})"


def report_failures(request, reasons, shown=3, lines=10):
    """Say how many jobs failed, and show the reason and the end of the log of the first few.

    reasons: for every failed task index, why
    """
    if len(request.indices) == 1:
        say(f"job failed, log is in {request.log_of(request.indices[0])}")
    else:
        say(f"{len(reasons)} / {len(request.indices)} failed, log is in {request.log_of('*')}")
    for index in sorted(reasons)[:shown]:
        path = request.log_of(index)
        print(f"== {path}: {reasons[index]}", *_last_lines(path, lines), sep="\n   ", file=sys.stderr, flush=True)


def _last_lines(path, count, size=8192):
    """The last lines of a text file; of a progress bar's line, what it showed last."""
    with open(path, "rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - size, 0))
        text = file.read().decode(errors="replace")
    return [line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip("\n").split("\n")[-count:]]

"""Kaldi's calling convention for job runners: `RUNNER [options] [JOB=1:N] LOG COMMAND...`

What every backend shares: reading the call, and putting the task index in place of JOB. A runner
starts often, and on cluster nodes from PATH alone: import nothing in this folder but the quick parts
of the standard library.
"""

import os
import re
from collections import namedtuple

COUNT = r"[1-9]\d*"

# What an option's value must match, the same in words, and the default, whose type the value gets.
Option = namedtuple("Option", "pattern meaning default")
OPTIONS = {
    "mem": Option(r"\d+[KMGT]?", "a size such as 4G", ""),
    "gpu": Option(r"\d+", "a number of devices", 0),
    "num-threads": Option(COUNT, "a number above 0", 1),
    "max-jobs-run": Option(COUNT, "a number above 0", 0),
    "time": Option(r"(\d+-)?\d+(:\d+){0,2}", "a time such as 4:0:0", ""),
    "config": Option(".+", "a file", ""),
}


class UsageError(Exception):
    """The call is wrong or asks for what the machine does not have; the message is one line."""


class Request:
    """One call of a runner.

    options: value of every option by its name, a number or a string; 0 and "" mean not given
    name, indices: the range's name (None without a range) and its task indices
    log, command: as given, the name still in them
    folder, stem: of the files of the whole request: the log's, up to where the name is in them
    """

    def __init__(self, options, name, indices, log, command):
        self.options = options
        self.name = name
        self.indices = indices
        self.log = log
        self.command = command
        word = rf"[._-]?\b{name}\b" if name else r"(?!)"
        folder, file = os.path.split(log)
        self.folder = re.sub(rf"[^/]*{word}.*", "", folder)
        self.stem = re.sub(word, "", file.removesuffix(".log")) or "job"

    def put_index(self, index, text):
        """Replace the whole word JOB, or whatever the range's name is, in `text`."""
        return re.sub(rf"\b{self.name}\b", str(index), text) if self.name else text

    def log_of(self, index):
        return self.put_index(index, self.log)

    def command_of(self, index):
        return [self.put_index(index, word) for word in self.command]


def parse(argv, options_of):
    """Read a runner's arguments into a Request; raises UsageError.

    options_of: function of the value of --config ("" when not given) to a table like OPTIONS
    """
    # Options and the range
    pairs = []
    name = None
    indices = range(1, 2)
    rest = list(argv)
    while rest:
        if rest[0].startswith("-"):
            pairs.append((rest[0], rest[1] if len(rest) > 1 else None))
            rest = rest[2:]
        elif name is None and re.fullmatch(r"[A-Za-z_]\w*=[^/]*", rest[0]):
            name, indices = _read_range(rest[0])
            rest = rest[1:]
        else:
            break
    options = options_of(dict(pairs).get("--config") or "")
    values = {key: option.default for key, option in options.items()}
    values |= dict(_read_option(*pair, options) for pair in pairs)

    # Log and command
    if len(rest) < 2:
        raise UsageError("expected [options] [JOB=1:N] LOG COMMAND...")
    log, *command = rest
    for word in rest if name else ():
        _refuse_folder(name, word)
    if len(indices) > 1 and not re.search(rf"\b{name}\b", log):
        raise UsageError(f"{len(indices)} jobs would write to {log}: put {name} in it as a word, as in x.{name}.log")
    if name is None and re.search(r"\bJOB\b", log.removeprefix(_folder_with("JOB", log))):
        raise UsageError(f"the log {log} names JOB, but no range such as JOB=1:4 is given")
    return Request(values, name, indices, log, command)


def _folder_with(name, path):
    """The longest beginning of a path that is a folder and has the word `name` in its own name, "" without one."""
    ends = [match.end() for match in re.finditer(rf"\b{name}\b[^/]*", path) if "/" in path[:match.end() + 1]]
    return next((path[:end] for end in reversed(ends) if os.path.isdir(path[:end])), "")


def _refuse_folder(name, word):
    """End where the index in place of the name would lead to another folder than the one that is meant."""
    for path in re.split("[=:]", word):
        if folder := _folder_with(name, path):
            raise UsageError(f"{folder} is a folder, but {name} in it would become the number of a task: rename the "
                             "folder or link to it under another name")


def _read_option(word, value, options):
    name, equals, _ = word.removeprefix("--").partition("=")
    if not word.startswith("--") or name not in options:
        raise UsageError(f"unknown option {word}, expected one of --{', --'.join(options)}")
    if equals:
        raise UsageError(f"write --{name} VALUE, not {word}")
    option = options[name]
    if value is None:
        raise UsageError(f"--{name} needs {option.meaning}")
    if not re.fullmatch(option.pattern, value):
        raise UsageError(f"--{name} needs {option.meaning}, not {value!r}")
    return name, type(option.default)(value)


def _read_range(word):
    match = re.fullmatch(r"(?P<name>\w+)=(?P<first>\d+)(?::(?P<last>\d+))?", word, re.ASCII)
    if match:
        first = int(match["first"])
        last = int(match["last"] or first)
        if 0 < first <= last:
            return match["name"], range(first, last + 1)
    raise UsageError(f"bad range {word}, expected NAME=1:N or NAME=K, counted from 1 (a log may be ./{word})")

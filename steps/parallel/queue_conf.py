"""Kaldi's configuration grammar for cluster runners: how an option of ours becomes options of the scheduler.

    command qsub -v PATH -S /bin/bash      how to submit
    option mem=* -l mem_free=$0            what `--mem 4G` adds; $0 is the value, * any value
    option gpu=0                           an exact value goes before *
    default gpu=0                          the value when the option is not given
"""

import re
import shlex

from kaldi_convention import OPTIONS, Option, UsageError

OF_THE_RUNNER = ("config", "max-jobs-run")  # described in a file or not, the runner does these itself


class QueueConf:
    """One configuration file.

    Attributes
    ----------
    path : str
    command : str
        Shell words that submit.
    additions : dict
        `{option: {value or "*": shell words}}`; `_` in names is `-`.
    defaults : dict

    Raises
    ------
    UsageError
        The file is missing or a line of it cannot be read.
    """

    def __init__(self, path):
        self.path = path
        self.command = ""
        self.additions = {}
        self.defaults = {}
        try:
            with open(path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", error)
            raise UsageError(f"{path}: cannot be read ({reason}); give --config FILE") from None
        for number, line in enumerate(lines, 1):
            line = re.sub(r"\s*#.*", "", line).strip()
            if line and not self._read(line):
                raise UsageError(f"{path}:{number}: cannot understand {line!r}; "
                                 "expected command ..., option NAME=VALUE ... or default NAME=VALUE")
        if not self.command:
            raise UsageError(f"{path}: has no line 'command ...', which says how to submit")

    def _read(self, line):
        """Take a line in; false for one of another grammar."""
        if match := re.fullmatch(r"command\s+(.+)", line):
            self.command = match[1]
        elif match := re.fullmatch(r"option\s+(\w+)=(\S+)\s*(.*)", line):
            self.additions.setdefault(match[1].replace("_", "-"), {})[match[2]] = match[3]
        elif match := re.fullmatch(r"default\s+(\w+)=(\S+)", line):
            self.defaults[match[1].replace("_", "-")] = match[2]
        return match

    def options(self):
        """The options that a call may give, as a table like kaldi_convention.OPTIONS, all of them strings."""
        any_value = Option(".+", "a value", "")
        names = [*self.additions, *OF_THE_RUNNER]
        return {name: OPTIONS.get(name, any_value)._replace(default=self.defaults.get(name, "")) for name in names}

    def shell_words(self, options):
        """What the scheduler's command gets for these option values; raises UsageError for a value not described."""
        words = []
        for name, values in self.additions.items():
            value = "" if name in OF_THE_RUNNER else options[name]
            if value and value not in values and "*" not in values:
                raise UsageError(f"{self.path} does not describe --{name} {value}, only {', '.join(values)}")
            if value:
                words.append(values.get(value, values.get("*")).replace("$0", shlex.quote(value)))
        return " ".join(words)

"""Command-line options of the Python scripts, with Kaldi's habits on top of argparse.

`--config FILE` holds `--key=value` lines with `#` comments and is read before the command line,
which overrides it. Wrong options end in one line and status 1.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

from ser.conf import conf_words
from ser.errors import UserError


def str2bool(value):
    """`true` or `false`, Kaldi's only boolean words."""
    if value not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, not {value!r}")
    return value == "true"


def read_conf(path):
    """Read Kaldi's configuration grammar into a list of `--key=value` words; raises UserError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such configuration file") from None
    return conf_words(text, path)


def share(items, job, num_jobs):
    """The `job`-th of `num_jobs` contiguous shares (counting from 1) whose sizes differ by at most one."""
    return items[len(items) * (job - 1) // num_jobs : len(items) * job // num_jobs]


class OptionParser(argparse.ArgumentParser):
    """argparse with `--config`, defaults in `--help`, no abbreviations, and one-line errors."""

    def __init__(self, description, example):
        super().__init__(description=description, epilog=f"example:\n  {example}", allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
        self.add_argument("--config", metavar="FILE", action="append", default=[],
                          help="--key=value lines, read before the command line")

    def error(self, message):
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(1)

    def add_fields(self, config_class, skip=()):
        """Add an option for every field of a dataclass; `metadata` holds its help and choices."""
        for field in dataclasses.fields(config_class):
            if field.name in skip:
                continue
            kind = str2bool if field.type is bool else field.type
            default = str(field.default).lower() if field.type is bool else field.default
            self.add_argument("--" + field.name.replace("_", "-"), type=kind, default=field.default,
                              choices=field.metadata.get("choices"), metavar=field.metadata.get("metavar"),
                              help=f"{field.metadata.get('help', '')} (default: {default})".replace("%", "%%"))

    def fields_of(self, config_class, args):
        """Build the dataclass from parsed options."""
        names = [field.name for field in dataclasses.fields(config_class)]
        try:
            return config_class(**{name: getattr(args, name) for name in names if hasattr(args, name)})
        except ValueError as error:
            self.error(str(error))

    def _with_configs(self, words):
        """Put the words of every configuration file in front, those that such a file names included."""
        finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        finder.add_argument("--config", action="append", default=[])
        named, _ = finder.parse_known_args(words)
        return [word for path in named.config for word in self._with_configs(read_conf(path))] + words

    def parse_args(self, args=None, namespace=None):
        return super().parse_args(self._with_configs(sys.argv[1:] if args is None else list(args)), namespace)


def run(main):
    """Run a script's `main()`; a UserError or an operating-system error ends in one line and status 1."""
    name = Path(sys.argv[0]).name
    try:
        sys.exit(main())
    except (UserError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)

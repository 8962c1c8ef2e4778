"""Command-line options of the Python scripts, with Kaldi's habits on top of argparse.

`--config FILE` holds `--key=value` lines with `#` comments and is read before the command line,
which overrides it. Wrong options end in one line and status 1.
"""

import argparse
import atexit
import dataclasses
import gc
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ser.base.conf import COMMENT, conf_words, from_options
from ser.base.errors import UserError
from ser.base.files import write_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Item = TypeVar("Item")
Config = TypeVar("Config", bound="DataclassInstance")


def natural(value: str) -> int:
    """A whole number from 0 up to what every library takes."""
    if not (value.isascii() and value.isdecimal() and int(value) < 10**9):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 999999999, not {value!r}")
    return int(value)


def str2bool(value: str) -> bool:
    """`true` or `false`, Kaldi's only boolean words."""
    if value not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, not {value!r}")
    return value == "true"


def read_conf(path: str | Path) -> list[str]:
    """Read Kaldi's configuration grammar into a list of `--key=value` words; raises UserError.

    A comment begins at the start of a line or after a blank, so that a path may hold `#`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such configuration file") from None
    except ValueError:
        raise UserError(f"{path}: not UTF-8 text") from None
    return conf_words(text, path)


def write_conf(path: str | Path, words: Sequence[str]) -> None:
    """Write `--key=value` words that read_conf() gives back; raises UserError for one that it would not."""
    for word in words:
        if COMMENT.search(word) or word != word.strip() or "\n" in word or "\r" in word:
            raise UserError(f"{word!r}: cannot be in {path}; take a name without ' #' and without blanks at its end")
    write_text(path, "".join(f"{word}\n" for word in words))


def share(items: Sequence[Item], job: int, num_jobs: int) -> Sequence[Item]:
    """The `job`-th of `num_jobs` contiguous shares (counting from 1), whose sizes differ by at most one."""
    _require_job(job, num_jobs)
    start = len(items) * (job - 1) // num_jobs
    end = len(items) * job // num_jobs
    return items[start:end]


def dealt_share(items: Sequence[Item], job: int, num_jobs: int) -> Sequence[Item]:
    """The `job`-th of `num_jobs` shares of what is dealt like cards: neighbours, which are alike, go to several."""
    _require_job(job, num_jobs)
    return items[job - 1 :: num_jobs]


def deal(items: Sequence[Item], most: int) -> list[Sequence[Item]]:
    """All dealt_share()s of what goes to `most` jobs, or to fewer, so that none has nothing to do."""
    num_jobs = min(len(items), max(1, most))
    return [dealt_share(items, job, num_jobs) for job in range(1, num_jobs + 1)]


def _require_job(job: int, num_jobs: int) -> None:
    if not 1 <= job <= num_jobs:
        raise UserError(f"--job {job} --num-jobs {num_jobs}: expected a job from 1 to the number of jobs")


class OptionParser(argparse.ArgumentParser):
    """argparse with `--config`, defaults in `--help`, no abbreviations, and one-line errors."""

    def __init__(self, description: str, example: str):
        super().__init__(description=description, epilog=f"example:\n  {example}", allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
        self.add_argument("--config", metavar="FILE", action="append", default=[],
                          help="--key=value lines, read before the command line")

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(1)

    def add_fields(self, config_class: "type[DataclassInstance]") -> None:
        """Add an option for every field of a dataclass; `metadata` holds its help and choices."""
        for field in dataclasses.fields(config_class):
            kind = str2bool if field.type is bool else field.type
            default = str(field.default).lower() if field.type is bool else field.default
            self.add_argument("--" + field.name.replace("_", "-"), type=kind, default=field.default,
                              choices=field.metadata.get("choices"), metavar=field.metadata.get("metavar"),
                              help=f"{field.metadata.get('help', '')} (default: {default})".replace("%", "%%"))

    def add_share(self) -> None:
        """Add --job and --num-jobs, for share()."""
        self.add_argument("--job", type=int, default=1, help="number of this share, from 1 (default: 1)")
        self.add_argument("--num-jobs", type=int, default=1, help="number of shares (default: 1)")

    def fields_of(self, config_class: type[Config], args: argparse.Namespace) -> Config:
        """Build the dataclass from parsed options."""
        try:
            return from_options(config_class, vars(args))
        except ValueError as error:
            self.error(str(error))

    def _with_configs(self, words: list[str], within: tuple[str, ...] = ()) -> list[str]:
        """Put the words of every configuration file in front, those that such a file names included."""
        finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        finder.add_argument("--config", action="append", default=[])
        named, _ = finder.parse_known_args(words)
        of_files = []
        for path in named.config:
            if path in within:
                raise UserError(f"{path}: names itself with --config")
            of_files += self._with_configs(read_conf(path), (*within, path))
        return of_files + words

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        words = sys.argv[1:] if args is None else list(args)
        return super().parse_args(self._with_configs(words), namespace)


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's `main()`; a UserError or an operating-system error ends in one line and status 1."""
    name = Path(sys.argv[0]).name
    # Python does not look for garbage among what is imported, nor at the end among all that is left, which takes a
    # third as long as to import torch. Triton, which comes with torch's compiler, would report what is left as leaked.
    gc.freeze()
    gc.enable()
    atexit.register(lambda: gc.unfreeze() if "triton" in sys.modules else gc.freeze())
    try:
        sys.exit(main())
    except (UserError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)

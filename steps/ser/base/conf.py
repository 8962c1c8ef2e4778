"""Options: the fields of a configuration dataclass, and Kaldi's grammar of lines `--key=value` with `#` comments."""

import re
from collections.abc import Mapping
from dataclasses import Field, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ser.base.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

COMMENT = re.compile(r"(^|\s)#.*")  # after the start of a line or a blank, so that a path may hold #

Config = TypeVar("Config", bound="DataclassInstance")


def option(default: Any, text: str, **metadata: Any) -> Any:
    """A field of a configuration dataclass, with its help and perhaps its `choices`."""
    return field(default=default, metadata={"help": text, **metadata})


def from_options(config_class: type[Config], options: Mapping[str, Any]) -> Config:
    """Build a configuration dataclass from those of the options that are its fields; a missing one has its default."""
    names = [field.name for field in fields(config_class)]
    return config_class(**{name: options[name] for name in names if name in options})


def conf_text(config: "DataclassInstance") -> str:
    """A configuration as lines `--key=value`, one for each field, from which config_from() builds it again."""
    lines = []
    for each in fields(config):
        value = getattr(config, each.name)
        lines.append(f"--{each.name.replace('_', '-')}={str(value).lower() if each.type is bool else value}\n")
    return "".join(lines)


def conf_words(text: str, name: str | Path) -> list[str]:
    """Split the text of a configuration file into `--key=value` words; raises UserError, which calls it `name`."""
    words = []
    for number, line in enumerate(text.split("\n"), 1):
        line = COMMENT.sub("", line).strip()
        if line and not (line.startswith("--") and "=" in line):
            raise UserError(f"{name}:{number}: expected --key=value, found {line!r}")
        if line:
            words.append(line)
    return words


def without_comments(text: str) -> list[str]:
    """The lines of a configuration file that are not empty, without comments."""
    return [line for line in (COMMENT.sub("", line).strip() for line in text.splitlines()) if line]


def _parsed(field: Field, text: str) -> Any:
    """The value of an option; raises ValueError with what is wrong."""
    if field.type is bool and text not in ("true", "false"):
        raise ValueError(f"takes no {text!r}")
    choices = field.metadata.get("choices", [text])
    try:
        value = text == "true" if field.type is bool else field.type(text)  # type: ignore[operator]  # int, float, str
    except ValueError:
        raise ValueError(f"takes no {text!r}") from None
    if text not in choices:
        raise ValueError(f"is one of {' '.join(choices)}, not {text!r}")
    return value


def config_from(config_class: type[Config], text: str, name: str) -> Config:
    """Build a dataclass from the text of a configuration file.

    Parameters
    ----------
    config_class : type
        Dataclass of int, float, bool and str fields; an option is a field with `-` for `_`.
    text : str
    name : str
        What messages call the file.

    Raises
    ------
    UserError
        The text has another grammar, an unknown option or a value that the dataclass does not take.
    """
    known = {"--" + field.name.replace("_", "-"): field for field in fields(config_class)}
    values = {}
    for word in conf_words(text, name):
        option, _, value = word.partition("=")
        if option not in known:
            raise UserError(f"{name}: unknown option {option}; it has {' '.join(known)}")
        try:
            values[known[option].name] = _parsed(known[option], value)
        except ValueError as error:
            raise UserError(f"{name}: {option} {error}") from None
    try:
        return config_class(**values)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None

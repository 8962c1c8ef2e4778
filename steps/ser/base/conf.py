"""Kaldi's configuration grammar: lines `--key=value` with `#` comments."""

import re
from dataclasses import fields

from ser.base.errors import UserError

COMMENT = re.compile(r"(^|\s)#.*")  # behind the start of a line or a blank, so that a path may hold #


def conf_words(text, name):
    """Split the text of a configuration file into `--key=value` words; raises UserError, which calls it `name`."""
    words = []
    for number, line in enumerate(text.split("\n"), 1):
        line = COMMENT.sub("", line).strip()
        if line and not (line.startswith("--") and "=" in line):
            raise UserError(f"{name}:{number}: expected --key=value, found {line!r}")
        if line:
            words.append(line)
    return words


def config_from(config_class, text, name):
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
        field = known[option]
        kind = {"true": True, "false": False}.__getitem__ if field.type is bool else field.type
        try:
            values[field.name] = kind(value)
        except (KeyError, ValueError):
            raise UserError(f"{name}: {option} takes no {value!r}") from None
        if value not in field.metadata.get("choices", [value]):
            raise UserError(f"{name}: {option} is one of {' '.join(field.metadata['choices'])}, not {value!r}")
    try:
        return config_class(**values)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None

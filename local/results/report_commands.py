"""The commands of run.sh that led to an experiment, as a shell takes them."""

import re
from pathlib import Path


def recorded_commands(exp: str) -> list[tuple[str, str]]:
    """Time and command of each run that led here, as run.sh wrote them down."""
    path = Path(exp, "commands")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [(time, command) for time, _, command in (line.rpartition("\t") for line in lines if line)]


def recorded_command(exp: str) -> str:
    """The last run without the options that say which stages; empty when it is not known."""
    commands = recorded_commands(exp)
    return re.sub(r" --(stop-)?stage [^ ]+", "", commands[-1][1]) if commands else ""


def command_for(exp: str, stop_stage: str = "") -> str:
    """What makes a file of EXP that is not there."""
    return f"{recorded_command(exp) or './run.sh'}{stop_stage}"

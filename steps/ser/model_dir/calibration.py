"""calibration.json of a model directory: the temperature that the logits of its network are divided by."""

import json
from pathlib import Path
from typing import Any

from ser.base.errors import UserError
from ser.base.files import write_text

NAME = "calibration.json"
_VERSION = 1


def write_temperature(model_dir: str | Path, temperature: float, **origin: Any) -> None:
    """Write calibration.json; `origin` says for readers from what the temperature was found."""
    content = {"format_version": _VERSION, "temperature": temperature, **origin}
    write_text(Path(model_dir) / NAME, json.dumps(content, indent=2, sort_keys=True) + "\n")


def read_temperature(model_dir: str | Path) -> float:
    """The temperature of a model directory; 1 for one of a version before, which has no calibration.json.

    Raises
    ------
    UserError
        The file is damaged or of another format.
    """
    path = Path(model_dir) / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 1.0
    except (ValueError, RecursionError):
        content = None
    temperature = content.get("temperature") if isinstance(content, dict) else None
    if not isinstance(temperature, int | float) or not 1e-3 <= temperature <= 1e3:
        raise UserError(f"{path}: has no temperature between 0.001 and 1000; make it again with steps/score.py, or "
                        "remove it to do without")
    if content.get("format_version") != _VERSION:
        raise UserError(f"{path}: has format_version {content.get('format_version')!r}, this version of the recipe "
                        f"reads {_VERSION}; make it again with steps/score.py")
    return temperature

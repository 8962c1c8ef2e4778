"""Model directories: configuration as JSON, tensors as safetensors; nothing in them is ever executed."""

from __future__ import annotations

import contextlib
import json
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from safetensors import SafetensorError, safe_open

from ser.base.errors import UserError
from ser.base.files import atomic_path, write_text

if TYPE_CHECKING:  # torch takes a second, which scripts that read a configuration alone need not wait
    import torch

# Of a model directory: the keys of config.json and what they mean, and the tensors. A model of a version before the
# key was written has no format_version, and the layout of format 1.
FORMAT_VERSION = 1


def save_tensors(path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Any = None) -> None:
    """Write `{name: tensor}` atomically; `metadata` is anything that JSON holds."""
    import safetensors.torch

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            safetensors.torch.save_file(tensors, temporary, {"json": json.dumps(metadata)})
        except SafetensorError as error:  # a full disk, too
            raise UserError(f"{path}: cannot be written ({error})") from None


def load_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], Any]:
    """Read what save_tensors wrote.

    Returns
    -------
    tuple
        `{name: tensor}` on the CPU, and the metadata.

    Raises
    ------
    UserError
        The file is missing, cut short or damaged.
    """
    with _reading(path), safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        return tensors, json.loads((file.metadata() or {}).get("json", "null"))


def require_tensors(path: str | Path) -> None:
    """Raise UserError as load_tensors() where a file is missing or cut short; needs no torch."""
    with _reading(path), safe_open(path, framework="numpy"):
        pass


@contextlib.contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """Raise UserError where a file of tensors cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; train the model first") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: cut short or damaged ({error}); remove its directory and train again") from None


def save_config(model_dir: str | Path, options: Mapping[str, Any], **derived: Any) -> None:
    """Write config.json: the format, the options, and what was derived from them and the data."""
    config = {"format_version": FORMAT_VERSION, "options": options, **derived}
    write_text(Path(model_dir) / "config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")


class _Config(dict):
    """An object of a configuration; reading a key that it lacks raises UserError."""

    def __init__(self, pairs: Iterable[tuple[str, Any]], path: Path):
        super().__init__(pairs)
        self._path = path

    def __missing__(self, key: str) -> NoReturn:
        raise UserError(f"{self._path}: has no {key!r}; another version of the recipe wrote it, so take that one "
                        "or train again")


def load_config(model_dir: str | Path) -> dict[str, Any]:
    """Read config.json.

    Returns
    -------
    dict
        Reading a key that it lacks raises UserError.

    Raises
    ------
    UserError
        The file is missing, damaged, no configuration of a training, or of another format.
    """
    path = Path(model_dir) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=lambda pairs: _Config(pairs, path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is {model_dir} a model directory?") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); remove its directory and train again") from None
    version = config.get("format_version", FORMAT_VERSION) if isinstance(config, dict) else FORMAT_VERSION
    if type(version) is not int or version != FORMAT_VERSION:
        raise UserError(f"{path}: has format_version {reprlib.repr(version)}, this version of the recipe reads "
                        f"{FORMAT_VERSION}; use the version that wrote it, or train again (--restart true)")
    if not (isinstance(config, dict) and isinstance(config.get("options"), dict)):
        raise UserError(f"{path}: has no options of a training; remove its directory and train again")
    return config

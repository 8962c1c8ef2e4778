"""Model directories: configuration as JSON, tensors as safetensors; nothing in them is ever executed."""

import json
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open

from ser.base.errors import UserError
from ser.base.files import atomic_path, write_text


def save_tensors(path, tensors, metadata=None):
    """Write `{name: tensor}` atomically; `metadata` is anything that JSON holds."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            safetensors.torch.save_file(tensors, temporary, {"json": json.dumps(metadata)})
        except SafetensorError as error:  # a full disk, too
            raise UserError(f"{path}: cannot be written ({error})") from None


def load_tensors(path):
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
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return tensors, json.loads((file.metadata() or {}).get("json", "null"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; train the model first") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: cut short or damaged ({error}); remove its directory and train again") from None


def save_config(model_dir, config):
    """Write config.json."""
    write_text(Path(model_dir) / "config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")


class _Config(dict):
    """An object of a configuration, which says so when it lacks a key."""

    def __init__(self, pairs, path):
        super().__init__(pairs)
        self._path = path

    def __missing__(self, key):
        raise UserError(f"{self._path}: has no {key!r}; another version of the recipe wrote it, so take that one "
                        "or train again")


def load_config(model_dir):
    """Read config.json; raises UserError when it is missing or no configuration, and so does a key that it lacks."""
    path = Path(model_dir) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"), object_hook=lambda pairs: _Config(pairs, path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is {model_dir} a model directory?") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); remove its directory and train again") from None
    if not (isinstance(config, dict) and isinstance(config.get("options"), dict)):
        raise UserError(f"{path}: has no options of a training; remove its directory and train again")
    return config

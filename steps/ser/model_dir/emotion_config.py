"""config.json of an emotion model, checked before anything is built from it: a model may come from anywhere."""

import re
import reprlib
from collections.abc import Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from ser.base.conf import from_options
from ser.base.errors import UserError
from ser.data.folds import FINAL
from ser.model_dir.checkpoint import load_config
from ser.model_dir.finetune_config import FinetuneConfig
from ser.nn.options import EmotionModelConfig

_LARGEST = 2**16  # of a number that becomes the size of a tensor
_TYPE_NAMES = {int: "a whole number", float: "a number", str: "text", dict: "a table"}
_TYPES = {"dimension": int, "dataset": str, "protocol": str, "features": dict, "pretraining": dict}
_TYPES_OF_TASK = {"fold": str, "seed": int, "data_dir": str, "data_stamp": str}
_NULL_WITHOUT_PRETRAINING = ("pretrained_dir", "pretrained_identity")
_OF_A_FINAL_MODEL = ("folds_dir", "folds_identity")
_RETIRED = ("scratch_lr_factor",)  # options of versions before, which decide nothing about a trained network


def load_emotion_config(model_dir: str | Path) -> dict[str, Any]:
    """Read and check what config.json says of the network and its training.

    Parameters
    ----------
    model_dir : str or Path

    Returns
    -------
    dict
        All of config.json. Its `options` have the types and choices of EmotionModelConfig and FinetuneConfig, and the
        defaults of those that are missing; an option that has been retired since is left out. `classes` and
        `training_speakers` are lists of words.

    Raises
    ------
    UserError
        The file is missing, damaged, not that of an emotion model with a network, or holds an option that this version
        does not have.
    """
    config = load_config(model_dir)
    if "classifier" in config["options"]:
        raise UserError(f"{model_dir}: is of classifier {reprlib.repr(config['options']['classifier'])}, which has no "
                        "network; steps/train_classical.py trains and scores it, and nothing else is kept of it")
    try:
        _check_structure(config)
        _check_options(config)
    except ValueError as error:
        raise UserError(f"{Path(model_dir) / 'config.json'}: {error}; copy the model directory again, or train again "
                        "with this version") from None
    return config


def require_held_out(model_dir: str | Path, config: Mapping[str, Any]) -> None:
    """Raise UserError for a final model, which has learned from all speakers."""
    if config["options"]["fold"] == FINAL:
        raise UserError(f"{model_dir}: has learned from all speakers, so none is left to test it on; its README.md "
                        "says what the folds scored")


def _check_structure(config: dict[str, Any]) -> None:
    """Check what was derived from the data; raises ValueError."""
    if "classes" not in config:
        raise ValueError("is not that of an emotion model, for it has no classes")
    for name in ("classes", "training_speakers"):
        if not _are_words(config.get(name)):
            raise ValueError(f"{name} must be different words, not {reprlib.repr(config.get(name))}")
    for name, kind in _TYPES.items():
        _check_type(name, config.get(name), kind)
    _check_size("dimension", config["dimension"])
    for name, text in config["features"].items():
        _check_type(f"features {name!r}", text, str)


def _check_options(config: dict[str, Any]) -> None:
    """Give missing options their defaults, and check all; raises ValueError."""
    known = {field.name: field for kind in (EmotionModelConfig, FinetuneConfig) for field in fields(kind)}
    given = {name: value for name, value in config["options"].items() if name not in _RETIRED}
    options = config["options"] = {**{name: field.default for name, field in known.items()}, **given}
    of_task = {*_TYPES_OF_TASK, *_NULL_WITHOUT_PRETRAINING, *_OF_A_FINAL_MODEL}
    unknown = sorted(options.keys() - known.keys() - of_task)
    if unknown:
        raise ValueError(f"has an option {reprlib.repr(unknown[0])} that this version does not know")
    # Those of the network and its training.
    for field in known.values():
        _check_option(field, options[field.name])
    _check_size("attention_dim", options["attention_dim"])
    from_options(EmotionModelConfig, options)
    from_options(FinetuneConfig, options)
    # Those of this training.
    for name, kind in _TYPES_OF_TASK.items():
        _check_type(name, options.get(name), kind)
    for name in _OF_A_FINAL_MODEL:
        _check_type(name, options.get(name, ""), str)
    for name in _NULL_WITHOUT_PRETRAINING:
        if options.setdefault(name) is not None:
            _check_type(name, options[name], str)
    if options["pretrained_dir"] and not {"dataset", "num_speakers"} <= config["pretraining"].keys():
        raise ValueError("pretraining must say dataset and num_speakers")


def _check_option(field: Field, value: Any) -> None:
    _check_type(field.name, value, field.type)
    choices = field.metadata.get("choices", [value])
    if value not in choices:
        raise ValueError(f"{field.name} is one of {' '.join(map(str, choices))}, not {reprlib.repr(value)}")


def _check_type(name: str, value: Any, kind: Any) -> None:
    if not has_type(value, kind):
        raise ValueError(f"{name} must be {_TYPE_NAMES[kind]}, not {reprlib.repr(value)}")


def _check_size(name: str, size: int) -> None:
    if not 1 <= size < _LARGEST:
        raise ValueError(f"{name} must lie between 1 and {_LARGEST - 1}, not be {reprlib.repr(size)}")


def has_type(value: Any, kind: Any) -> bool:
    """Whether a value of JSON can be a field of that type; true and false are no numbers, nor is anything infinite."""
    if kind is float:
        return type(value) in (int, float) and -1e300 < value < 1e300
    if kind is dict:
        return isinstance(value, dict)
    return type(value) is kind


def _are_words(value: Any) -> bool:
    """Whether a value of JSON is a list of one or more different words."""
    if not isinstance(value, list) or not value:
        return False
    if not all(isinstance(word, str) and re.fullmatch(r"\S+", word) for word in value):
        return False
    return len(set(value)) == len(value)

"""config.json of an emotion model, checked before anything is built from it: a model may come from anywhere."""

import re
import reprlib
from dataclasses import fields
from pathlib import Path

from ser.base.errors import UserError
from ser.model_dir.checkpoint import load_config
from ser.model_dir.finetune_config import FinetuneConfig
from ser.nn.models import EmotionModelConfig

_LARGEST = 2**16  # of a number that becomes the size of a tensor
_KINDS = {int: "a whole number", float: "a number", str: "text", dict: "a table"}
_OF_TASK = {"fold": str, "seed": int, "data_dir": str, "data_stamp": str}
_OF_PRETRAINING = {"pretrained_dir", "pretrained_identity"}  # null without one
_OF_DATA = {"dimension": int, "dataset": str, "protocol": str, "features": dict, "pretraining": dict}


def load_emotion_config(model_dir):
    """Read and check what config.json says of the network and its training.

    Parameters
    ----------
    model_dir : str or Path

    Returns
    -------
    dict
        All of config.json. Its `options` have the types and choices of EmotionModelConfig and FinetuneConfig, and the
        defaults of those that are missing; `classes` and `training_speakers` are lists of words.

    Raises
    ------
    UserError
        The file is missing, damaged, not that of an emotion model, or holds an option that this version does not have.
    """
    config, path = load_config(model_dir), Path(model_dir) / "config.json"

    def require(holds, what):
        if not holds:
            raise UserError(f"{path}: {what}; copy the model directory anew, or train again with this version")

    def require_kind(kind, name, value):
        require(_is(kind, value), f"{name} must be {_KINDS[kind]}, not {reprlib.repr(value)}")

    require(_is(dict, config) and _is(dict, config.get("options")), "has no options")
    require("classes" in config, "is not that of an emotion model, for it has no classes")
    for key in ("classes", "training_speakers"):
        require(_are_words(config.get(key)), f"{key} must be different words, not {reprlib.repr(config.get(key))}")
    for key, kind in _OF_DATA.items():
        require_kind(kind, key, config.get(key))
    for name, text in config["features"].items():
        require_kind(str, f"features {name!r}", text)

    shape_and_training = [field for kind in (EmotionModelConfig, FinetuneConfig) for field in fields(kind)]
    options = config["options"] = {**{field.name: field.default for field in shape_and_training}, **config["options"]}
    kinds = {**{field.name: field.type for field in shape_and_training}, **_OF_TASK}
    kinds.update((name, str) for name in _OF_PRETRAINING if options.setdefault(name) is not None)
    for name in sorted(options.keys() - kinds.keys() - _OF_PRETRAINING):
        require(False, f"has an option {reprlib.repr(name)} that this version does not know")
    for name, kind in kinds.items():
        require_kind(kind, name, options.get(name))
    for field in shape_and_training:
        choices = field.metadata.get("choices", [options[field.name]])
        require(options[field.name] in choices,
                f"{field.name} is one of {' '.join(map(str, choices))}, not {reprlib.repr(options[field.name])}")
    for name, size in (("dimension", config["dimension"]), ("attention_dim", options["attention_dim"])):
        require(1 <= size < _LARGEST, f"{name} must lie between 1 and {_LARGEST - 1}, not be {reprlib.repr(size)}")
    require(not options["pretrained_dir"] or {"dataset", "num_speakers"} <= config["pretraining"].keys(),
            "pretraining must say dataset and num_speakers")
    try:
        for kind in (EmotionModelConfig, FinetuneConfig):
            kind(**{field.name: options[field.name] for field in fields(kind)})
    except ValueError as error:
        require(False, str(error))
    return config


def _is(kind, value):
    """Whether a value of JSON can be a field of that type; true and false are no numbers, nor is anything endless."""
    if kind is float:
        return type(value) in (int, float) and -1e300 < value < 1e300
    return isinstance(value, dict) if kind is dict else type(value) is kind


def _are_words(value):
    return (_is(list, value) and bool(value) and all(_is(str, word) and re.fullmatch(r"\S+", word) for word in value)
            and len(set(value)) == len(value))

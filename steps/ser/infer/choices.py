"""What a model is, for its result line: every option that is not at its default, and a digest of all."""

import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from ser.audio.fbank import FbankConfig
from ser.audio.frames import ExtractedConfig, SslConfig
from ser.audio.vad import VadConfig
from ser.base.conf import COMMENT, config_from
from ser.base.errors import UserError
from ser.data.feature_conf import is_filterbank
from ser.infer.results_file import Choices
from ser.model_dir.data_stamp import digest
from ser.model_dir.finetune_config import FinetuneConfig
from ser.nn.options import EmotionModelConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Kinds = tuple[type[DataclassInstance], ...]

FINETUNING = (EmotionModelConfig, FinetuneConfig)
# name -> options of how features were made
FEATURES = {"fbank.conf": FbankConfig, "ssl.conf": SslConfig, "extracted.conf": ExtractedConfig,
            "vad.conf": VadConfig}
# What a reader always wants to know, in this order; the dimension of the features comes after the network.
_ALWAYS = ("backbone", "ad_after", "pooling", "feature_norm", "crop", "epochs", "select")


def options_digest(options: Mapping[str, Any], kinds: "Kinds", features: Mapping[str, str], precision: str,
                   pretraining: Mapping[str, Any]) -> str:
    """Six hexadecimal digits of sha256 over every option, defaults included; fold, seed and paths do not count.

    Parameters
    ----------
    options : dict
        Those of config.json.
    kinds : tuple of type
        Dataclasses whose fields are options of the training.
    features : dict of str to str
        Text of fbank.conf, or of what stands for it where there are other features, and vad.conf.
    precision : str
    pretraining : dict
        With the digest of the pre-training; empty without one.
    """
    values = {field.name: options.get(field.name, field.default) for kind in kinds for field in fields(kind)}
    all_features = {name: _feature_options(name, text) for name, text in features.items() if name in FEATURES}
    return digest(values, all_features, precision, _digest_of_pretraining(pretraining))[:6]


def choices_of(config: Mapping[str, Any], kinds: "Kinds" = FINETUNING, protocol: str = "") -> Choices:
    """What a model is.

    Parameters
    ----------
    config : dict
        A checked config.json, with the defaults of all options.
    kinds : tuple of type
        As in options_digest().
    protocol : str
        Where config.json has none.
    """
    options = config["options"]
    features = config["features"]
    pretraining = dict(config.get("pretraining", {}))
    defaults = {field.name: field.default for kind in kinds for field in fields(kind)}
    named = {name: options[name] for name in _ALWAYS if name in defaults}
    named |= {name: options[name] for name, default in defaults.items()
              if name not in named and options[name] != default}
    precision, device = _processor(config.get("environment", {}))
    log_energy = bool(re.search(r"^--use-energy=true", features.get("fbank.conf", ""), re.MULTILINE))
    dimension = config["dimension"]

    # Words of the line, without commas
    words = {name: f"{name.replace('_', '-')} {_word(value)}" for name, value in named.items()}
    if not is_filterbank(features):
        dimensions = f"{dimension}dim"
    else:
        dimensions = f"{dimension - 1}mel+energy" if log_energy else f"{dimension}mel"
    words["feature_norm"] = f"{dimensions} {words['feature_norm']}"
    if pretraining:
        words["pretraining"] = (f"pretrain {pretraining['dataset']} {pretraining['num_speakers']} spk "
                                f"{_digest_of_pretraining(pretraining)}")
        if pretraining.get("seed"):
            words["pretraining"] += f" seed {pretraining['seed']}"
    processes = config.get("environment", {}).get("processes", 1)
    if processes > 1 and not (options["global_batch"] and options["sync_batch_norm"]):
        words["processes"] = f"{processes} processes"
    for name, kind in FEATURES.items():
        for option, value in _unusual(kind, _feature_options(name, features.get(name, ""))).items():
            words[f"{name} {option}"] = f"{option.replace('_', '-')} {_word(value)}"

    return Choices(dataset=config["dataset"], protocol=config.get("protocol", protocol), seed=options["seed"],
                   phrase=" ".join(words.values()), options=named, pretraining=pretraining, dimension=dimension,
                   log_energy=log_energy, precision=precision, device=device,
                   options_digest=config.get("options_digest")
                   or options_digest(options, kinds, features, precision, pretraining))


def _digest_of_pretraining(pretraining: Mapping[str, Any]) -> str | None:
    """Digest of the options of a pre-training; one of a version before has its identity."""
    return (pretraining.get("options_digest") or pretraining.get("identity", "")[:6]) if pretraining else None


def _processor(environment: Mapping[str, Any]) -> tuple[str, str]:
    """Precision, and the type of the device."""
    device = environment.get("device")
    kind = "unknown" if device is None else "cpu" if device.startswith("cpu ") else "cuda"
    return environment.get("precision", "unknown"), kind


def _feature_options(name: str, text: str) -> dict[str, Any]:
    """All options of a feature configuration with their values; of one that is not the recipe's its lines."""
    try:
        return asdict(config_from(FEATURES[name], text, name))
    except UserError:
        lines = (COMMENT.sub("", line).strip().removeprefix("--") for line in text.splitlines())
        return dict(line.partition("=")[::2] for line in lines if line)


def _unusual(kind: "type[DataclassInstance]", values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not at their default. How many filters there are says the dimension of the features."""
    usual = {**{field.name: field.default for field in fields(kind)}, "num_mel_bins": values.get("num_mel_bins"),
             "use_energy": values.get("use_energy")}
    return {name: value for name, value in values.items() if name not in usual or usual[name] != value}


def _word(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return "+".join(re.split(r"[,\s]+", text))

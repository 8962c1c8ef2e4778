"""Features that a model has learned by itself: hidden states of a wav2vec 2.0, HuBERT or WavLM that is on the disk.

Such a model is a folder as Hugging Face's `save_pretrained()` writes it: config.json, preprocessor_config.json and the
weights. It is read by the package transformers, which is not in requirements.txt; nothing is downloaded. A model
trained elsewhere has a licence of its own, which its user is to know.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.audio.frames import SslConfig
from ser.audio.waveform import SAMPLE_RATE
from ser.base.errors import UserError

if TYPE_CHECKING:
    import torch

_FULL_SCALE = 32768  # of samples at int16 scale; such models take -1 to 1
_PARTS = ("config.json", "preprocessor_config.json", "*.safetensors", "*.bin")
_MASK = "masked_spec_embed"  # takes the place of masked frames in training, and is not used else


def describe_model(model_dir: str | Path, layer: str) -> SslConfig:
    """What is known of a model without its weights.

    Parameters
    ----------
    model_dir : str or Path
    layer : str

    Returns
    -------
    SslConfig

    Raises
    ------
    UserError
        A file is missing or damaged, the model does not hear 16 kHz sound, or it has no such layer.
    ValueError
        The layer is neither a number nor `mean`.
    """
    folder = Path(model_dir)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such directory; it is one of config.json and weights, and nothing is downloaded")
    # Its convolutions, of which each frame sees a stretch of the recording.
    path = folder / "config.json"
    config = _read_json(path)
    kernels: list[int] = config.get("conv_kernel") or []
    strides: list[int] = config.get("conv_stride") or []
    layers: int = config.get("num_hidden_layers") or 0
    if not (_are_sizes([*kernels, *strides, layers]) and len(kernels) == len(strides) > 0):
        raise UserError(f"{path}: has no conv_kernel, conv_stride and num_hidden_layers, so it is not of a wav2vec "
                        f"2.0, HuBERT or WavLM, but of model_type {config.get('model_type')}")
    window = 1 + sum((kernel - 1) * math.prod(strides[:number]) for number, kernel in enumerate(kernels))
    # What it hears.
    path = folder / "preprocessor_config.json"
    rate = _read_json(path).get("sampling_rate")
    if rate != SAMPLE_RATE:
        raise UserError(f"{path}: has sampling_rate {rate}; a model of {SAMPLE_RATE} Hz is needed")
    described = SslConfig(model="_".join(folder.resolve().name.split()), weights=_digest(folder), layer=layer,
                          frame_length=1000 * window / SAMPLE_RATE, frame_shift=1000 * math.prod(strides) / SAMPLE_RATE)
    if layer != "mean" and int(layer) > layers:
        raise UserError(f"{folder}: has no layer {layer}; its layers are 0 to {layers}")
    return described


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; copy the whole folder of the model") from None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path}: is damaged; copy the model again")
    return content


def _are_sizes(values: list[Any]) -> bool:
    """Whether all are whole numbers above 0."""
    return all(type(value) is int and value > 0 for value in values)


def _digest(folder: Path) -> str:
    """Twelve hexadecimal digits of sha256 over configuration and weights; raises UserError without weights."""
    digest = hashlib.sha256()
    paths = sorted({path for part in _PARTS for path in folder.glob(part)})
    if all(path.suffix == ".json" for path in paths):
        raise UserError(f"{folder}: holds no weights, neither *.safetensors nor *.bin")
    for path in paths:
        with open(path, "rb") as file:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            while block := file.read(2**24):
                digest.update(block)
    return digest.hexdigest()[:12]


def require_transformers() -> None:
    """Raise UserError where the package transformers is not installed."""
    if importlib.util.find_spec("transformers") is None:
        raise UserError("the package transformers, which reads such models, is not installed; it is not in "
                        "requirements.txt: .venv/bin/python -m pip install transformers")


def _import_transformers() -> ModuleType:
    """The package transformers, set to download nothing."""
    require_transformers()
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.logging.set_verbosity_error()
    return transformers


class HiddenStates:
    """Makes features of one utterance at a time, as no other is there to be padded to.

    Parameters
    ----------
    model_dir : str or Path
    layer : str
        As in SslConfig.
    device : str or torch.device

    Raises
    ------
    UserError
        transformers is not installed, or cannot read the model.
    """

    def __init__(self, model_dir: str | Path, layer: str, device: str | torch.device = "cpu"):
        import torch  # takes a second, and describe_model() does without

        transformers = _import_transformers()
        self.layer = layer
        self.device = torch.device(device)
        try:
            self._normalize = transformers.AutoFeatureExtractor.from_pretrained(model_dir, local_files_only=True)
            model, info = transformers.AutoModel.from_pretrained(model_dir, local_files_only=True,
                                                                 dtype=torch.float32, output_loading_info=True)
        except Exception as error:  # of any kind, for any kind of damage
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"{model_dir}: transformers cannot read it: {reason}") from None
        missing = sorted(name for name in info["missing_keys"] if not name.endswith(_MASK))
        if missing:  # transformers would make them at random
            raise UserError(f"{model_dir}: its weights lack {missing[0]} ({len(missing)} missing); copy the model "
                            "again")
        self.model = model.to(self.device).eval()

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Compute hidden states.

        Parameters
        ----------
        samples : numpy.ndarray
            float32 `[samples]` at 16 kHz and int16 scale, at least a window.

        Returns
        -------
        numpy.ndarray
            float32 `[frames, dimension]`.
        """
        import torch

        inputs = self._normalize(samples / _FULL_SCALE, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
        with torch.inference_mode():
            states = self.model(inputs.to(self.device), output_hidden_states=True).hidden_states  # each [1, T, D]
            chosen = torch.stack(states).mean(0) if self.layer == "mean" else states[int(self.layer)]
        return chosen[0].cpu().numpy()

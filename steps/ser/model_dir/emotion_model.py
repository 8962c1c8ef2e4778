"""The network that a model directory holds."""

from pathlib import Path
from typing import Any

import torch

from ser.base.conf import from_options
from ser.base.device import place
from ser.base.errors import UserError
from ser.model_dir.checkpoint import load_tensors
from ser.model_dir.emotion_config import load_emotion_config
from ser.nn.models import EmotionModel, EmotionModelConfig


def load_emotion_model(model_dir: str | Path,
                       device: str | torch.device = "cpu") -> tuple[EmotionModel, dict[str, Any]]:
    """Build the network that a model directory describes, with the weights of the selected epoch.

    Returns
    -------
    tuple
        The EmotionModel in evaluation mode, and the directory's configuration.

    Raises
    ------
    UserError
        The directory is incomplete, damaged, or of another version of the recipe.
    """
    config = load_emotion_config(model_dir)
    shape = from_options(EmotionModelConfig, config["options"])
    model = EmotionModel(shape, config["dimension"], len(config["classes"]), len(config["training_speakers"]))
    path = Path(model_dir) / f"{config['options']['select']}.safetensors"
    tensors, _ = load_tensors(path)
    try:
        model.load_state_dict(tensors)
    except RuntimeError:
        raise UserError(f"{path}: does not fit the network of config.json; train again") from None
    if not all(tensor.isfinite().all() for tensor in model.state_dict().values()):
        raise UserError(f"{path}: holds a value that is not finite; train again")
    place(model, device)
    return model.eval(), config

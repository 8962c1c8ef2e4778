"""The network that a model directory holds."""

from pathlib import Path
from typing import Any

import torch

from ser.base.conf import from_options
from ser.base.device import place
from ser.base.errors import UserError
from ser.model_dir.calibration import read_temperature
from ser.model_dir.checkpoint import load_tensors
from ser.model_dir.emotion_config import load_emotion_config
from ser.nn.models import EmotionModel
from ser.nn.options import EmotionModelConfig


def load_emotion_model(model_dir: str | Path, device: str | torch.device = "cpu",
                       calibrated: bool = False) -> tuple[EmotionModel, dict[str, Any]]:
    """Build the network that a model directory describes, with the weights of the selected epoch.

    Parameters
    ----------
    model_dir : str or Path
    device : str or torch.device
    calibrated : bool
        Whether its emotion logits are to be those of training divided by the temperature of the directory.

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
    if calibrated:
        divide_logits(model, read_temperature(model_dir))
    place(model, device, to_score=True)
    return model.eval(), config


def divide_logits(model: EmotionModel, temperature: float) -> None:
    """Divide the emotion logits of a network by a temperature: `(W x + b) / T = (W / T) x + b / T`."""
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter.div_(temperature)

"""The mean of the probabilities of some networks: the one place after a network where logits become probabilities."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ser.base.errors import UserError
from ser.data.folds import FINAL
from ser.infer.input_format import InputFormat
from ser.model_dir.emotion_model import load_emotion_model


class ProbabilityNetwork(nn.Module):
    """The mean of the probabilities of some networks.

    Parameters
    ----------
    networks : iterable of EmotionModel
        On the CPU, in evaluation mode.
    """

    def __init__(self, networks: Iterable[nn.Module]):
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Score a batch.

        Parameters
        ----------
        features : torch.Tensor
            float32 `[B, T, dimension]`; what follows an utterance's end does not matter.
        lengths : torch.Tensor or None
            int64 `[B]`, frames of each utterance, from 1 to T; None if all have T, which saves a tenth of the time.

        Returns
        -------
        torch.Tensor
            Probabilities, float32 `[B, classes]`.
        """
        return torch.stack([network(features, lengths)[0].softmax(1) for network in self.networks]).mean(0)

    def score(self, features: np.ndarray) -> np.ndarray:
        """Probabilities `[classes]` of one utterance's features, float32 `[frames, dimension]`."""
        with torch.inference_mode():
            return self(torch.from_numpy(features)[None], None)[0].numpy()

    def rfft(self, frames: np.ndarray, axis: int) -> np.ndarray:
        """The spectrum of real frames along an axis."""
        return torch.fft.rfft(torch.from_numpy(frames), dim=axis).numpy()


def load_networks(model_dir: Path) -> tuple[ProbabilityNetwork, InputFormat]:
    """Load the networks of a model directory, or of all that a folder holds; raises UserError as load_model()."""
    folds = sorted(path.parent for path in model_dir.glob("*/config.json") if path.parent.name != FINAL)
    members = [model_dir] if (model_dir / "config.json").exists() else folds
    if not members:
        raise UserError(f"{model_dir}: not a model directory: there is no config.json in it or in a folder of it")
    networks = []
    formats: list[InputFormat] = []
    for member in members:
        network, config = load_emotion_model(member, calibrated=True)
        if (member / "state.safetensors").exists():
            raise UserError(f"{member}: its training is not finished; run steps/finetune.py again, it continues")
        own = InputFormat.of_config(config, member / "config.json")
        formats.append(own)
        differing = own.difference(formats[0])
        if differing:
            raise UserError(f"{member}/config.json: {differing} differs from that of {members[0]}, so their "
                            "probabilities cannot be averaged; name one of them")
        networks.append(network)
    return ProbabilityNetwork(networks), formats[0]

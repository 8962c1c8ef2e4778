"""A network that steps/export.py wrote, run by onnxruntime: no torch, which takes a second to import."""

from pathlib import Path

import numpy as np
import onnxruntime

from ser.base.errors import UserError
from ser.infer.input_format import InputFormat


class OnnxNetwork:
    """An ONNX file of ser.infer.export.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    format : InputFormat

    Raises
    ------
    UserError
        The file is missing, damaged or not one of steps/export.py.
    """

    def __init__(self, path: Path):
        if not path.is_file():
            raise UserError(f"{path}: no such file; steps/export.py MODEL_DIR {path} makes it")
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait take no time
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the classes of its errors have no common base
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"{path}: is no ONNX file that can be read ({reason})") from None
        shapes = {each.name: each.shape for each in self._session.get_inputs()}
        if list(shapes) != ["features", "lengths"]:
            raise UserError(f"{path}: takes {', '.join(shapes)}; an exported model takes features and lengths")
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.format = InputFormat.of_metadata(metadata, shapes["features"][2], path)

    def score(self, features: np.ndarray) -> np.ndarray:
        """Probabilities `[classes]` of one utterance's features, float32 `[frames, dimension]`."""
        inputs = {"features": features[None], "lengths": np.array([len(features)])}
        (probabilities,) = self._session.run(["probabilities"], inputs)
        return probabilities[0]

    def rfft(self, frames: np.ndarray, axis: int) -> np.ndarray:
        """The spectrum of real frames along an axis."""
        return np.fft.rfft(frames, axis=axis)

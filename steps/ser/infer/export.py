"""A trained model for other programs: ONNX, or a program of torch.export."""

import copy
import io
import json
import warnings

import torch
from torch import nn

from ser.base.errors import UserError
from ser.infer.prediction import EmotionRecognizer
from ser.infer.probability_network import ProbabilityNetwork

_EXAMPLE = 2, 200  # utterances and frames that the exporters look at; both may then be any number
# Frames after the longest utterance: torch.export would take a map of a single frame for one that is always so.
_FRAMES_AFTER = 16


class _ExportedNetwork(ProbabilityNetwork):
    """A ProbabilityNetwork that takes one frame, too."""

    def forward(self, features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        return super().forward(nn.functional.pad(features, (0, 0, 0, _FRAMES_AFTER)), lengths)


def as_onnx(recognizer: EmotionRecognizer) -> bytes:
    """Turn a recognizer's networks into an ONNX model with the inputs `features` and `lengths` of ProbabilityNetwork.

    Parameters
    ----------
    recognizer : EmotionRecognizer

    Returns
    -------
    bytes
        Its output is `probabilities`; InputFormat.metadata is in its metadata_props.
    """
    import onnx

    network, example = _prepared(recognizer)
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter that is built on torch.export takes a minute for the shapes of a ResNet18, this one two seconds.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)  # of constants that it cannot fold
        torch.onnx.export(network, example, file,  # type: ignore[arg-type]  # which takes one, if not dynamo
                          dynamo=False, input_names=["features", "lengths"], output_names=["probabilities"],
                          dynamic_axes={"features": {0: "batch", 1: "frames"}, "lengths": {0: "batch"},
                                        "probabilities": {0: "batch"}})
    model = onnx.load_from_string(file.getvalue())
    onnx.helper.set_model_props(model, recognizer.input_format.metadata)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def as_program(recognizer: EmotionRecognizer) -> bytes:
    """Turn a recognizer's networks into a file of torch.export.save(), which torch.export.load() reads.

    Parameters
    ----------
    recognizer : EmotionRecognizer

    Returns
    -------
    bytes
        The program takes and returns what ProbabilityNetwork does; InputFormat.metadata is in its extra file
        metadata.json.
    """
    network, example = _prepared(recognizer)
    batch = torch.export.Dim("batch")
    frames = torch.export.Dim("frames")
    with torch.no_grad():
        program = torch.export.export(network, example, dynamic_shapes=({0: batch, 1: frames}, {0: batch}),
                                      prefer_deferred_runtime_asserts_over_guards=True)  # of pooling, rounded up
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"metadata.json": json.dumps(recognizer.input_format.metadata)})
    return file.getvalue()


FORMATS = {"onnx": as_onnx, "pt2": as_program}


def _prepared(recognizer: EmotionRecognizer) -> tuple[ProbabilityNetwork, tuple[torch.Tensor, torch.Tensor]]:
    """A network, with weights in memory in the order of their dimensions, and an example of its input."""
    if not isinstance(recognizer.network, ProbabilityNetwork):
        raise UserError(f"{recognizer.input_format.origin}: is exported already; name the model directory")
    network = _ExportedNetwork(copy.deepcopy(list(recognizer.network.networks))).eval()
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # which torch's stubs lack
    utterances, frames = _EXAMPLE
    features = torch.zeros(utterances, frames, recognizer.input_format.dimension)
    return network, (features, torch.full((utterances,), frames))

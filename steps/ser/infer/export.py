"""A trained model for other programs: ONNX, or a program of torch.export."""

import copy
import io
import json
import warnings

import torch
from torch import nn

from ser.infer.input_format import InputFormat
from ser.infer.probability_network import ProbabilityNetwork

_EXAMPLE = 2, 200  # utterances and frames that the exporters look at; both may then be any number
# Frames after the longest utterance: torch.export would take a map of a single frame for one that is always so.
_FRAMES_AFTER = 16


class _ExportedNetwork(ProbabilityNetwork):
    """A ProbabilityNetwork that takes one frame, too."""

    def forward(self, features: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        return super().forward(nn.functional.pad(features, (0, 0, 0, _FRAMES_AFTER)), lengths)


def as_onnx(network: ProbabilityNetwork, input_format: InputFormat) -> bytes:
    """Turn networks into an ONNX model with the inputs `features` and `lengths` of ProbabilityNetwork.

    Parameters
    ----------
    network : ProbabilityNetwork
    input_format : InputFormat

    Returns
    -------
    bytes
        Its output is `probabilities`; InputFormat.metadata is in its metadata_props.
    """
    import onnx

    exported, example = _prepared(network, input_format.dimension)
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter that is built on torch.export takes a minute for the shapes of a ResNet18, this one two seconds.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)  # of constants that it cannot fold
        torch.onnx.export(exported, example, file,  # type: ignore[arg-type]  # which takes one, if not dynamo
                          dynamo=False, input_names=["features", "lengths"], output_names=["probabilities"],
                          dynamic_axes={"features": {0: "batch", 1: "frames"}, "lengths": {0: "batch"},
                                        "probabilities": {0: "batch"}})
    model = onnx.load_from_string(file.getvalue())
    onnx.helper.set_model_props(model, input_format.metadata)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def as_program(network: ProbabilityNetwork, input_format: InputFormat) -> bytes:
    """Turn networks into a file of torch.export.save(), which torch.export.load() reads.

    Parameters
    ----------
    network : ProbabilityNetwork
    input_format : InputFormat

    Returns
    -------
    bytes
        The program takes and returns what ProbabilityNetwork does; InputFormat.metadata is in its extra file
        metadata.json.
    """
    exported, example = _prepared(network, input_format.dimension)
    batch = torch.export.Dim("batch")
    frames = torch.export.Dim("frames")
    with torch.no_grad():
        program = torch.export.export(exported, example, dynamic_shapes=({0: batch, 1: frames}, {0: batch}),
                                      prefer_deferred_runtime_asserts_over_guards=True)  # of pooling, rounded up
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"metadata.json": json.dumps(input_format.metadata)})
    return file.getvalue()


FORMATS = {"onnx": as_onnx, "pt2": as_program}


def _prepared(network: ProbabilityNetwork,
              dimension: int) -> tuple[ProbabilityNetwork, tuple[torch.Tensor, torch.Tensor]]:
    """A network, with weights in memory in the order of their dimensions, and an example of its input."""
    exported = _ExportedNetwork(copy.deepcopy(list(network.networks))).eval()
    exported.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # which torch's stubs lack
    utterances, frames = _EXAMPLE
    features = torch.zeros(utterances, frames, dimension)
    return exported, (features, torch.full((utterances,), frames))

"""Batches of utterances of different lengths, each computed as it would be alone.

A feature map is `[B, C, T, F]`. `lengths` is an integer tensor `[B]` of valid frames, or None when all T frames of
every utterance are valid. Frames after an utterance's end are kept at zero, which is what the padding of a convolution
shows the utterance when it is alone.
"""

import torch


def valid_frames(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Which frames of a map `[B, C, T, F]` are an utterance's own: boolean `[B, T]`."""
    return torch.arange(x.shape[2], device=x.device) < lengths[:, None]


def mask_frames(x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Set the frames of a map `[B, C, T, F]` after each utterance's end to zero."""
    if lengths is None:
        return x
    return x * valid_frames(x, lengths)[:, None, :, None].to(x.dtype)


def mean_over_time_and_frequency(x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Mean of the valid part of a masked map `[B, C, T, F]` in float32: `[B, C]`."""
    if lengths is None:
        return x.float().mean(dim=(2, 3))
    return x.float().sum(dim=(2, 3)) / (lengths * x.shape[3])[:, None]


def mean_over_time(x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Mean over the valid frames of a masked map `[B, C, T, F]` in float32: `[B, C, 1, F]`."""
    if lengths is None:
        return x.float().mean(dim=2, keepdim=True)
    return x.float().sum(dim=2, keepdim=True) / lengths[:, None, None, None]


def lengths_after(lengths: torch.Tensor | None, stride: int) -> torch.Tensor | None:
    """Valid frames after a layer of that stride: rounded up, as padded convolutions and ceil-mode pooling do."""
    if lengths is None:
        return None
    return (lengths + stride - 1) // stride

"""All features of a part of a data directory in one flat tensor, from which batches are gathered.

There are no worker processes and no per-utterance tensors: a batch is one index operation on the
tensor, which lies on the device when it fits.
"""

import hashlib
import io
import math
import warnings
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import DTypeLike

from ser.base.device import send
from ser.base.errors import UserError
from ser.base.log import log
from ser.data.bank_cache import open_cache
from ser.data.flat_frames import FlatFrames, FlatWriter
from ser.data.voiced_features import VoicedFeatures

_SHARE_OF_FREE_MEMORY = 0.5  # that the features may take of a device; the rest is the network's


class FeatureBank:
    """Features of several utterances, of which it gives batches in float32.

    Parameters
    ----------
    utts : list of str
    lengths : sequence of int
        Frames of each utterance, at least one.
    frames : numpy.ndarray
        float32 or float16 `[rows, dimension]`, and perhaps mapped from a file.
    device : str or torch.device
        Where batches come out.
    offsets : sequence of int, optional
        Row of `frames` where each utterance begins; by default they follow one another.
    checksums : sequence of int, optional
        zlib.crc32 of each utterance's frames; by default they are computed.

    Attributes
    ----------
    device : torch.device
    frames : torch.Tensor
        On the device, those of these utterances alone, when they fit into half of its free memory; else `frames`
        itself, on the CPU.
    lengths, offsets : torch.Tensor
        Of each utterance, beside the frames.
    """

    def __init__(self, utts: Iterable[str], lengths: Sequence[int] | np.ndarray, frames: np.ndarray,
                 device: str | torch.device = "cpu", offsets: Sequence[int] | np.ndarray | None = None,
                 checksums: Sequence[int] | np.ndarray | None = None):
        self.utts = list(utts)
        self.device = torch.device(device)
        self.index = {utt: position for position, utt in enumerate(self.utts)}
        self.lengths = torch.as_tensor(lengths)
        self.offsets = packed_offsets(self.lengths) if offsets is None else torch.as_tensor(offsets)
        if checksums is None:
            checksums = [zlib.crc32(frames[start : start + length].data)
                         for start, length in zip(self.offsets.tolist(), self.lengths.tolist(), strict=True)]
        self._checksums = [int(checksum) for checksum in checksums]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes
            self.frames = torch.from_numpy(frames)
        # Move the frames of these utterances to the device where they fit; the tables are beside the frames.
        size = int(self.lengths.sum()) * frames[0].nbytes
        if self.device.type != "cpu" and size <= _SHARE_OF_FREE_MEMORY * torch.cuda.mem_get_info(self.device)[0]:
            self.frames = packed(self.frames, self.lengths, self.offsets, self.device)
            self.offsets = packed_offsets(self.lengths)
        self.lengths = self.lengths.to(self.frames.device)
        self.offsets = self.offsets.to(self.frames.device)

    @property
    def dimension(self) -> int:
        return self.frames.shape[1]

    @property
    def is_resident(self) -> bool:
        """Whether the frames lie on the device."""
        return self.frames.device.type == self.device.type

    def indices(self, utts: Iterable[str]) -> torch.Tensor:
        """Positions of utterances in the bank, as an integer tensor beside the frames."""
        return torch.tensor([self.index[utt] for utt in utts], device=self.frames.device)

    def crops(self, positions: torch.Tensor, size: int, generator: torch.Generator,
              part: slice = slice(None)) -> torch.Tensor:
        """Gather crops that begin anywhere; an utterance shorter than the crop is repeated.

        Parameters
        ----------
        positions : torch.Tensor
            Of utterances, beside the frames, `[B]`.
        size : int
            Frames of a crop.
        generator : torch.Generator
            On the CPU, so that a seed means the same crops wherever the frames lie.
        part : slice, optional
            Of `positions`, to gather; the random numbers are drawn for all.

        Returns
        -------
        torch.Tensor
            float32 `[B, size, dimension]` on the device, of a part with its length for B.
        """
        # Draw where each crop begins, as a fraction of where it may.
        fractions = send(torch.rand(len(positions), generator=generator)[part], positions.device)
        positions = positions[part]
        lengths = self.lengths[positions]
        starts = (fractions * ((lengths - size).clamp(min=0) + 1)).long()
        # Gather its frames, around the end of a shorter utterance.
        steps = torch.arange(size, device=lengths.device)
        frames = (starts[:, None] + steps) % lengths[:, None]
        return self._gather(self.offsets[positions][:, None] + frames)

    def padded(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gather whole utterances.

        Parameters
        ----------
        positions : torch.Tensor
            Of utterances, beside the frames, `[B]`.

        Returns
        -------
        features : torch.Tensor
            float32 `[B, T, dimension]` on the device, with zeros after each end; T is that of the longest, on a GPU
            rounded up to a multiple of 8, for convolutions over blocks of frames.
        lengths : torch.Tensor
            `[B]` on the device.
        """
        lengths = self.lengths[positions]
        multiple = 8 if self.device.type == "cuda" else 1
        steps = torch.arange(math.ceil(int(lengths.max()) / multiple) * multiple, device=lengths.device)
        # After its end an utterance repeats its last frame, which zeros then replace.
        frames = torch.minimum(steps, lengths[:, None] - 1)
        features = self._gather(self.offsets[positions][:, None] + frames)
        lengths = lengths.to(self.device)
        is_frame = steps.to(self.device) < lengths[:, None]
        return torch.where(is_frame[:, :, None], features, 0.0), lengths

    def frames_of(self, positions: torch.Tensor) -> torch.Tensor:
        """All frames of some utterances, float32 `[sum of their lengths, dimension]` on the device."""
        lengths = self.lengths[positions]
        shifts = self.offsets[positions] - packed_offsets(lengths)
        steps = torch.arange(int(lengths.sum()), device=lengths.device)
        return self._gather(steps + torch.repeat_interleave(shifts, lengths))

    def _gather(self, rows: torch.Tensor) -> torch.Tensor:
        features = self.frames[rows]
        return (features if self.is_resident else send(features, self.device)).float()

    def fingerprint(self) -> str:
        """sha256 over ids, lengths, type and checksums; two banks with the same one train the same model."""
        parts = self.utts, self.lengths.tolist(), self._checksums, self.dimension, str(self.frames.dtype)
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def packed_offsets(lengths: torch.Tensor) -> torch.Tensor:
    """Where utterances of these lengths begin when they follow one another."""
    return torch.cumsum(lengths, 0) - lengths


def packed(frames: torch.Tensor, lengths: torch.Tensor, offsets: torch.Tensor,
           device: str | torch.device) -> torch.Tensor:
    """Copy utterances out of a flat tensor to a device, one after another, 1000 at a time to bound memory."""
    target = torch.empty((int(lengths.sum()), frames.shape[1]), dtype=frames.dtype, device=device)
    end = 0
    for part in torch.stack([offsets, offsets + lengths], dim=1).split(1000):
        rows = torch.cat([frames[start:stop] for start, stop in part.tolist()])
        target[end : end + len(rows)] = rows.to(device)
        end += len(rows)
    return target


def load_bank(data_dir: str | Path, utts: Iterable[str], feature_norm: str = "none", device: str | torch.device = "cpu",
              dtype: DTypeLike = np.float32) -> FeatureBank:
    """Open utterances of a data directory, without their unvoiced frames.

    They come from a copy in DATA/bank, which is made when it is missing or older than the archives
    (ser.data.bank_cache).

    Parameters
    ----------
    data_dir : str or Path
        With feats.scp and vad.scp.
    utts : list of str
    feature_norm : str
        Normalization of each utterance's voiced frames, a name of ser.data.normalization.PER_UTTERANCE.
    device : str or torch.device
    dtype : numpy.dtype or type
        In which the features are kept; float16 halves the memory.

    Returns
    -------
    FeatureBank
        On the CPU its frames are a read-only map of a file, whose pages come when they are needed.

    Raises
    ------
    UserError
        An utterance has no features or VAD, an archive is cut or damaged, VAD and features differ
        in length, dimensions differ, or a feature is not finite.

    Notes
    -----
    An utterance without a voiced frame keeps all its frames; such utterances are counted and named.
    """
    utts = list(utts)
    features = VoicedFeatures(data_dir, feature_norm, dtype)
    features.require(utts)
    if not utts:
        raise UserError(f"{data_dir}: no utterance to read")
    flat = open_cache(features, utts) or _read(features, utts)
    unvoiced = [utt for utt in utts if utt in flat.unvoiced]
    if unvoiced:
        log(f"{data_dir}: {len(unvoiced)} of {len(utts)} utterances have no voiced frame and keep all their frames: "
            + " ".join(unvoiced[:10]) + (" …" if len(unvoiced) > 10 else ""))
    return FeatureBank(utts, flat.lengths, flat.frames, device, flat.offsets, flat.checksums)


def _read(features: VoicedFeatures, utts: Sequence[str]) -> FlatFrames:
    """Read utterances from the archives into memory; raises UserError."""
    memory = io.BytesIO()
    writer = FlatWriter(features, memory)
    for utt in utts:
        writer.add(utt)
    return FlatFrames.from_index(writer.index, np.frombuffer(memory.getbuffer(), features.dtype))

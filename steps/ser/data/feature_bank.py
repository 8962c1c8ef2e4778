"""All features of a part of a data directory in one flat tensor, from which batches are gathered.

There are no worker processes and no per-utterance tensors: a batch is one index operation on the
tensor, which lies on the device when it fits.
"""

import hashlib
import io
import warnings
import zlib

import numpy as np
import torch

from ser.base.device import send
from ser.base.errors import UserError
from ser.base.log import log
from ser.data.bank_cache import open_cache
from ser.data.voiced_features import FlatWriter, VoicedFeatures, flat_frames

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
        Where in `frames` each utterance begins; by default one comes behind the other.
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

    def __init__(self, utts, lengths, frames, device="cpu", offsets=None, checksums=None):
        self.utts, self.device = list(utts), torch.device(device)
        self.index = {utt: number for number, utt in enumerate(self.utts)}
        lengths = torch.as_tensor(lengths)
        offsets = _one_behind_the_other(lengths) if offsets is None else torch.as_tensor(offsets)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes
            self.frames = torch.from_numpy(frames)
        if checksums is None:
            checksums = [zlib.crc32(frames[start : start + length])
                         for start, length in zip(offsets.tolist(), lengths.tolist(), strict=True)]
        self._checksums = [int(checksum) for checksum in checksums]
        if self.device.type != "cpu" and _fits(int(lengths.sum()) * frames[0].nbytes, self.device):
            self.frames = packed(self.frames, lengths, offsets, self.device)
            offsets = _one_behind_the_other(lengths)
        self.lengths, self.offsets = lengths.to(self.frames.device), offsets.to(self.frames.device)

    @property
    def dimension(self):
        return self.frames.shape[1]

    @property
    def is_resident(self):
        """Whether the frames lie on the device."""
        return self.frames.device.type == self.device.type

    def indices(self, utts):
        """Positions of utterances in the bank, as an integer tensor beside the frames."""
        return torch.tensor([self.index[utt] for utt in utts], device=self.frames.device)

    def crops(self, which, size, generator, part=slice(None)):
        """Gather crops at random places; an utterance shorter than the crop is repeated.

        Parameters
        ----------
        which : torch.Tensor
            Positions of utterances beside the frames, `[B]`.
        size : int
            Frames of a crop.
        generator : torch.Generator
            On the CPU, so that a seed means the same crops wherever the frames lie.
        part : slice, optional
            Of `which`, to gather; the places are drawn for all.

        Returns
        -------
        torch.Tensor
            float32 `[B, size, dimension]` on the device, of a part with its length for B.
        """
        places = send(torch.rand(len(which), generator=generator)[part], which.device)
        which = which[part]
        lengths = self.lengths[which]
        starts = (places * ((lengths - size).clamp(min=0) + 1)).long()
        steps = torch.arange(size, device=lengths.device)
        within = (starts[:, None] + steps) % lengths[:, None]
        return self._gather(self.offsets[which][:, None] + within)

    def padded(self, which):
        """Gather whole utterances.

        Parameters
        ----------
        which : torch.Tensor
            Positions of utterances beside the frames, `[B]`.

        Returns
        -------
        features : torch.Tensor
            float32 `[B, T, dimension]` on the device, with zeros behind each end; T is that of the longest, on a GPU
            rounded up to a multiple of 8, for convolutions over blocks of frames.
        lengths : torch.Tensor
            `[B]` on the device.
        """
        lengths = self.lengths[which]
        multiple = 8 if self.device.type == "cuda" else 1
        steps = torch.arange(-(-int(lengths.max()) // multiple) * multiple, device=lengths.device)
        within = torch.minimum(steps, lengths[:, None] - 1)
        features, lengths = self._gather(self.offsets[which][:, None] + within), lengths.to(self.device)
        return torch.where((steps.to(self.device) < lengths[:, None])[:, :, None], features, 0.0), lengths

    def frames_of(self, which):
        """All frames of some utterances, float32 `[sum of their lengths, dimension]` on the device."""
        lengths = self.lengths[which]
        steps = torch.arange(int(lengths.sum()), device=lengths.device)
        return self._gather(
            steps + torch.repeat_interleave(self.offsets[which] - _one_behind_the_other(lengths), lengths))

    def _gather(self, places):
        features = self.frames[places]
        return (features if self.is_resident else send(features, self.device)).float()

    def fingerprint(self):
        """sha256 over ids, lengths, type and checksums; two banks with the same one train the same model."""
        parts = self.utts, self.lengths.tolist(), self._checksums, self.dimension, str(self.frames.dtype)
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def _one_behind_the_other(lengths):
    """Where utterances of these lengths begin when nothing lies between."""
    return torch.cumsum(lengths, 0) - lengths


def _fits(size, device):
    return size <= _SHARE_OF_FREE_MEMORY * torch.cuda.mem_get_info(device)[0]


def packed(frames, lengths, offsets, device):
    """Copy utterances out of a flat tensor, one behind the other, to a device; 1000 at a time pass through memory."""
    target = torch.empty((int(lengths.sum()), frames.shape[1]), dtype=frames.dtype, device=device)
    end = 0
    for part in torch.stack([offsets, offsets + lengths], dim=1).split(1000):
        rows = torch.cat([frames[start:stop] for start, stop in part.tolist()])
        target[end : end + len(rows)] = rows.to(device)
        end += len(rows)
    return target


def load_bank(data_dir, utts, feature_norm="none", device="cpu", dtype=np.float32):
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
    utts, features = list(utts), VoicedFeatures(data_dir, feature_norm, dtype)
    features.require(utts)
    if not utts:
        raise UserError(f"{data_dir}: no utterance to read")
    flat = open_cache(features, utts) or _read(features, utts)
    unvoiced = [utt for utt in utts if utt in flat.unvoiced]
    if unvoiced:
        log(f"{data_dir}: {len(unvoiced)} of {len(utts)} utterances have no voiced frame and keep all their frames: "
            + " ".join(unvoiced[:10]) + (" …" if len(unvoiced) > 10 else ""))
    return FeatureBank(utts, flat.lengths, flat.frames, device, flat.offsets, flat.checksums)


def _read(features, utts):
    """Read utterances from the archives into memory, as FlatFrames; raises UserError."""
    memory = io.BytesIO()
    writer = FlatWriter(features, memory)
    for utt in utts:
        writer.add(utt)
    return flat_frames(writer.index, np.frombuffer(memory.getbuffer(), features.dtype))

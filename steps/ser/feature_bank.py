"""All features of a part of a data directory in one flat tensor, from which batches are gathered.

There are no worker processes and no per-utterance tensors: a batch is one index operation on the
device that holds the bank.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch

from ser.archives import read_matrices, read_vectors
from ser.data_dir import read_table
from ser.errors import UserError
from ser.log import log


class FeatureBank:
    """Features of several utterances, one behind the other.

    Parameters
    ----------
    utts : list of str
    lengths : list of int
        Frames of each utterance, at least one.
    frames : numpy.ndarray
        float32 `[sum of lengths, dimension]`.
    device : str or torch.device
    """

    def __init__(self, utts, lengths, frames, device="cpu"):
        self.utts = list(utts)
        self.index = {utt: number for number, utt in enumerate(self.utts)}
        self.lengths = torch.tensor(lengths, device=device)
        self.offsets = torch.cumsum(self.lengths, 0) - self.lengths
        self.frames = torch.from_numpy(frames).to(device)

    @property
    def dimension(self):
        return self.frames.shape[1]

    def indices(self, utts):
        """Positions of utterances in the bank, as an integer tensor on its device."""
        return torch.tensor([self.index[utt] for utt in utts], device=self.frames.device)

    def crops(self, which, size, generator, part=slice(None)):
        """Gather crops at random places; an utterance shorter than the crop is repeated.

        Parameters
        ----------
        which : torch.Tensor
            Positions of utterances, `[B]`.
        size : int
            Frames of a crop.
        generator : torch.Generator
            On the CPU, so that a seed means the same crops on every device.
        part : slice, optional
            Of `which`, to gather; the places are drawn for all.

        Returns
        -------
        torch.Tensor
            `[B, size, dimension]`, of a part with its length for B.
        """
        places = torch.rand(len(which), generator=generator)[part].to(which.device)
        which = which[part]
        lengths = self.lengths[which]
        starts = (places * ((lengths - size).clamp(min=0) + 1)).long()
        steps = torch.arange(size, device=lengths.device)
        within = (starts[:, None] + steps) % lengths[:, None]
        return self.frames[self.offsets[which][:, None] + within]

    def padded(self, which):
        """Gather whole utterances: `[B, longest, dimension]` with zeros behind each end, and lengths `[B]`."""
        lengths = self.lengths[which]
        steps = torch.arange(int(lengths.max()), device=lengths.device)
        inside = steps < lengths[:, None]
        places = torch.where(inside, self.offsets[which][:, None] + steps, 0)
        return self.frames[places] * inside[:, :, None], lengths

    def frames_of(self, which):
        """All frames of some utterances, `[sum of their lengths, dimension]`."""
        lengths = self.lengths[which]
        first = torch.cumsum(lengths, 0) - lengths
        steps = torch.arange(int(lengths.sum()), device=lengths.device)
        return self.frames[steps + torch.repeat_interleave(self.offsets[which] - first, lengths)]

    def fingerprint(self):
        """sha256 over ids, lengths and features; two banks with the same one train the same model."""
        digest = hashlib.sha256("\n".join(self.utts).encode())
        digest.update(self.lengths.cpu().numpy().tobytes())
        digest.update(self.frames.cpu().numpy().tobytes())
        return digest.hexdigest()


def load_bank(data_dir, utts, normalize=None, device="cpu"):
    """Read utterances of a data directory and drop their unvoiced frames.

    Parameters
    ----------
    data_dir : str or Path
        With feats.scp and vad.scp.
    utts : list of str
    normalize : callable, optional
        Applied to each utterance's voiced frames, `[frames, dimension]` to the same shape.
    device : str or torch.device

    Returns
    -------
    FeatureBank

    Raises
    ------
    UserError
        An utterance has no features or VAD, an archive is cut or damaged, VAD and features differ
        in length, dimensions differ, or a feature is not finite.

    Notes
    -----
    An utterance without a voiced frame keeps all its frames; such utterances are counted and named.
    """
    data_dir = Path(data_dir)
    feats, vad = read_table(data_dir / "feats.scp"), read_table(data_dir / "vad.scp")
    for path, table in ((data_dir / "feats.scp", feats), (data_dir / "vad.scp", vad)):
        missing = [utt for utt in utts if utt not in table]
        if missing:
            raise UserError(f"{path}: has no entry for {missing[0]} ({len(missing)} missing); "
                            "run steps/make_fbank.sh, steps/compute_vad.sh and steps/fix_data_dir.py")
    voiced = {utt: decisions > 0 for utt, decisions in read_vectors({utt: vad[utt] for utt in utts})}
    unvoiced = [utt for utt in utts if not voiced[utt].any()]
    for utt in unvoiced:
        voiced[utt][:] = True
    if unvoiced:
        log(f"{data_dir}: {len(unvoiced)} of {len(utts)} utterances have no voiced frame and keep all their frames: "
            + " ".join(unvoiced[:10]) + (" …" if len(unvoiced) > 10 else ""))
    lengths = [int(voiced[utt].sum()) for utt in utts]
    frames, end = None, 0
    for utt, matrix in read_matrices({utt: feats[utt] for utt in utts}):
        if len(voiced[utt]) != len(matrix):
            raise UserError(f"{data_dir}/vad.scp: {utt} has {len(voiced[utt])} decisions for {len(matrix)} frames; "
                            "run steps/compute_vad.sh again")
        if frames is None:  # allocated once: a large corpus has no room for a second copy
            frames = np.empty((sum(lengths), matrix.shape[1]), np.float32)
        if matrix.shape[1] != frames.shape[1]:
            raise UserError(f"{data_dir}/feats.scp: {utt} has dimension {matrix.shape[1]}, "
                            f"the others {frames.shape[1]}")
        matrix = matrix[voiced[utt]]
        frames[end : end + len(matrix)] = normalize(matrix) if normalize else matrix
        end += len(matrix)
    if frames is None:
        raise UserError(f"{data_dir}: no utterance to read")
    return FeatureBank(utts, lengths, frames, device)

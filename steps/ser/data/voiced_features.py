"""What a network sees of an utterance: its voiced frames, normalized. Many of them lie in one flat array."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser.base.errors import UserError
from ser.data.archives import read_matrix, read_vector
from ser.data.data_dir import read_table
from ser.data.normalization import PER_UTTERANCE


def voiced_and_normalized(matrix, voiced, feature_norm, dtype=np.float32):
    """Pick and normalize what a network sees of an utterance.

    Parameters
    ----------
    matrix : numpy.ndarray
        Features `[frames, dimension]`.
    voiced : numpy.ndarray
        bool `[frames]`.
    feature_norm : str
        A name of ser.data.normalization.PER_UTTERANCE.
    dtype : numpy.dtype or type

    Returns
    -------
    numpy.ndarray
        `[voiced frames, dimension]`; all frames of an utterance without a voiced one.
    """
    normalize = PER_UTTERANCE[feature_norm]
    matrix = matrix[voiced] if voiced.any() else matrix
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(normalize(matrix) if normalize else matrix, dtype)


class VoicedFeatures:
    """The voiced and normalized frames of a data directory's utterances, read from its archives one by one.

    Parameters
    ----------
    data_dir : str or Path
        With feats.scp and vad.scp.
    feature_norm : str
        A name of ser.data.normalization.PER_UTTERANCE.
    dtype : numpy.dtype or type

    Attributes
    ----------
    feats, vad : dict of str to str
        The two tables.

    Raises
    ------
    UserError
        A table is missing or damaged.
    """

    def __init__(self, data_dir, feature_norm, dtype):
        self.data_dir, self.feature_norm, self.dtype = Path(data_dir), feature_norm, np.dtype(dtype)
        self.feats, self.vad = read_table(self.data_dir / "feats.scp"), read_table(self.data_dir / "vad.scp")

    def require(self, utts):
        """Raise UserError unless all the utterances have an entry in both tables."""
        for name, table in (("feats.scp", self.feats), ("vad.scp", self.vad)):
            missing = [utt for utt in utts if utt not in table]
            if missing:
                raise UserError(f"{self.data_dir}/{name}: has no entry for {missing[0]} ({len(missing)} missing); "
                                "run steps/make_fbank.sh, steps/compute_vad.sh and steps/fix_data_dir.py")

    def __getitem__(self, utt):
        """Read an utterance.

        Returns
        -------
        frames : numpy.ndarray
            `[voiced frames, dimension]`; all frames of an utterance without a voiced one.
        is_voiced : bool
            Whether it has a voiced frame.

        Raises
        ------
        UserError
            An archive is cut or damaged, VAD and features differ in length, or a value is not finite.
        """
        matrix, voiced = read_matrix(utt, self.feats[utt]), read_vector(utt, self.vad[utt]) > 0
        if len(voiced) != len(matrix):
            raise UserError(f"{self.data_dir}/vad.scp: {utt} has {len(voiced)} decisions for {len(matrix)} frames; "
                            "run steps/compute_vad.sh again")
        frames = voiced_and_normalized(matrix, voiced, self.feature_norm, self.dtype)
        if not np.isfinite(frames).all():
            raise UserError(f"{self.feats[utt]}: holds a value that is too large for {self.dtype} (utterance {utt}); "
                            "scale the features down")
        return frames, bool(voiced.any())


@dataclass(frozen=True)
class FlatFrames:
    """Utterances whose frames lie in one array.

    Attributes
    ----------
    utts : list of str
    lengths, offsets, checksums : numpy.ndarray
        Of each utterance: its frames, where they begin in `frames`, and their zlib.crc32; int64 `[utterances]`.
    unvoiced : frozenset of str
        Those of `utts` that have no voiced frame.
    frames : numpy.ndarray
        `[rows, dimension]`, of these utterances and perhaps of others.
    """

    utts: list
    lengths: np.ndarray
    offsets: np.ndarray
    checksums: np.ndarray
    unvoiced: frozenset
    frames: np.ndarray

    def of(self, utts):
        """Some of these utterances, in another order, in the same array."""
        positions = {utt: number for number, utt in enumerate(self.utts)}
        which = np.array([positions[utt] for utt in utts])
        return FlatFrames(list(utts), self.lengths[which], self.offsets[which], self.checksums[which],
                          self.unvoiced & set(utts), self.frames)

    def is_intact(self, number):
        """Whether the frames of the utterance at a position have their checksum."""
        start = self.offsets[number]
        return zlib.crc32(self.frames[start : start + self.lengths[number]]) == self.checksums[number]


class FlatWriter:
    """Write utterances one behind the other.

    Parameters
    ----------
    features : VoicedFeatures
    file : io.BufferedIOBase
        Takes the frames, without a header.

    Attributes
    ----------
    index : dict
        Of what has been written: `dimension`, and the lists `utts`, `lengths`, `checksums` and `unvoiced`.
    """

    def __init__(self, features, file):
        self.features, self.file = features, file
        self.index = {"dimension": 0, "utts": [], "lengths": [], "checksums": [], "unvoiced": []}

    def add(self, utt):
        """Append an utterance; when there is a fault in it, raise UserError and write nothing."""
        frames, is_voiced = self.features[utt]
        index = self.index
        dimension = index["dimension"] or frames.shape[1]
        if frames.shape[1] != dimension:
            raise UserError(f"{self.features.data_dir}/feats.scp: {utt} has dimension {frames.shape[1]}, "
                            f"the others {dimension}")
        self.file.write(frames.data)
        index["dimension"] = dimension
        index["utts"].append(utt)
        index["lengths"].append(len(frames))
        index["checksums"].append(zlib.crc32(frames))
        if not is_voiced:
            index["unvoiced"].append(utt)


def flat_frames(index, frames):
    """What a FlatWriter with this index has written, given as an array, as FlatFrames."""
    lengths = np.array(index["lengths"], np.int64)
    return FlatFrames(index["utts"], lengths, np.cumsum(lengths) - lengths, np.array(index["checksums"], np.int64),
                      frozenset(index["unvoiced"]), frames.reshape(-1, index["dimension"]))

"""Many utterances in one array: their frames one after another, and an index of which are whose."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from ser.base.errors import UserError
from ser.data.voiced_features import VoicedFeatures


@dataclass
class Index:
    """What a FlatWriter has written.

    Attributes
    ----------
    dimension : int
    utts : list of str
    lengths, checksums : list of int
        Of each utterance: its frames, and their zlib.crc32.
    contents : list of int
        The zlib.crc32 of its frames before their normalization, which is the same whatever normalization and type are.
    unvoiced : list of str
        Those that have no voiced frame.
    """

    dimension: int = 0
    utts: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    checksums: list[int] = field(default_factory=list)
    contents: list[int] = field(default_factory=list)
    unvoiced: list[str] = field(default_factory=list)


class FlatWriter:
    """Write utterances one after another.

    Parameters
    ----------
    features : VoicedFeatures
    file : binary file
        Takes the frames, without a header.

    Attributes
    ----------
    index : Index
        Of what has been written.
    """

    def __init__(self, features: VoicedFeatures, file: BinaryIO):
        self.features = features
        self.file = file
        self.index = Index()

    def add(self, utt: str) -> None:
        """Append an utterance; when there is a fault in it, raise UserError and write nothing."""
        frames, is_voiced, content = self.features[utt]
        index = self.index
        dimension = index.dimension or frames.shape[1]
        if frames.shape[1] != dimension:
            raise UserError(f"{self.features.data_dir}/feats.scp: {utt} has dimension {frames.shape[1]}, "
                            f"the others {dimension}")
        self.file.write(frames.data)
        index.dimension = dimension
        index.utts.append(utt)
        index.lengths.append(len(frames))
        index.checksums.append(zlib.crc32(frames.data))
        index.contents.append(content)
        if not is_voiced:
            index.unvoiced.append(utt)


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

    utts: list[str]
    lengths: np.ndarray
    offsets: np.ndarray
    checksums: np.ndarray
    unvoiced: frozenset[str]
    frames: np.ndarray

    @classmethod
    def from_index(cls, index: Index, frames: np.ndarray) -> "FlatFrames":
        """All that a FlatWriter with this index has written; `frames` are its values as an array of any shape."""
        lengths = np.array(index.lengths, np.int64)
        return cls(utts=index.utts, lengths=lengths, offsets=np.cumsum(lengths) - lengths,
                   checksums=np.array(index.checksums, np.int64), unvoiced=frozenset(index.unvoiced),
                   frames=frames.reshape(-1, index.dimension))

    def select(self, utts: Sequence[str]) -> "FlatFrames":
        """Some of these utterances, in the order of `utts`, in the same array."""
        position_of = {utt: position for position, utt in enumerate(self.utts)}
        positions = np.array([position_of[utt] for utt in utts])
        return FlatFrames(utts=list(utts), lengths=self.lengths[positions], offsets=self.offsets[positions],
                          checksums=self.checksums[positions], unvoiced=self.unvoiced.intersection(utts),
                          frames=self.frames)

    def is_intact(self, position: int) -> bool:
        """Whether the frames of the utterance at a position have their checksum."""
        start = self.offsets[position]
        frames = self.frames[start : start + self.lengths[position]]
        return zlib.crc32(frames.data) == self.checksums[position]

"""What a network sees of an utterance: its voiced frames, normalized."""

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ser.base.errors import UserError
from ser.data.archives import read_matrix, read_vector
from ser.data.data_dir import read_table
from ser.data.normalization import PER_UTTERANCE


def voiced_and_normalized(matrix: np.ndarray, voiced: np.ndarray, feature_norm: str,
                          dtype: DTypeLike = np.float32) -> np.ndarray:
    """Pick the voiced frames of `matrix` `[frames, dimension]`, all when none is, and normalize them.

    `voiced` is bool `[frames]`; `feature_norm` is a name of ser.data.normalization.PER_UTTERANCE.
    """
    return _normalized(_voiced(matrix, voiced), feature_norm, dtype)


def _voiced(matrix: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    return matrix[voiced] if voiced.any() else matrix


def _normalized(frames: np.ndarray, feature_norm: str, dtype: DTypeLike) -> np.ndarray:
    normalize = PER_UTTERANCE[feature_norm]
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(normalize(frames) if normalize else frames, dtype)


class Utterance(NamedTuple):
    """Features of an utterance.

    Attributes
    ----------
    frames : numpy.ndarray
        `[voiced frames, dimension]`, normalized; all frames of an utterance without a voiced one.
    is_voiced : bool
        Whether it has a voiced frame.
    content : int
        zlib.crc32 of these frames in float32 before their normalization.
    """

    frames: np.ndarray
    is_voiced: bool
    content: int


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

    def __init__(self, data_dir: str | Path, feature_norm: str, dtype: DTypeLike):
        self.data_dir = Path(data_dir)
        self.feature_norm = feature_norm
        self.dtype = np.dtype(dtype)
        self.feats = read_table(self.data_dir / "feats.scp")
        self.vad = read_table(self.data_dir / "vad.scp")

    def require(self, utts: Iterable[str]) -> None:
        """Raise UserError unless all the utterances have an entry in both tables."""
        for name, table in (("feats.scp", self.feats), ("vad.scp", self.vad)):
            missing = [utt for utt in utts if utt not in table]
            if missing:
                raise UserError(f"{self.data_dir}/{name}: has no entry for {missing[0]} ({len(missing)} missing); "
                                "run steps/make_fbank.sh, steps/compute_vad.sh and steps/fix_data_dir.py")

    def __getitem__(self, utt: str) -> Utterance:
        """Read an utterance.

        Raises
        ------
        UserError
            An archive is cut or damaged, VAD and features differ in length, or a value is not finite.
        """
        matrix = read_matrix(utt, self.feats[utt])
        voiced = read_vector(utt, self.vad[utt]) > 0
        if len(voiced) != len(matrix):
            raise UserError(f"{self.data_dir}/vad.scp: {utt} has {len(voiced)} decisions for {len(matrix)} frames; "
                            "run steps/compute_vad.sh again")
        selected = np.ascontiguousarray(_voiced(matrix, voiced))
        frames = _normalized(selected, self.feature_norm, self.dtype)
        if not np.isfinite(frames).all():
            raise UserError(f"{self.feats[utt]}: holds a value that is too large for {self.dtype} (utterance {utt}); "
                            "scale the features down")
        return Utterance(frames, bool(voiced.any()), zlib.crc32(selected.data))

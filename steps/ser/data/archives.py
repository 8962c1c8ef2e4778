"""Kaldi archives through kaldiio, with one clear line for each way in which they can be broken."""

from collections.abc import Iterable
from pathlib import Path

import kaldiio
import numpy as np
from kaldiio.matio import read_matrix_or_vector

from ser.base.errors import UserError
from ser.base.files import atomic_path


def write_archive(prefix: str | Path, items: Iterable[tuple[str, np.ndarray]]) -> None:
    """Write `prefix.ark` and `prefix.scp`, both aside first; the scp holds absolute paths.

    Parameters
    ----------
    prefix : str or Path
        Path without the extension.
    items : iterable of (str, numpy.ndarray)
        Utterance and its float32 matrix or vector.
    """
    prefix = Path(prefix).absolute()
    ark = Path(f"{prefix}.ark")
    scp = Path(f"{prefix}.scp")
    with atomic_path(scp) as scp_aside, atomic_path(ark) as ark_aside:
        with open(ark_aside, "wb") as archive, open(scp_aside, "w", encoding="utf-8", newline="\n") as table:
            for utt, array in items:
                offset = archive.tell() + len(f"{utt} ".encode())
                table.write(f"{utt} {ark}:{offset}\n")
                kaldiio.save_ark(archive, {utt: np.ascontiguousarray(array, dtype=np.float32)})


def _load(place: str) -> np.ndarray:
    """Read the binary matrix or vector at `archive:offset`; raises ValueError, AssertionError and the like."""
    path, _, offset = place.rpartition(":")
    with open(path, "rb") as archive:
        archive.seek(int(offset))
        array, size = read_matrix_or_vector(archive, return_size=True)
        if array.ndim == 1 and archive.tell() != int(offset) + size:  # kaldiio returns as much of it as there is
            raise EOFError
    return array


def _read(utt: str, place: str, dimensions: int) -> np.ndarray:
    try:
        array = _load(place)
    except FileNotFoundError:
        raise UserError(f"{place}: no such archive (utterance {utt}); extract the features again") from None
    except Exception as error:  # kaldiio raises whatever the damage makes it stumble over
        raise UserError(f"{place}: cannot be read, the archive is cut short or damaged (utterance {utt}: "
                        f"{type(error).__name__}); extract the features again") from None
    if array.ndim != dimensions or not array.size:
        kind = "matrix" if dimensions == 2 else "vector"
        raise UserError(f"{place}: holds no {kind} (utterance {utt}); extract the features again")
    if not np.isfinite(array).all():
        raise UserError(f"{place}: holds a value that is not finite (utterance {utt}); extract the features again")
    return array.astype(np.float32, copy=False)


def read_matrix(utt: str, place: str) -> np.ndarray:
    """Read the float32 matrix `[rows, columns]` of an utterance at a place of feats.scp; raises UserError."""
    return _read(utt, place, 2)


def read_vector(utt: str, place: str) -> np.ndarray:
    """Read the float32 vector `[size]` of an utterance at a place of vad.scp; raises UserError."""
    return _read(utt, place, 1)

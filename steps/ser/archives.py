"""Kaldi archives through kaldiio, with one clear line for each way in which they can be broken."""

from pathlib import Path

import kaldiio
import numpy as np

from ser.errors import UserError
from ser.files import atomic_path


def write_archive(prefix, items):
    """Write `prefix.ark` and `prefix.scp`, both aside first; the scp holds absolute paths.

    Parameters
    ----------
    prefix : str or Path
        Path without the extension.
    items : iterable of (str, numpy.ndarray)
        Utterance and its float32 matrix or vector.
    """
    prefix = Path(prefix).absolute()
    ark, scp = Path(f"{prefix}.ark"), Path(f"{prefix}.scp")
    with atomic_path(scp) as scp_aside, atomic_path(ark) as ark_aside:
        with kaldiio.WriteHelper(f"ark,scp:{ark_aside},{scp_aside}") as writer:
            for utt, array in items:
                writer(utt, np.ascontiguousarray(array, dtype=np.float32))
        lines = scp_aside.read_text(encoding="utf-8").replace(f" {ark_aside}:", f" {ark}:")
        scp_aside.write_text(lines, encoding="utf-8")


def _read(table, dimensions):
    for utt, place in table.items():
        try:
            array = kaldiio.load_mat(place)
        except FileNotFoundError:
            raise UserError(f"{place}: no such archive (utterance {utt}); extract the features again") from None
        except Exception as error:  # kaldiio raises whatever the damage makes it stumble over
            raise UserError(f"{place}: cannot be read, the archive is cut short or damaged (utterance {utt}: "
                            f"{type(error).__name__}); extract the features again") from None
        if not isinstance(array, np.ndarray) or array.ndim != dimensions or not array.size:
            kind = "matrix" if dimensions == 2 else "vector"
            raise UserError(f"{place}: holds no {kind} (utterance {utt}); extract the features again")
        if not np.isfinite(array).all():
            raise UserError(f"{place}: holds a value that is not finite (utterance {utt}); extract the features again")
        yield utt, array.astype(np.float32, copy=False)


def read_matrices(table):
    """Yield `(utt, float32 [rows, columns])` for a feats.scp table, in its order; raises UserError."""
    return _read(table, 2)


def read_vectors(table):
    """Yield `(utt, float32 [size])` for a vad.scp table, in its order; raises UserError."""
    return _read(table, 1)

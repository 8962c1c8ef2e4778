"""A copy of a data directory's voiced features on disk, so that they are read from its archives only once.

    DATA/bank/.lock                     held by the one process that makes a copy
    DATA/bank/utterance-mean.float32/   one copy for each normalization and type
        frames                          of one utterance behind the other, without a header
        index                           what it was made from, a checksum of the rest, and the utterances

A copy holds every utterance of feats.scp and vad.scp that has no fault. It is mapped and not read: only the frames
of the utterances that are asked for are looked at, and compared with their checksums.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ser.base.errors import UserError
from ser.base.log import log, progress
from ser.data.voiced_features import FlatWriter, flat_frames

_FORMAT = 1  # of the two files, and of what a normalization of that name does


def open_cache(features, utts):
    """Map the copy that holds some utterances; make it first when there is none of what the archives hold now.

    Parameters
    ----------
    features : VoicedFeatures
    utts : list of str
        At least one.

    Returns
    -------
    FlatFrames or None
        Of `utts`, read-only. None when the copy lacks one, because there is a fault in it, or when there can be no
        copy, for example in a directory that cannot be written to; a line in the log says why.
    """
    folder = features.data_dir / "bank" / f"{features.feature_norm}.{features.dtype}"
    source = _source(features)
    try:
        flat = _open(folder, source) or _make_once(folder, source, features, [])
        if flat and not _is_intact(folder, flat, utts):
            flat = _make_once(folder, source, features, utts)
    except OSError as error:
        log(f"{folder}: cannot be made ({error.strerror}), so the archives are read each time")
        return None
    lacking = set(utts).difference(flat.utts) if flat else None
    if lacking:
        log(f"{folder}: lacks {min(lacking)} ({len(lacking)} missing), so the archives are read")
    return None if flat is None or lacking else flat.of(utts)


def _source(features):
    """sha256 of the two tables, and of size and modification time of them and of all archives that they name.

    The paths of the tables do not count: a directory may be reached by several names.
    """
    digest = hashlib.sha256(str(_FORMAT).encode())
    for name, table in (("feats.scp", features.feats), ("vad.scp", features.vad)):
        archives = sorted({place.rpartition(":")[0] for place in table.values()})
        states = [_state(features.data_dir / name), *((archive, _state(archive)) for archive in archives)]
        digest.update("\n".join((json.dumps(states), *table, *table.values())).encode())
    return digest.hexdigest()


def _state(path):
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def _locked(folder):
    folder.mkdir(exist_ok=True)
    with open(folder / ".lock", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _stamp(folder, source, body):
    return hashlib.sha256(f"{folder.name} {source}\n".encode() + body).hexdigest()


def _read_index(folder):
    """What a copy was made from, its stamp, and the rest; three empty strings when there is no copy."""
    try:
        source, stamp, body = (folder / "index").read_bytes().split(b"\n", 2)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return "", "", b""
    return source.decode(errors="replace"), stamp.decode(errors="replace"), body


def _open(folder, source):
    """FlatFrames of all utterances of a copy; None when there is none of this source, or it is damaged."""
    made_from, stamp, body = _read_index(folder)
    if made_from != source:
        return None
    if stamp != _stamp(folder, source, body):
        log(f"{folder}/index: is damaged")
        return None
    index, dtype, frames = json.loads(body), np.dtype(folder.suffix[1:]), folder / "frames"
    size = sum(index["lengths"]) * index["dimension"] * dtype.itemsize
    if not frames.exists() or frames.stat().st_size != size:
        log(f"{frames}: is damaged, it should have {size} bytes")
        return None
    return flat_frames(index, np.asarray(np.memmap(frames, dtype, "r")))


def _is_intact(folder, flat, utts):
    """Whether all those of some utterances that a copy holds have their checksums."""
    wanted = set(utts)
    numbers = [number for number, utt in enumerate(flat.utts) if utt in wanted]
    shares = [numbers[start : start + 256] for start in range(0, len(numbers), 256)]
    with ThreadPoolExecutor() as threads:  # crc32 and the disk leave Python's lock alone
        damaged = [number for found in threads.map(
            lambda share: [number for number in share if not flat.is_intact(number)], shares) for number in found]
    if damaged:
        log(f"{folder}/frames: is damaged (utterance {flat.utts[damaged[0]]}, {len(damaged)} in all)")
    return not damaged


def _make_once(folder, source, features, utts):
    """Make a copy, or wait for the process that does; return _open() of it. One whose frames of `utts` are damaged
    is made anew."""
    with _locked(folder.parent):
        flat = _open(folder, source)
        if flat is None or not _is_intact(folder, flat, utts):
            _make(folder, source, features)
            flat = _open(folder, source)
    return flat


def _make(folder, source, features):
    """Write a copy aside and move it into place; nothing is written when every utterance has a fault.

    What a killed process has left, and copies of what the archives held before, are removed. The frames go through
    write() and not through a map, in which a full disk would kill the process.
    """
    aside = folder.with_name(f".{folder.name}")
    for other in folder.parent.iterdir():
        if other.is_dir() and (other in (aside, folder) or _read_index(other)[0] != source):
            shutil.rmtree(other)
    started, faults = time.monotonic(), []
    try:
        aside.mkdir()
        with open(aside / "frames", "wb") as file:
            writer = FlatWriter(features, file)
            for utt in progress([utt for utt in features.feats if utt in features.vad], unit="utt"):
                try:
                    writer.add(utt)
                except UserError as fault:
                    faults.append(fault)
        body = json.dumps(writer.index, ensure_ascii=False).encode()
        (aside / "index").write_bytes(f"{source}\n{_stamp(folder, source, body)}\n".encode() + body)
        if writer.index["utts"]:
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if writer.index["utts"]:
        log(f"{folder}: made of {len(writer.index['utts'])} utterances, {sum(writer.index['lengths'])} frames, "
            f"in {time.monotonic() - started:.0f} s"
            + (f"; left out for a fault: {len(faults)}, the first: {faults[0]}" if faults else ""))

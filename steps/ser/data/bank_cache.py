"""A copy of a data directory's voiced features on disk, so that they are read from its archives only once.

    DATA/bank/.lock                     held by the one process that makes a copy
    DATA/bank/utterance-mean.float32/   one copy for each normalization and type
        frames                          of one utterance after another, without a header
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
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ser.base.errors import UserError
from ser.base.log import counted, log, progress
from ser.data.flat_frames import FlatFrames, FlatWriter, Index
from ser.data.voiced_features import VoicedFeatures

_FORMAT = 2  # of the two files, and of what a normalization of that name does
_FILES = {"frames", "index"}


def open_cache(features: VoicedFeatures, utts: Sequence[str]) -> FlatFrames | None:
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
    folder = _folder(features)
    source = _source(features)
    try:
        copy = _open(folder, source) or _make_once(folder, source, features, [])
        if copy and not _is_intact(folder, copy, utts):
            copy = _make_once(folder, source, features, utts)
    except OSError as error:
        log(f"{folder}: cannot be made ({error.strerror}), so the archives are read each time")
        return None
    if copy is None:
        return None
    lacking = set(utts).difference(copy.utts)
    if lacking:
        log(f"{folder}: lacks {min(lacking)} ({len(lacking)} missing), so the archives are read")
        return None
    return copy.select(utts)


def content_checksums(features: VoicedFeatures) -> dict[str, int]:
    """Checksums of what the utterances of a data directory sound like, without the paths and times of its archives.

    They stand in the index of every copy; one is made of `features` when there is none of what the archives hold now.
    Where there can be no copy, the archives are read.

    Returns
    -------
    dict of str to int
        Utterance to the zlib.crc32 of its voiced frames before their normalization, of all that have no fault.
    """
    bank = features.data_dir / "bank"
    source = _source(features)
    try:
        index = next(filter(None, (_index(folder, source) for folder in _copies(bank))), None)
        if index is None and _make_once(_folder(features), source, features, []):
            index = _index(_folder(features), source)
    except OSError as error:
        log(f"{bank}: cannot be made ({error.strerror}), so the archives are read to tell whether the features are "
            "those of before")
        index = None
    if index is not None:
        return dict(zip(index.utts, index.contents, strict=True))
    checksums = {}
    for utt in progress([utt for utt in features.feats if utt in features.vad], unit="utt"):
        with contextlib.suppress(UserError):  # training says so when it needs the utterance
            checksums[utt] = features[utt].content
    return checksums


def _folder(features: VoicedFeatures) -> Path:
    return features.data_dir / "bank" / f"{features.feature_norm}.{features.dtype}"


def _copies(bank: Path) -> list[Path]:
    """The folders of copies, whole or not: those that hold nothing but what a copy has."""
    folders = [path for path in sorted(bank.glob("*")) if path.is_dir() and not path.is_symlink()]
    return [path for path in folders if {file.name for file in path.iterdir()} <= _FILES]


def _source(features: VoicedFeatures) -> str:
    """sha256 of the two tables, and of size and modification time of them and of all archives that they name.

    The paths of the tables do not count: a directory may be reached by several names.
    """
    digest = hashlib.sha256(str(_FORMAT).encode())
    for name, table in (("feats.scp", features.feats), ("vad.scp", features.vad)):
        archives = sorted({place.rpartition(":")[0] for place in table.values()})
        states = [_state(features.data_dir / name), *((archive, _state(archive)) for archive in archives)]
        digest.update("\n".join((json.dumps(states), *table, *table.values())).encode())
    return digest.hexdigest()


def _state(path: str | Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    with open(folder / ".lock", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _stamp(folder: Path, source: str, body: bytes) -> str:
    return hashlib.sha256(f"{folder.name} {source}\n".encode() + body).hexdigest()


def _read_index(folder: Path) -> tuple[str, str, bytes]:
    """What a copy was made from, its stamp, and the rest; three empty strings when there is no copy."""
    try:
        source, stamp, body = (folder / "index").read_bytes().split(b"\n", 2)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return "", "", b""
    return source.decode(errors="replace"), stamp.decode(errors="replace"), body


def _index(folder: Path, source: str) -> Index | None:
    """The index of a copy; None when there is none of this source, or it is damaged."""
    made_from, stamp, body = _read_index(folder)
    if made_from != source:
        return None
    if stamp != _stamp(folder, source, body):
        log(f"{folder}/index: is damaged")
        return None
    return Index(**json.loads(body))


def _open(folder: Path, source: str) -> FlatFrames | None:
    """All utterances of a copy; None when there is none of this source, or it is damaged."""
    index = _index(folder, source)
    if index is None:
        return None
    dtype = np.dtype(folder.suffix[1:])
    frames = folder / "frames"
    size = sum(index.lengths) * index.dimension * dtype.itemsize
    if not frames.exists() or frames.stat().st_size != size:
        log(f"{frames}: is damaged, it should have {size} bytes")
        return None
    return FlatFrames.from_index(index, np.asarray(np.memmap(frames, dtype, "r")))


def _is_intact(folder: Path, copy: FlatFrames, utts: Sequence[str]) -> bool:
    """Whether all those of some utterances that a copy holds have their checksums."""
    wanted = set(utts)
    positions = [position for position, utt in enumerate(copy.utts) if utt in wanted]
    shares = [positions[start : start + 256] for start in range(0, len(positions), 256)]

    def damaged_of(share: list[int]) -> list[str]:
        return [copy.utts[position] for position in share if not copy.is_intact(position)]

    with ThreadPoolExecutor() as threads:  # crc32 and the disk leave Python's lock alone
        damaged = [utt for utts in threads.map(damaged_of, shares) for utt in utts]
    if damaged:
        log(f"{folder}/frames: is damaged (utterance {damaged[0]}, {len(damaged)} in all)")
    return not damaged


def _make_once(folder: Path, source: str, features: VoicedFeatures, utts: Sequence[str]) -> FlatFrames | None:
    """Make a copy, or wait for the process that does; return _open() of it.

    One whose frames of `utts` are damaged is made again.
    """
    with _locked(folder.parent):
        copy = _open(folder, source)
        if copy is None or not _is_intact(folder, copy, utts):
            _make(folder, source, features)
            copy = _open(folder, source)
    return copy


def _make(folder: Path, source: str, features: VoicedFeatures) -> None:
    """Write a copy aside and move it into place; nothing is written when every utterance has a fault.

    The frames go through write() and not through a map, in which a full disk would kill the process.
    """
    started = time.monotonic()
    aside = folder.with_name(f".{folder.name}")
    # Remove what a killed process has left, and copies of what the archives held before.
    for other in _copies(folder.parent):
        if other in (aside, folder) or _read_index(other)[0] != source:
            shutil.rmtree(other)
    try:
        aside.mkdir()
        # Write the frames of every utterance that has no fault, and what they are.
        with open(aside / "frames", "wb") as file:
            writer = FlatWriter(features, file)
            faults = _add_all(writer, [utt for utt in features.feats if utt in features.vad])
        index = writer.index
        body = json.dumps(vars(index), ensure_ascii=False).encode()
        (aside / "index").write_bytes(f"{source}\n{_stamp(folder, source, body)}\n".encode() + body)
        if index.utts:
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if index.utts:
        left_out = f"; left out for a fault: {len(faults)}, the first: {faults[0]}" if faults else ""
        log(f"{folder}: made of {counted(len(index.utts), 'utterance')}, {sum(index.lengths)} frames, "
            f"in {time.monotonic() - started:.0f} s{left_out}")


def _add_all(writer: FlatWriter, utts: Sequence[str]) -> list[UserError]:
    """Write the utterances that have no fault; return the faults of the others."""
    faults = []
    for utt in progress(utts, unit="utt"):
        try:
            writer.add(utt)
        except UserError as fault:
            faults.append(fault)
    return faults

"""What a training learns from, by content: neither the path of a data directory nor the time of a file counts."""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ser.base.conf import without_comments
from ser.data.bank_cache import content_checksums
from ser.data.data_dir import read_list
from ser.data.feature_conf import OTHER_FEATURES
from ser.data.voiced_features import VoicedFeatures

_CONFIGURATION = ("conf/fbank.conf", "conf/vad.conf")
_OF_OTHER_FEATURES = tuple(f"conf/{name}" for name in OTHER_FEATURES)


def digest(*parts: Any) -> str:
    """sha256 of JSON-able parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class DataStamp:
    """Checksums of a data directory and of some lists of it; what is not there has an empty one.

    Attributes
    ----------
    utterances : int
        That have features and VAD.
    features : str
        Of the voiced frames of each of them.
    labels, speakers, dataset_name : str
        Of utt2emo, utt2spk and dataset.
    configuration : str
        Of conf/fbank.conf and conf/vad.conf without their comments, and of what stands for the first of them where
        there are other features.
    lists : str
        Of the lists of utterances, and of the protocol that made them.
    """

    utterances: int
    features: str
    labels: str
    speakers: str
    dataset_name: str
    configuration: str
    lists: str

    @property
    def of_data(self) -> str:
        """One checksum of all but the lists: the same for all folds."""
        return digest({**asdict(self), "lists": None})

    def changes_since(self, before: Mapping[str, Any]) -> list[str]:
        """What is other than in an earlier stamp, as words for a message."""
        words = {"features": f"features ({before.get('utterances')} utterances, now {self.utterances})",
                 "labels": "labels (utt2emo)", "speakers": "speakers (utt2spk)", "dataset_name": "name of the data set",
                 "configuration": "configuration of the features (in its folder conf)",
                 "lists": "lists of utterances"}
        now = asdict(self)
        return [text for part, text in words.items() if before.get(part) != now[part]]


def stamp_data(data_dir: str | Path, lists: str, feature_norm: str, dtype: DTypeLike = np.float32) -> DataStamp:
    """Look at a data directory.

    Parameters
    ----------
    data_dir : str or Path
    lists : str
        Folder of utterance lists under data_dir.
    feature_norm : str
    dtype : numpy.dtype or type
        With the normalization: which copy of the features (ser.data.bank_cache) to make when there is none. The stamp
        does not depend on them.

    Returns
    -------
    DataStamp

    Raises
    ------
    UserError
        feats.scp or vad.scp is damaged.
    """
    data_dir = Path(data_dir)
    folder = data_dir / lists
    return DataStamp(**_stamp_without_lists(data_dir, feature_norm, np.dtype(dtype), _states(data_dir)),
                     lists=_checksum([*_files_of(folder), folder.parent / "protocol"]))


def stamp_all_folds(data_dir: str | Path, feature_norm: str) -> DataStamp:
    """The same with the lists of all folds; raises UserError."""
    folds = read_list(Path(data_dir, "folds", "list"))
    stamps = [stamp_data(data_dir, f"folds/{fold}", feature_norm) for fold in folds]
    return replace(stamps[0], lists=digest([stamp.lists for stamp in stamps]))


def _states(data_dir: Path) -> tuple[tuple[int, int, int] | None, ...]:
    """What tells in one process that the files may have changed: inode, size and time."""
    states: list[tuple[int, int, int] | None] = []
    for name in ("feats.scp", "vad.scp", "utt2emo", "utt2spk", "dataset", *_CONFIGURATION, *_OF_OTHER_FEATURES):
        path = data_dir / name
        status = path.stat() if path.is_file() else None
        states.append(status and (status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(states)


@functools.lru_cache(maxsize=8)  # many trainings are planned on one data directory
def _stamp_without_lists(data_dir: Path, feature_norm: str, dtype: np.dtype, states: tuple) -> dict[str, Any]:
    contents: dict[str, int] = {}
    if (data_dir / "feats.scp").is_file() and (data_dir / "vad.scp").is_file():
        contents = content_checksums(VoicedFeatures(data_dir, feature_norm, dtype))
    configuration = [_lines_of(data_dir / name) for name in _CONFIGURATION]
    configuration += filter(None, (_lines_of(data_dir / name) for name in _OF_OTHER_FEATURES))
    return {"utterances": len(contents), "features": digest(contents) if contents else "",
            "labels": _checksum([data_dir / "utt2emo"]), "speakers": _checksum([data_dir / "utt2spk"]),
            "dataset_name": _checksum([data_dir / "dataset"]),
            "configuration": digest(configuration) if any(configuration) else ""}


def _files_of(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _checksum(paths: Iterable[Path]) -> str:
    """sha256 of the names and the content of those that are there."""
    content = {path.name: path.read_bytes().hex() for path in paths if path.is_file()}
    return digest(content) if content else ""


def _lines_of(path: Path) -> list[str]:
    return without_comments(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else []

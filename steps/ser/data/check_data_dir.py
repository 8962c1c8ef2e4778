"""The checks of Kaldi's utils/validate_data_dir.sh, and of the tables that this recipe adds (vad.scp, utt2emo)."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from ser.base.log import counted
from ser.data.data_dir import BLANKS, is_word, spk2utt_of

RESERVED = {"<s>", "</s>", "#0"}  # words of Kaldi's that no transcript may hold


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan


def _something(value: str) -> bool:
    return value != ""


def _audio(value: str) -> bool:
    return value != "" and not value.startswith("~")


def _words(value: str) -> bool:
    return RESERVED.isdisjoint(value.split())


def _segment(value: str) -> bool:
    words = value.split()
    start, end = map(_number, words[1:3]) if len(words) == 3 else (math.nan, math.nan)
    return 0 <= start < end < math.inf or (0 <= start < math.inf and end == -1)


def _positive(value: str) -> bool:
    return 0 < _number(value) < math.inf


def _positive_integer(value: str) -> bool:
    return value.isdecimal() and len(value) < 20 and int(value) > 0


def _gender(value: str) -> bool:
    return value in ("m", "f")


class Table(NamedTuple):
    """What a file of a data directory holds: lines of a key and a value."""

    keys: str  # utterances, speakers or recordings
    is_valid: Callable[[str], bool]  # of a value
    expected: str  # a value, in words


TABLES = {
    "utt2spk": Table("utterances", is_word, "one speaker"),
    "spk2utt": Table("speakers", _something, "utterances"),
    "segments": Table("utterances", _segment, "recording, start and a later end in seconds (-1: the recording's)"),
    "wav.scp": Table("recordings", _audio, "a path without ~, or a command |"),
    "text": Table("utterances", _words, "words other than <s> </s> #0"),
    "utt2emo": Table("utterances", is_word, "one label"),
    "feats.scp": Table("utterances", _something, "an archive's place"),
    "vad.scp": Table("utterances", _something, "an archive's place"),
    "functionals.scp": Table("utterances", _something, "an archive's place"),
    "utt2dur": Table("utterances", _positive, "a positive number of seconds"),
    "utt2audio_digest": Table("utterances", is_word, "one digest"),
    "utt2num_frames": Table("utterances", _positive_integer, "a positive integer"),
    "utt2lang": Table("utterances", _something, "a language"),
    "utt2uniq": Table("utterances", _something, "an utterance"),
    "reco2dur": Table("recordings", _positive, "a positive number of seconds"),
    "spk2gender": Table("speakers", _gender, "m or f"),
    "cmvn.scp": Table("speakers", _something, "an archive's place"),
}

# Tables that extracting features makes again.
OF_FEATURES = ("feats.scp", "vad.scp", "functionals.scp", "cmvn.scp", "utt2dur", "utt2num_frames", "utt2audio_digest")


def _read(path: Path) -> tuple[list[str], list[str], list[str]]:
    """Read a table as it is: (keys, values, problems of the file itself)."""
    try:
        content = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        return [], [], [f"{path}: not UTF-8 text (byte {error.start})"]
    if not content:
        return [], [], [f"{path}: empty"]
    problems = []
    if content.startswith("\ufeff"):
        problems.append(f"{path}: begins with a byte-order mark; take it out")
    if not content.endswith("\n"):
        problems.append(f"{path}: the last line has no newline")
    if "\r" in content:
        problems.append(f"{path}: has carriage returns; convert it to Unix line ends")
    keys = []
    values = []
    for line in content.replace("\r", "").removesuffix("\n").split("\n"):
        key, *rest = re.split(f"[{BLANKS}]+", line.strip(BLANKS), maxsplit=1)
        keys.append(key)
        values.append(rest[0] if rest else "")
    return keys, values, problems + _order_problem(path, keys)


def _order_problem(path: Path, keys: list[str]) -> list[str]:
    """One line on the first key that is a duplicate or not in the order of LC_ALL=C, or nothing."""
    for number, (previous, key) in enumerate(zip(keys, keys[1:], strict=False), 2):
        if key == previous:
            return [f"{path}:{number}: duplicate key {key}; keep one of its lines, or swap the columns if "
                    "the keys are in another"]
        if key < previous:
            return [f"{path}:{number}: {key} comes after {previous}; sort with LC_ALL=C"]
    return []


def _value_problem(path: Path, table: Table, keys: list[str], values: list[str]) -> list[str]:
    """One line on the first entry that is not what the table should hold, or nothing."""
    bad = [(number, key, value) for number, (key, value) in enumerate(zip(keys, values, strict=True), 1)
           if not is_word(key) or not table.is_valid(value)]
    if not bad:
        return []
    number, key, value = bad[0]
    more = f" (and {counted(len(bad) - 1, 'more line')})" if len(bad) > 1 else ""
    return [f"{path}:{number}: expected a key and {table.expected}, found {f'{key} {value}'!r}{more}"]


def _difference(path: Path, keys: Iterable[str], expected: Iterable[str], kind: str) -> list[str]:
    """One line on how the keys of a table differ from those expected, or nothing."""
    lacking = sorted(set(expected) - set(keys))
    unknown = sorted(set(keys) - set(expected))
    parts = [f"{verb} {len(ids)} {kind}, the first is {ids[0]}"
             for verb, ids in (("lacks", lacking), ("has unknown", unknown)) if ids]
    return [f"{path}: {' and '.join(parts)}"] if parts else []


def _disagreements(data_dir: Path, tables: Mapping[str, Mapping[str, str]]) -> list[str]:
    """One line for each way in which tables do not fit utt2spk."""
    utt2spk = tables["utt2spk"]
    problems = []
    by_speaker = sorted(utt2spk, key=lambda utt: (utt2spk[utt], utt))
    if by_speaker != sorted(utt2spk):
        problems.append(f"{data_dir / 'utt2spk'}: sorted by utterance it is not sorted by speaker; "
                        "let utterance ids begin with the speaker's")
    segments = tables.get("segments")
    recordings = utt2spk if segments is None else [value.split()[0] for value in segments.values() if value]
    expected = {"utterances": utt2spk, "speakers": set(utt2spk.values()), "recordings": recordings}
    for name, table in tables.items():
        kind = TABLES[name].keys
        problems += _difference(data_dir / name, table, expected[kind], kind)
    spk2utt = {speaker: " ".join(utts.split()) for speaker, utts in tables.get("spk2utt", {}).items()}
    if spk2utt != spk2utt_of(utt2spk):
        problems.append(f"{data_dir / 'spk2utt'}: does not agree with utt2spk")
    return problems


def data_dir_problems(data_dir: str | Path, feats: bool = True, text: bool = True, wav: bool = True,
                      of_features: bool = True) -> list[str]:
    """Check a Kaldi data directory.

    Parameters
    ----------
    data_dir : str or Path
    feats, text, wav : bool
        Whether feats.scp, text and wav.scp must exist; what exists is checked in any case.
    of_features : bool
        Whether the tables that extracting features makes again are checked.

    Returns
    -------
    list of str
        One line per problem, beginning with the file; empty when Kaldi's scripts accept the directory.
    """
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        return [f"{data_dir}: no such directory"]
    # Which files must be there.
    needed = {"utt2spk": True, "spk2utt": True, "wav.scp": wav, "text": text, "feats.scp": feats}
    problems = [f"{data_dir / name}: no such file" for name, is_needed in needed.items()
                if is_needed and not (data_dir / name).is_file()]
    if not (data_dir / "utt2spk").is_file():
        return problems
    # Each file alone.
    tables = {}
    for name, table in TABLES.items():
        path = data_dir / name
        if path.is_file() and (of_features or name not in OF_FEATURES):
            keys, values, of_file = _read(path)
            problems += of_file + _value_problem(path, table, keys, values)
            tables[name] = dict(zip(keys, values, strict=True))
    # The files together.
    return problems + _disagreements(data_dir, tables)

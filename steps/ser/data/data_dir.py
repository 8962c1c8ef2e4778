"""Kaldi data directories: tables of `key value` lines, sorted as LC_ALL=C sorts.

Layout and rules: https://kaldi-asr.org/doc/data_prep.html. Python compares strings by code point,
which for UTF-8 is the byte order of LC_ALL=C, so `sorted()` is Kaldi's sort.
"""

import re
import shutil
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from ser.base.errors import UserError
from ser.base.files import temporary_folder, write_text

# Blanks to Kaldi and the shell; str.split() would split an id at a no-break space, too.
BLANKS = " \t\r\v\f"
_JOINERS = "\u200c\u200d"  # invisible, and part of words in Persian and in the scripts of India


def is_word(text: str) -> bool:
    """Whether a text is one word, with nothing in it that cannot be seen, such as a zero-width space.

    >>> is_word("ang"), is_word("ang\\xa0"), is_word("ang\\u200b")
    (True, False, False)
    """
    if text.isascii():
        return text.split() == [text]
    return text.split() == [text] and not any(unicodedata.category(character) == "Cf" and character not in _JOINERS
                                              for character in text)


def read_text(path: str | Path) -> str:
    """Read a file of UTF-8; raises UserError when it is missing or something else."""
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8-sig")  # without the mark that some editors put in front
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); convert it") from None


def read_table(path: str | Path, columns: int | None = None, key_alone: bool = False) -> dict[str, str]:
    """Read a `key value…` table.

    Parameters
    ----------
    path : str or Path
    columns : int, optional
        Exact number of blank-separated fields that every line must have.
    key_alone : bool
        Whether a line may be a key without a value, as that of an utterance without words in `text`.

    Returns
    -------
    dict of str to str
        In the order of the file; the value is the rest of the line, without blanks at its ends.

    Raises
    ------
    UserError
        The file is missing, not UTF-8, or has an empty line, a key without a value, a duplicate key, a key or one of
        `columns` that holds a blank that is no space or tab, or another number of fields than `columns`. The message
        names file and line.
    """
    text = read_text(path)
    table: dict[str, str] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], 1):
        fields = re.split(f"[{BLANKS}]+", line.strip(BLANKS), maxsplit=0 if columns else 1)
        if not fields[0].strip() or (len(fields) == 1 or not fields[1].split()) and not key_alone:
            raise UserError(f"{path}:{number}: expected 'key value', found {line!r}")
        if columns and len(fields) != columns:
            raise UserError(f"{path}:{number}: expected {columns} fields, found {line!r}")
        key, *values = fields
        hidden = [field for field in (fields if columns else [key]) if not is_word(field)]
        if hidden:
            raise UserError(f"{path}:{number}: {hidden[0]!r} holds a blank that is no space, or something else that "
                            "cannot be seen; take it out")
        value = " ".join(values)
        if key in table:
            raise UserError(f"{path}:{number}: duplicate key {key}; keep one of its lines, or swap the columns if "
                            "the keys are in another")
        table[key] = value
    return table


def write_table(path: str | Path, table: Mapping[str, object]) -> None:
    """Write a table sorted by key, atomically."""
    write_text(path, "".join(f"{key} {table[key]}".rstrip(" ") + "\n" for key in sorted(table)))


def read_list(path: str | Path) -> list[str]:
    """Read a file of one id per line, in order; raises UserError when it is missing or holds a duplicate."""
    ids = read_text(path).split()
    if len(set(ids)) != len(ids):
        raise UserError(f"{path}: holds an id twice")
    return ids


def write_list(path: str | Path, ids: Iterable[str]) -> None:
    """Write one id per line, sorted, atomically."""
    write_text(path, "".join(f"{key}\n" for key in sorted(ids)))


def spk2utt_of(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """Invert utt2spk into `{speaker: "utt utt …"}`, utterances sorted, as utt2spk_to_spk2utt.pl does."""
    utterances: dict[str, list[str]] = {}
    for utt in sorted(utt2spk):
        utterances.setdefault(utt2spk[utt], []).append(utt)
    return {speaker: " ".join(utts) for speaker, utts in utterances.items()}


# What describes the utterances of an earlier preparation.
_STALE_TABLES = ("wav.scp", "feats.scp", "vad.scp", "functionals.scp", "cmvn.scp", "utt2dur", "utt2num_frames",
                 "utt2audio_digest", "utt2audio_problem", "duplicates", "frame_shift", "spk2gender", "utt2emo",
                 "utt2split", "text", "segments")
_STALE_FOLDERS = ("folds", "identification", "bank")


def write_data_dir(data_dir: str | Path, *, wav: Mapping[str, object] | None, utt2spk: Mapping[str, str],
                   spk2gender: Mapping[str, str] | None = None, utt2emo: Mapping[str, str] | None = None,
                   text: Mapping[str, str] | None = None, dataset: str,
                   extra: Mapping[str, Mapping[str, object]] | None = None) -> None:
    """Write a new data directory, replacing the tables that it names.

    Parameters
    ----------
    data_dir : str or Path
    wav : dict or None
        Utterance to absolute path of its audio, or to a `command |`; None where there are only features.
    utt2spk : dict
        Utterance to speaker; the utterance id must begin with the speaker's.
    spk2gender : dict, optional
        Speaker to `m` or `f`; left out unless every speaker has one.
    utt2emo : dict, optional
        Utterance to one-word label; also written as `text` unless `text` is given, because every
        Kaldi tool carries `text` along.
    text : dict, optional
        Utterance to transcript.
    dataset : str
        One word that names corpus, scope and labels, for example `iemocap-impro-4`; every result
        made from the directory carries it.
    extra : dict of str to dict, optional
        Further tables by file name.

    Raises
    ------
    UserError
        The directory holds tables and no `dataset`, by which one that a preparation has written is known.

    Notes
    -----
    Features, lists and tables of an earlier preparation describe other utterances, so they are removed, once all of
    the new tables are on the disk.
    """
    data_dir = Path(data_dir)
    data_dir.mkdir(parents=True, exist_ok=True)
    _require_own(data_dir)
    tables: dict[str, Mapping[str, object]] = {"utt2spk": utt2spk, "spk2utt": spk2utt_of(utt2spk)}
    if wav is not None:
        tables["wav.scp"] = wav
    if spk2gender and set(utt2spk.values()) <= set(spk2gender):
        tables["spk2gender"] = {spk: spk2gender[spk] for spk in set(utt2spk.values())}
    if utt2emo:
        tables["utt2emo"] = utt2emo
    transcripts = text or utt2emo
    if transcripts:
        tables["text"] = transcripts
    with temporary_folder(data_dir, ".new.") as aside:
        for name, table in {**tables, **(extra or {})}.items():
            write_table(aside / name, table)
        write_text(aside / "dataset", dataset + "\n")
        for stale in _STALE_TABLES:
            (data_dir / stale).unlink(missing_ok=True)
        for stale in _STALE_FOLDERS:
            shutil.rmtree(data_dir / stale, ignore_errors=True)
        (aside / "dataset").replace(data_dir / "dataset")  # first: the rest is ours from here
        for path in aside.iterdir():
            path.replace(data_dir / path.name)


def _require_own(data_dir: Path) -> None:
    held = [name for name in ("utt2spk", *_STALE_TABLES, *_STALE_FOLDERS) if (data_dir / name).exists()]
    if held and not (data_dir / "dataset").is_file():
        raise UserError(f"{data_dir}: holds {held[0]} and is not a data directory that this recipe has made, so "
                        "nothing in it is replaced; name another one")


def read_dataset(data_dir: str | Path) -> str:
    """The one word in `dataset`, or the directory's own name for a directory that has none."""
    path = Path(data_dir) / "dataset"
    return read_text(path).strip() if path.is_file() else Path(data_dir).resolve().name


def is_synthetic(dataset: str) -> bool:
    """Whether a dataset's name says that its corpus is made up."""
    return dataset.startswith("synthetic-")

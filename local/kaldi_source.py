"""The tables of a user's data directory: those that are needed, and those that are taken along where they are whole."""

import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from local.corpus_files import in_other_unicode_form
from local.kaldi_features import read_places
from local.prep_common import GENDER
from ser.audio.wav_scp import entry_in
from ser.base.errors import UserError
from ser.base.log import counted, log
from ser.data.check_data_dir import RESERVED
from ser.data.data_dir import is_word, read_table

Table = dict[str, str]
NOT_NEEDED = "the file is not needed, and not copied"
NO_LABEL = {"nan", "none", "null", "n/a", "na", "-", "?"}  # in lower case


class Source(NamedTuple):
    """The tables of a data directory, None for a file that it lacks."""

    folder: Path
    wav: Table  # of recordings where there are segments, else of utterances; empty where there are features
    utt2spk: Table
    segments: Table | None
    text: Table | None
    spk2gender: Table | None
    utt2emo: Table | None
    labels_file: str  # that utt2emo is from
    feats: Table | None  # of features that take the place of the audio
    vad: Table | None

    def recording_of(self, utt: str) -> str:
        """The key of an utterance in wav.scp."""
        return self.segments[utt].split()[0] if self.segments else utt

    def features(self) -> dict[str, Table]:
        """The tables of the features, by file name; none where they are made of the audio."""
        return {name: table for name, table in (("feats.scp", self.feats), ("vad.scp", self.vad)) if table is not None}

    def needed(self) -> dict[str, Table]:
        """The tables that every utterance must be in, by file name."""
        tables = {"utt2spk": self.utt2spk}
        if self.feats is not None:
            tables |= self.features()
        else:
            tables |= {"segments": self.segments} if self.segments else {"wav.scp": self.wav}
        if self.utt2emo is not None:
            tables[self.labels_file] = self.utt2emo
        return tables


def read_optional(path: Path, columns: int | None = None) -> Table | None:
    """`read_table`, or None when there is no such file."""
    return read_table(path, columns) if path.is_file() else None


def read_segments(path: Path) -> Table | None:
    """Read segments, or None when there is no such file; raises UserError."""
    segments = read_optional(path)
    for utt, value in (segments or {}).items():
        recording, *others = value.split()
        if len(others) == 3:
            raise UserError(f"{path}: {utt} has a fifth column, a channel, which is not supported; give each channel "
                            "its own recording in wav.scp, such as: "
                            f"{recording}-1 sox {recording}.wav -t wav - remix 1 |")
    return read_optional(path, columns=4)


def read_transcripts(path: Path) -> Table | None:
    """Read text, which nothing needs: None and a warning for one that Kaldi's scripts would not take."""
    if not path.is_file():
        return None
    try:
        text = read_table(path, key_alone=True)
    except UserError as error:
        log(f"WARNING: {error}; {NOT_NEEDED}")
        return None
    reserved = [utt for utt, words in text.items() if not RESERVED.isdisjoint(words.split())]
    if reserved:
        log(f"WARNING: {path}: the transcript of {reserved[0]} holds one of {' '.join(sorted(RESERVED))}, words that "
            f"Kaldi reserves ({counted(len(reserved), 'such transcript')}); {NOT_NEEDED}")
        return None
    return text


def read_genders(path: Path) -> Table | None:
    """Read spk2gender, which nothing needs, as m and f: None and a warning for another word."""
    try:
        genders = read_optional(path, columns=2) or {}
    except UserError as error:
        log(f"WARNING: {error}; {NOT_NEEDED}")
        return None
    unknown = [speaker for speaker, word in genders.items() if word.lower() not in GENDER]
    if unknown:
        log(f"WARNING: {path}: says {genders[unknown[0]]} of {unknown[0]}, which is neither m nor f "
            f"({counted(len(unknown), 'such speaker')}); {NOT_NEEDED}")
        return None
    return {speaker: GENDER[word.lower()] for speaker, word in genders.items()}


def complete(table: Table | None, path: Path, keys: Collection[str]) -> Table | None:
    """The lines of an optional table for these keys; None, with a warning where it lacks one."""
    lacking = sorted(set(keys) - set(table or {}))
    if table and lacking:
        log(f"WARNING: {path} lacks {len(lacking)} of {len(keys)}, the first is {lacking[0]}; {NOT_NEEDED}")
    return {key: table[key] for key in keys} if table and not lacking else None


def read_labels(folder: Path) -> tuple[Table, str]:
    """Read utt2emo, or text when every transcript is one word; returns the labels and which file they are from."""
    name = "utt2emo"
    labels = read_optional(folder / name, columns=2)
    if not labels:
        name = "text"
        labels = read_optional(folder / name)
    if not labels or not all(map(is_word, labels.values())):
        raise UserError(f"{folder}: no labels; needs utt2emo, or a text of one word per utterance")
    reserved = sorted(RESERVED & set(labels.values()))
    if reserved:
        raise UserError(f"{folder / name}: the label {reserved[0]} is a word that Kaldi reserves; rename it")
    return labels, name


def warn_about_labels(labels: Iterable[str], path: Path) -> None:
    """Say which labels look like slips: words for nothing, and several that differ in case or Unicode form alone."""
    by_form: dict[str, list[str]] = {}
    for label in sorted(set(labels)):
        by_form.setdefault(unicodedata.normalize("NFKC", label).casefold(), []).append(label)
    alike = [" ".join(same) for same in by_form.values() if len(same) > 1]
    nothing = [" ".join(same) for form, same in by_form.items() if form in NO_LABEL]
    if alike:
        log(f"WARNING: {path}: {', '.join(alike)} are different classes; write them alike if they are one")
    if nothing:
        log(f"WARNING: {path}: {', '.join(nothing)} is a class as any other; remove its lines if it means no label")


def read_audio(folder: Path) -> tuple[Table, Table | None]:
    """Read wav.scp, with paths that do not depend on the working directory, and segments; raises UserError."""
    wav = {key: entry_in(folder, entry) for key, entry in read_table(folder / "wav.scp").items()}
    other_forms = {key: found for key, entry in wav.items() if (found := in_other_unicode_form(entry))}
    if other_forms:
        log(f"{counted(len(other_forms), 'name')} of wav.scp found in another Unicode form, which is used, such as "
            f"{next(iter(other_forms.values()))}")
    return wav | other_forms, read_segments(folder / "segments")


def read_source(folder: Path, emotion: bool, feats: bool = False) -> Source:
    """Read a data directory, with labels if `emotion`, with features instead of audio if `feats`; raises UserError."""
    wav: Table = {}
    segments = of_frames = vad = None
    if feats:
        of_frames = read_places(folder, "feats.scp")
        vad = read_places(folder, "vad.scp") if (folder / "vad.scp").is_file() else None
    else:
        wav, segments = read_audio(folder)
    utt2spk = read_table(folder / "utt2spk", columns=2)
    utt2emo, labels_file = read_labels(folder) if emotion else (None, "")
    text = read_transcripts(folder / "text")
    spk2gender = read_genders(folder / "spk2gender")
    return Source(folder, wav, utt2spk, segments, text, spk2gender, utt2emo, labels_file, of_frames, vad)

"""The checks of Kaldi's utils/validate_data_dir.sh, and of the tables that this recipe adds (vad.scp, utt2emo)."""

import math
from pathlib import Path

from ser.data.data_dir import spk2utt_of

RESERVED = {"<s>", "</s>", "#0"}


def _number(word):
    try:
        return float(word)
    except ValueError:
        return math.nan


def _one_word(value):
    return len(value.split()) == 1


def _something(value):
    return value != ""


def _audio(value):
    return value != "" and not value.startswith("~")


def _words(value):
    return RESERVED.isdisjoint(value.split())


def _segment(value):
    words = value.split()
    return len(words) == 3 and 0 <= _number(words[1]) < _number(words[2]) < math.inf


def _positive(value):
    return 0 < _number(value) < math.inf


def _positive_integer(value):
    return value.isdecimal() and len(value) < 20 and int(value) > 0


def _gender(value):
    return value in ("m", "f")


# table: (what its keys are, check of the value, what the value should be)
TABLES = {
    "utt2spk": ("utterances", _one_word, "one speaker"),
    "spk2utt": ("speakers", _something, "utterances"),
    "segments": ("utterances", _segment, "recording, start and a later end in seconds"),
    "wav.scp": ("recordings", _audio, "a path without ~, or a command |"),
    "text": ("utterances", _words, "words other than <s> </s> #0"),
    "utt2emo": ("utterances", _one_word, "one label"),
    "feats.scp": ("utterances", _something, "an archive's place"),
    "vad.scp": ("utterances", _something, "an archive's place"),
    "utt2dur": ("utterances", _positive, "a positive number of seconds"),
    "utt2num_frames": ("utterances", _positive_integer, "a positive integer"),
    "utt2lang": ("utterances", _something, "a language"),
    "utt2uniq": ("utterances", _something, "an utterance"),
    "reco2dur": ("recordings", _positive, "a positive number of seconds"),
    "spk2gender": ("speakers", _gender, "m or f"),
    "cmvn.scp": ("speakers", _something, "an archive's place"),
}


def _read(path):
    """Read a table as it stands: (keys, values, problems of the file itself)."""
    try:
        content = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        return [], [], [f"{path}: not UTF-8 text (byte {error.start})"]
    problems = []
    if content.startswith("\ufeff"):
        problems.append(f"{path}: begins with a byte-order mark; take it out")
    if not content:
        problems.append(f"{path}: empty")
    elif not content.endswith("\n"):
        problems.append(f"{path}: the last line has no newline")
    if "\r" in content:
        problems.append(f"{path}: has carriage returns; convert it to Unix line ends")
    lines = [line.split(None, 1) or [""] for line in content.replace("\r", "").removesuffix("\n").split("\n")]
    lines = lines if content else []
    keys, values = [line[0] for line in lines], [line[1].strip() if len(line) > 1 else "" for line in lines]
    for number, (before, after) in enumerate(zip(keys, keys[1:], strict=False), 2):
        if before >= after:
            what = "stands here for the second time" if before == after else f"stands behind {before}"
            problems.append(f"{path}:{number}: {after} {what}; sort with LC_ALL=C")
            break
    return keys, values, problems


def _difference(path, keys, expected, kind):
    """One line on how the keys of a table differ from those expected, or nothing."""
    lacking, foreign = sorted(set(expected) - set(keys)), sorted(set(keys) - set(expected))
    parts = [f"{verb} {len(ids)} {kind}, the first is {ids[0]}"
             for verb, ids in (("lacks", lacking), ("has unknown", foreign)) if ids]
    return [f"{path}: {' and '.join(parts)}"] if parts else []


# Tables that extracting features makes anew.
OF_FEATURES = ("feats.scp", "vad.scp", "cmvn.scp", "utt2dur", "utt2num_frames")


def data_dir_problems(data_dir, feats=True, text=True, wav=True, of_features=True):
    """Check a Kaldi data directory.

    Parameters
    ----------
    data_dir : str or Path
    feats, text, wav : bool
        Whether feats.scp, text and wav.scp must exist; what exists is checked in any case.
    of_features : bool
        Whether the tables that extracting features makes anew are checked.

    Returns
    -------
    list of str
        One line per problem, beginning with the file; empty when Kaldi's scripts accept the directory.
    """
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        return [f"{data_dir}: no such directory"]
    needed = ["utt2spk", "spk2utt", *(name for name, wanted in
                                      {"wav.scp": wav, "text": text, "feats.scp": feats}.items() if wanted)]
    problems = [f"{data_dir / name}: no such file" for name in needed if not (data_dir / name).is_file()]
    if not (data_dir / "utt2spk").is_file():
        return problems
    tables = {}
    for name, (_, valid, expectation) in TABLES.items():
        path = data_dir / name
        if not path.is_file() or (name in OF_FEATURES and not of_features):
            continue
        keys, values, of_file = _read(path)
        problems += of_file
        bad = [number for number, value in enumerate(values) if not keys[number] or not valid(value)]
        if bad:
            more = f" (and {len(bad) - 1} lines more)" if len(bad) > 1 else ""
            line = f"{keys[bad[0]]} {values[bad[0]]}"
            problems.append(f"{path}:{bad[0] + 1}: expected a key and {expectation}, found {line!r}{more}")
        tables[name] = dict(zip(keys, values, strict=True))

    utt2spk = tables["utt2spk"]
    by_speaker = sorted(utt2spk, key=lambda utt: (utt2spk[utt], utt))
    if by_speaker != sorted(utt2spk):
        problems.append(f"{data_dir / 'utt2spk'}: sorted by utterance it is not sorted by speaker; "
                        "let utterance ids begin with the speaker's")
    recordings = [value.split()[0] for value in tables.get("segments", {}).values() if value]
    expected = {"utterances": utt2spk, "speakers": set(utt2spk.values()),
                "recordings": recordings if "segments" in tables else utt2spk}
    for name, table in tables.items():
        kind = TABLES[name][0]
        problems += _difference(data_dir / name, table, expected[kind], kind)
    if {speaker: " ".join(utts.split()) for speaker, utts in tables.get("spk2utt", {}).items()} != spk2utt_of(utt2spk):
        problems.append(f"{data_dir / 'spk2utt'}: does not agree with utt2spk")
    return problems

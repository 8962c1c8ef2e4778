#!/usr/bin/env python3
"""Make a checked copy of a Kaldi data directory, with absolute paths and ids that begin with the speaker.

    local/kaldi_data_prep.py --emotion true /corpora/nemo data/nemo

Needs wav.scp and utt2spk; takes segments, text, spk2gender and utt2emo along. Line ends, order and
spk2utt are put right. An utterance that one table lacks, or whose audio cannot be read, is named and left out.
"""

import recipe_environment

import re
from pathlib import Path
from typing import NamedTuple

from local.counts import label_counts, print_counts, with_totals
from local.prep_common import keep_usable, wav_problem
from options import OptionParser, run, str2bool
from ser.base.errors import UserError
from ser.base.log import log
from ser.data.data_dir import read_dataset, read_table, write_data_dir

Table = dict[str, str]


class Source(NamedTuple):
    """The tables of a data directory, None for a file that it lacks."""

    folder: Path
    wav: Table  # of recordings where there are segments, else of utterances
    utt2spk: Table
    segments: Table | None
    text: Table | None
    spk2gender: Table | None
    utt2emo: Table | None
    labels_file: str  # that utt2emo is from

    def recording_of(self, utt: str) -> str:
        """The key of an utterance in wav.scp."""
        return self.segments[utt].split()[0] if self.segments else utt

    def required(self) -> dict[str, Table]:
        """The tables that every utterance must be in, by file name."""
        tables = {"utt2spk": self.utt2spk}
        tables |= {"segments": self.segments} if self.segments else {"wav.scp": self.wav}
        if self.text is not None:
            tables["text"] = self.text
        if self.utt2emo is not None:
            tables[self.labels_file] = self.utt2emo
        return tables


def read_optional(path: Path, columns: int | None = None) -> Table | None:
    """`read_table`, or None when there is no such file."""
    return read_table(path, columns) if path.is_file() else None


def absolute(folder: Path, entry: str) -> str:
    """Make a wav.scp entry independent of the working directory; `command |` stays as it is."""
    if entry.endswith("|"):
        return entry
    beside = folder / entry
    return str(beside if beside.exists() or not Path(entry).exists() else Path(entry).absolute())


def read_labels(folder: Path) -> tuple[Table, str]:
    """Read utt2emo, or text when every transcript is one word; returns the labels and which file they are from."""
    labels = read_optional(folder / "utt2emo", columns=2)
    if labels:
        return labels, "utt2emo"
    labels = read_optional(folder / "text")
    if not labels or any(len(words.split()) != 1 for words in labels.values()):
        raise UserError(f"{folder}: no labels; needs utt2emo, or a text of one word per utterance")
    return labels, "text"


def read_source(folder: Path, emotion: bool) -> Source:
    """Read a data directory, with labels if `emotion`; raises UserError."""
    wav = {key: absolute(folder, entry) for key, entry in read_table(folder / "wav.scp").items()}
    utt2spk = read_table(folder / "utt2spk", columns=2)
    segments = read_optional(folder / "segments", columns=4)
    text = read_optional(folder / "text")
    spk2gender = read_optional(folder / "spk2gender", columns=2)
    utt2emo, labels_file = read_labels(folder) if emotion else (None, "")
    return Source(folder, wav, utt2spk, segments, text, spk2gender, utt2emo, labels_file)


def segment_problem(segment: str, wav: Table) -> str | None:
    """Why a line of segments (`recording start end`) cannot be used, or None."""
    recording, *times = segment.split()
    if recording not in wav:
        return f"wav.scp lacks its recording {recording}"
    try:
        start, end = map(float, times)
    except ValueError:
        start = end = 0.0
    return None if 0 <= start < end < float("inf") else f"segments: expected 'recording start end', found {segment!r}"


def usable_utterances(source: Source) -> list[str]:
    """Name the utterances that cannot be used, and return the others, sorted; raises UserError for too few."""
    required = source.required()
    wav_problems = {key: None if entry.endswith("|") else wav_problem(entry) for key, entry in source.wav.items()}

    def problem_of(utt: str) -> str | None:
        lacking = [name for name, table in required.items() if utt not in table]
        if lacking:
            return f"not in {' '.join(lacking)}"
        problem = segment_problem(source.segments[utt], source.wav) if source.segments else None
        return problem or wav_problems[source.recording_of(utt)]

    return keep_usable(set().union(*required.values()), problem_of)


def kaldi_ids(utt2spk: Table, folder: Path) -> Table:
    """Give every utterance an id that sorts with its speaker: its own where it begins with the speaker's, else
    `<speaker>-<id>`; the prefix goes to all where that does not suffice. Returns `{old id: new id}`."""
    prefixed = {utt: f"{speaker}-{utt}" for utt, speaker in utt2spk.items()}
    as_needed = {utt: utt if utt.startswith(speaker) else prefixed[utt] for utt, speaker in utt2spk.items()}
    for ids in (as_needed, prefixed):
        by_id = sorted((ids[utt], speaker) for utt, speaker in utt2spk.items())
        if len(set(ids.values())) == len(ids) and by_id == sorted(by_id, key=lambda pair: (pair[1], pair[0])):
            return ids
    raise UserError(f"{folder}/utt2spk: one speaker's id is the beginning of another's, so that no order of "
                    "utterances suits Kaldi; rename them to equal lengths")


def used_wavs(source: Source, new_ids: Table) -> Table:
    """The lines of wav.scp to write; says which recordings no segment uses."""
    if not source.segments:
        return {new: source.wav[old] for old, new in new_ids.items()}
    used = {source.recording_of(utt) for utt in new_ids}
    for recording in sorted(source.wav.keys() - used):
        log(f"left out: recording {recording}: no segment uses it")
    return {recording: source.wav[recording] for recording in used}


def prepare(folder: Path, data: str, emotion: bool) -> str:
    """Write the checked copy; returns what was made. Raises UserError for a directory that cannot be used."""
    if folder.resolve() == Path(data).resolve():
        raise UserError(f"{data}: the copy would replace its source; name another directory")
    source = read_source(folder, emotion)
    usable = usable_utterances(source)
    utt2spk = {utt: source.utt2spk[utt] for utt in usable}

    # Ids that sort with their speakers
    new_ids = kaldi_ids(utt2spk, folder)
    renamed = sum(old != new for old, new in new_ids.items())
    if renamed:
        print(f"{renamed} utterance ids got their speaker as prefix, such as {new_ids[usable[0]]}")

    def copied(table: Table) -> Table:
        return {new: table[old] for old, new in new_ids.items()}

    # Tables
    utt2emo = {utt: source.utt2emo[utt] for utt in usable} if source.utt2emo else {}
    labels = sorted(set(utt2emo.values()))
    dataset = re.sub(r"\s+", "_", read_dataset(folder))
    if labels and not (folder / "dataset").is_file():
        dataset += f"-{len(labels)}"
    write_data_dir(data, dataset=dataset, wav=used_wavs(source, new_ids), utt2spk=copied(utt2spk),
                   utt2emo=copied(utt2emo) if utt2emo else None,
                   text=copied(source.text) if source.text else None, spk2gender=source.spk2gender,
                   extra={"segments": copied(source.segments)} if source.segments else None)
    if labels:
        print(f"labels are taken from {folder / source.labels_file}")
        print_counts(with_totals(label_counts(utt2spk, utt2emo), labels))
    return f"{data}: {len(usable)} utterances of {len(set(utt2spk.values()))} speakers, dataset {dataset}"


def main() -> None:
    parser = OptionParser("Make a checked copy of a Kaldi data directory.",
                          "local/kaldi_data_prep.py --emotion true /corpora/nemo data/nemo")
    parser.add_argument("--emotion", type=str2bool, default=False, metavar="true|false",
                        help="require labels: utt2emo, or a text of one word per utterance (default: false)")
    parser.add_argument("source", metavar="SRC", help="the data directory to copy")
    parser.add_argument("data", metavar="DATA", help="the data directory to write")
    args = parser.parse_args()
    made = prepare(Path(args.source).absolute(), args.data, args.emotion)
    print(f"{parser.prog}: prepared {made}")


if __name__ == "__main__":
    run(main)

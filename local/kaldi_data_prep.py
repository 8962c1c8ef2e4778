#!/usr/bin/env python3
"""Make a checked copy of a Kaldi data directory, with absolute paths and ids that begin with the speaker.

    local/kaldi_data_prep.py --emotion true /corpora/nemo data/nemo

Needs wav.scp and utt2spk; takes segments, text, spk2gender and utt2emo along. Line ends, order and
spk2utt are put right. An utterance that one table lacks, or whose audio cannot be read, is named and left out.
"""

import re
from pathlib import Path

from local.prep_common import keep_usable, label_counts, print_counts, wav_problem, with_totals
from options import OptionParser, run, str2bool
from ser.base.errors import UserError
from ser.base.log import log
from ser.data.data_dir import read_dataset, read_table, write_data_dir


def read_optional(path, columns=None):
    """`read_table`, or None when there is no such file."""
    return read_table(path, columns) if path.is_file() else None


def absolute(source, entry):
    """Make a wav.scp entry independent of the working directory; `command |` stays as it is."""
    if entry.endswith("|"):
        return entry
    beside = source / entry
    return str(beside if beside.exists() or not Path(entry).exists() else Path(entry).absolute())


def read_labels(source):
    """Read utt2emo, or text when every transcript is one word; returns the labels and which file held them."""
    labels = read_optional(source / "utt2emo", columns=2)
    if labels:
        return labels, "utt2emo"
    labels = read_optional(source / "text")
    if not labels or any(len(words.split()) != 1 for words in labels.values()):
        raise UserError(f"{source}: no labels; needs utt2emo, or a text of one word per utterance")
    return labels, "text"


def segment_problem(segment, wav):
    """Why a line of segments (`recording start end`) cannot be used, or None."""
    recording, *times = segment.split()
    if recording not in wav:
        return f"wav.scp lacks its recording {recording}"
    try:
        start, end = map(float, times)
    except ValueError:
        start = end = 0.0
    return None if 0 <= start < end < float("inf") else f"segments: expected 'recording start end', found {segment!r}"


def kaldi_ids(utt2spk, source):
    """Give every utterance an id that sorts with its speaker: its own where it begins with the speaker's, else
    `<speaker>-<id>`; the prefix goes to all where that does not suffice. Returns `{old id: new id}`."""
    as_needed = {utt: utt if utt.startswith(speaker) else f"{speaker}-{utt}" for utt, speaker in utt2spk.items()}
    everywhere = {utt: f"{speaker}-{utt}" for utt, speaker in utt2spk.items()}
    for ids in (as_needed, everywhere):
        by_id = sorted((ids[utt], speaker) for utt, speaker in utt2spk.items())
        if len(set(ids.values())) == len(ids) and by_id == sorted(by_id, key=lambda pair: (pair[1], pair[0])):
            return ids
    raise UserError(f"{source}/utt2spk: one speaker's id is the beginning of another's, so that no order of "
                    "utterances suits Kaldi; rename them to equal lengths")


def main():
    parser = OptionParser("Make a checked copy of a Kaldi data directory.",
                          "local/kaldi_data_prep.py --emotion true /corpora/nemo data/nemo")
    parser.add_argument("--emotion", type=str2bool, default=False, metavar="true|false",
                        help="require labels: utt2emo, or a text of one word per utterance (default: false)")
    parser.add_argument("source", metavar="SRC", help="the data directory to copy")
    parser.add_argument("data", metavar="DATA", help="the data directory to write")
    args = parser.parse_args()

    source = Path(args.source).absolute()
    if source.resolve() == Path(args.data).resolve():
        raise UserError(f"{args.data}: the copy would replace its source; name another directory")
    wav = {key: absolute(source, entry) for key, entry in read_table(source / "wav.scp").items()}
    utt2spk = read_table(source / "utt2spk", columns=2)
    segments = read_optional(source / "segments", columns=4)
    text = read_optional(source / "text")
    gender = read_optional(source / "spk2gender", columns=2)
    utt2emo, held_by = read_labels(source) if args.emotion else (None, None)

    tables = {"utt2spk": utt2spk, "segments" if segments else "wav.scp": segments or wav, "text": text,
              held_by: utt2emo}
    tables = {name: table for name, table in tables.items() if table is not None}
    problem_of_wav = {key: None if entry.endswith("|") else wav_problem(entry) for key, entry in wav.items()}

    def problem_of(utt):
        lacking = [name for name, table in tables.items() if utt not in table]
        if lacking:
            return f"not in {' '.join(lacking)}"
        recording = segments[utt].split()[0] if segments else utt
        return (segment_problem(segments[utt], wav) if segments else None) or problem_of_wav[recording]

    usable = keep_usable(set().union(*tables.values()), problem_of)
    new_id = kaldi_ids({utt: utt2spk[utt] for utt in usable}, source)
    renamed = sum(old != new for old, new in new_id.items())
    if renamed:
        print(f"{renamed} utterance ids got their speaker as prefix, such as {new_id[usable[0]]}")

    def copied(table):
        return {new_id[utt]: table[utt] for utt in usable} if table else None

    if segments:
        recordings = {segments[utt].split()[0] for utt in usable}
        for recording in sorted(set(wav) - recordings):
            log(f"left out: recording {recording}: no segment uses it")
    word = re.sub(r"\s+", "_", read_dataset(source))
    labels = sorted(set(copied(utt2emo).values())) if utt2emo else []
    if labels and not (source / "dataset").is_file():
        word += f"-{len(labels)}"
    write_data_dir(args.data, dataset=word, utt2spk=copied(utt2spk), utt2emo=copied(utt2emo), text=copied(text),
                   wav={key: wav[key] for key in recordings} if segments else copied(wav), spk2gender=gender,
                   extra={"segments": copied(segments)} if segments else None)
    if labels:
        print(f"labels are taken from {source / held_by}")
        print_counts(with_totals(label_counts(utt2spk, {utt: utt2emo[utt] for utt in usable}), labels))
    print(f"{parser.prog}: prepared {args.data}: {len(usable)} utterances of "
          f"{len({utt2spk[utt] for utt in usable})} speakers, dataset {word}")


if __name__ == "__main__":
    run(main)

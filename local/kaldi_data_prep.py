#!/usr/bin/env python3
"""Make a checked copy of a Kaldi data directory, with absolute paths and ids that begin with the speaker.

    local/kaldi_data_prep.py --emotion true /corpora/nemo data/nemo

Needs wav.scp and utt2spk, segments where there is such a file, and for emotions utt2emo. With `--feats true` it takes
feats.scp instead of the audio, vad.scp where there is such a file, and frame_shift. Takes text and spk2gender
along where they are complete. Line ends, order and spk2utt are put right. An utterance that one needed table lacks, or
whose audio cannot be read, is named and left out.
"""

import recipe_environment

import re
from pathlib import Path

from local.check_wav_scp import check_commands, entry_problem, several_channels
from local.counts import label_counts, print_counts, with_totals
from local.kaldi_features import place_problem, read_frame_shift
from local.kaldi_source import Source, Table, complete, read_source, warn_about_labels
from local.messages import Report
from local.prep_common import USABLE_PERCENT, keep_usable, prepared
from options import OptionParser, run, str2bool
from ser.audio.extraction import parse_segment
from ser.base.errors import UserError
from ser.base.files import write_text
from ser.base.log import counted, log
from ser.data.data_dir import read_dataset, write_data_dir


def segment_problem(segment: str, wav: Table) -> str | None:
    """Why a line of segments (`recording start end`) cannot be used, or None."""
    recording = segment.split()[0]
    if recording not in wav:
        return f"wav.scp lacks its recording {recording}"
    try:
        parse_segment(segment)
    except UserError as error:
        return f"segments: {error}"
    return None


def labelled_utterances(source: Source, allow_unlabelled: bool, report: Report) -> set[str]:
    """The utterances of the needed tables; without those that have no label, if they are allowed.

    Raises
    ------
    UserError
        More than 5 % have no label, and that is not allowed.
    """
    utterances: set[str] = set().union(*source.needed().values())
    unlabelled = sorted(utterances - source.utt2emo.keys()) if source.utt2emo else []
    if allow_unlabelled:
        report.files(unlabelled, f"not in {source.labels_file}, as --allow-unlabelled true allows "
                                 f"({len(unlabelled)} of {counted(len(utterances), 'utterance')})")
        return utterances - set(unlabelled)
    if 100 * len(unlabelled) > (100 - USABLE_PERCENT) * len(utterances):
        raise UserError(f"{source.folder / source.labels_file}: has no label for {len(unlabelled)} of "
                        f"{counted(len(utterances), 'utterance')}, the first is {unlabelled[0]}; complete it, or give "
                        "--allow-unlabelled true to go on with the others")
    return utterances


def usable_utterances(source: Source, allow_unlabelled: bool, report: Report) -> list[str]:
    """Name the utterances that cannot be used, and return the others, sorted; raises UserError for too few."""
    needed = source.needed()
    cut = source.segments is not None
    wav_problems = {key: entry_problem(source.folder, entry, cut) for key, entry in source.wav.items()}
    several = [] if cut else several_channels(entry for key, entry in source.wav.items() if not wav_problems[key])
    if several:
        has = "has" if len(several) == 1 else "have"
        log(f"WARNING: {counted(len(several), 'recording')} {has} several channels, such as {several[0]}; their mean "
            "is used")

    def problem_of(utt: str) -> str | None:
        lacking = [name for name, table in needed.items() if utt not in table]
        if lacking:
            return f"not in {' '.join(lacking)}"
        if source.feats is not None:
            problems = [place_problem(name, table[utt]) for name, table in source.features().items()]
            return next(filter(None, problems), None)
        problem = segment_problem(source.segments[utt], source.wav) if source.segments else None
        return problem or wav_problems[source.recording_of(utt)]

    usable = keep_usable(labelled_utterances(source, allow_unlabelled, report), problem_of, report)
    if source.feats is None:
        check_commands(source.folder, [source.wav[source.recording_of(utt)] for utt in usable])
    return usable


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


def used_wavs(source: Source, new_ids: Table, report: Report) -> Table:
    """The lines of wav.scp to write; says which recordings no segment uses."""
    if not source.segments:
        return {new: source.wav[old] for old, new in new_ids.items()}
    used = {source.recording_of(utt) for utt in new_ids}
    report.lines([f"left out: recording {recording}: no segment uses it"
                  for recording in sorted(source.wav.keys() - used)])
    return {recording: source.wav[recording] for recording in used}


def prepare(folder: Path, data: str, emotion: bool, allow_unlabelled: bool, feats: bool) -> str:
    """Write the checked copy; returns what was made. Raises UserError for a directory that cannot be used."""
    if folder.resolve() == Path(data).resolve():
        raise UserError(f"{data}: the copy would replace its source; name another directory")
    report = Report(data)
    source = read_source(folder, emotion, feats)
    frame_shift = read_frame_shift(folder) if feats else None
    usable = usable_utterances(source, allow_unlabelled, report)
    utt2spk = {utt: source.utt2spk[utt] for utt in usable}

    # Ids that sort with their speakers
    new_ids = kaldi_ids(utt2spk, folder)
    renamed = [new for old, new in new_ids.items() if old != new]
    if renamed:
        print(f"{counted(len(renamed), 'utterance id')} got the speaker as prefix, such as {renamed[0]}")

    def copied(table: Table) -> Table:
        return {new: table[old] for old, new in new_ids.items()}

    # Tables
    utt2emo = {utt: source.utt2emo[utt] for utt in usable} if source.utt2emo else {}
    labels = sorted(set(utt2emo.values()))
    warn_about_labels(labels, folder / source.labels_file)
    text = complete(source.text, folder / "text", usable)
    spk2gender = complete(source.spk2gender, folder / "spk2gender", set(utt2spk.values()))
    dataset = re.sub(r"\s+", "_", read_dataset(folder))
    if labels and not (folder / "dataset").is_file():
        dataset += f"-{len(labels)}"
    extra = {name: copied(table) for name, table in source.features().items()}
    if source.segments:
        extra["segments"] = copied(source.segments)
    write_data_dir(data, dataset=dataset, wav=None if feats else used_wavs(source, new_ids, report),
                   utt2spk=copied(utt2spk),
                   utt2emo=copied(utt2emo) if utt2emo else None,
                   text=copied(text) if text else None, spk2gender=spk2gender, extra=extra)
    if feats:
        write_text(Path(data) / "frame_shift", f"{frame_shift:g}\n")
    elif (folder / "feats.scp").is_file():
        print(f"{folder / 'feats.scp'} is not used, features are made of the audio (run.sh: --feats-type extracted)")
    if labels:
        print(f"labels are taken from {folder / source.labels_file}")
        print_counts(with_totals(label_counts(utt2spk, utt2emo), labels))
    return prepared(data, usable, utt2spk.values(), dataset)


def main() -> None:
    parser = OptionParser("Make a checked copy of a Kaldi data directory.",
                          "local/kaldi_data_prep.py --emotion true /corpora/nemo data/nemo")
    parser.add_argument("--emotion", type=str2bool, default=False, metavar="true|false",
                        help="require labels: utt2emo, or a text of one word per utterance (default: false)")
    parser.add_argument("--allow-unlabelled", type=str2bool, default=False, metavar="true|false",
                        help="leave out what has no label, even if that is more than 5 %% (default: false)")
    parser.add_argument("--feats", type=str2bool, default=False, metavar="true|false",
                        help="take feats.scp instead of the audio (default: false)")
    parser.add_argument("source", metavar="SRC", help="the data directory to copy")
    parser.add_argument("data", metavar="DATA", help="the data directory to write")
    args = parser.parse_args()
    made = prepare(Path(args.source).absolute(), args.data, args.emotion, args.allow_unlabelled,
                   args.feats)
    print(f"{parser.prog}: prepared {made}")


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Prepare a Kaldi data directory from VoxCeleb1, in any of its three layouts.

    local/voxceleb1_data_prep.py --speakers all /corpora/VoxCeleb1 data/voxceleb1

    ROOT/{dev,test}/wav/id10001/1zcIwhmdeo4/00001.wav     as unpacked one by one
    ROOT/wav/id10001/1zcIwhmdeo4/00001.wav                as unpacked into one folder
    ROOT/voxceleb1_wav/A.J._Buckley/1zcIwhmdeo4_0000001.wav    of 2017, folders named by person or id

vox1_meta.csv, in ROOT or beside it, gives gender and the ids of persons; without it a folder's name
is the speaker. The table utt2split says train, valid or test. It follows iden_split.txt when ROOT has
it. Otherwise the last tenth of a speaker's videos (in the order of their ids, at least one) is `valid`, or
the last tenth of the utterances where a speaker has fewer than five videos; one utterance alone is `train`.
"""

import recipe_environment

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from local.copies import choose_files, undocumented
from local.corpus_files import find, list_files
from local.counts import compare_counts, print_counts, warn_about
from local.messages import Report
from local.prep_common import GENDER, is_marked_synthetic, keep_usable, prepared, size_problem, synthetic_dataset
from local.speaker_corpus import Utterance, held_out_split
from options import OptionParser, run
from ser.base.errors import UserError
from ser.base.log import counted
from ser.data.data_dir import read_list, write_data_dir

PUBLISHED = {"all": {"speakers": 1251, "utterances": 153516}, "dev": {"speakers": 1211, "utterances": 148642}}
PUBLISHED_SPLIT = {"split": {"train": 138361, "valid": 6904, "test": 8251}}
SPLITS = {"1": "train", "2": "valid", "3": "test"}
LAYOUT = re.compile(r"(?:.*/)?(?P<person>[^/]+)/(?P<video>[\w-]{11})(?:/(?P<new>\d{5})|_(?P<old>\d{7}))\.wav", re.ASCII)
FOLDERS = {"VoxCeleb1", "dev", "test", "wav", "voxceleb1_wav"}  # those above the persons' as LAYOUT
TEST_IDS = range(10270, 10310)


class Speaker(NamedTuple):
    """A line of vox1_meta.csv; `gender` and `part` are "" where it lacks the column."""

    name: str
    gender: str
    part: str  # dev or test


def read_meta(path: str) -> dict[str, Speaker]:
    """Read vox1_meta.csv, with tabs or commas, into `{id: Speaker}`; raises UserError.

    VoxCeleb1 ID  VGGFace1 ID   Gender  Nationality  Set
    id10001       A.J._Buckley  m       Ireland      dev
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        header = file.readline().rstrip("\r\n")
        delimiter = "\t" if "\t" in header else ","
        rows = [[field.strip() for field in row] for row in csv.reader(file, delimiter=delimiter) if row]
    titles = [title.strip().lower() for title in header.split(delimiter)]
    meta = {}
    for row in rows:
        if len(row) != len(titles) or len(row) < 2:
            raise UserError(f"{path}: expected {len(titles)} fields as in the header, found {row}")
        fields = dict(zip(titles, row, strict=True))
        speaker, name = row[:2]
        meta[speaker] = Speaker(name, fields.get("gender", "").lower(), fields.get("set", "").lower())
    return meta


def utterance_of(path: str, id_of: Mapping[str, str]) -> Utterance | None:
    """The utterance of `…/<person>/<video>/<number>.wav` in any layout, or None; `id_of` maps names of persons."""
    match = LAYOUT.fullmatch(path)
    if not match:
        return None
    # Kaldi sorts by utterance and by speaker alike: of all characters left, the '-' after the speaker sorts first
    speaker = id_of.get(match["person"]) or re.sub(r"[^\w.]", "_", match["person"])
    number = int(match["new"] or match["old"])
    return Utterance(f"{speaker}-{match['video']}-{number:05d}", speaker, match["video"], path)


def is_dev(utterance: Utterance, meta: Mapping[str, Speaker]) -> bool:
    """Whether a speaker belongs to the development set: by the metadata, the folder, or the published ids."""
    speaker = utterance.speaker
    if speaker in meta and meta[speaker].part:
        return meta[speaker].part == "dev"
    folders = {"dev", "test"} & set(Path(utterance.path).parts[-5:-3])
    if folders:
        return "dev" in folders
    if re.fullmatch(r"id\d{5}", speaker):
        return int(speaker[2:]) not in TEST_IDS
    raise UserError(f"{utterance.path}: cannot tell whether {speaker} is a dev speaker; put vox1_meta.csv into ROOT")


def scan(files: Iterable[os.DirEntry], root: Path, id_of: Mapping[str, str], report: Report) -> dict[str, Utterance]:
    """Map utterance ids to the utterances of the wavs; raises UserError for two files of one utterance that differ, or
    when there is no wav."""
    parsed = {}
    misnamed = []
    for entry in files:
        if not entry.name.endswith(".wav"):
            continue
        utterance = utterance_of(entry.path, id_of)
        if utterance:
            parsed[entry.path] = utterance
        else:
            misnamed.append(entry.path)
    report.files(sorted(misnamed), "not a name of VoxCeleb1")
    if not parsed:
        raise UserError(f"{root}: no VoxCeleb1 wav inside; see --help for the layouts")

    def rank(path: str) -> tuple[int]:
        folders = Path(path).relative_to(root).parts[:-1]
        above_person = folders[: -2 if len(Path(path).stem) == 5 else -1]
        return (undocumented(above_person, FOLDERS.__contains__),)

    chosen = choose_files(parsed, lambda path: parsed[path].id, rank, report)
    return {utt: parsed[path] for utt, path in chosen.items()}


def select(found: dict[str, Utterance], speakers: str, meta: Mapping[str, Speaker]) -> dict[str, Utterance]:
    """Keep the utterances of `all` speakers, of the `dev` set, or of the speakers that a file lists."""
    if speakers == "all":
        return found
    if speakers == "dev":
        return {utt: utterance for utt, utterance in found.items() if is_dev(utterance, meta)}
    listed = set(read_list(speakers))
    absent = sorted(listed - {utterance.speaker for utterance in found.values()})
    if absent:
        raise UserError(f"{speakers}: no utterance of {counted(len(absent), 'speaker')}, the first is {absent[0]}")
    return {utt: utterance for utt, utterance in found.items() if utterance.speaker in listed}


def listed_split(path: str, found: Iterable[str], id_of: Mapping[str, str]) -> dict[str, str]:
    """Read iden_split.txt into `{utterance: train, valid or test}`; raises UserError when it leaves one out.

    1 id10001/1zcIwhmdeo4/00001.wav
    3 id10001/7w0IBEWc9Qw/00002.wav
    """
    listed = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        part, _, name = line.strip().partition(" ")
        utterance = utterance_of(name.strip(), id_of)
        if part not in SPLITS or not utterance:
            raise UserError(f"{path}:{number}: expected '1, 2 or 3, then id/video/number.wav', found {line!r}")
        listed[utterance.id] = SPLITS[part]
    missing = sorted(set(found) - set(listed))
    if missing:
        raise UserError(f"{path}: does not list {counted(len(missing), 'utterance')}, the first is {missing[0]}; "
                        "complete it, or remove it to have a tenth of each speaker held out")
    return {utt: listed[utt] for utt in found}


def prepare(root: Path, data: str, speakers: str) -> str:
    """Write the data directory; returns what was made. Raises UserError for a corpus that cannot be used."""
    # Utterances
    files = list_files(root)
    meta_path = find(files, root, "vox1_meta.csv")
    print(f"gender and names: {meta_path or 'no vox1_meta.csv in ROOT or beside it, so no spk2gender'}")
    meta = read_meta(meta_path) if meta_path else {}
    id_of = {speaker.name: identity for identity, speaker in meta.items()}
    report = Report(data)
    found = select(scan(files, root, id_of, report), speakers, meta)
    utterances = {utt: found[utt] for utt in keep_usable(found, lambda utt: size_problem(found[utt].path), report)}

    # Held-out utterances
    split_path = find(files, root, "iden_split.txt", "veri_test_class.txt")
    if split_path:
        utt2split = listed_split(split_path, utterances, id_of)
    else:
        utt2split = held_out_split(utterances.values())
    print(f"utt2split: {split_path or 'no iden_split.txt, so about a tenth of each speaker is held out'}")

    # Published counts
    part = speakers if speakers in PUBLISHED else "list"
    dataset = {"all": "voxceleb1", "dev": "voxceleb1-dev", "list": "voxceleb1-list"}[part]
    published = {part: PUBLISHED[part]} if part in PUBLISHED else {}
    is_synthetic = is_marked_synthetic(root)
    if is_synthetic:
        dataset = synthetic_dataset(root, dataset)
        published = {}
    num_speakers = len({utterance.speaker for utterance in utterances.values()})
    counts = {part: {"speakers": num_speakers, "utterances": len(utterances)}}
    print_counts(counts, published)
    split_sizes = Counter(utt2split.values())
    split_counts = {"split": {name: split_sizes[name] for name in SPLITS.values()}}
    published_split = PUBLISHED_SPLIT if split_path and published and part == "all" else {}
    print_counts(split_counts, published_split)
    warn_about(compare_counts(counts, published) + compare_counts(split_counts, published_split))
    if not is_synthetic:
        print("the paper prints 1152 speakers, which is no published part of VoxCeleb1; probably 1251 is meant")

    # Tables
    write_data_dir(data, dataset=dataset,
                   wav={utt: utterance.path for utt, utterance in utterances.items()},
                   utt2spk={utt: utterance.speaker for utt, utterance in utterances.items()},
                   spk2gender={identity: GENDER[speaker.gender] for identity, speaker in meta.items()
                               if speaker.gender in GENDER},
                   extra={"utt2split": utt2split})
    return prepared(data, utterances, {utterance.speaker for utterance in utterances.values()}, dataset)


def main() -> None:
    parser = OptionParser("Prepare a Kaldi data directory from VoxCeleb1, in any of its three layouts:\n"
                          "ROOT/{dev,test}/wav/ID/VIDEO/N.wav, ROOT/wav/ID/VIDEO/N.wav or\n"
                          "ROOT/voxceleb1_wav/PERSON/VIDEO_N.wav",
                          "local/voxceleb1_data_prep.py /corpora/VoxCeleb1 data/voxceleb1")
    parser.add_argument("--speakers", metavar="all|dev|FILE", default="all",
                        help="every speaker, the 1211 of the development set, or a list of ids (default: all)")
    parser.add_argument("root", metavar="ROOT", help="the corpus")
    parser.add_argument("data", metavar="DATA", help="the data directory to write")
    args = parser.parse_args()
    made = prepare(Path(args.root).absolute(), args.data, args.speakers)
    print(f"{parser.prog}: prepared {made}")


if __name__ == "__main__":
    run(main)

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

import csv
import re
from pathlib import Path

from local.prep_common import (
    find,
    held_out_split,
    keep_usable,
    list_files,
    print_counts,
    size_problem,
    synthetic_prefix,
    warn_of,
)
from options import OptionParser, run
from ser.base.errors import UserError
from ser.base.log import log
from ser.data.data_dir import read_list, write_data_dir

PUBLISHED = {"all": {"speakers": 1251, "utterances": 153516}, "dev": {"speakers": 1211, "utterances": 148642}}
PUBLISHED_SPLIT = {"split": {"train": 138361, "valid": 6904, "test": 8251}}
SPLITS = {"1": "train", "2": "valid", "3": "test"}
LAYOUT = re.compile(r"(?:.*/)?(?P<person>[^/]+)/(?P<video>[\w-]{11})(?:/(?P<new>\d{5})|_(?P<old>\d{7}))\.wav", re.ASCII)
TEST_IDS = range(10270, 10310)


def read_meta(path):
    """Read vox1_meta.csv, tabs or commas, into `{id: {"name":, "gender":, "set":}}`; a lacking column gives ""."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        header = file.readline().rstrip("\r\n")
        delimiter = "\t" if "\t" in header else ","
        titles = [title.strip().lower() for title in header.split(delimiter)]
        rows = [[field.strip() for field in row] for row in csv.reader(file, delimiter=delimiter) if row]
    columns = {key: titles.index(key) if key in titles else None for key in ("gender", "set")}
    meta = {}
    for row in rows:
        if len(row) != len(titles) or len(row) < 2:
            raise UserError(f"{path}: expected {len(titles)} fields as in the header, found {row}")
        meta[row[0]] = {"name": row[1]} | {key: row[at].lower() if at is not None else ""
                                           for key, at in columns.items()}
    return meta


def utterance_of(path, id_of):
    """Turn `…/<person>/<video>/<number>.wav` of any layout into (speaker, video, utterance), or None."""
    match = LAYOUT.fullmatch(path)
    if not match:
        return None
    person, video = match["person"], match["video"]
    # of all characters left, the '-' behind the speaker sorts first, which is what Kaldi needs
    speaker = id_of.get(person) or re.sub(r"[^\w.]", "_", person)
    return speaker, video, f"{speaker}-{video}-{int(match['new'] or match['old']):05d}"


def is_dev(speaker, path, meta):
    """Whether a speaker belongs to the development set: by the metadata, the folder, or the published ids."""
    if meta.get(speaker, {}).get("set"):
        return meta[speaker]["set"] == "dev"
    folders = {"dev", "test"} & set(Path(path).parts[-5:-3])
    if folders:
        return "dev" in folders
    if re.fullmatch(r"id\d{5}", speaker):
        return int(speaker[2:]) not in TEST_IDS
    raise UserError(f"{path}: cannot tell whether {speaker} is a dev speaker; put vox1_meta.csv into ROOT")


def scan(files, root, id_of):
    """Map the wavs to `{utterance: (speaker, video, path)}`; raises UserError when an utterance stands twice."""
    found, strangers, twice = {}, [], []
    for entry in files:
        if not entry.name.endswith(".wav"):
            continue
        parsed = utterance_of(entry.path, id_of)
        if parsed is None:
            strangers.append(entry.path)
            continue
        speaker, video, utt = parsed
        if utt in found:
            twice.append(f"{utt} stands twice: {found[utt][2]} and {entry.path}")
        else:
            found[utt] = speaker, video, entry.path
    for path in sorted(strangers):
        log(f"left out: {path}: not a name of VoxCeleb1")
    for line in sorted(twice):
        log(line)
    if twice:
        raise UserError(f"{root}: {len(twice)} utterances stand twice, named above; remove one copy")
    if not found:
        raise UserError(f"{root}: no VoxCeleb1 wav inside; see --help for the layouts")
    return found


def select(found, speakers, meta):
    """Keep the utterances of `all` speakers, of the `dev` set, or of the speakers that a file lists."""
    if speakers == "all":
        return found
    if speakers == "dev":
        return {utt: entry for utt, entry in found.items() if is_dev(entry[0], entry[2], meta)}
    wanted = set(read_list(speakers))
    absent = sorted(wanted - {entry[0] for entry in found.values()})
    if absent:
        raise UserError(f"{speakers}: {len(absent)} speakers have no utterance, the first is {absent[0]}")
    return {utt: entry for utt, entry in found.items() if entry[0] in wanted}


def listed_split(path, found, id_of):
    """Read iden_split.txt into `{utterance: train, valid or test}`; raises UserError when it leaves one out."""
    listed = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        which, _, name = line.strip().partition(" ")
        parsed = utterance_of(name.strip(), id_of)
        if which not in SPLITS or not parsed:
            raise UserError(f"{path}:{number}: expected '1, 2 or 3, then id/video/number.wav', found {line!r}")
        listed[parsed[2]] = SPLITS[which]
    missing = sorted(set(found) - set(listed))
    if missing:
        raise UserError(f"{path}: does not list {len(missing)} utterances, the first is {missing[0]}; "
                        "complete it, or take it away to have a tenth of each speaker held out")
    return {utt: listed[utt] for utt in found}


def main():
    parser = OptionParser("Prepare a Kaldi data directory from VoxCeleb1, in any of its three layouts:\n"
                          "ROOT/{dev,test}/wav/ID/VIDEO/N.wav, ROOT/wav/ID/VIDEO/N.wav or\n"
                          "ROOT/voxceleb1_wav/PERSON/VIDEO_N.wav",
                          "local/voxceleb1_data_prep.py /corpora/VoxCeleb1 data/voxceleb1")
    parser.add_argument("--speakers", metavar="all|dev|FILE", default="all",
                        help="every speaker, the 1211 of the development set, or a list of ids (default: all)")
    parser.add_argument("root", metavar="ROOT", help="the corpus")
    parser.add_argument("data", metavar="DATA", help="the data directory to write")
    args = parser.parse_args()

    root = Path(args.root).absolute()
    files = list_files(root)
    meta_path = find(files, root, "vox1_meta.csv")
    meta = read_meta(meta_path) if meta_path else {}
    print(f"gender and names: {meta_path or 'no vox1_meta.csv in ROOT or beside it, so no spk2gender'}")
    id_of = {row["name"]: speaker for speaker, row in meta.items()}
    found = select(scan(files, root, id_of), args.speakers, meta)
    usable = keep_usable(found, lambda utt: size_problem(found[utt][2]))
    found = {utt: found[utt] for utt in usable}
    split_path = find(files, root, "iden_split.txt", "veri_test_class.txt")
    utt2split = listed_split(split_path, found, id_of) if split_path else held_out_split(
        {utt: (speaker, video) for utt, (speaker, video, _) in found.items()})
    print(f"utt2split: {split_path or 'no iden_split.txt, so about a tenth of each speaker is held out'}")

    speakers = {entry[0] for entry in found.values()}
    which = args.speakers if args.speakers in PUBLISHED else "list"
    prefix = synthetic_prefix(root)
    published = {which: PUBLISHED[which]} if which in PUBLISHED and not prefix else None
    differences = print_counts({which: {"speakers": len(speakers), "utterances": len(found)}}, published)
    sizes = {"split": {part: list(utt2split.values()).count(part) for part in SPLITS.values()}}
    differences += print_counts(sizes, PUBLISHED_SPLIT if split_path and published and which == "all" else None)
    warn_of(differences)
    print("the paper prints 1152 speakers, which is no published part of VoxCeleb1; probably 1251 is meant")

    word = prefix + {"all": "voxceleb1", "dev": "voxceleb1-dev", "list": "voxceleb1-list"}[which]
    write_data_dir(args.data, dataset=word,
                   wav={utt: path for utt, (_, _, path) in found.items()},
                   utt2spk={utt: speaker for utt, (speaker, _, _) in found.items()},
                   spk2gender={speaker: row["gender"] for speaker, row in meta.items() if row["gender"] in ("m", "f")},
                   extra={"utt2split": utt2split})
    print(f"{parser.prog}: prepared {args.data}: {len(found)} utterances of {len(speakers)} speakers, dataset {word}")


if __name__ == "__main__":
    run(main)

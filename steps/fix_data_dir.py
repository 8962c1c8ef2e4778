#!/usr/bin/env python3
"""Keep the utterances that are in every file of a data directory; the old files go to DATA/.backup.

As Kaldi's utils/fix_data_dir.sh, with utt2emo and utt2split among the files that it filters: a speaker that
cmvn.scp or spk2gender lacks, or a recording that wav.scp lacks, takes its utterances along. Tables are sorted anew.
"""

import recipe_environment

import shutil
from pathlib import Path

from options import OptionParser, run
from ser.base.errors import UserError
from ser.base.log import counted
from ser.data.check_data_dir import TABLES
from ser.data.data_dir import read_table, spk2utt_of, write_table

KINDS = {name: table.keys for name, table in TABLES.items() if name != "spk2utt"} | {"utt2split": "utterances"}


def main():
    parser = OptionParser(__doc__, "steps/fix_data_dir.py data/iemocap")
    parser.add_argument("data", type=Path, help="data directory")
    data = parser.parse_args().data

    # Tables, and where an utterance is in each
    tables = {name: read_table(data / name, key_alone=name == "text") for name in KINDS
              if name == "utt2spk" or (data / name).exists()}
    speaker_of = tables["utt2spk"]
    recording_of = {utt: segment.split()[0] for utt, segment in tables.get("segments", {}).items()}

    def key(utt, name):
        keys = {"utterances": utt, "speakers": speaker_of.get(utt), "recordings": recording_of.get(utt, utt)}
        return keys[KINDS[name]]

    # Utterances to keep
    utterances = set().union(*(table for name, table in tables.items() if KINDS[name] == "utterances"))
    if not recording_of:
        utterances |= set(tables.get("wav.scp", ()))
    keep = {utt for utt in utterances if all(key(utt, name) in table for name, table in tables.items())}
    if not keep:
        raise UserError(f"{data}: no utterance is in all of {' '.join(tables)}")

    # Their lines, and backups of the tables that change
    kept = {name: {key(utt, name): table[key(utt, name)] for utt in keep} for name, table in tables.items()}
    kept["spk2utt"] = spk2utt_of(kept["utt2spk"])
    (data / ".backup").mkdir(exist_ok=True)
    for name, table in kept.items():
        if list(tables.get(name, {}).items()) != sorted(table.items()):
            if (data / name).exists():
                shutil.copy2(data / name, data / ".backup" / name)
            write_table(data / name, table)
    print(f"fix_data_dir.py: kept {len(keep)} of {counted(len(utterances), 'utterance')} of {data}")


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Keep the utterances that stand in every file of a data directory; the old files go to DATA/.backup.

As Kaldi's utils/fix_data_dir.sh, with utt2emo and utt2split among the files that it filters: a speaker that
cmvn.scp or spk2gender lacks, or a recording that wav.scp lacks, takes its utterances along. Tables are sorted anew.
"""

import shutil
from pathlib import Path

from options import OptionParser, run
from ser.base.errors import UserError
from ser.data.check_data_dir import TABLES
from ser.data.data_dir import read_table, spk2utt_of, write_table

KINDS = {name: table.keys for name, table in TABLES.items() if name != "spk2utt"} | {"utt2split": "utterances"}


def main():
    parser = OptionParser(__doc__, "steps/fix_data_dir.py data/iemocap")
    parser.add_argument("data", type=Path, help="data directory")
    data = parser.parse_args().data
    tables = {name: read_table(data / name) for name in KINDS if name == "utt2spk" or (data / name).exists()}
    speaker_of = tables["utt2spk"]
    recording_of = {utt: line.split()[0] for utt, line in tables.get("segments", {}).items()}

    def key(utt, kind):
        return {"utterances": utt, "speakers": speaker_of.get(utt), "recordings": recording_of.get(utt, utt)}[kind]

    everything = set().union(*(table for name, table in tables.items() if KINDS[name] == "utterances"))
    if not recording_of:
        everything |= set(tables.get("wav.scp", ()))
    keep = {utt for utt in everything if all(key(utt, KINDS[name]) in table for name, table in tables.items())}
    if not keep:
        raise UserError(f"{data}: no utterance stands in all of {' '.join(tables)}")
    kept = {name: {key(utt, KINDS[name]): table[key(utt, KINDS[name])] for utt in keep}
            for name, table in tables.items()}
    kept["spk2utt"] = spk2utt_of(kept["utt2spk"])
    (data / ".backup").mkdir(exist_ok=True)
    for name, table in kept.items():
        if list(tables.get(name, {}).items()) != sorted(table.items()):
            if (data / name).exists():
                shutil.copy2(data / name, data / ".backup" / name)
            write_table(data / name, table)
    print(f"fix_data_dir.py: kept {len(keep)} of {len(everything)} utterances of {data}")


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Keep the utterances that stand in every file of a data directory; the old files go to DATA/.backup.

As Kaldi's utils/fix_data_dir.sh, with utt2emo and utt2split among the files that it filters.
"""

import shutil
from pathlib import Path

from options import OptionParser, run
from ser.data_dir import read_table, spk2utt_of, write_table
from ser.errors import UserError

BY_UTTERANCE = ("utt2spk", "text", "utt2emo", "utt2split", "segments", "feats.scp", "vad.scp", "utt2dur",
                "utt2num_frames")


def main():
    parser = OptionParser(__doc__, "steps/fix_data_dir.py data/iemocap")
    parser.add_argument("data", type=Path, help="data directory")
    data = parser.parse_args().data
    names = [name for name in BY_UTTERANCE if (data / name).exists()]
    if not (data / "segments").exists():
        names.append("wav.scp")
    tables = {name: read_table(data / name) for name in names}
    everything = set().union(*tables.values())
    keep = everything.intersection(*tables.values())
    if not keep:
        raise UserError(f"{data}: no utterance stands in all of {' '.join(names)}")
    if keep != everything:
        (data / ".backup").mkdir(exist_ok=True)
        for name in names:
            shutil.copy2(data / name, data / ".backup" / name)
            write_table(data / name, {utt: value for utt, value in tables[name].items() if utt in keep})
        utt2spk = {utt: speaker for utt, speaker in tables["utt2spk"].items() if utt in keep}
        write_table(data / "spk2utt", spk2utt_of(utt2spk))
        if (data / "spk2gender").exists():
            genders = read_table(data / "spk2gender")
            write_table(data / "spk2gender", {spk: genders[spk] for spk in set(utt2spk.values()) if spk in genders})
    print(f"fix_data_dir.py: kept {len(keep)} of {len(everything)} utterances of {data}")


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Name the silent, clipped and constant utterances of a data directory, and those that are copies of others.

Reads DATA/utt2audio_problem and DATA/utt2audio_digest, which steps/make_fbank.sh makes of the decoded samples (and
steps/check_feats.sh of the features that a user has brought), and writes DATA/duplicates: a line for each recording
that has several names. Silent and constant utterances are no copies.
"""

import recipe_environment

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from options import OptionParser, run
from ser.base.log import counted
from ser.data.data_dir import read_table
from ser.data.duplicates import FILE, find_duplicates, write_duplicates

MOST_LINES = 10


def report(headline: str, lines: Sequence[str], file: Path) -> None:
    """Print a headline and at most ten lines, then how many more there are in a file."""
    shown = [f"  {line}" for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        shown.append(f"  and {len(lines) - MOST_LINES} more: {file}")
    print(*(f"report_audio.py: {line}" for line in [headline, *shown]), sep="\n", file=sys.stderr)


def report_problems(data: Path, problems: Mapping[str, str], total: int) -> None:
    counts = Counter(problems.values())
    counted = ", ".join(f"{count} {problem}" for problem, count in sorted(counts.items()))
    report(f"WARNING: {data}: of {total} utterances {counted}; listen to them, and take out what is no speech",
           [f"{utt} is {problem}" for utt, problem in problems.items()], data / "utt2audio_problem")


def report_duplicates(data: Path, groups: Sequence[Sequence[str]], labels: Mapping[str, Mapping[str, str]]) -> None:
    """Name the copies, those that contradict a table (kind of label to utterance to label) first."""
    conflicts: Counter[str] = Counter()
    wrong_lines = []
    lines = []
    for group in groups:
        line = " = ".join(group)
        found = {kind: sorted({label_of[utt] for utt in group}) for kind, label_of in labels.items()}
        differing = [kind for kind in found if len(found[kind]) > 1]
        conflicts.update(differing)
        if differing:
            wrong_lines.append(f"{line} ({', '.join(f'{kind} ' + ' or '.join(found[kind]) for kind in differing)})")
        else:
            lines.append(line)
    copies = sum(len(group) - 1 for group in groups)
    found_copies = counted(copies, "utterance is a copy of another", "utterances are copies of others")
    how = "frame by frame" if (data / "conf" / "extracted.conf").is_file() else "sample by sample"
    headline = f"{data}: {found_copies}, {how}"
    if conflicts:
        said = ", ".join(f"with more than one {kind}: {conflicts[kind]}" for kind in labels if conflicts[kind])
        headline = f"WARNING: {headline}; recordings {said}; at most one can be right"
    report(headline, wrong_lines + lines, data / FILE)


def main() -> None:
    parser = OptionParser(__doc__, "steps/report_audio.py data/iemocap")
    parser.add_argument("data", type=Path, help="data directory with features")
    data = parser.parse_args().data
    digests = read_table(data / "utt2audio_digest", columns=2)
    problems = read_table(data / "utt2audio_problem", columns=2)
    labels = {"speaker": read_table(data / "utt2spk", columns=2)}
    if (data / "utt2emo").exists():
        labels["emotion"] = read_table(data / "utt2emo", columns=2)
    if problems:
        report_problems(data, problems, len(digests))
    groups = find_duplicates({utt: digest for utt, digest in digests.items()
                              if problems.get(utt) not in ("silent", "constant")})
    write_duplicates(data, groups)
    if groups:
        report_duplicates(data, groups, labels)


if __name__ == "__main__":
    run(main)

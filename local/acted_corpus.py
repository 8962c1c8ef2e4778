"""What the preparations of acted corpora share, in which a file's name says who speaks and with which emotion."""

import argparse
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from local.copies import choose_files, undocumented
from local.corpus_files import SYNTHETIC_MARKER
from local.counts import compare_counts, label_counts, print_counts, warn_about, with_totals
from local.messages import Report
from local.prep_common import (
    find,
    keep_usable,
    prepared,
    synthetic_dataset,
    warn_about_formats,
    wav_problem,
)
from options import OptionParser
from ser.base.errors import UserError
from ser.base.log import counted
from ser.data.data_dir import write_data_dir

FOUR = ("neu", "hap", "ang", "sad")
OTHER_MEDIA = {".mp3", ".mp4", ".flv", ".m4a", ".flac", ".ogg", ".opus", ".wma", ".wave", ".aif", ".aiff", ".webm"}
ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"}


class Utterance(NamedTuple):
    """An utterance of an acted corpus."""

    id: str
    speaker: str
    label: str
    path: str


class Corpus(NamedTuple):
    """What tells one acted corpus from another."""

    title: str  # as people call it
    name: str  # of its script NAME_data_prep.py and of its dataset
    sample: str  # a file's name, for messages
    published: Mapping[str, int]  # utterances of each label, without those that utterance_of() gives a reason for
    # path to its utterance and "", or to None and why the corpus's file is not used, "" for a name of something else
    utterance_of: Callable[[str], tuple[Utterance | None, str]]
    folders: re.Pattern[str]  # names of those that hold its wavs, as it is published
    sample_rate: int  # of its wavs, as it is published
    mono: bool  # whether all of its wavs are


def parse_options(corpus: Corpus) -> argparse.Namespace:
    """Options of the script of `corpus`: labels, root, data."""
    parser = OptionParser(f"Prepare a Kaldi data directory from {corpus.title}.",
                          f"local/{corpus.name}_data_prep.py --labels all /corpora/{corpus.title} data/{corpus.name}")
    parser.add_argument("--labels", choices=("four", "all"), default="four",
                        help=f"the paper's {' '.join(FOUR)}, or all {len(corpus.published)} (default: four)")
    parser.add_argument("root", metavar="ROOT", type=lambda root: Path(root).absolute(),
                        help="the corpus: a folder with its wavs, at any depth")
    parser.add_argument("data", metavar="DATA", help="the data directory to write")
    return parser.parse_args()


def read_names(corpus: Corpus, root: Path, files: list[os.DirEntry], report: Report) -> list[Utterance]:
    """The utterances whose files have a name of the corpus, one file of each; says which files are not used.

    Raises
    ------
    UserError
        There is none, or files of one name and of folders that count alike differ.
    """
    by_suffix: dict[str, list[str]] = {}
    for entry in files:
        by_suffix.setdefault(Path(entry.name).suffix.lower(), []).append(entry.path)

    # Names
    parsed = {}
    left_out: dict[str, list[str]] = {}
    other_media = sorted(path for suffix in OTHER_MEDIA for path in by_suffix.get(suffix, []))
    if other_media:
        left_out["no wav"] = other_media
    for path in sorted(by_suffix.get(".wav", [])):
        utterance, reason = corpus.utterance_of(path)
        if utterance:
            parsed[path] = utterance
        else:
            reason = reason or f"not a name of {corpus.title}, such as {corpus.sample}"
            left_out.setdefault(reason, []).append(path)
    if not parsed:
        archives = [path for suffix in ARCHIVES for path in by_suffix.get(suffix, [])]
        reasons = "".join(f"; {counted(len(paths), 'file')}: {reason}" for reason, paths in left_out.items())
        unpack = ""
        if archives:
            unpack = f"; {counted(len(archives), 'archive')}, such as {Path(archives[0]).name}, to be unpacked"
        raise UserError(f"{root}: no wav of {corpus.title} inside, such as {corpus.sample}{reasons}{unpack}")
    for reason, paths in left_out.items():
        report.files(paths, reason)

    # One file of each name
    def rank(path: str) -> tuple[int, bool]:
        folders = Path(path).relative_to(root).parts[:-1]
        in_own_folder = folders and corpus.folders.fullmatch(folders[-1])
        return undocumented(folders, corpus.folders.fullmatch), not in_own_folder

    chosen = choose_files(parsed, lambda path: parsed[path].id, rank, report)
    return [parsed[path] for path in chosen.values()]


def prepare(corpus: Corpus, root: Path, data: str, files: list[os.DirEntry], *, all_labels: bool,
            spk2gender: Mapping[str, str]) -> None:
    """Write the data directory of a corpus.

    Parameters
    ----------
    corpus : Corpus
    root : Path
        Of the corpus.
    data : str
        The data directory.
    files : list of os.DirEntry
        Files of the corpus; of several with the same name, that of the documented folder is used.
    all_labels : bool
        Whether to take all labels of the corpus, or the paper's four.
    spk2gender : dict
        Speaker to `m` or `f`, or nothing where it is not known.

    Raises
    ------
    UserError
        The corpus has no utterance of the labels, fewer than 95 % of them can be used, or files of one name differ.
    """
    labels = tuple(corpus.published) if all_labels else FOUR
    report = Report(data)
    utterances = {utterance.id: utterance for utterance in read_names(corpus, root, files, report)
                  if utterance.label in labels}
    if not utterances:
        raise UserError(f"{root}: no utterance of the classes {' '.join(labels)}; --labels all takes the others")
    usable = keep_usable(utterances, lambda utt: wav_problem(utterances[utt].path), report)
    utt2spk = {utt: utterances[utt].speaker for utt in usable}
    utt2emo = {utt: utterances[utt].label for utt in usable}

    dataset = f"{corpus.name}-{len(labels)}"
    total = with_totals({"published": corpus.published}, labels)["total"]
    published = {"total": total}
    marker = find(files, root, SYNTHETIC_MARKER)
    if marker:
        dataset = synthetic_dataset(Path(marker).parent, dataset)
        published = {}
    else:
        warn_about_formats((utterances[utt].path for utt in usable), corpus.sample_rate, mono=corpus.mono)
    counts = with_totals(label_counts(utt2spk, utt2emo), labels)
    print_counts(counts, published)
    warn_about(compare_counts(counts, published))

    write_data_dir(data, dataset=dataset, wav={utt: utterances[utt].path for utt in usable}, utt2spk=utt2spk,
                   spk2gender=spk2gender, utt2emo=utt2emo)
    print(f"{corpus.name}_data_prep.py: prepared {prepared(data, usable, utt2spk.values(), dataset)}")

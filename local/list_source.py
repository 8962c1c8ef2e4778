#!/usr/bin/env python3
"""Say how the source of a data directory differs from what the directory was made from.

    local/list_source.py local/emodb_data_prep.py --labels four /corpora/EmoDB data/emodb

The arguments are the command that makes DATA; its last two words are the source and DATA. What a command was run on is
in DATA/.source.json: of a corpus every file that is not hidden, with its size and time; of a Kaldi directory its tables
by content, and size and time of each file that wav.scp names, or with `--feats true` feats.scp and vad.scp. When
command and source are no longer like that, or there is no such file, one line says what has changed, and the listing of
now is written to DATA/.source.json.new. Whoever runs the command moves that into place at its end. When nothing has
changed, nothing is printed or written.
"""

import recipe_environment

import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from local.corpus_files import SYNTHETIC_MARKER, in_other_unicode_form, walk
from local.kaldi_features import read_places
from options import OptionParser, run, str2bool
from ser.base.errors import UserError
from ser.base.files import write_text

NAME = ".source.json"
KEYS = {"command", "source", "data", "tables", "files"}
KALDI = "local/kaldi_data_prep.py"
TABLES = ("wav.scp", "segments", "utt2spk", "utt2emo", "text", "spk2gender", "reco2file_and_channel", "dataset")
# Of a directory whose features are taken
TABLES_WITH_FEATURES = ("feats.scp", "vad.scp", "frame_shift", "utt2spk", "utt2emo", "text", "spk2gender", "dataset")
# What preparations look for beside the folder of a corpus, too.
BESIDE = (SYNTHETIC_MARKER, "VideoDemographics.csv", "SPEAKERS.TXT", "vox1_meta.csv", "iden_split.txt",
          "veri_test_class.txt")


def state_of(path: str | os.PathLike) -> list[int] | None:
    """Size and modification time (ns) of a file, or None when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def files_of_corpus(folder: Path, data: Path) -> Iterator[tuple[str, str]]:
    """Yield name and path of each file that a preparation may read, but for what the recipe writes below a corpus."""
    root = Path(os.path.realpath(folder))
    own = [Path(os.path.realpath(place)) for place in (os.environ.get("SER_ROOT", "."), data.parent)]
    own = [place for place in own if root in place.parents]
    for entry in walk(folder):
        if not own or not set(own).intersection(Path(os.path.realpath(entry.path)).parents):
            yield entry.path.removeprefix(f"{folder}/"), entry.path
    for name in BESIDE:
        yield f"../{name}", str(folder.parent / name)


def words_of(command: str) -> set[str]:
    """The words of a shell's command, without quotes and redirections, and what blanks divide, as in `bash -c '…'`."""
    divided = {word.strip("'\"") for word in command.split()}
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return divided | set(lexer)
    except ValueError:  # a quote that is not closed
        return divided


def files_of_wav_scp(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield name and path of each file that wav.scp names: audio, archives, and words of commands that are files."""
    try:
        lines = (folder / "wav.scp").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # the preparation will say so
        return
    for line in lines:
        entry = " ".join(line.split(maxsplit=1)[1:]).strip()
        if entry.endswith("|"):
            yield from ((word, word) for word in words_of(entry[:-1]) if os.path.isfile(word))
        else:
            archive = entry.rpartition(":")[0] or entry
            paths = folder / entry, Path(entry), folder / archive, Path(archive)
            found = next((str(path) for path in paths if path.is_file()), None)
            yield entry, found or in_other_unicode_form(str(folder / entry)) or entry


def files_of_features(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield name and path of each archive that feats.scp and vad.scp name."""
    for name in ("feats.scp", "vad.scp"):
        if (folder / name).is_file():
            archives = {place.rpartition(":")[0] for place in read_places(folder, name).values()}
            yield from ((archive, archive) for archive in sorted(archives))


def list_source(command: Sequence[str]) -> dict[str, Any]:
    """What a command would make its data directory from, as NAME keeps it; raises UserError."""
    *words, source, data = command
    folder = Path(source)
    if not folder.is_dir():
        raise UserError(f"{source}: no such directory")
    tables = {}
    if words[0] == KALDI:
        with_features = " --feats true " in f" {' '.join(words)} "
        files = files_of_features(folder) if with_features else files_of_wav_scp(folder)
        for path in (folder / name for name in (TABLES_WITH_FEATURES if with_features else TABLES)):
            if path.is_file():
                tables[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    else:
        files = files_of_corpus(folder, Path(data))
    states = {name: state_of(path) for name, path in files}
    return {"command": words, "source": os.path.realpath(source), "data": os.path.realpath(data), "tables": tables,
            "files": {name: state for name, state in states.items() if state}}


def is_same_place(before: str, now: str) -> bool:
    """Whether two paths lead to one folder, by whatever name."""
    return before == now or (os.path.exists(before) and os.path.samefile(before, now))


def clause(names: list[str], one: str, several: str) -> str:
    """What became of one file, or of several with an example."""
    return f"{names[0]} {one}" if len(names) == 1 else f"{len(names)} files {several}, such as {names[0]}"


def differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What has changed between two listings, in a line; empty when nothing has."""
    if before["command"] != now["command"]:
        return f"it was prepared with {' '.join(before['command'])}, asked for is {' '.join(now['command'])}"
    for place in ("data", "source"):
        if not is_same_place(before[place], now[place]):
            return f"the folder has been moved, it was {before[place]}"
    clauses = []
    for kind, other in (("files", "is another file"), ("tables", "is another text")):
        old, new = before[kind], now[kind]
        changed = sorted(name for name in old.keys() & new.keys() if old[name] != new[name])
        for names, one, several in ((sorted(new.keys() - old.keys()), "was added", "were added"),
                                    (sorted(old.keys() - new.keys()), "was removed", "were removed"),
                                    (changed, other, "are other ones")):
            if names:
                clauses.append(clause(names, one, several))
    return f"the source has changed: {'; '.join(clauses)}" if clauses else ""


def read_listing(path: Path) -> dict[str, Any] | None:
    """A listing that was written before, or None when it is not there or damaged."""
    try:
        listing = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return listing if isinstance(listing, dict) and listing.keys() == KEYS else None


def main() -> None:
    parser = OptionParser(__doc__, "local/list_source.py local/emodb_data_prep.py --labels four /corpora/EmoDB "
                          "data/emodb")
    parser.add_argument("command", nargs="...", metavar="COMMAND... SOURCE DATA", help="what makes the data directory")
    parser.add_argument("--dry-run", type=str2bool, default=False, metavar="true|false",
                        help="print what has changed and write nothing (default: false)")
    args = parser.parse_args()
    command = args.command
    if len(command) < 3:
        parser.error("expected the command that makes a data directory: SCRIPT [options] SOURCE DATA")
    path = Path(command[-1], NAME)
    now = list_source(command)
    before = read_listing(path)
    reason = differences(before, now) if before else "it is not complete"
    if reason and not args.dry_run:
        write_text(f"{path}.new", json.dumps(now, indent=1, sort_keys=True) + "\n")
    if reason:
        print(reason)


if __name__ == "__main__":
    run(main)

"""What the preparations of acted corpora share, in which a file's name says who speaks and with which emotion."""

import sys
from pathlib import Path

from local.prep_common import (
    SYNTHETIC,
    find,
    keep_usable,
    label_counts,
    log_left_out,
    once_each,
    print_counts,
    synthetic_prefix,
    warn_of,
    wav_problem,
    with_totals,
)
from options import OptionParser
from ser.base.errors import UserError
from ser.data.data_dir import write_data_dir

FOUR = ("neu", "hap", "ang", "sad")
OTHER_MEDIA = {".mp3", ".mp4", ".flv"}


def get_args(corpus, published):
    """Parse the options of the script that runs; `name` is the corpus in its name, cremad of cremad_data_prep.py.

    Parameters
    ----------
    corpus : str
        As people call it.
    published : dict
        Label to number of utterances.
    """
    script = Path(sys.argv[0]).name
    name = script.removesuffix("_data_prep.py")
    parser = OptionParser(f"Prepare a Kaldi data directory from {corpus}.",
                          f"local/{script} --labels all /corpora/{corpus} data/{name}")
    parser.add_argument("--labels", choices=("four", "all"), default="four",
                        help=f"the paper's {' '.join(FOUR)}, or all {len(published)} (default: four)")
    parser.add_argument("root", metavar="ROOT", type=lambda root: Path(root).absolute(),
                        help="the corpus: a folder with its wavs, at any depth")
    parser.add_argument("data", metavar="DATA", help="the data directory to write")
    parser.set_defaults(corpus=corpus, name=name)
    return parser.parse_args()


def read_names(args, files, sample, utterance_of):
    """Turn file names into `{utterance: (path, speaker, label)}`, see `prepare`; raises UserError without any."""
    wavs = once_each((entry.path for entry in files if Path(entry.name).suffix.lower() == ".wav"),
                     key=lambda path: Path(path).stem)
    left_out = {"no wav": sorted(entry.path for entry in files if Path(entry.name).suffix.lower() in OTHER_MEDIA)}
    found = {}
    for stem, path in sorted(wavs.items()):
        said = utterance_of(stem) or f"not a name of {args.corpus}, such as {sample}"
        if isinstance(said, str):
            left_out.setdefault(said, []).append(path)
        else:
            utt, speaker, label = said
            found[utt] = path, speaker, label
    left_out = {reason: paths for reason, paths in left_out.items() if paths}
    if not found:
        reasons = "".join(f"; {len(paths)} files: {reason}" for reason, paths in left_out.items())
        raise UserError(f"{args.root}: no wav of {args.corpus} inside, such as {sample}{reasons}")
    for reason, paths in left_out.items():
        log_left_out(paths, reason)
    return found


def prepare(args, files, *, sample, utterance_of, published, spk2gender):
    """Write the data directory of a corpus.

    Parameters
    ----------
    args : argparse.Namespace
        Of `get_args`.
    files : list of os.DirEntry
        The corpus; of a name that stands twice, one file is used.
    sample : str
        A file's name, for messages.
    utterance_of : callable
        A name without .wav to (utterance, speaker, label), to a reason why the corpus's file is not used, or None.
    published : dict
        Label to number of utterances, without those that `utterance_of` gives a reason for.
    spk2gender : dict
        Speaker to `m` or `f`, or nothing where it is not known.
    """
    labels = FOUR if args.labels == "four" else tuple(published)
    found = {utt: entry for utt, entry in read_names(args, files, sample, utterance_of).items() if entry[2] in labels}
    if not found:
        raise UserError(f"{args.root}: no utterance of the classes {' '.join(labels)}; --labels all takes the others")
    usable = keep_usable(found, lambda utt: wav_problem(found[utt][0]))
    utt2spk = {utt: found[utt][1] for utt in usable}
    utt2emo = {utt: found[utt][2] for utt in usable}
    marker = find(files, args.root, SYNTHETIC)
    prefix = synthetic_prefix(Path(marker).parent) if marker else ""
    total = with_totals({"published": published}, labels)["total"]
    warn_of(print_counts(with_totals(label_counts(utt2spk, utt2emo), labels), None if prefix else {"total": total}))
    word = f"{prefix}{args.name}-{len(labels)}"
    write_data_dir(args.data, dataset=word, wav={utt: found[utt][0] for utt in usable}, utt2spk=utt2spk,
                   spk2gender=spk2gender, utt2emo=utt2emo)
    print(f"{args.name}_data_prep.py: prepared {args.data}: {len(usable)} utterances of "
          f"{len(set(utt2spk.values()))} speakers, dataset {word}")

"""What folds cannot work with or mean little for, known from the tables alone, before features are extracted."""

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from local.messages import Report
from options import read_conf
from ser.base.errors import UserError
from ser.data.data_dir import read_table

BATCH = 128  # that of the paper, and the default of steps/finetune.py and steps/pretrain.py
Folds = dict[str, tuple[set[str], set[str]]]  # fold to speakers of test and speakers of valid


def batch_size_of(training_config: str | None) -> int:
    """The `--batch-size` that a configuration file of a training gives; raises UserError."""
    sizes = [word.partition("=")[2] for word in (read_conf(training_config) if training_config else [])
             if word.startswith("--batch-size=")]
    return int(sizes[-1]) if sizes and sizes[-1].isdecimal() else BATCH


def check_folds(data: Path, folds: Folds, utt2spk: Mapping[str, str], batch_size: int) -> None:
    """Warn about the folds that work and mean little.

    Parameters
    ----------
    data : Path
        The data directory; without utt2emo nothing is said of classes.
    folds : dict
    utt2spk : dict
        Of the utterances to divide.
    batch_size : int
        Of fine-tuning.

    Raises
    ------
    UserError
        An utterance has no label, or all have the same one.
    """
    utt2emo = read_table(data / "utt2emo", columns=2) if (data / "utt2emo").is_file() else {}
    lacking = sorted(utt2spk.keys() - utt2emo.keys())
    if utt2emo and lacking:
        raise UserError(f"{data / 'utt2emo'}: has no label for {lacking[0]} ({len(lacking)} missing)")
    classes = sorted({utt2emo[utt] for utt in utt2spk}) if utt2emo else []
    if len(classes) == 1:
        raise UserError(f"{data / 'utt2emo'}: has only one label, {classes[0]}; there is nothing to tell apart")

    report = Report(data, "fold_warnings")
    report.lines(_speaker_warnings(folds, set(utt2spk.values())))
    report.lines(_batch_warnings(folds, utt2spk, batch_size))
    speaker_counts: dict[str, Counter[str]] = {speaker: Counter() for speaker in utt2spk.values()}
    for utt, label in utt2emo.items():
        if utt in utt2spk:
            speaker_counts[utt2spk[utt]][label] += 1
    report.lines(_class_warnings(folds, speaker_counts, classes))


def _speaker_warnings(folds: Folds, speakers: Collection[str]) -> list[str]:
    warnings = []
    for fold, (test, valid) in folds.items():
        training = sorted(set(speakers) - test - valid)
        if len(training) == 1:
            warnings.append(f"WARNING: {fold}: {training[0]} alone trains: L_AD-, the loss over speakers, has one "
                            "class and means nothing, nor do the systems with AD")
        elif len(training) == 2:
            warnings.append(f"WARNING: {fold}: only {' and '.join(training)} train: what L_AD- learns of two speakers "
                            "says little of others")
    return warnings


def _batch_warnings(folds: Folds, utt2spk: Mapping[str, str], batch_size: int) -> list[str]:
    sizes = {fold: sum(speaker not in test | valid for speaker in utt2spk.values())
             for fold, (test, valid) in folds.items()}
    small = [fold for fold, size in sizes.items() if size < batch_size]
    if not small:
        return []
    return [f"WARNING: {len(small)} of {len(folds)} folds train on fewer utterances than a batch of {batch_size}, such "
            f"as {small[0]} on {sizes[small[0]]}: an epoch is one step there; --batch-size of conf/finetune.conf "
            "changes it"]


def _class_warnings(folds: Folds, speaker_counts: Mapping[str, Counter[str]], classes: Collection[str]) -> list[str]:
    warnings = []
    untested: dict[str, list[str]] = {}
    for fold, (test, valid) in folds.items():
        counts: dict[str, Counter[str]] = {"train": Counter(), "valid": Counter(), "test": Counter()}
        for speaker, of_speaker in speaker_counts.items():
            part = "test" if speaker in test else "valid" if speaker in valid else "train"
            counts[part] += of_speaker
        for label in classes:
            if not counts["test"][label]:
                untested.setdefault(label, []).append(fold)
        if len(counts["train"]) == 1:
            warnings.append(f"WARNING: {fold}: all that trains is {next(iter(counts['train']))}, nothing is learned")
            continue
        warnings += [f"WARNING: {fold}: no utterance of {label} in train ({counts['test'][label]} in test, "
                     f"{counts['valid'][label]} in valid); it cannot be recognized there"
                     for label in classes if not counts["train"][label]]
    warnings += [f"WARNING: no utterance of {label} in the test part of {len(in_folds)} of {len(folds)} folds, such as "
                 f"{in_folds[0]}: their UA is over fewer classes" for label, in_folds in untested.items()]
    return warnings

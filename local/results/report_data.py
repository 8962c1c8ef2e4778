"""What a report says of its data: counts, folds, and checksums that tell whether models were trained on just that."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from local.experiment.experiment import Experiment
from local.results.blocks import Block
from local.results.tables import counted
from ser.base.errors import UserError
from ser.data.data_dir import read_table
from ser.data.folds import read_fold
from ser.infer.results_file import NAME, PretrainResults, read_results
from ser.model_dir.checkpoint import load_config
from ser.model_dir.data_stamp import stamp_data

Configs = dict[str, dict[str, Any]]  # the config.json of each model, by its directory


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def speaker_table(utt2spk: dict[str, str], utt2emo: dict[str, str]) -> Block:
    """Utterances by speaker and class, with sums."""
    classes = sorted(set(utt2emo.values()))
    speakers = sorted(set(utt2spk.values()))
    count = Counter((utt2spk[utt], emotion) for utt, emotion in utt2emo.items())
    counts = [[count[speaker, emotion] for emotion in classes] for speaker in speakers]
    total = [sum(column) for column in zip(*counts, strict=True)]
    rows = [[speaker, *row, sum(row)] for speaker, row in zip((*speakers, "all"), (*counts, total), strict=True)]
    return Block.table([["speaker", *classes, "all"], *rows])


def fold_table(experiment: Experiment, utt2spk: dict[str, str]) -> Block:
    """Utterances and speakers of the parts of each fold; a few speakers by their names."""
    def cells(utts: list[str]) -> list[Any]:
        speakers = sorted({utt2spk[utt] for utt in utts})
        return [len(utts), " ".join(speakers) if len(speakers) <= 3 else f"{len(speakers)} speakers"]

    folds = {fold: read_fold(f"{experiment.data}/folds/{fold}", utt2spk) for fold in experiment.folds}
    rows = [[fold, *(cell for utts in parts.values() for cell in cells(utts))] for fold, parts in folds.items()]
    return Block.table([["fold", "train", "speakers", "valid", "speakers", "test", "speakers"], *rows])


def stamp_blocks(experiment: Experiment, configs: Configs) -> list[Block]:
    """The checksums of data and lists of each fold, and how many models were trained on just that."""
    rows: list[list[str]] = []
    changed: list[str] = []
    norms = [config["options"]["feature_norm"] for config in configs.values() if "feature_norm" in config["options"]]
    for fold in experiment.folds:
        stamp = stamp_data(experiment.data, f"folds/{fold}", next(iter(norms), "none"))
        models = [config for directory, config in configs.items() if Path(directory).name == fold]
        same = sum(not stamp.changes_since(config.get("data", {})) for config in models)
        rows.append([fold, stamp.of_data, stamp.lists, f"{same} of {len(models)}"])
        changed += [fold] * (same < len(models))
    warning = Block("warning", [f"Models of {', '.join(changed)} were trained on other data than {experiment.data} "
                                "holds now; its counts and checksums do not describe them."])
    return [*([warning] if changed else []),
            Block.paragraph("The data: voiced frames, utt2spk, utt2emo, conf/fbank.conf and conf/vad.conf, by content "
                            "(data_stamp of config.json). A model was trained on these when its config.json has the "
                            "same data and lists."),
            Block.table([["fold", "sha256 of the data", "sha256 of the lists", "models trained on it"], *rows])]


def held_out_words(pretrained_dir: str, identity: str) -> str:
    """Accuracy and equal error rate of a pre-trained model, or why they are not known."""
    try:
        results = read_results(Path(pretrained_dir, NAME), PretrainResults, "run ./run.sh --stage 4")
        now = load_config(pretrained_dir)["identity"]
    except UserError:
        return "not there"
    return f"IDACC {results.accuracy:.2f}, {results.eer_words}" if now == identity else "another model by now"


def pretraining_blocks(configs: Configs) -> list[Block]:
    """The pre-trained models that fine-tuning started from, how well they know speakers, and how many use each."""
    starts = [(config["options"]["pretrained_dir"], config["pretraining"]) for config in configs.values()
              if config["options"].get("pretrained_dir")]
    count = Counter((directory, start["dataset"], start["num_speakers"], start["identity"])
                    for directory, start in starts)
    heading = ["pre-trained model", "dataset", "speakers", "identity", "held-out utterances",
               "models that start from it"]
    rows = [[*row, held_out_words(row[0], row[-1]), f"{number} of {len(configs)}"] for row, number in count.items()]
    return [Block.table([heading, *rows])] if rows else []


def data_blocks(experiment: Experiment, configs: Configs) -> list[Block]:
    """What a report says of the data: counts, folds and checksums.

    Parameters
    ----------
    experiment : Experiment
    configs : Configs

    Returns
    -------
    list of Block
    """
    data = Path(experiment.data)
    utt2spk = read_table(data / "utt2spk", columns=2)
    utt2emo = read_table(data / "utt2emo", columns=2)
    hours = ""
    if (data / "utt2dur").is_file():
        hours = f", {sum(map(float, read_table(data / 'utt2dur', columns=2).values())) / 3600:.2f} hours"
    files = [data / name for name in ("wav.scp", "utt2spk", "utt2emo", "utt2num_frames")]
    files = [path for path in (*files, Path(experiment.exp, "RESULTS")) if path.is_file()]
    return [
        Block.paragraph(f"{experiment.data}: {experiment.dataset}, {counted(len(utt2spk), 'utterance')} of "
                        f"{counted(len(set(utt2spk.values())), 'speaker')}{hours}."),
        Block("heading", ["Utterances by speaker and class"]), speaker_table(utt2spk, utt2emo),
        Block("heading", ["Folds"]), fold_table(experiment, utt2spk),
        Block("heading", ["Checksums"]), Block.table([["file", "sha256"], *([path, sha256(path)] for path in files)]),
        *stamp_blocks(experiment, configs), *pretraining_blocks(configs)]

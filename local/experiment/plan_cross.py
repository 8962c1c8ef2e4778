#!/usr/bin/env python3
"""List which models of finished experiments are still to be scored on the data of the others, all ordered pairs.

An experiment is a folder, or the name of one in --exp: models, and the data directory that they were trained on. Of
each pair this writes CROSS/A_on_B/{pair.json,utt2emo,label_map}, what models of A are scored on of B; and
CROSS/plan.json, CROSS/tasks/score_cross.1.conf, …, each the options of one steps/score_cross.py: a share of the models
of a pair. What is scored is left out, unless model, data or labels have changed. Prints how many tasks there are, and
the data directories, one a line.
"""

import recipe_environment

import json
from collections.abc import Sequence
from pathlib import Path

from local.experiment.cross import (
    LABEL_MAP,
    PAIR,
    PLAN,
    REFERENCES,
    Corpus,
    CrossPlan,
    Pair,
    left_out_words,
    make_pair,
    read_label_maps,
    score_directories,
)
from local.experiment.experiment import parse_seeds
from local.experiment.systems import System, find_systems, read_systems
from local.experiment.tasks import TaskFolder
from options import OptionParser, deal, natural, run
from ser.base.errors import UserError
from ser.base.log import log
from ser.data.data_dir import read_dataset, read_list, read_text, write_table
from ser.infer.cross_task import CrossTask
from ser.infer.results_file import NAME, read_fold_results, write_results
from ser.model_dir.checkpoint import load_config
from ser.model_dir.data_stamp import stamp_data
from ser.model_dir.finetune_config import FinetuneConfig

MADE = ("CROSS", "cross.json", "cross.svg", "report.html")  # of all pairs


def find_experiments(words: Sequence[str], exp: Path) -> dict[str, Path]:
    """`{name: folder}` of experiments; raises UserError."""
    found: dict[str, Path] = {}
    for word in words:
        folder = next((path for path in (exp / word, Path(word)) if path.is_dir()), None)
        if folder is None:
            raise UserError(f"--cross {word}: neither {exp / word} nor {word} is there; it names a finished "
                            f"experiment, made with ./run.sh … --exp-dir {exp / word}")
        name = folder.resolve().name
        if name in found:
            raise UserError(f"--cross: {found[name]} and {folder} have one name; name each experiment once, and rename "
                            "one that is another")
        found[name] = folder
    if len(found) < 2:
        raise UserError(f"--cross {' '.join(words)!r}: name two or more finished experiments, such as \"nemo ravdess\"")
    return found


def systems_of_all(experiments: dict[str, Path]) -> list[System]:
    """The systems that have a line in the table of each experiment; raises UserError."""
    tables: dict[Path, set[str]] = {}
    for folder in experiments.values():
        path = folder / NAME
        try:
            tables[folder] = {row["system"] for row in json.loads(path.read_text(encoding="utf-8"))["systems"]}
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{path}: no table of an experiment; run ./run.sh … --exp-dir {folder} to its stage 6, or "
                            "name --systems") from None
    common = set.intersection(*tables.values())
    systems = [system for name, system in read_systems().items() if name in common]
    if not systems:
        raise UserError(f"{' and '.join(map(str, experiments.values()))}: no system is in all of their tables; train "
                        "the same --systems in each")
    return systems


def open_corpus(name: str, exp: Path, system: System, seed: str, data_dir: Path) -> Corpus:
    """An experiment by the models of one of its systems and seeds; raises UserError."""
    configs = sorted(Path(system.directory(str(exp), seed)).glob("*/config.json"))
    if not configs:
        raise UserError(f"{system.directory(str(exp), seed)}: holds no trained fold; train it with ./run.sh … "
                        f"--exp-dir {exp} --systems {system.name} --seeds {seed}")
    trained_on = Path(load_config(configs[0].parent)["options"]["data_dir"])
    data = next((path for path in (trained_on, data_dir / trained_on.name) if path.is_dir()), None)
    if data is None:
        raise UserError(f"{trained_on}: no such directory, and {configs[0]} names it; bring it back, or name with "
                        f"--data-dir the folder that has {trained_on.name}")
    return Corpus(name, str(exp), str(data), read_dataset(data),
                  read_text(data / "folds" / "protocol").strip(), read_list(data / "folds" / "list"))


def require_trained(corpus: Corpus, systems: list[System], seeds: list[str]) -> None:
    """Raise UserError unless all models are there, and were trained on what the data directory holds now."""
    stamp = stamp_data(corpus.data, "folds", FinetuneConfig.feature_norm).of_data
    for system in systems:
        for directory in corpus.experiment([system.name], seeds).models(system).values():
            results = read_fold_results(directory, corpus.data)
            if results.data_stamp != stamp:
                raise UserError(f"{directory}: was trained on other data than {corpus.data} holds now; train it again "
                                f"(./run.sh … --exp-dir {corpus.exp})")


def write_pair(pair: Pair, references: dict[str, str], exp: Path) -> None:
    folder = pair.folder(exp)
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / REFERENCES, references)
    write_table(folder / LABEL_MAP, pair.label_map)
    write_results(folder / PAIR, pair)


def main() -> None:
    parser = OptionParser(__doc__, 'local/experiment/plan_cross.py --cross "nemo ravdess" --systems "vgg5_baseline '
                          'vgg5_ad" exp/cross')
    parser.add_argument("--cross", required=True, metavar="NAMES", help="experiments, quoted, separated by spaces")
    parser.add_argument("--exp", type=Path, default=Path("exp"), metavar="DIR", help="where they are (default: exp)")
    parser.add_argument("--systems", default="", metavar="NAMES", help="of conf/systems.conf and conf/ablations.conf "
                        "(default: those in the tables of all experiments)")
    parser.add_argument("--seeds", default="0", metavar="NUMBERS", help="quoted, separated by spaces (default: 0)")
    parser.add_argument("--label-maps", default="conf/label_maps.conf", metavar="FILE",
                        help="which labels count as the same class (default: conf/label_maps.conf)")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), metavar="DIR", help="where data directories are "
                        "looked for that are no longer where models were trained on them (default: data)")
    parser.add_argument("--device", default="cpu", help="for steps/score_cross.py (default: cpu)")
    parser.add_argument("--max-jobs", type=natural, default=1, help="jobs that run at a time; as many tasks are made, "
                        "but one for each pair at least (default: 1)")
    parser.add_argument("cross_dir", metavar="CROSS", type=Path, help="folder for the scores")
    args = parser.parse_args()

    # What is compared
    label_maps = read_label_maps(args.label_maps)
    experiments = find_experiments(args.cross.split(), args.exp)
    seeds = parse_seeds(args.seeds)
    if args.systems:
        systems = list(dict.fromkeys(find_systems(args.systems.split())))
    else:
        systems = systems_of_all(experiments)
    corpora = {name: open_corpus(name, folder, systems[0], seeds[0], args.data_dir)
               for name, folder in experiments.items()}
    for corpus in corpora.values():
        require_trained(corpus, systems, seeds)
    pairs = [make_pair(trained, scored, label_maps) for trained in corpora.values() for scored in corpora.values()
             if trained is not scored]

    # What is still to do
    args.cross_dir.mkdir(parents=True, exist_ok=True)
    tasks = TaskFolder(args.cross_dir / "tasks", "score_cross")
    for pair, references in pairs:
        write_pair(pair, references, args.cross_dir)
        for words in left_out_words(pair):
            log(f"{pair.name}: {words}")
        trained, folder = corpora[pair.trained_on], pair.folder(args.cross_dir)
        task = CrossTask(pair.data, references, pair.label_map)
        outs = {directory: Path(trained.exp, directory.relative_to(folder))
                for system in systems for directory in score_directories(pair, system, seeds, args.cross_dir)}
        todo = [model for out, model in outs.items() if not task.is_done(model, out)]
        for models in deal(todo, args.max_jobs // len(pairs)):
            tasks.add([f"--device={args.device}", "--num-threads=1", f"--train-data={trained.data}",
                       f"--data={pair.data}", f"--references={folder / REFERENCES}",
                       f"--label-map={folder / LABEL_MAP}", f"--dir={folder}",
                       *(f"--model={model}" for model in models)])
    plan = CrossPlan(list(corpora.values()), [system.name for system in systems], seeds, [pair for pair, _ in pairs])
    write_results(args.cross_dir / PLAN, plan)
    if tasks.planned:  # a table would be of other scores
        for name in MADE:
            (args.cross_dir / name).unlink(missing_ok=True)
    print(tasks.planned, *(corpus.data for corpus in corpora.values()), sep="\n")


if __name__ == "__main__":
    run(main)

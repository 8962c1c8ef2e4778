#!/usr/bin/env python3
"""List the trainings that are still to do: systems x seeds x folds, one configuration file each.

Writes TASKS/finetune.1.conf, TASKS/finetune.2.conf, …, each the options of one steps/finetune.py, for systems without a
network TASKS/train_classical.1.conf, … of steps/train_classical.py, and prints how many there are in all. A
fold whose RESULT is there is left out, unless data or pre-trained model have changed since. Seed 0 of a system goes to
EXP/SYSTEM/FOLD, seed 3 to EXP/SYSTEM_seed3/FOLD; pre-trained models have such names, too.
"""

import recipe_environment

import importlib
from pathlib import Path

from local.experiment.experiment import (
    add_experiment_options,
    add_pretrain_seeds,
    open_experiment,
    parse_pretrain_seeds,
)
from local.experiment.systems import SCRIPTS
from local.experiment.tasks import TaskFolder
from local.experiment.undo_stages import remove_results
from options import OptionParser, run
from ser.base.log import log
from ser.model_dir.record import changes_since


def main() -> None:
    parser = OptionParser(__doc__, 'local/experiment/plan_finetuning.py --systems "resnet18_baseline vgg5_ad" '
                          '--seeds "0 1" --finetune-config conf/finetune.conf data/iemocap exp exp/tasks')
    add_experiment_options(parser)
    add_pretrain_seeds(parser)
    parser.add_argument("--finetune-config", default="conf/finetune.conf", metavar="FILE",
                        help="options of steps/finetune.py (default: conf/finetune.conf)")
    parser.add_argument("--device", default="cpu", help="for steps/finetune.py (default: cpu)")
    parser.add_argument("tasks", type=Path, help="folder for the configuration files; those of before are removed")
    args = parser.parse_args()
    experiment = open_experiment(args)
    pretrain_seeds = parse_pretrain_seeds(args.pretrain_seeds, experiment.seeds)
    tasks = {script: TaskFolder(args.tasks, Path(script).stem) for script in SCRIPTS}
    changed: dict[str, list[str]] = {}
    for system in experiment.systems:
        parse = importlib.import_module(Path(system.script).stem).parse
        for (seed, fold), directory in experiment.models(system).items():
            words = [*system.options_for(args.exp, pretrain_seeds[seed]), f"--seed={seed}", f"--data={args.data}",
                     f"--fold={fold}", f"--dir={directory}"]
            if system.has_network:
                words = [f"--config={args.finetune_config}", *words, f"--device={args.device}", "--num-threads=1"]
            task = parse(words)[1]
            changes = ", ".join(changes_since(directory, task.made_from()))
            if changes:
                changed.setdefault(changes, []).append(directory)
            if changes or not Path(directory, "RESULT").exists():
                tasks[system.script].add(words)
    if changed:  # a table of models that are made again would be of other data
        remove_results(args.exp, experiment.systems, experiment.seeds)
    for changes, directories in changed.items():
        others = f" and {len(directories) - 1} more" if len(directories) > 1 else ""
        log(f"{directories[0]}{others}: changed since made: {changes}; made again from the start")
    print(sum(folder.planned for folder in tasks.values()))


if __name__ == "__main__":
    run(main)

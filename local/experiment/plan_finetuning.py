#!/usr/bin/env python3
"""List the trainings that are still to do: systems x seeds x folds, one configuration file each.

Writes TASKS/finetune.1.conf, TASKS/finetune.2.conf, …, each the options of one steps/finetune.py, for systems without a
network TASKS/train_classical.1.conf, … of steps/train_classical.py, and prints how many there are in all. A
fold whose RESULT is there is left out, unless data or pre-trained model have changed since. Seed 0 of a system goes to
EXP/SYSTEM/FOLD, seed 3 to EXP/SYSTEM_seed3/FOLD; pre-trained models have such names, too.

With --final true the trainings are instead those of final models, one for each system and seed, which learn from all
speakers: EXP/SYSTEM/final. All folds must be done. A final model whose folds are to be made again is removed.
"""

import recipe_environment

import importlib
from collections.abc import Iterable
from pathlib import Path

from local.experiment.experiment import (
    Experiment,
    add_experiment_options,
    add_pretrain_seeds,
    open_experiment,
    parse_pretrain_seeds,
)
from local.experiment.systems import SCRIPTS, System
from local.experiment.tasks import TaskFolder
from local.experiment.undo_stages import MODEL_MARKER, remove_model, remove_results
from options import OptionParser, run, str2bool
from ser.base.log import log
from ser.data.folds import FINAL
from ser.model_dir.record import changes_since, is_finished


def models_of(experiment: Experiment, system: System, final: bool) -> dict[tuple[str, str], str]:
    """`{(seed, fold): model directory}` of a system; the fold of a final model is called FINAL."""
    if not final:
        return experiment.models(system)
    if not system.has_network:
        log(f"{system.name}: no final model, for of a system without a network nothing is kept but scores")
        return {}
    return {(seed, FINAL): f"{system.directory(experiment.exp, seed)}/{FINAL}" for seed in experiment.seeds}


def remove_final_models(directories: Iterable[str]) -> None:
    """Remove those that follow from some folds, which are made again."""
    for model in sorted({Path(directory).parent / FINAL for directory in directories}):
        if (model / MODEL_MARKER).is_file():
            remove_model(model)
            log(f"{model}: removed, for its folds are made again")


def write_tasks(folder: Path, tasks: dict[str, list[list[str]]]) -> None:
    """Write the words of the tasks of each script in place of those of before; raises UserError."""
    for script, of_script in tasks.items():
        planned = TaskFolder(folder, Path(script).stem)
        for words in of_script:
            planned.add(words)


def main() -> None:
    parser = OptionParser(__doc__, 'local/experiment/plan_finetuning.py --systems "resnet18_baseline vgg5_ad" '
                          '--seeds "0 1" --finetune-config conf/finetune.conf data/iemocap exp exp/tasks')
    add_experiment_options(parser)
    add_pretrain_seeds(parser)
    parser.add_argument("--finetune-config", default="conf/finetune.conf", metavar="FILE",
                        help="options of steps/finetune.py (default: conf/finetune.conf)")
    parser.add_argument("--device", default="cpu", help="for steps/finetune.py (default: cpu)")
    parser.add_argument("--dry-run", type=str2bool, default=False, metavar="true|false",
                        help="print how many there are and change nothing (default: false)")
    parser.add_argument("--final", type=str2bool, default=False, metavar="true|false",
                        help="the models that learn from all speakers, instead of those of the folds (default: false)")
    parser.add_argument("tasks", type=Path, help="folder for the configuration files; those of before are removed")
    args = parser.parse_args()
    experiment = open_experiment(args)
    pretrain_seeds = parse_pretrain_seeds(args.pretrain_seeds, experiment.seeds)
    tasks: dict[str, list[list[str]]] = {script: [] for script in SCRIPTS}
    changed: dict[str, list[str]] = {}
    for system in experiment.systems:
        parse = importlib.import_module(Path(system.script).stem).parse
        for (seed, fold), directory in models_of(experiment, system, args.final).items():
            words = [*system.options_for(args.exp, pretrain_seeds[seed]), f"--seed={seed}", f"--data={args.data}",
                     f"--fold={fold}", f"--dir={directory}"]
            if args.final:
                words.append(f"--folds-dir={system.directory(args.exp, seed)}")
            if system.has_network:
                words = [f"--config={args.finetune_config}", *words, f"--device={args.device}", "--num-threads=1"]
            task = parse(words)[1]
            changes = ", ".join(changes_since(directory, task.made_from()))
            if changes:
                changed.setdefault(changes, []).append(directory)
            if changes or not is_finished(directory):
                if system.pretrained:
                    task.require_fitting_start()
                tasks[system.script].append(words)
    if not args.dry_run:
        write_tasks(args.tasks, tasks)
    if changed and not args.dry_run and not args.final:  # a table of models that are made again would be of other data
        remove_results(args.exp, experiment.systems, experiment.seeds)
        remove_final_models([directory for directories in changed.values() for directory in directories])
    for changes, directories in changed.items():
        others = f" and {len(directories) - 1} more" if len(directories) > 1 else ""
        log(f"{directories[0]}{others}: changed since made: {changes}; made again from the start")
    print(sum(map(len, tasks.values())))


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""List the trainings that are still to do: systems x seeds x folds, one configuration file each.

Writes TASKS/finetune.1.conf, TASKS/finetune.2.conf, …, each the options of one steps/finetune.py, and prints how many.
A fold whose RESULT is there is left out. Seed 0 of a system goes to EXP/SYSTEM/FOLD, seed 3 to EXP/SYSTEM_seed3/FOLD.
"""

import recipe_environment

import shutil
from pathlib import Path

import finetune
from local.experiment.experiment import add_experiment_options, open_experiment
from options import OptionParser, run, str2bool, write_conf
from ser.model_dir.record import is_done


def main() -> None:
    parser = OptionParser(__doc__, 'local/experiment/plan_finetuning.py --systems "resnet18_baseline vgg5_ad" '
                          '--seeds "0 1" --finetune-config conf/finetune.conf data/iemocap exp exp/tasks')
    add_experiment_options(parser)
    parser.add_argument("--finetune-config", default="conf/finetune.conf", metavar="FILE",
                        help="options of steps/finetune.py (default: conf/finetune.conf)")
    parser.add_argument("--device", default="cpu", help="for steps/finetune.py (default: cpu)")
    parser.add_argument("--restart", type=str2bool, default=False, help="plan what is done, too (default: false)")
    parser.add_argument("tasks", type=Path, help="folder for the configuration files; emptied first")
    args = parser.parse_args()
    experiment = open_experiment(args)
    planned = 0
    shutil.rmtree(args.tasks, ignore_errors=True)
    for system in experiment.systems:
        for (seed, fold), directory in experiment.models(system).items():
            words = [f"--config={args.finetune_config}", *system.options_for(args.exp), f"--seed={seed}",
                     f"--data={args.data}", f"--fold={fold}", f"--dir={directory}", f"--device={args.device}",
                     "--num-threads=1"]
            if args.restart or not is_done(directory, finetune.parse(words)[1].options()):
                planned += 1
                if args.restart:
                    words.append("--restart=true")
                write_conf(args.tasks / f"finetune.{planned}.conf", words)
    print(planned)


if __name__ == "__main__":
    run(main)

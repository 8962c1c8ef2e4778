#!/usr/bin/env python3
"""List the model directories that are still to be analysed: one configuration file for each system and seed.

Writes TASKS/analyse.1.conf, TASKS/analyse.2.conf, …, each the options of one steps/analyse.py, and prints how many. A
model that has been analysed is left out.
"""

import recipe_environment

from pathlib import Path

from analyse import is_analysed
from local.experiment.experiment import add_experiment_options, open_experiment
from local.experiment.tasks import TaskFolder
from options import OptionParser, run


def main() -> None:
    parser = OptionParser(__doc__, 'local/experiment/plan_analysis.py --systems "vgg5_baseline vgg5_ad" data/iemocap '
                          "exp exp/tasks")
    add_experiment_options(parser)
    parser.add_argument("--device", default="cpu", help="for steps/analyse.py (default: cpu)")
    parser.add_argument("tasks", type=Path, help="folder for the configuration files; those of before are removed")
    args = parser.parse_args()
    experiment = open_experiment(args)
    tasks = TaskFolder(args.tasks, "analyse")
    for system in experiment.networks:
        for directory in experiment.directories(system):
            models = [f"{directory}/{fold}" for fold in experiment.folds]
            todo = [model for model in models if not is_analysed(model)]
            if todo:
                tasks.add([f"--device={args.device}", "--num-threads=1", *(f"--dir={model}" for model in todo)])
    print(tasks.planned)


if __name__ == "__main__":
    run(main)

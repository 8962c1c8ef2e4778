#!/usr/bin/env python3
"""List the model directories that are still to be analysed, in a configuration file for each job.

Writes TASKS/analyse.1.conf, TASKS/analyse.2.conf, …, each the options of one steps/analyse.py, and prints how many. A
model that has been analysed is left out.
"""

import recipe_environment

from pathlib import Path

from local.experiment.experiment import add_experiment_options, open_experiment
from local.experiment.tasks import TaskFolder
from options import OptionParser, deal, natural, run
from ser.model_dir.record import is_analysed


def main() -> None:
    parser = OptionParser(__doc__, 'local/experiment/plan_analysis.py --systems "vgg5_baseline vgg5_ad" data/iemocap '
                          "exp exp/tasks")
    add_experiment_options(parser)
    parser.add_argument("--device", default="cpu", help="for steps/analyse.py (default: cpu)")
    parser.add_argument("--max-jobs", type=natural, default=1, help="jobs that run at a time; no more tasks are made "
                        "(default: 1)")
    parser.add_argument("tasks", type=Path, help="folder for the configuration files; those of before are removed")
    args = parser.parse_args()
    experiment = open_experiment(args)
    tasks = TaskFolder(args.tasks, "analyse")
    todo = [model for system in experiment.networks for model in experiment.models(system).values()
            if not is_analysed(model)]
    for models in deal(todo, args.max_jobs):
        tasks.add([f"--device={args.device}", "--num-threads=1", *(f"--dir={model}" for model in models)])
    print(tasks.planned)


if __name__ == "__main__":
    run(main)

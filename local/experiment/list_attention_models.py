#!/usr/bin/env python3
"""Print one model directory of each system that has an attention, in a line each: the first seed and fold."""

from local.experiment.experiment import add_experiment_options, open_experiment
from options import OptionParser, run


def main():
    parser = OptionParser(__doc__, 'local/experiment/list_attention_models.py --systems "vgg5_baseline vgg5_ad" '
                          "data/iemocap exp")
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args())
    for system in experiment.systems:
        if system.has_attention:
            print(experiment.models(system)[experiment.seeds[0], experiment.folds[0]])


if __name__ == "__main__":
    run(main)

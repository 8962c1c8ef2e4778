#!/usr/bin/env python3
"""Print which pre-trained models are still to make.

Reads what list_systems.py prints for `pretraining`, lines of backbone, seed and name below EXP, and prints those whose
RESULT is not there, or whose data have changed since.
"""

import recipe_environment

import sys

import pretrain
from options import OptionParser, run
from ser.model_dir.record import is_done, is_finished


def is_there(words: list[str]) -> bool:
    """Whether steps/pretrain.py of these words would find its work done; raises UserError."""
    args, config = pretrain.parse(words)
    if args.restart or not is_finished(args.dir):  # before all features are read, which is work for a job
        return False
    return is_done(args.dir, config.made_from(args.data, args.seed))


def main() -> None:
    parser = OptionParser(__doc__, "local/experiment/list_systems.py --systems resnet18_pretrain_ad pretraining |\n"
                          "    local/experiment/plan_pretraining.py data/voxceleb1 exp")
    parser.add_argument("--pretrain-config", default="conf/pretrain.conf", metavar="FILE",
                        help="options of steps/pretrain.py (default: conf/pretrain.conf)")
    parser.add_argument("data", metavar="DATA", help="data directory with identification lists")
    parser.add_argument("exp", metavar="EXP", help="experiment directory")
    args = parser.parse_args()
    for line in sys.stdin:
        backbone, seed, name = line.split()
        if not is_there([f"--config={args.pretrain_config}", f"--backbone={backbone}", f"--seed={seed}", args.data,
                         f"{args.exp}/{name}"]):
            print(line, end="")


if __name__ == "__main__":
    run(main)

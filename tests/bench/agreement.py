#!/usr/bin/env python3
"""Whether the fast way to train gives the scores of the plain way: weighted F1 of both, over seeds and folds.

    . ./path.sh
    tests/bench/agreement.py --systems "resnet18_baseline vgg5_ad" --seeds "0 1 2" --folds 3 data/nemo

Fast is what the recipe does on this machine; plain is --fast false --precision fp32, torch's layers one by one in
float32. The data directory is one with folds that run.sh has made. Systems that are not pre-trained will do.
"""

import recipe_environment

import argparse
import statistics
import sys
import tempfile

from finetune import parse
from ser.base.device import pick_device, pick_precision
from ser.data.data_dir import read_list
from ser.infer.evaluation import score
from ser.train.finetuning import finetune
from table import ROOT

sys.path.insert(0, str(ROOT))
from local.experiment.systems import find_systems  # noqa: E402


def wf1(task, device, fast):
    """Weighted F1 of the test speakers, in percent."""
    precision = pick_precision("auto" if fast else "fp32", device)
    finetune(task, device=device, precision=precision, restart=True, fast=fast)
    return float(score(task.model_dir, task.data_dir, device).split()[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default="resnet18_baseline vgg5_ad", help="of conf/systems.conf")
    parser.add_argument("--seeds", default="0 1 2")
    parser.add_argument("--folds", type=int, default=3, help="the first ones of the list (default: 3)")
    parser.add_argument("--finetune-config", default="conf/finetune.conf")
    parser.add_argument("data")
    args = parser.parse_args()
    device = pick_device("auto")
    print(f"{'mean WF1 of a seed':24}{'fast':>24}{'plain':>24}")
    for system in find_systems(args.systems.split()):
        cells = []
        for fast in (True, False):
            means = []
            for seed in args.seeds.split():
                scores = []
                for fold in read_list(f"{args.data}/folds/list")[: args.folds]:
                    with tempfile.TemporaryDirectory() as folder:
                        _, task = parse([f"--config={args.finetune_config}", *system.options_for("exp"),
                                         f"--seed={seed}", f"--data={args.data}", f"--fold={fold}", f"--dir={folder}"])
                        scores.append(wf1(task, device, fast))
                means.append(statistics.mean(scores))
            cells.append(" ".join(f"{mean:.2f}" for mean in means))
        print(f"{system.name:24}" + "".join(f"{cell:>24}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Whether the fast way to train gives the scores of the plain way: weighted F1 of both, over seeds and folds.

    . ./path.sh
    tests/bench/agreement.py --systems "resnet18_baseline vgg5_ad" --seeds "0 1 2" --folds 3 data/nemo

Fast is what the recipe does on this machine; plain is float32 with channels first, and torch's own layers one by one.
The data directory is one with folds that run.sh has made. Systems that are not pre-trained will do.
"""

import recipe_environment

import argparse
import statistics
import sys
import tempfile
from unittest import mock

from finetune import parse
from ser.base.device import pick_device, pick_precision
from ser.data.data_dir import read_list
from ser.infer.evaluation import score
from ser.train.finetuning import finetune, initial_model
from ser.train.step import TrainingStep
from table import ROOT
from training import make_plain

sys.path.insert(0, str(ROOT))
from local.experiment.systems import find_systems  # noqa: E402


def plain_model(task, data, bank):
    model, start = initial_model(task, data, bank)
    return make_plain(model), start


def plain_step(network, loss, optimizer, precision, captured):
    return TrainingStep(network, loss, optimizer, precision, False)


def wf1(task, device, plainly):
    """Weighted F1 of the test speakers, in percent."""
    with mock.patch("ser.train.finetuning.initial_model", plain_model if plainly else initial_model), \
            mock.patch("ser.train.trainer.TrainingStep", plain_step if plainly else TrainingStep):
        precision = "fp32" if plainly else pick_precision("auto", device)
        finetune(task, device=device, precision=precision, restart=True)
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
        means = {False: [], True: []}
        for plainly, of_seeds in means.items():
            for seed in args.seeds.split():
                scores = []
                for fold in read_list(f"{args.data}/folds/list")[: args.folds]:
                    with tempfile.TemporaryDirectory() as folder:
                        _, task = parse([f"--config={args.finetune_config}", *system.options_for("exp"),
                                         f"--seed={seed}", f"--data={args.data}", f"--fold={fold}", f"--dir={folder}"])
                        scores.append(wf1(task, device, plainly))
                of_seeds.append(statistics.mean(scores))
        print(f"{system.name:24}" + "".join(f"{' '.join(f'{x:.2f}' for x in each):>24}" for each in means.values()),
              flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Pre-train an extractor to tell speakers apart.

Reads DATA/feats.scp, vad.scp, utt2spk and identification/{train,valid}; writes a model directory with
config.json, best.safetensors, last.safetensors, log/epochs.tsv and RESULT (identification accuracy and equal error
rate on the held-out utterances). Run again after a kill, it continues; run again when done, it does nothing.
Several GPUs, also of several nodes, train one model when steps/launch_distributed.py starts it; where there is little
to train, one does.
"""

import recipe_environment

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace

from options import OptionParser, run
from ser.base.log import log
from ser.base.processes import world_size
from ser.train.augment_option import suited_augment
from ser.train.pretrain_config import PretrainConfig
from training_options import add_training_options, log_device_and_precision, pick_device_and_precision


def parse(argv: Sequence[str] | None = None) -> tuple[Namespace, PretrainConfig]:
    """Turn a command line into parsed options and the PretrainConfig among them."""
    parser = OptionParser(__doc__, "steps/pretrain.py --config conf/pretrain.conf data/voxceleb1 exp/pretrain_resnet18")
    parser.add_fields(PretrainConfig)
    add_training_options(parser)
    parser.add_argument("data", help="data directory with identification lists (local/make_folds.py)")
    parser.add_argument("dir", help="model directory to make")
    args = parser.parse_args(argv)
    config = parser.fields_of(PretrainConfig, args)
    return args, replace(config, augment=suited_augment(config.augment, args.data))


def main() -> None:
    from ser.train import distributed  # torch takes a second to import, and planning does without it
    from ser.train.pretraining import WORTH_SEVERAL, is_too_small, pretrain

    distributed.begin()
    args, config = parse()
    if args.device != "cpu" and world_size() > 1 and is_too_small(args.data, config):
        log(f"--epochs times the utterances of {args.data}/identification/train are fewer than {WORTH_SEVERAL}: on "
            "several GPUs they take longer than on one, which is taken")
        distributed.train_alone()
    device, precision = pick_device_and_precision(args)
    log_device_and_precision(args, device, precision)
    with distributed.group(device):
        made = pretrain(args.dir, args.data, config, seed=args.seed, device=device,
                        precision=distributed.broadcast(precision), restart=args.restart, fast=args.fast,
                        save_every=args.save_every)
    log(f"{'made' if made else 'already there:'} {args.dir}/RESULT")


if __name__ == "__main__":
    run(main)

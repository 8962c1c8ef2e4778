#!/usr/bin/env python3
"""Fine-tune one system on one fold and score its test speakers.

Reads DATA/feats.scp, vad.scp, utt2spk, utt2emo and folds/FOLD/{train,valid,test}; writes a model directory
with config.json, best.safetensors, last.safetensors, log/epochs.tsv, score/per_utt, the model card README.md, and
RESULT. The epoch is picked on the validation speakers; the test speakers are read when the weights are final. Run
again after a kill, it continues; run again when done, it does nothing.
"""

import recipe_environment

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace

import torch

from options import OptionParser, run
from ser.base.device import explain_out_of_memory
from ser.base.log import log
from ser.infer.evaluation import score
from ser.model_dir.finetune_config import FinetuneConfig
from ser.nn.models import EmotionModelConfig
from ser.train.augmentation import suited_augment
from ser.train.finetuning import Task, finetune
from training_options import (
    add_training_options,
    log_device_and_precision,
    pick_device_and_precision,
    require_one_process,
)


def build_parser() -> OptionParser:
    parser = OptionParser(__doc__, "steps/finetune.py --config conf/finetune.conf --ad-after last --pretrained-dir "
                          "exp/pretrain_resnet18 --fold fold_Ses01M \\\n    --data data/iemocap "
                          "--dir exp/resnet18_pretrain_ad/fold_Ses01M")
    parser.add_fields(EmotionModelConfig)
    parser.add_fields(FinetuneConfig)
    parser.add_argument("--pretrained-dir", metavar="DIR", help="model directory of steps/pretrain.py to start from")
    add_training_options(parser)
    parser.add_argument("--data", required=True, help="data directory with folds (local/make_folds.py)")
    parser.add_argument("--fold", required=True, help="name under DATA/folds")
    parser.add_argument("--dir", required=True, help="model directory to make")
    return parser


def parse(argv: Sequence[str] | None = None) -> tuple[Namespace, Task]:
    """Turn a command line into parsed options and the Task that they describe."""
    parser = build_parser()
    args = parser.parse_args(argv)
    config = parser.fields_of(FinetuneConfig, args)
    config = replace(config, augment=suited_augment(config.augment, args.data))
    task = Task(model_dir=args.dir, data_dir=args.data, fold=args.fold,
                model=parser.fields_of(EmotionModelConfig, args), config=config,
                pretrained_dir=args.pretrained_dir, seed=args.seed)
    return args, task


def prepare(args: Namespace) -> tuple[torch.device, str]:
    """Pick device and precision, and say which; raises UserError."""
    require_one_process()
    device, precision = pick_device_and_precision(args)
    log_device_and_precision(args, device, precision)
    return device, precision


@explain_out_of_memory()
def train_and_score(args: Namespace, task: Task, device: torch.device, precision: str) -> None:
    """Do what is not done of a task; raises UserError."""
    trainer = finetune(task, device=device, precision=precision, restart=args.restart, fast=args.fast,
                       save_every=args.save_every)
    if trainer is None:
        log(f"already there: {args.dir}/RESULT")
    else:
        log(score(args.dir, args.data, device).strip())
        trainer.forget_state()


def main() -> None:
    args, task = parse()
    device, precision = prepare(args)
    train_and_score(args, task, device, precision)


if __name__ == "__main__":
    run(main)

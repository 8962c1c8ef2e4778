#!/usr/bin/env python3
"""Fine-tune one system on one fold and score its test speakers, or on all speakers.

Reads DATA/feats.scp, vad.scp, utt2spk, utt2emo and folds/FOLD/{train,valid,test}; writes a model directory
with config.json, best.safetensors, last.safetensors, log/epochs.tsv, score/per_utt, the model card README.md, and
RESULT. The epoch is picked on the validation speakers; the test speakers are read when the weights are final. Run
again after a kill, it continues; run again when done, it does nothing.

With --fold final it trains on the speakers of all folds, whose models are in --folds-dir. No speaker is left to choose
an epoch or to test it: it stops at the one that the folds chose on average, has their mean temperature, and its card
says what they scored. TRAINED is then there instead of RESULT.
"""

import recipe_environment

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from options import OptionParser, run
from ser.base.device import explain_out_of_memory
from ser.base.log import log
from ser.data.folds import FINAL
from ser.infer.cross_validation import conclude_final
from ser.model_dir.finetune_config import FinetuneConfig
from ser.nn.options import EmotionModelConfig
from ser.train.augment_option import suited_augment
from ser.train.task import Task
from training_options import (
    add_training_options,
    log_device_and_precision,
    pick_device_and_precision,
    require_one_process,
)

if TYPE_CHECKING:
    import torch


def build_parser() -> OptionParser:
    parser = OptionParser(__doc__, "steps/finetune.py --config conf/finetune.conf --ad-after last --pretrained-dir "
                          "exp/pretrain_resnet18 --fold fold_Ses01M \\\n    --data data/iemocap "
                          "--dir exp/resnet18_pretrain_ad/fold_Ses01M")
    parser.add_fields(EmotionModelConfig)
    parser.add_fields(FinetuneConfig)
    parser.add_argument("--pretrained-dir", metavar="DIR", help="model directory of steps/pretrain.py to start from")
    add_training_options(parser)
    parser.add_argument("--data", required=True, help="data directory with folds (local/make_folds.py)")
    parser.add_argument("--fold", required=True, help=f"name under DATA/folds, or {FINAL} for all speakers")
    parser.add_argument("--folds-dir", metavar="DIR", help=f"--fold {FINAL}: folder with the model directories of all "
                        "folds")
    parser.add_argument("--dir", required=True, help="model directory to make")
    return parser


def parse(argv: Sequence[str] | None = None) -> tuple[Namespace, Task]:
    """Turn a command line into parsed options and the Task that they describe."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if (args.fold == FINAL) != (args.folds_dir is not None):
        parser.error(f"--fold {FINAL} and --folds-dir go together")
    config = parser.fields_of(FinetuneConfig, args)
    config = replace(config, augment=suited_augment(config.augment, args.data))
    task = Task(model_dir=args.dir, data_dir=args.data, fold=args.fold,
                model=parser.fields_of(EmotionModelConfig, args), config=config,
                pretrained_dir=args.pretrained_dir, seed=args.seed, folds_dir=args.folds_dir)
    return args, task


def prepare(args: Namespace) -> "tuple[torch.device, str]":
    """Pick device and precision, and say which; raises UserError."""
    require_one_process()
    device, precision = pick_device_and_precision(args)
    log_device_and_precision(args, device, precision)
    return device, precision


@explain_out_of_memory()
def train_and_score(args: Namespace, task: Task, device: "torch.device", precision: str) -> None:
    """Do what is not done of a task; raises UserError."""
    from ser.infer.evaluation import score  # torch takes a second to import, and who plans trainings does without
    from ser.train.finetuning import finetune

    trainer = finetune(task, device=device, precision=precision, restart=args.restart, fast=args.fast,
                       save_every=args.save_every)
    if trainer is None:
        log(f"already there: {args.dir}/{'TRAINED' if task.fold == FINAL else 'RESULT'}")
        return
    if task.fold == FINAL:
        line = conclude_final(args.dir, args.data, task.cross_validation())
    else:
        line = score(args.dir, args.data, device)
    log(line.strip())
    trainer.forget_state()


def main() -> None:
    args, task = parse()
    device, precision = prepare(args)
    train_and_score(args, task, device, precision)


if __name__ == "__main__":
    run(main)

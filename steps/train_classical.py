#!/usr/bin/env python3
"""Train a classifier without a network on one fold and score its test speakers.

Reads DATA/utt2spk, utt2emo, folds/FOLD/{train,test} and, for svm, functionals.scp (steps/make_functionals.sh); writes a
model directory with config.json, score/per_utt, results.json and RESULT, as steps/finetune.py does. Of the fold only
the training part is learned from: it standardizes the functionals, and a cross-validation in it, grouped by speaker,
chooses C. Nothing is random. Run again when done, it does nothing.
"""

import recipe_environment

from argparse import Namespace
from collections.abc import Sequence

from options import OptionParser, natural, run, str2bool
from ser.base.log import log
from ser.train.classical import ClassicalConfig, ClassicalTask, train_classical


def parse(argv: Sequence[str] | None = None) -> tuple[Namespace, ClassicalTask]:
    """Turn a command line into parsed options and the task that they describe."""
    parser = OptionParser(__doc__, "steps/train_classical.py --classifier svm --data data/iemocap --fold fold_Ses01M "
                          "--dir exp/svm_functionals/fold_Ses01M")
    parser.add_fields(ClassicalConfig)
    parser.add_argument("--seed", type=natural, default=0, help="names the training, and makes no difference to it "
                        "(default: 0)")
    parser.add_argument("--restart", type=str2bool, default=False, metavar="true|false",
                        help="begin again whatever the directory holds (default: false)")
    parser.add_argument("--data", required=True, help="data directory with folds (local/make_folds.py)")
    parser.add_argument("--fold", required=True, help="name under DATA/folds")
    parser.add_argument("--dir", required=True, help="model directory to make")
    args = parser.parse_args(argv)
    task = ClassicalTask(model_dir=args.dir, data_dir=args.data, fold=args.fold,
                         config=parser.fields_of(ClassicalConfig, args), seed=args.seed)
    return args, task


def prepare(args: Namespace) -> tuple[None, str]:
    """No device of torch, and the precision, which no option changes."""
    return None, "fp64"


def train_and_score(args: Namespace, task: ClassicalTask, device: None, precision: str) -> None:
    """Do what is not done of a task; raises UserError."""
    result = train_classical(task, precision=precision, restart=args.restart)
    log(f"already there: {args.dir}/RESULT" if result is None else result.strip())


def main() -> None:
    args, task = parse()
    train_and_score(args, task, *prepare(args))


if __name__ == "__main__":
    run(main)

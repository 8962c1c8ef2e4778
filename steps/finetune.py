#!/usr/bin/env python3
"""Fine-tune one system on one fold and score its test speakers.

Reads DATA/feats.scp, vad.scp, utt2spk, utt2emo and folds/FOLD/{train,valid,test}; writes a model directory
with config.json, best.safetensors, last.safetensors, log/epochs.tsv, score/per_utt, the model card README.md, and
RESULT. The epoch is picked on the validation speakers; the test speakers are read when the weights are final. Run
again after a kill, it continues; run again when done, it does nothing.
"""

from options import OptionParser, run
from ser.base.device import explain_out_of_memory
from ser.base.log import log
from ser.infer.evaluation import score
from ser.model_dir.finetune_config import FinetuneConfig
from ser.nn.models import EmotionModelConfig
from ser.train.finetuning import Task, finetune
from training_options import add_training_options, pick


def build_parser():
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


def parse(argv=None):
    """Turn a command line into parsed options and the Task that they describe."""
    parser = build_parser()
    args = parser.parse_args(argv)
    return args, Task(args.dir, args.data, args.fold, parser.fields_of(EmotionModelConfig, args),
                      parser.fields_of(FinetuneConfig, args), args.pretrained_dir, args.seed)


@explain_out_of_memory()
def train_and_score(args, task, device, precision):
    """Do what is not done of a task; raises UserError."""
    trainer = finetune(task, device=device, precision=precision, restart=args.restart, fast=args.fast,
                       save_every=args.save_every)
    if trainer is None:
        log(f"already there: {args.dir}/RESULT")
    else:
        log(score(args.dir, args.data, device).strip())
        trainer.forget_state()


def main():
    args, task = parse()
    train_and_score(args, task, *pick(args))


if __name__ == "__main__":
    run(main)

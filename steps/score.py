#!/usr/bin/env python3
"""Score a trained fold again: writes DIR/score/per_utt, README.md, results.json and RESULT, prints the result line."""

import recipe_environment

from options import OptionParser, run
from ser.base.device import DEVICES, explain_out_of_memory, pick_device
from ser.infer.evaluation import score


def main():
    parser = OptionParser(__doc__, "steps/score.py exp/resnet18_pretrain_ad/fold_Ses01M data/iemocap")
    parser.add_argument("--device", default="auto", choices=DEVICES, help="(default: auto)")
    parser.add_argument("dir", help="model directory of steps/finetune.py")
    parser.add_argument("data", help="data directory with the fold that the model was trained on")
    args = parser.parse_args()
    with explain_out_of_memory():
        print(score(args.dir, args.data, pick_device(args.device)), end="")


if __name__ == "__main__":
    run(main)

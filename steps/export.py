#!/usr/bin/env python3
"""Write a trained model as one file for other programs: ONNX, or a program of torch.export.

The network takes a batch of any size and length: `features` (float32, [B, T, D]) and `lengths` (int64, [B], valid
frames), and gives `probabilities` ([B, classes]). Features are those after VAD and normalization. The file names the
classes and says how features are made: its metadata has classes (a JSON list), fbank.conf, vad.conf and feature_norm.
A folder of several folds becomes one network, the mean of their probabilities.
"""

import recipe_environment

from pathlib import Path

from options import OptionParser, run
from ser.base.files import atomic_path
from ser.infer.export import FORMATS
from ser.infer.prediction import load_model


def main():
    parser = OptionParser(__doc__, "steps/export.py exp/vgg5_ad/fold_Ses01M model.onnx")
    parser.add_argument("--format", choices=tuple(FORMATS), help="(default: what OUT ends with)")
    parser.add_argument("model", metavar="MODEL_DIR", help="model directory of steps/finetune.py, or of several folds")
    parser.add_argument("out", metavar="OUT", type=Path, help="file to write, such as model.onnx or model.pt2")
    args = parser.parse_args()
    kind = args.format or args.out.suffix.lstrip(".")
    if kind not in FORMATS:
        parser.error(f"{args.out} ends with no format; end it with .{' or .'.join(FORMATS)}, or give --format")
    content = FORMATS[kind](load_model(args.model))
    with atomic_path(args.out) as temporary:
        temporary.write_bytes(content)


if __name__ == "__main__":
    run(main)

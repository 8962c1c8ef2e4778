#!/usr/bin/env python3
"""Write a trained model as one file for other programs: ONNX, or a program of torch.export.

The network takes a batch of any size and length: `features` (float32, [B, T, D]) and `lengths` (int64, [B], valid
frames), and gives `probabilities` ([B, classes]). Features are those after VAD and normalization. The file's metadata
name the classes (a JSON list) and say how features are made: in words (features), and as fbank.conf and vad.conf with
every option, and feature_norm. A folder of several folds becomes one network, the mean of their probabilities.
"""

import recipe_environment

from pathlib import Path

from options import OptionParser, run
from ser.base.files import atomic_path
from ser.base.log import counted

# How each format is run in Python, and what makes its features of sound.
USAGE = {
    "onnx": ("""onnxruntime.InferenceSession("{out}").run(None, {{"features": features, "lengths": lengths}})""",
             """The whole way from sound to emotion, with and without the recipe:
    steps/predict.py {out} x.wav
    python docs/onnx_example.py {out} x.wav     # kaldi-native-fbank, webrtcvad, onnxruntime"""),
    "pt2": ("""torch.export.load("{out}").module()(features, lengths)""",
            """Its features from sound, with the recipe: ser.load_model("{model}").features(samples)"""),
}


def main():
    parser = OptionParser(__doc__, "steps/export.py exp/vgg5_ad/fold_Ses01M model.onnx")
    parser.add_argument("--format", choices=tuple(USAGE), help="(default: what OUT ends with)")
    parser.add_argument("model", metavar="MODEL_DIR", type=Path, help="model directory of steps/finetune.py, or of "
                        "several folds")
    parser.add_argument("out", metavar="OUT", type=Path, help="file to write, such as model.onnx or model.pt2")
    args = parser.parse_args()
    kind = args.format or args.out.suffix.lstrip(".")
    if kind not in USAGE:
        parser.error(f"{args.out} ends with no format; end it with .{' or .'.join(USAGE)}, or give --format")
    from ser.infer.export import FORMATS  # torch takes a second to import
    from ser.infer.probability_network import load_networks

    network, input_format = load_networks(args.model)
    content = FORMATS[kind](network, input_format)
    with atomic_path(args.out) as temporary:
        temporary.write_bytes(content)
    print(f"{args.out}: {len(content) / 1e6:.1f} MB, the mean of {counted(len(network.networks), 'network')} for "
          f"{', '.join(input_format.classes)}\n\n"
          f"It takes features (float32 [batch, frames, {input_format.dimension}]) and lengths (int64 [batch]), and "
          "gives probabilities ([batch, classes]).\n"
          f"How features are made; the file's metadata say the same:\n{input_format.in_words}\n")
    in_python, from_sound = (text.format(out=args.out, model=args.model) for text in USAGE[kind])
    print(f"In Python, features after these steps:\n    {in_python}")
    if input_format.takes_sound:
        print(from_sound)


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Say in lines of a configuration what a wav2vec 2.0, HuBERT or WavLM on the disk is; steps/make_ssl.sh keeps them.

The weights are read for their digest, and not loaded.
"""

import recipe_environment

from dataclasses import asdict
from pathlib import Path

from options import OptionParser, run, write_conf
from ser.audio.ssl import describe_model, require_transformers


def main() -> None:
    parser = OptionParser(__doc__, "steps/describe_ssl.py --ssl-layer 6 models/wav2vec2-base data/mine/conf/ssl.conf")
    parser.add_argument("--ssl-layer", default="mean", metavar="LAYER", help="number from 0, or mean (default: mean)")
    parser.add_argument("model", type=Path, help="folder of config.json, preprocessor_config.json and weights")
    parser.add_argument("conf", help="file to write")
    args = parser.parse_args()
    require_transformers()
    try:
        described = describe_model(args.model, args.ssl_layer)
    except ValueError as error:
        parser.error(f"--ssl-{error}")
    write_conf(args.conf, [f"--{name.replace('_', '-')}={value}" for name, value in asdict(described).items()])


if __name__ == "__main__":
    run(main)

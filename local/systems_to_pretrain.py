#!/usr/bin/env python3
"""Print the backbones that the named systems need pre-trained, in one line; nothing when there are none."""

from options import OptionParser, run
from systems import find_systems


def main():
    parser = OptionParser(__doc__, 'local/systems_to_pretrain.py "resnet18_pretrain vgg5_ad"')
    parser.add_argument("systems", help="names of conf/systems.conf, in one word")
    backbones = {}
    for system in find_systems(parser.parse_args().systems.split()):
        for word in system.options:
            backbones[word.partition("--pretrained-dir=EXP/pretrain_")[2]] = None
    print(*filter(None, backbones))


if __name__ == "__main__":
    run(main)

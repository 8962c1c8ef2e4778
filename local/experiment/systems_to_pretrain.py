#!/usr/bin/env python3
"""Print the backbones that the named systems need pre-trained, in one line; nothing when there are none."""

from local.experiment.systems import find_systems
from options import OptionParser, run


def main():
    parser = OptionParser(__doc__, 'local/experiment/systems_to_pretrain.py "resnet18_pretrain vgg5_ad"')
    parser.add_argument("systems", help="names of conf/systems.conf, in one word")
    systems = find_systems(parser.parse_args().systems.split())
    print(*dict.fromkeys(system.pretrained.removeprefix("pretrain_") for system in systems if system.pretrained))


if __name__ == "__main__":
    run(main)

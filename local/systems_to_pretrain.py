#!/usr/bin/env python3
"""Print the backbones that the named systems need pre-trained, in one line; nothing when there are none."""

from options import OptionParser, run
from ser.errors import UserError
from systems import read_systems


def main():
    parser = OptionParser(__doc__, 'local/systems_to_pretrain.py "resnet18_pretrain vgg5_ad"')
    parser.add_argument("systems", help="names of conf/systems.conf, in one word")
    table, backbones = read_systems(), []
    names = parser.parse_args().systems.split()
    if not names:
        raise UserError(f"--systems: is empty; conf/systems.conf has {' '.join(table)}")
    for name in names:
        if name not in table:
            raise UserError(f"--systems: conf/systems.conf has no {name!r}; it has {' '.join(table)}")
        for word in table[name].options:
            backbone = word.partition("--pretrained-dir=EXP/pretrain_")[2]
            if backbone and backbone not in backbones:
                backbones.append(backbone)
    print(" ".join(backbones))


if __name__ == "__main__":
    run(main)

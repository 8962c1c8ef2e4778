#!/usr/bin/env python3
"""Print the ablations that stage 8 trains, in one line: those named, or all that change one of the systems."""

from local.experiment.systems import find_systems, read_systems
from options import OptionParser, run
from ser.base.errors import UserError


def main():
    parser = OptionParser(__doc__, 'local/experiment/choose_ablations.py --systems "vgg5_baseline vgg5_ad"')
    parser.add_argument("--systems", required=True, metavar="NAMES", help="that are trained, in one word")
    parser.add_argument("--ablations", default="", metavar="NAMES",
                        help="of conf/ablations.conf, in one word (default: all of --systems)")
    args = parser.parse_args()
    trained = {system.name for system in find_systems(args.systems.split())}
    if args.ablations.split():
        ablations = find_systems(args.ablations.split())
    else:
        ablations = [system for system in read_systems().values() if system.reference in trained]
    for system in ablations:
        if not system.reference:
            raise UserError(f"--ablations: {system.name} is no ablation; name it in --systems")
        if system.reference not in trained:
            raise UserError(f"--ablations: {system.name} changes {system.reference}; name that in --systems, too")
    if not ablations:
        raise UserError(f"conf/ablations.conf: no line changes one of {args.systems}; "
                        "leave out --stop-stage 8 or name a system with AD")
    print(*(system.name for system in ablations))


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Print what run.sh has to know of the systems that it is given.

    pretraining  the pre-trained models that they start from: backbone, seed and name below EXP of each, one a line
    ablations    the ablations that stage 8 trains, in one line: those named, or all that change one of the systems
    functionals  those that learn from functionals.scp, in one line
    attention    of each system with an attention the model directory of the first seed and fold, one a line; those
                 whose masks steps/plot_masks.py has drawn are left out
"""

import recipe_environment

from pathlib import Path

from local.experiment.experiment import (
    add_pretrain_seeds,
    open_experiment,
    parse_pretrain_seeds,
    parse_seeds,
    pretrainings,
)
from local.experiment.systems import System, find_systems, read_systems
from options import OptionParser, run
from ser.analysis.left_out import reason_of
from ser.base.errors import UserError


def choose_ablations(systems: list[System], names: list[str]) -> list[System]:
    """The ablations of those names, or without names all that change one of the systems; raises UserError."""
    trained = {system.name for system in systems}
    if not names:
        ablations = [system for system in read_systems().values() if system.reference in trained]
        if not ablations:
            named = " ".join(system.name for system in systems)
            raise UserError(f"conf/ablations.conf: no line changes one of {named}; "
                            "leave out --stop-stage 8 or name a system with AD")
        return ablations
    ablations = find_systems(names)
    for system in ablations:
        if not system.reference:
            raise UserError(f"--ablations: {system.name} is no ablation; name it in --systems")
        if system.reference not in trained:
            raise UserError(f"--ablations: {system.name} changes {system.reference}; name that in --systems, too")
    return ablations


def main() -> None:
    parser = OptionParser(__doc__, 'local/experiment/list_systems.py --systems "resnet18_pretrain_ad" pretraining\n'
                          '  local/experiment/list_systems.py --systems "vgg5_baseline vgg5_ad" ablations\n'
                          '  local/experiment/list_systems.py --systems "vgg5_baseline vgg5_ad" attention data/iemocap '
                          "exp")
    parser.add_argument("--systems", required=True, metavar="NAMES",
                        help="of conf/systems.conf and conf/ablations.conf, quoted, separated by spaces")
    parser.add_argument("--ablations", default="", metavar="NAMES",
                        help="of conf/ablations.conf, quoted, separated by spaces (default: all of --systems)")
    parser.add_argument("--seeds", default="0", metavar="NUMBERS", help="quoted, separated by spaces (default: 0)")
    add_pretrain_seeds(parser)
    parser.add_argument("what", choices=("pretraining", "ablations", "functionals", "attention"))
    parser.add_argument("data", nargs="?", help="data directory with folds, for attention")
    parser.add_argument("exp", nargs="?", help="experiment directory, for attention")
    args = parser.parse_args()
    systems = find_systems(args.systems.split())
    if args.what == "pretraining":
        pretrain_seeds = parse_pretrain_seeds(args.pretrain_seeds, parse_seeds(args.seeds)).values()
        for (start, seed), name in pretrainings(systems, pretrain_seeds).items():
            print(start.removeprefix("pretrain_"), seed, name)
    elif args.what == "ablations":
        print(*(system.name for system in choose_ablations(systems, args.ablations.split())))
    elif args.what == "functionals":
        print(*(system.name for system in systems if system.needs_functionals))
    elif not args.exp:
        parser.error("attention takes a data directory and an experiment directory")
    else:
        experiment = open_experiment(args)
        for system in experiment.systems:
            model = experiment.models(system)[experiment.seeds[0], experiment.folds[0]]
            masks = Path(model) / "analysis" / "masks.png"
            if system.has_attention and (reason_of(masks) or not masks.exists()):
                print(model)


if __name__ == "__main__":
    run(main)

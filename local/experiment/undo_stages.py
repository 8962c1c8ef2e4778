#!/usr/bin/env python3
"""Remove what stages N to M of run.sh have made of some systems and seeds, so that they are done again.

    local/experiment/undo_stages.py --stage 5 --stop-stage 7 --systems "vgg5_baseline vgg5_ad" exp

    0 to 3  the markers of the corpora and data directories (--marker FILE, several times)
    4, 5    model directories: EXP/pretrain_…, EXP/SYSTEM/FOLD; one without the config.json of a training is left alone
    4 to 6  RESULT, results.json of the systems and of EXP, RESULTS, CLASSES, CLAIMS
    7       what was measured of each fold; EXP/analysis, EXP/report.html
    8       the model directories of --ablations, EXP/ABLATIONS

Killed, it ends its work when it is run again. A file that the recipe does not write stays.
"""

import recipe_environment

import contextlib
from collections.abc import Iterable
from pathlib import Path

from local.experiment.experiment import add_pretrain_seeds, parse_pretrain_seeds, parse_seeds, pretrainings
from local.experiment.systems import System, find_systems
from options import OptionParser, natural, run
from ser.base.log import counted
from ser.model_dir.record import ANALYSIS, clear_model_dir

MODEL_MARKER = "config.json"
RESULTS = ("RESULT", "RESULTS", "CLASSES", "results.json", "CLAIMS", "claims.json")
ANALYSIS_OF_ALL = (".drawn", "PROBES", "probes.json", "probes.tsv", "silhouette.tsv", "figure1.pdf", "figure1.tsv",
                   "confusions.tsv", "speakers.tsv", "wf1.svg", "CALIBRATION", "calibration.json",
                   *(f"{name}.{kind}" for name in ("figure1", "confusions", "speakers", "curves", "reliability")
                     for kind in ("png", "svg")))
ABLATIONS = ("ABLATIONS", "ablations.json")


def remove_model(model: Path) -> None:
    """Remove what a training wrote into a model directory, and the directory when nothing else is in it.

    The marker goes last, so that a directory that was half removed is still known as one. Raises UserError when it is
    not that of a training.
    """
    clear_model_dir(model)
    (model / MODEL_MARKER).unlink()
    for folder in (model / "log", model):
        with contextlib.suppress(OSError):  # not empty, or a link
            folder.rmdir()


def models_of(systems: Iterable[System], seeds: Iterable[str], exp: str) -> list[Path]:
    """The model directories of some systems and seeds, whatever their folds are."""
    return [path.parent for system in systems for seed in seeds
            for path in sorted(Path(system.directory(exp, seed)).glob(f"*/{MODEL_MARKER}"))]


def remove_files(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def remove_results(exp: str, systems: Iterable[System], seeds: Iterable[str]) -> None:
    """Remove the tables of an experiment directory, and the result files of some systems and seeds."""
    for folder in (exp, *(system.directory(exp, seed) for system in systems for seed in seeds)):
        remove_files(Path(folder), RESULTS)


def main() -> None:
    parser = OptionParser(__doc__, 'local/experiment/undo_stages.py --stage 5 --stop-stage 7 --systems "vgg5_ad" exp')
    parser.add_argument("--stage", type=natural, required=True, help="the first one to undo")
    parser.add_argument("--stop-stage", type=natural, required=True, help="the last one to undo")
    parser.add_argument("--systems", required=True, metavar="NAMES", help="quoted, separated by spaces")
    parser.add_argument("--ablations", default="", metavar="NAMES", help="quoted, separated by spaces (default: none)")
    parser.add_argument("--seeds", default="0", metavar="NUMBERS", help="quoted, separated by spaces (default: 0)")
    add_pretrain_seeds(parser)
    parser.add_argument("--marker", action="append", default=[], type=Path, help="of stages 0 to 3, for each its own")
    parser.add_argument("exp", help="experiment directory")
    args = parser.parse_args()
    exp = Path(args.exp)
    stages = range(args.stage, args.stop_stage + 1)
    systems = find_systems(args.systems.split())
    ablations = find_systems(args.ablations.split()) if args.ablations else []
    seeds = parse_seeds(args.seeds)

    for marker in args.marker:
        marker.unlink(missing_ok=True)
    models = []
    if 4 in stages:
        pretrain_seeds = parse_pretrain_seeds(args.pretrain_seeds, seeds).values()
        pretrained = [exp / name for name in pretrainings(systems, pretrain_seeds).values()]
        models += [model for model in pretrained if (model / MODEL_MARKER).is_file()]
    if 5 in stages:
        models += models_of(systems, seeds, args.exp)
    if 8 in stages:
        models += models_of(ablations, seeds, args.exp)
        remove_files(exp, ABLATIONS)
    for model in models:
        remove_model(model)
    if {4, 5, 6}.intersection(stages):  # no table without the models that it is of
        remove_results(args.exp, systems, seeds)
    if 7 in stages:
        for model in models_of(systems, seeds, args.exp):
            remove_files(model / "analysis", ANALYSIS)
        remove_files(exp / "analysis", ANALYSIS_OF_ALL)
        remove_files(exp, ["report.html"])
    print(f"{parser.prog}: stages {args.stage} to {args.stop_stage} of {exp} are undone, with "
          f"{counted(len(models), 'model')}")


if __name__ == "__main__":
    run(main)

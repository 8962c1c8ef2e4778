#!/usr/bin/env python3
"""Take an extractor that is trained already, instead of pre-training one.

    check  say what it is, once it is known to fit
    state  say whether its copy is there
    copy   copy it to EXP/pretrain_BACKBONE, unless it is there

So all that follows finds in EXP what it would find after a pre-training of its own, for all seeds the same. A model
that was pre-trained there is not replaced.
"""

import recipe_environment

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.experiment.systems import find_systems
from options import OptionParser, run
from ser.base.conf import without_comments
from ser.base.errors import UserError
from ser.base.files import atomic_path, write_text
from ser.base.log import log
from ser.data.data_dir import read_text
from ser.data.feature_conf import is_filterbank
from ser.infer.results_file import NAME, PretrainResults, pretraining_line, read_results
from ser.model_dir.checkpoint import load_config, require_tensors
from ser.model_dir.record import clear_model_dir, is_finished, require_own

OTHERWISE = "name a corpus to pre-train on (--pretrain-data DIR and others, see ./run.sh --help) or other --systems"
_FILES = ("best.safetensors", "log/epochs.tsv", NAME)
_SOURCE = "copied_from"  # the key of config.json that tells a copy from a pre-training


def read_extractor(source: Path) -> dict[str, Any]:
    """The config.json of a finished pre-training; raises UserError."""
    config = load_config(source)
    if "num_speakers" not in config:
        raise UserError(f"{source}: is no pre-trained extractor; name a model directory of steps/pretrain.py")
    for name in ("RESULT", *_FILES):
        if not (source / name).is_file():
            raise UserError(f"{source}: has no {name}, so its pre-training is not finished; name one that is")
    return config


def require_fit(source: Path, config: Mapping[str, Any], names: str, feats_type: str, fbank_config: str) -> None:
    """Raise UserError unless the systems start from such a network, on such features."""
    backbone = config["options"]["backbone"]
    for system in find_systems(names.split()):
        if system.pretrained not in (None, f"pretrain_{backbone}"):
            raise UserError(f"{system.name} starts from {system.pretrained}, and {source} is a {backbone}; {OTHERWISE}")
    if is_filterbank(config["features"]) != (feats_type == "fbank"):
        learned_from = "filterbanks" if is_filterbank(config["features"]) else "other features"
        raise UserError(f"{source}: was trained on {learned_from}, and --feats-type is {feats_type}; {OTHERWISE}")
    of_extractor = config["features"].get("fbank.conf")
    if of_extractor is not None and without_comments(of_extractor) != without_comments(read_text(fbank_config)):
        raise UserError(f"{source}: was trained on filterbanks of other options than --fbank-config {fbank_config}; "
                        f"{OTHERWISE}")


def is_there(config: Mapping[str, Any], target: Path) -> bool:
    """Whether the copy of an extractor is complete; says when it is that of another one.

    Raises
    ------
    UserError
        The directory is that of a pre-training, or not the recipe's.
    """
    require_own(target)
    if not (target / "config.json").exists():
        return False
    held = load_config(target)
    if _SOURCE not in held:
        raise UserError(f"{target}: was pre-trained there, on {held['dataset']}; take another --exp-dir, or give "
                        "--stage 4 to replace it")
    if held["identity"] != config["identity"]:
        log(f"{target}: was copied from {held[_SOURCE]}, which was another extractor; it is copied again")
        return False
    return is_finished(target)


def copy(source: Path, config: Mapping[str, Any], target: Path) -> None:
    """Copy an extractor, RESULT last; raises UserError."""
    require_tensors(source / "best.safetensors")
    results = read_results(source / NAME, PretrainResults, "name another extractor")
    if target.exists():
        clear_model_dir(target)
    write_text(target / "config.json", json.dumps({**config, _SOURCE: str(source)}, indent=2, sort_keys=True) + "\n")
    for name in (*_FILES, "README.md"):
        if (source / name).is_file():  # not each has a card
            with atomic_path(target / name) as temporary:
                shutil.copyfile(source / name, temporary)
    write_text(target / "RESULT", pretraining_line(results, target))


def main() -> None:
    parser = OptionParser(__doc__, "local/experiment/use_pretrained.py --systems resnet18_strong "
                          "local/pretrained/speech_commands_resnet18 exp/mine copy")
    parser.add_argument("--systems", required=True, metavar="NAMES", help="that start from it, quoted, separated by "
                        "spaces")
    parser.add_argument("--feats-type", default="fbank", metavar="WORD",
                        help="what the systems learn from, as for run.sh (default: fbank)")
    parser.add_argument("--fbank-config", default="conf/fbank.conf", metavar="FILE",
                        help="of the features that they learn from (default: conf/fbank.conf)")
    parser.add_argument("pretrained", type=Path, help="model directory of steps/pretrain.py")
    parser.add_argument("exp", type=Path, help="experiment directory")
    parser.add_argument("what", choices=("check", "state", "copy"))
    args = parser.parse_args()
    config = read_extractor(args.pretrained)
    backbone = config["options"]["backbone"]
    target = args.exp / f"pretrain_{backbone}"
    if target.resolve() == args.pretrained.resolve():
        raise UserError(f"{args.pretrained}: is where its copy would be; give another --exp-dir")
    require_fit(args.pretrained, config, args.systems, args.feats_type, args.fbank_config)
    if args.what == "check":
        print(f"{args.pretrained}: {backbone} of {config['num_speakers']} speakers of {config['dataset']}")
        return
    found = is_there(config, target)
    if args.what == "state":
        print("already there" if found else "to be copied")
        return
    if not found:
        copy(args.pretrained, config, target)
    print((target / "RESULT").read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    run(main)

"""Options that say where and how to run, shared by pretrain.py and finetune.py."""

from argparse import ArgumentParser, Namespace

import torch

from options import natural, str2bool
from ser.base.device import DEVICES, PRECISIONS, pick_device, pick_precision
from ser.base.errors import UserError
from ser.base.log import log
from ser.base.processes import world_size
from ser.train import distributed


def add_training_options(parser: ArgumentParser) -> None:
    """Add --seed, --device, --precision, --fast, --num-threads, --save-every and --restart."""
    parser.add_argument("--seed", type=natural, default=0, help="of weights, crops and order (default: 0)")
    parser.add_argument("--device", default="auto", choices=DEVICES,
                        help="auto takes a GPU when there is one (default: auto)")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS,
                        help="of training and validation; auto is bf16 where the processor has it (default: auto)")
    parser.add_argument("--fast", type=str2bool, default=True, metavar="true|false",
                        help="on one GPU, train with CUDA graphs and convolutions in blocks, which differ from torch's "
                        "by rounding (default: true)")
    parser.add_argument("--num-threads", type=natural, default=0,
                        help="CPU threads; 0 leaves torch's choice (default: 0)")
    parser.add_argument("--save-every", type=float, default=10.0, metavar="SECONDS",
                        help="between two states to resume from (default: 10)")
    parser.add_argument("--restart", type=str2bool, default=False, metavar="true|false",
                        help="begin anew whatever the directory holds (default: false)")


def pick(args: Namespace, several_processes: bool = False) -> tuple[torch.device, str]:
    """Device and precision for parsed options, which are logged.

    Raises
    ------
    UserError
        The options ask for what this machine does not have, or there are several processes where there must be one.
    """
    if not several_processes:
        require_one_process()
    device = pick_device(args.device, args.num_threads)
    precision = pick_precision(args.precision, device)
    log(_description(args, device, precision))
    return device, precision


def require_one_process() -> None:
    """Raise UserError when several processes were started for a training that takes one."""
    if world_size() > 1:
        distributed.begin()
        raise UserError(f"trains in one process, not in {world_size()}; start it without launch_distributed.py "
                        "(run.sh --ngpu trains several folds at a time)")


def _description(args: Namespace, device: torch.device, precision: str) -> str:
    notes = []
    if device.type == "cuda":
        fast = args.fast and world_size() == 1
        notes.append("fast: CUDA graphs, convolutions in blocks" if fast else "not fast: torch alone")
        notes.append("cuDNN may use TF32")
    elif args.precision == "auto" and precision == "fp32":
        notes.append("which does not multiply bf16")
    where = f"{device.type} ({', '.join(notes)})" if notes else device.type
    processes = f", {world_size()} processes" if world_size() > 1 else ""
    return f"training and validation in {precision} on {where}, scoring in fp32, seed {args.seed}{processes}"

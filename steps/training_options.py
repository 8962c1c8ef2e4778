"""Options that say where and how to run, shared by pretrain.py and finetune.py."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from options import OptionParser, natural, str2bool
from ser.base.device import DEVICES, PRECISIONS, pick_device, pick_precision
from ser.base.errors import UserError
from ser.base.log import log
from ser.base.processes import world_size

if TYPE_CHECKING:
    import torch


def add_training_options(parser: OptionParser) -> None:
    """Add --seed, --device, --precision, --fast, --num-threads, --save-every and --restart."""
    parser.add_argument("--seed", type=natural, default=0, help="of weights, crops and order (default: 0)")
    parser.add_argument("--device", default="auto", choices=DEVICES,
                        help="auto takes a GPU when there is one (default: auto)")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS,
                        help="of training and validation; auto is bf16 where the processor has it (default: auto)")
    parser.add_argument("--fast", type=str2bool, default=True, metavar="true|false",
                        help="on GPUs, train with CUDA graphs, convolutions in blocks, and Triton's normalization of "
                        "large batches, which differ from torch's by rounding (default: true)")
    parser.add_argument("--num-threads", type=natural, default=0,
                        help="CPU threads; 0 leaves torch's choice (default: 0)")
    parser.add_argument("--save-every", type=float, default=10.0, metavar="SECONDS",
                        help="between two states to resume from (default: 10)")
    parser.add_argument("--restart", type=str2bool, default=False, metavar="true|false",
                        help="begin again whatever the directory holds (default: false)")


def require_one_process() -> None:
    """Raise UserError when launch_distributed.py has started several."""
    processes = world_size()
    if processes > 1:
        from ser.train import distributed

        distributed.begin()
        raise UserError(f"trains in one process, not in {processes}; start it without launch_distributed.py "
                        "(run.sh --ngpu trains several folds at a time)")


def pick_device_and_precision(args: Namespace) -> tuple[torch.device, str]:
    """Those that the options ask for; raises UserError."""
    device = pick_device(args.device, args.num_threads)
    return device, pick_precision(args.precision, device)


def log_device_and_precision(args: Namespace, device: torch.device, precision: str) -> None:
    """Say in one line where and how is trained."""
    reason = ""
    if device.type == "cuda":
        how = ("fast: CUDA graphs, convolutions in blocks, Triton's normalization of large batches" if args.fast
               else "not fast: torch alone")
        reason = f" ({how}, training may use TF32 where it computes in float32)"
    elif args.precision == "auto" and precision == "fp32":
        reason = " (which does not multiply bf16)"
    processes = f", {world_size()} processes" if world_size() > 1 else ""
    log(f"training and validation in {precision} on {device.type}{reason}, scoring in fp32 without TF32, "
        f"seed {args.seed}{processes}")

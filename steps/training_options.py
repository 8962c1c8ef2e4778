"""Options that say where and how to run, shared by pretrain.py and finetune.py."""

from options import natural, str2bool
from ser.base.device import DEVICES, PRECISIONS, pick_device, pick_precision
from ser.base.errors import UserError
from ser.base.log import log
from ser.base.processes import world_size
from ser.nn import fused_norm
from ser.train import distributed


def add_training_options(parser):
    """Add --seed, --device, --precision, --num-threads, --save-every and --restart."""
    parser.add_argument("--seed", type=natural, default=0, help="of weights, crops and order (default: 0)")
    parser.add_argument("--device", default="auto", choices=DEVICES,
                        help="auto takes a GPU when there is one (default: auto)")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS,
                        help="of training and validation; auto is bf16 where the processor has it (default: auto)")
    parser.add_argument("--num-threads", type=natural, default=0,
                        help="CPU threads; 0 leaves torch's choice (default: 0)")
    parser.add_argument("--save-every", type=float, default=10.0, metavar="SECONDS",
                        help="between two states to resume from (default: 10)")
    parser.add_argument("--restart", type=str2bool, default=False, metavar="true|false",
                        help="begin anew whatever the directory holds (default: false)")


def pick(args, several_processes=False):
    """Device and precision for parsed options; raises UserError, also for several processes where there must be one."""
    processes = world_size()
    if processes > 1 and not several_processes:
        distributed.begin()
        raise UserError(f"trains in one process, not in {processes}; start it without launch_distributed.py "
                        "(run.sh --ngpu trains several folds at a time)")
    device = pick_device(args.device, args.num_threads)
    precision = pick_precision(args.precision, device)
    log(f"training and validation in {precision} on {device.type}" + _reasons(args, device, precision)
        + f", scoring in fp32, seed {args.seed}" + (f", {processes} processes" if processes > 1 else ""))
    return device, precision


def _reasons(args, device, precision):
    if device.type == "cuda":
        return f" ({'Triton' if fused_norm.is_available() else 'torch'} normalizes, cuDNN may use TF32)"
    if args.precision == "auto" and precision == "fp32":
        return " (which does not multiply bf16)"
    return ""

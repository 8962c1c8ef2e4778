#!/usr/bin/env python3
"""Train one model with several processes: torchrun, with one line for what goes wrong.

COMMAND is a Python script that trains in several processes (steps/pretrain.py) and its options. On one
machine N processes run, each on a GPU of its own or, with --device cpu, on the CPU; --batch-size is each
one's, or with --global-batch that of all together. In a Slurm job of several nodes N processes run on each:
call it once, from the batch script, and let Slurm see one task per node with everything that the node's
processes need:

  sbatch --nodes 2 --ntasks-per-node 1 --cpus-per-task 16 --gpus-per-node 4 SCRIPT

Exit status: 0, or that of the first process to fail, or 128 + signal where a signal ended it or this script.
"""

import recipe_environment

import logging
import os
import signal
import socket
import sys
import tempfile
import uuid
from pathlib import Path

from options import OptionParser, run
from ser.base.errors import UserError

BATCH_SCRIPT = 0xFFFFFFF0  # from here on, Slurm's step numbers are not those of srun


def parse(words):
    """Split a command line into the number of processes and COMMAND, whose own options stay untouched."""
    parser = OptionParser(__doc__, "steps/launch_distributed.py --nproc-per-node 4 steps/pretrain.py --config "
                          "conf/pretrain.conf data/voxceleb1 exp/pretrain_resnet18")
    parser.usage = "%(prog)s --nproc-per-node N COMMAND..."
    parser.add_argument("--nproc-per-node", type=int, required=True, metavar="N", help="processes of each node")
    first = next((number for number, word in enumerate(words) if word.endswith(".py")), len(words))
    args = parser.parse_args(words[:first])
    if args.nproc_per_node < 1:
        parser.error("--nproc-per-node must be 1 or more")
    if first == len(words):
        parser.error("COMMAND is missing, a Python script and its options")
    if not os.path.isfile(words[first]):
        raise UserError(f"{words[first]}: no such script")
    return args.nproc_per_node, words[first:]


def in_step():
    """Whether srun has started this process; not so in a batch script, in a shell of salloc, and without Slurm."""
    return int(os.environ.get("SLURM_STEP_ID", BATCH_SCRIPT)) < BATCH_SCRIPT


def run_on_every_node(nodes):
    """Become an srun of this very command, one task per node; raises UserError."""
    words = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--export=ALL",
             "--kill-on-bad-exit=1"]
    if threads := os.environ.get("SLURM_CPUS_PER_TASK"):  # srun does not take it over from sbatch since 22.05
        words.append(f"--cpus-per-task={threads}")
    try:
        os.execvp("srun", [*words, sys.executable, *sys.argv])
    except FileNotFoundError:
        raise UserError("this Slurm job has several nodes, but there is no srun in PATH") from None


def meeting_place():
    """Where the launchers of all nodes meet, as arguments of torch's LaunchConfig; raises UserError."""
    nodes = int(os.environ.get("SLURM_STEP_NUM_NODES", 1)) if in_step() else 1
    if nodes == 1:
        return {"min_nodes": 1, "max_nodes": 1, "run_id": str(uuid.uuid4()), "rdzv_backend": "c10d",
                "rdzv_endpoint": "localhost:0", "local_addr": "localhost"}
    tasks = os.environ["SLURM_STEP_NUM_TASKS"]
    job = os.environ["SLURM_JOB_ID"]
    node = os.environ["SLURM_NODEID"]
    address = os.environ["SLURM_LAUNCH_NODE_IPADDR"]
    if int(tasks) != nodes:
        raise UserError(f"srun runs {tasks} tasks on {nodes} nodes; start one launch_distributed.py per node "
                        "(--ntasks-per-node=1)")
    if node == "0" and not is_own(address):
        raise UserError(f"srun was called on {address}, which is not the first node of the job; "
                        "call launch_distributed.py from a batch script (sbatch)")
    return {"min_nodes": nodes, "max_nodes": nodes, "run_id": job, "rdzv_backend": "static",
            "rdzv_endpoint": f"{address}:{20000 + int(job) % 30000}", "rdzv_configs": {"rank": int(node)}}


def is_own(address):
    """Whether an address is one of this machine."""
    try:
        socket.create_server((address, 0)).close()
    except OSError:
        return False
    return True


def children():
    """The ids of what the main thread has started and what still runs; none where the kernel does not tell."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return set(map(int, path.read_text().split())) if path.exists() else set()


def supervise(processes, command, meeting):
    """Run this node's processes to their end; returns the exit status, raises UserError.

    Parameters
    ----------
    processes : int
    command : list of str
        Python script and its options.
    meeting : dict
        From meeting_place().
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # read at import: no stacks when a process leaves early
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable()  # torch's reports on failed processes, which have said themselves what is wrong
    others = children()
    try:
        with tempfile.TemporaryDirectory() as folder:  # torch leaves one of its own behind
            config = LaunchConfig(nproc_per_node=processes, max_restarts=0, logs_specs=DefaultLogsSpecs(folder),
                                  **meeting)
            elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as error:
        # Of those of the same second the one that was killed, for which others failed, and last whom torch has ended.
        number, failure = min(error.failures.items(), key=lambda item: (
            item[1].timestamp, item[1].exitcode == -signal.SIGTERM, item[1].exitcode > 0))
        if failure.exitcode > 0:
            return failure.exitcode
        print(f"launch_distributed.py: process {number} was killed by {failure.signal_name()}", file=sys.stderr)
        return 128 - failure.exitcode
    except SignalException as error:
        for pid in children() - others:  # which torch leaves alone if the signal comes while it is starting them
            os.kill(pid, signal.SIGKILL)
        print(f"launch_distributed.py: stopped by {error.sigval.name}, its processes were ended", file=sys.stderr)
        return 128 + error.sigval
    except DistError as error:
        raise UserError(f"the nodes cannot meet at {meeting['rdzv_endpoint']}: {str(error).splitlines()[0]}") from None
    return 0


def main():
    processes, command = parse(sys.argv[1:])
    nodes = int(os.environ.get("SLURM_JOB_NUM_NODES", 1))
    if nodes > 1 and not in_step():
        run_on_every_node(nodes)
    return supervise(processes, command, meeting_place())


if __name__ == "__main__":
    run(main)

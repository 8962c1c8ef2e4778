"""CUDA's multi-process service (MPS) for jobs that share a GPU: their kernels run side by side instead of in turns."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile

CONTROL = "nvidia-cuda-mps-control"
# In an environment whose service does not work, the driver's first function says so.
PROBE = "import ctypes, sys; sys.exit(ctypes.CDLL('libcuda.so.1').cuInit(0) != 0)"
SECONDS = 20  # for each call; the first one starts the server


def is_there():
    """Whether there is such a service to start, and the user has not."""
    return shutil.which(CONTROL) is not None and "CUDA_MPS_PIPE_DIRECTORY" not in os.environ


@contextlib.contextmanager
def shared_gpus(gpus, guardian):
    """Start the service for the length of a block.

    gpus: the devices, as CUDA_VISIBLE_DEVICES takes them
    guardian: ends the service when this process is killed
    Gives what is to be set in the environment of the jobs: nothing where there is no such service, it does not work, or
    the user has started one (CUDA_MPS_PIPE_DIRECTORY). Jobs then take turns.
    """
    if not is_there():
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="mps-", ignore_cleanup_errors=True) as folder:
        settings = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        environment = {**os.environ, **settings, "CUDA_VISIBLE_DEVICES": ",".join(gpus)}
        service = subprocess.Popen([CONTROL, "-f"], env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                                   preexec_fn=guardian.adopt_me)
        try:
            yield settings if _works(environment) else {}
        finally:
            _call([CONTROL], environment, "quit\n")
            try:
                service.wait(SECONDS)
            except subprocess.TimeoutExpired:
                service.kill()
                service.wait()
            guardian.release(service.pid)


def uuids(gpus):
    """The same devices by names that hold inside and outside of the service."""
    listed = subprocess.run(["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"], capture_output=True,
                            text=True, check=True).stdout
    names = dict(line.split(", ") for line in listed.splitlines())
    return [names.get(gpu, gpu) for gpu in gpus]


def _works(environment):
    return _call([sys.executable, "-c", PROBE], environment)


def _call(command, environment, text=""):
    """Whether a command succeeds in time."""
    try:
        return subprocess.run(command, env=environment, input=text, text=True, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False

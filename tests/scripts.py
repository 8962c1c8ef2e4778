"""Python scripts in children of servers that have imported packages, which takes longer than most scripts do.

There are two, as it takes the longer to fork a process the more it has imported: a lean one, and a full one with torch,
its compiler for what exports a network, and Matplotlib for plots.
"""

import gc
import multiprocessing
import os
import re
import runpy
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path

gc.disable()  # while packages are imported, in the servers and, up to the first test, in pytest

_CONTEXT = multiprocessing.get_context("forkserver")
_LEAN, _FULL = forkserver.ForkServer(), forkserver.ForkServer()
_LEAN.set_forkserver_preload(["scripts", "kaldiio", "soundfile"])
_FULL.set_forkserver_preload(["scripts", "jinja2", "kaldiio", "matplotlib.figure", "safetensors.torch", "scipy.stats",
                              "sklearn.linear_model", "soundfile", "torch", "torch._dynamo"])
_FOR_LEAN = re.compile(r"local/((experiment/)?\w+|results/make_(probes|results))\.py|"
                       r"steps/(\w+_data_dir|check_feats|compute_(fbank|vad)|report_audio)\.py")


def _become(words, streams, folder, env):
    gc.freeze()  # else the collector looks through what the server has imported, in each of them
    gc.enable()
    multiprocessing.set_start_method(None, force=True)  # else processes of the script come from a server of their own
    for number, name in enumerate(streams, 1):
        os.dup2(os.open(name, os.O_WRONLY), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = words
    of_tests = {str(path) for path in (Path(), Path("tests"), Path("steps"), Path("local"))}
    sys.path[:] = [str(Path(words[0]).resolve().parent), *env.get("PYTHONPATH", "").split(os.pathsep),
                   *(place for place in sys.path if os.path.relpath(place) not in of_tests)]
    runpy.run_path(words[0], run_name="__main__")


def start_script(words, folder, env, streams):
    """Start a script whose stdout and stderr go to two files; returns its multiprocessing.Process."""
    for stream in streams:
        Path(stream).touch()
    child = _CONTEXT.Process(target=_become, args=(words, streams, folder, env))
    server = _LEAN if _FOR_LEAN.fullmatch(words[0]) else _FULL
    forkserver.connect_to_new_process = server.connect_to_new_process  # else that of the standard library's one server
    child.start()
    return child


def run_script(words, folder, env):
    """Run a script to its end, as `subprocess.run` does with `cwd`, `env`, `capture_output` and `text`.

    Parameters
    ----------
    words : list of str
        The script, relative to the folder, and its arguments.
    folder : str or Path
        Where it runs.
    env : dict of str to str

    Returns
    -------
    subprocess.CompletedProcess
    """
    with tempfile.TemporaryDirectory() as place:
        streams = [Path(place, name) for name in ("stdout", "stderr")]
        child = start_script(words, folder, env, streams)
        child.join()
        return subprocess.CompletedProcess(words, child.exitcode, *(stream.read_text() for stream in streams))

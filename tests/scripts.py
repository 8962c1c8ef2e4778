"""Python scripts in children of a server that has imported packages, which takes longer than most scripts do.

The compiler of torch is for what exports a network, Matplotlib for plots.
"""

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["scripts", "jinja2", "kaldiio", "matplotlib.figure", "safetensors.torch", "scipy.stats",
                                "sklearn.linear_model", "soundfile", "torch", "torch._dynamo"])


def _become(words, streams, folder, env):
    gc.freeze()  # else the collector looks through what the server has imported, in each of them
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
    child = _SERVER.Process(target=_become, args=(words, streams, folder, env))
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

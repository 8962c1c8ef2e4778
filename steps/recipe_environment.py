"""The first import of every script: has it run in the recipe's environment, whatever shell it was started from.

Where path.sh was not sourced, or another Python comes first in PATH, the script is started again through path.sh. A
Python of the user's that has the packages is left alone as long as there is no .venv. Any Python 3 can read this file.
"""

import gc
import os
import re
import sys

# Else Python looks for garbage after each 700 new objects, and importing torch makes a hundred thousand that are none.
gc.set_threshold(10000)

ENTER = '. "$0" && SER_ENTERED_BY=$$ exec "$SER_ROOT/.venv/bin/python" "$@"'
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPT = getattr(sys.modules["__main__"], "__file__", None) or ""


def is_entered():
    """Whether path.sh of this recipe was sourced, and this is the Python that it found."""
    if os.environ.pop("SER_ENTERED_BY", "") == str(os.getpid()):
        return True  # never twice, be that Python a link or a wrapper
    home = os.path.join(ROOT, ".venv", "bin")
    try:
        return (os.path.samefile(os.environ.get("SER_ROOT", ""), ROOT)
                and os.path.samefile(os.path.dirname(sys.executable), home))
    except OSError:
        return False


def has_packages():
    """Whether this Python has all of requirements.txt."""
    try:
        from importlib.metadata import version  # which takes time, and Python 3.8
        with open(ROOT + "/requirements.txt") as file:
            for line in file:
                version(re.split("[=<>~!; ]", line.strip())[0])
    except ImportError:
        return False
    return True


def enter():
    """Go on as the same script in the recipe's environment, with the same words."""
    words = getattr(sys, "orig_argv", ["", SCRIPT] + sys.argv[1:])[1:]  # there since Python 3.10
    os.environ.pop("PYTHONHOME", None)
    os.execvp("bash", ["bash", "-c", ENTER, ROOT + "/path.sh"] + words)


# realpath, as the recipe may be reached through a link, which Python follows for this file and not for the script
FOLDERS = tuple(os.path.join(os.path.realpath(ROOT), folder, "") for folder in ("steps", "local", "tests"))
if os.path.realpath(SCRIPT).startswith(FOLDERS) and not is_entered():
    if os.path.lexists(ROOT + "/.venv") or not has_packages():
        enter()
if os.path.realpath(SCRIPT).startswith(FOLDERS[:2]):
    gc.disable()  # until options.run(), as what is imported is no garbage
os.environ["MPLBACKEND"] = "Agg"  # a notebook's is not to be found here
for place in (ROOT, ROOT + "/steps"):
    if place not in sys.path:
        sys.path.insert(1, place)

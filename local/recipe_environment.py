"""steps/recipe_environment.py, the first import of the scripts in this folder, where Python looks for it first."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).absolute().parents[1] / "steps" / "recipe_environment.py"))

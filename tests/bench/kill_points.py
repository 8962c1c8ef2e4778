#!/usr/bin/env python3
"""Kill run.sh at random points, let the same command end the work, and compare with the results of a run in peace.

    . ./path.sh
    tests/bench/kill_points.py --points 20

Each point is one experiment of its own on the mini corpora, with a short schedule. Of every second one the killed run
is followed by a redo (--stage N, N drawn from 0 to 6) that is killed, too. Killed is everything that run.sh has
started, with SIGKILL. The points are drawn uniformly over the time that the run in peace took, with --seed.
"""

import recipe_environment

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import ROOT

sys.path.insert(0, str(ROOT / "tests"))
from conftest import results, short_schedule  # noqa: E402
from test_kills import kill_all  # noqa: E402


def command(place, config, *more):
    words = ["./run.sh", "--stop-stage", "6", "--systems", "resnet18_pretrain vgg5_ad",
             "--protocol", "5fold", "--pretrain-config", config / "pretrain.conf",
             "--finetune-config", config / "finetune.conf",
             "--data-dir", place / "data", "--exp-dir", place / "exp", *more]
    return [str(word) for word in words]


def run_to_its_end(words):
    started = time.monotonic()
    result = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        sys.exit(f"{words}: status {result.returncode}\n{result.stdout}")
    return time.monotonic() - started


def kill_after(words, seconds):
    """Whether the run was killed before it had ended."""
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill_all(process)
        return True
    return False


def figures(place):
    """The RESULT files of folds and systems and RESULTS, without the name of the place."""
    files = {path: text for path, text in results(place).items()}
    for path in sorted(place.glob("exp/*/RESULT")) + [place / "exp" / "RESULTS"]:
        files[path.relative_to(place)] = path.read_text().replace(str(place), "PLACE")
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    os.environ.pop("PYTHONPATH", None)
    same = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        config = short_schedule(folder / "conf")
        length = run_to_its_end(command(folder / "peace", config))
        expected = figures(folder / "peace")
        print(f"in peace: {length:.0f} s, {len(expected)} result files", flush=True)
        for point in range(1, args.points + 1):
            place = folder / f"point{point}"
            after = draw.uniform(0, length)
            killed = kill_after(command(place, config), after)
            said = f"killed after {after:.1f} s" if killed else "ended before it was killed"
            if point % 2 == 0:
                stage, after = draw.randint(0, 6), draw.uniform(0, length / 2)
                killed = kill_after(command(place, config, "--stage", stage), after)
                said += f", then --stage {stage} " + (f"killed after {after:.1f} s" if killed else "which ended")
            run_to_its_end(command(place, config))
            equal = figures(place) == expected
            same += equal
            print(f"{point:3}  {said}: {'the same results' if equal else 'OTHER RESULTS'}", flush=True)
    print(f"the same results: {same} of {args.points}")
    return same != args.points


if __name__ == "__main__":
    sys.exit(main())

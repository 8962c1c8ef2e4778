#!/usr/bin/env python3
"""Measure the recipe against the usual ways to do the same work, and print one table.

    . ./path.sh
    tests/bench/run.py                       # everything; ten minutes on two cores
    tests/bench/run.py features loading      # some of it
    tests/bench/run.py features --data data/iemocap

What is measured, and how, is told at the top of features.py, loading.py, training.py, prediction.py, pretraining.py and
table2.py. The last two, and most of training.py, need a GPU and are left out where there is none. Both sides of a
row are of one run, and take turns five times: figures are medians, "of five" is the smallest and the largest ratio. The
limit is the one that ours is nearest to and how much of it is reached (limits.py).
"""

import recipe_environment

import argparse
import importlib
import platform

import numpy
import scipy
import torch

from table import cpu, gpu, print_table

BENCHMARKS = ("features", "loading", "training", "prediction", "pretraining", "table2")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--data", help="Kaldi data directory for features, in place of synthetic speech")
    args = parser.parse_args()
    unknown = set(args.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {' '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    print(f"# {cpu()}; {gpu() if torch.cuda.is_available() else 'no GPU'}; Python {platform.python_version()}, "
          f"torch {torch.__version__}, NumPy {numpy.__version__}, SciPy {scipy.__version__}")
    # Each is imported when it is asked for: a machine need not have what only the others are measured against.
    print_table(row for name in BENCHMARKS if not args.names or name in args.names
                for row in importlib.import_module(name).rows(*([args.data] if name == "features" else [])))


if __name__ == "__main__":
    main()

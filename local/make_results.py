#!/usr/bin/env python3
"""Pool the folds of each system, and put the systems into one table.

Writes EXP/SYSTEM/RESULT (pooled over the folds, and their mean) for each seed, and EXP/RESULTS.
"""

import statistics
from pathlib import Path

import numpy as np

from options import OptionParser, run
from published import TABLE_2, is_the_papers
from ser.checkpoint import load_config
from ser.data_dir import read_dataset, read_list
from ser.errors import UserError
from ser.evaluation import result_line
from ser.files import write_text
from ser.metrics import confusion_matrix, scores_of
from systems import read_systems

DEFINITION = """\
WF1 is the F1 of each class weighted by its share of the utterances (scikit-learn's average='weighted'), UA the mean
recall of the classes, WA the share of correct utterances, all in percent. 'pooled' scores the test utterances of all
folds together, 'folds' is the mean over the folds; every test speaker is unseen, and the epoch is picked on another
speaker. With several seeds: mean and standard deviation.
"""
SYNTHETIC = """\
*** The corpora are SYNTHETIC: these figures show that the recipe works, and say nothing about speech. ***
"""


def read_confusion(fold_dir):
    """Confusion matrix of a fold's per_utt file; raises UserError when it is not there."""
    path = Path(fold_dir) / "score" / "per_utt"
    if not path.exists() or not (Path(fold_dir) / "RESULT").exists():
        raise UserError(f"{fold_dir}/RESULT: not there; run stage 5")
    classes = read_list(path.parent / "classes")
    pairs = [line.split()[1:3] for line in path.read_text(encoding="utf-8").splitlines()]
    position = {name: number for number, name in enumerate(classes)}
    return confusion_matrix([position[ref] for ref, _ in pairs], [position[hyp] for _, hyp in pairs], len(classes))


def pool(directory, folds):
    """Write the RESULT of one system and seed; return its scores.

    Returns
    -------
    tuple
        Pooled Scores, and the mean weighted F1 of the folds.
    """
    confusions = [read_confusion(f"{directory}/{fold}") for fold in folds]
    each = [scores_of(confusion).wf1 for confusion in confusions]
    config = load_config(f"{directory}/{folds[0]}")
    line = result_line(np.sum(confusions, axis=0), f"pooled over {len(folds)} folds, mean of folds "
                       f"{np.mean(each):.2f} from {min(each):.2f} to {max(each):.2f}", config, directory)
    write_text(f"{directory}/RESULT", line)
    return scores_of(np.sum(confusions, axis=0)), float(np.mean(each))


def mean_and_spread(values):
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def as_table(rows):
    """Align rows of cells, the first one being the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]]) + "\n"


def main():
    parser = OptionParser(__doc__, 'local/make_results.py --systems "vgg5_baseline vgg5_ad" data/iemocap exp')
    parser.add_argument("--systems", required=True, help="names of conf/systems.conf, in one word")
    parser.add_argument("--seeds", default="0", help="numbers, in one word (default: 0)")
    parser.add_argument("data", help="data directory with folds")
    parser.add_argument("exp", help="experiment directory")
    args = parser.parse_args()
    table, folds, dataset = read_systems(), read_list(f"{args.data}/folds/list"), read_dataset(args.data)
    protocol = Path(args.data, "folds", "protocol").read_text(encoding="utf-8").strip()
    published = TABLE_2 if is_the_papers(dataset) else {}
    rows = [["system", "backbone", "method", "WF1 pooled", "WF1 folds", "UA", "WA", *(["paper"] if published else [])]]
    for name in args.systems.split():
        runs = [pool(table[name].directory(args.exp, seed), folds) for seed in args.seeds.split()]
        cells = [[scores.wf1 for scores, _ in runs], [mean for _, mean in runs], [scores.ua for scores, _ in runs],
                 [scores.wa for scores, _ in runs]]
        rows.append([name, table[name].backbone, table[name].method, *map(mean_and_spread, cells),
                     *([published.get(name, "")] if published else [])])
    heading = f"{dataset}, {protocol}, {len(folds)} folds, seeds {args.seeds}\n"
    synthetic = SYNTHETIC if dataset.startswith("synthetic-") else ""
    write_text(f"{args.exp}/RESULTS", f"{heading}{synthetic}\n{as_table(rows)}\n{DEFINITION}")
    print(f"make_results.py: made {args.exp}/RESULTS")


if __name__ == "__main__":
    run(main)

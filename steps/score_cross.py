#!/usr/bin/env python3
"""Score trained models on utterances of another corpus than they learned from.

Of DATA, which has features, --references names the utterances and the class of each (`utt class`); --label-map says
which of these classes a label of the models counts as (`label class`). What a model says of other labels is left out:
the probabilities of the classes are divided by their sum. Writes DIR/SYSTEM/FOLD/score/per_utt, results.json and RESULT
for a model in …/SYSTEM/FOLD. What is there of the same models, utterances and labels is kept.

A classifier without a network is trained again on its fold, as nothing is kept of it.
"""

import recipe_environment

import functools
import sys
from pathlib import Path

from options import OptionParser, natural, run
from ser.base.device import DEVICES, explain_out_of_memory, pick_device
from ser.base.errors import UserError
from ser.base.log import log
from ser.data.data_dir import read_table
from ser.infer.cross_corpus import CrossScorer
from ser.model_dir.checkpoint import load_config


@explain_out_of_memory()
def score(scorer, model_dir, out_dir, train_data):
    """Score one model; raises UserError."""
    options = load_config(model_dir)["options"]
    find_probabilities = None
    if "classifier" in options:
        from ser.train.classical import probabilities_elsewhere  # which takes a second, and networks do not need it

        find_probabilities = functools.partial(probabilities_elsewhere, train_data=train_data or options["data_dir"],
                                               data_dir=scorer.data_dir, utts=list(scorer.references))
    log(scorer.score(model_dir, out_dir, find_probabilities).strip())


def main():
    parser = OptionParser(__doc__, "steps/score_cross.py --model exp/nemo/vgg5_ad/fold_EB0 --data data/ravdess "
                          "--references ravdess/utt2emo \\\n    --label-map labels --dir exp/cross/nemo_on_ravdess")
    parser.add_argument("--device", default="auto", choices=DEVICES, help="(default: auto)")
    parser.add_argument("--num-threads", type=natural, default=0,
                        help="CPU threads; 0 leaves torch's choice (default: 0)")
    parser.add_argument("--model", required=True, action="append", help="model directory; may be given several times")
    parser.add_argument("--train-data", metavar="DIR", help="where a classifier without a network learns (default: its "
                        "own data directory)")
    parser.add_argument("--data", required=True, metavar="DIR", help="data directory of the utterances")
    parser.add_argument("--references", required=True, metavar="FILE", help="the class of each utterance to score")
    parser.add_argument("--label-map", required=True, metavar="FILE", help="the class of each label of the models")
    parser.add_argument("--dir", required=True, type=Path, help="where to write, SYSTEM/FOLD for each model")
    args = parser.parse_args()
    scorer = CrossScorer(args.data, read_table(args.references, columns=2), read_table(args.label_map, columns=2),
                         pick_device(args.device, args.num_threads))
    failed = 0
    for model_dir in args.model:
        out_dir = args.dir.joinpath(*Path(model_dir).parts[-2:])
        try:
            if scorer.is_done(model_dir, out_dir):
                log(f"already there: {out_dir}/RESULT")
            else:
                score(scorer, model_dir, out_dir, args.train_data)
        except (UserError, OSError) as error:
            failed += 1
            print(f"{parser.prog}: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)

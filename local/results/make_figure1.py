#!/usr/bin/env python3
"""Draw the paper's Figure 1: t-SNE of utterance embeddings, colour = emotion, number = speaker.

Panels: (a) the extractor before fine-tuning, (b) fine-tuned with a linear classifier, (c) fine-tuned with AD: F+,
(d) its F-. Embeddings are pooled as in the network and standardized; all panels show the same utterances of all
parts of one fold, up to --max-utterances, every speaker and emotion with its share. Reads
EXP/SYSTEM/FOLD/analysis/embeddings.npz, which steps/analyse.py makes; writes EXP/analysis/figure1.png, figure1.pdf and
figure1.tsv (utt speaker emotion panel x y).
"""

import recipe_environment

import argparse
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

from local.experiment.experiment import Experiment, add_experiment_options, open_experiment
from local.experiment.systems import System
from local.results.same_origin import require_one_origin
from local.results.tables import as_tsv
from options import OptionParser, run
from ser.analysis.figures import palette, save, title_of
from ser.analysis.left_out import Undrawable, parts
from ser.base.errors import UserError
from ser.base.files import write_text
from ser.base.log import log
from ser.data.fold_data import FoldData
from ser.stats.probes import silhouette


def read_embeddings(directory: str, keys: Sequence[str]) -> tuple[list[str], list[np.ndarray]]:
    """Utterances, and the embeddings of some keys, `[N, C]` each; raises UserError when they are not there."""
    path = Path(directory) / "analysis" / "embeddings.npz"
    if not path.exists():
        raise UserError(f"{path}: not there; run steps/analyse.py --dir {directory} (run.sh: stage 7)")
    with np.load(path) as arrays:
        missing = [key for key in keys if key not in arrays]
        if missing:
            raise UserError(f"{path}: has no {missing[0]!r}; run steps/analyse.py again with --restart true "
                            "(run.sh: --stage 7)")
        return arrays["utts"].tolist(), [arrays[key] for key in keys]


def choose(strata: ArrayLike, most: int, seed: int) -> np.ndarray:
    """Positions of up to `most` of the strata's members, sorted, so that each stratum keeps its share."""
    rng = np.random.default_rng(seed)
    strata = np.asarray(strata)
    quantile = np.empty(len(strata))
    for name in np.unique(strata):
        members = np.flatnonzero(strata == name)
        quantile[members] = (rng.permutation(len(members)) + 0.5) / len(members)
    return np.sort(np.argsort(quantile, kind="stable")[:most])


def tsne(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Coordinates `[N, 2]` of standardized vectors; raises Undrawable where t-SNE fails or crashes."""
    if min(vectors.shape) < 2:
        raise Undrawable("t-SNE takes two or more embeddings of two or more dimensions, here are {} of {}".format(
            *vectors.shape))
    if not np.isfinite(vectors).all():
        raise Undrawable("embeddings hold values that are not finite")
    if (vectors == vectors[0]).all():  # the initial coordinates would be 0 / 0, and scikit-learn reads outside its tree
        raise Undrawable(f"all {len(vectors)} embeddings are the same")
    return TSNE(perplexity=min(30, len(vectors) / 4), init="pca", random_state=seed).fit_transform(vectors)


def separation(vectors: np.ndarray, labels: Sequence[str]) -> str:
    """The silhouette() by labels, or - where there is none."""
    try:
        return f"{silhouette(vectors, labels):.3f}"
    except UserError:
        return "-"


def draw(panels: list[tuple[str, np.ndarray]], emotions: list[str], numbers: list[str], colours: dict[str, Any],
         title: str, caption: str) -> Figure:
    """Draw panels of `(title, coordinates)` as coloured numbers; return the figure."""
    figure = Figure(figsize=(10, 10.4), layout="constrained")
    for axis, (name, coordinates) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        axis.set_title(name, fontsize=10)
        axis.scatter(*coordinates.T, s=0)  # text alone does not set the limits
        axis.set(xticks=[], yticks=[])
        for (x, y), emotion, number in zip(coordinates, emotions, numbers, strict=True):
            axis.text(x, y, number, color=colours[emotion], fontsize=6.5, weight="bold", ha="center",
                      va="center", clip_on=True)
    figure.suptitle(title, fontsize=12)
    handles = [Line2D([], [], color=colour, marker="o", linestyle="", label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=10, frameon=False,
                  title="\n".join(textwrap.wrap(caption, 145)), title_fontsize=8)
    return figure


def caption_of(data: FoldData, number_of: dict[str, str]) -> str:
    """Which number is which speaker, and which speakers did not train the network."""
    part_of = {data.speakers[utt]: part for part, utts in data.parts.items() for utt in utts}
    names = [f"{number} {name}" + ("" if part_of[name] == "train" else f" ({part_of[name]})")
             for name, number in number_of.items()]
    return f"speakers: {', '.join(names)}; those without a word in brackets trained the network"


def find_pair(systems: list[System]) -> tuple[System, System] | None:
    """The first system with AD, after the one that is the same without; None when there is no such pair."""
    for ad in systems:
        without = {word for word in ad.options if not word.startswith("--ad-after=")}
        for linear in systems:
            if ad != linear and set(linear.options) == without:
                return linear, ad
    return None


def read_panels(experiment: Experiment, pair: tuple[System, System],
                data: FoldData) -> tuple[list[str], list[tuple[str, np.ndarray]]]:
    """Utterances, and `(title, vectors [N, C])` of the four panels; raises UserError."""
    linear, ad = pair
    model = experiment.seeds[0], data.name
    utts, (before, after) = read_embeddings(experiment.models(linear)[model], ("before F", "after F"))
    utts_ad, (plus, minus) = read_embeddings(experiment.models(ad)[model], ("after F+", "after F-"))
    if utts != utts_ad or sorted(utts) != sorted(utt for part in data.parts.values() for utt in part):
        raise UserError(f"{experiment.exp}: analysis of {linear.name} and {ad.name} is not of the utterances of "
                        f"{experiment.data}; run steps/analyse.py again with --restart true (run.sh: --stage 7)")
    return utts, [(f"(a) {'pre-trained' if linear.pretrained else 'random'} extractor", before),
                  (f"(b) fine-tuned, linear: {linear.name}", after),
                  (f"(c) fine-tuned with AD, F+: {ad.name}", plus), (f"(d) fine-tuned with AD, F-: {ad.name}", minus)]


def get_args() -> argparse.Namespace:
    parser = OptionParser(__doc__, 'local/results/make_figure1.py --systems "resnet18_pretrain resnet18_pretrain_ad" '
                          "--fold fold_Ses01M data/iemocap exp")
    add_experiment_options(parser)
    parser.add_argument("--fold", help="name under DATA/folds (default: the first of its list)")
    parser.add_argument("--random-seed", type=int, default=0, help="of t-SNE and the choice of utterances (default: 0)")
    parser.add_argument("--max-utterances", type=int, default=600, metavar="N", help="to show (default: 600)")
    args = parser.parse_args()
    if args.max_utterances < 12:
        parser.error("--max-utterances must be at least 12")
    return args


def main() -> None:
    args = get_args()
    experiment = open_experiment(args)
    out = Path(experiment.exp) / "analysis"
    with parts(out / "figure1.png", also=(out / "figure1.pdf", out / "figure1.tsv")):
        make_figure1(experiment, args, out)


def make_figure1(experiment: Experiment, args: argparse.Namespace, out: Path) -> None:
    """Write figure1.png, figure1.pdf and figure1.tsv into a folder; raises UserError."""
    pair = find_pair(experiment.networks)
    if not pair:
        raise Undrawable(f"{args.systems} holds no system with AD beside the same one without")

    require_one_origin(replace(experiment, systems=list(pair)))

    # The utterances to show, every speaker and emotion with its share
    data = FoldData.read(args.data, args.fold or experiment.folds[0])
    utts, spaces = read_panels(experiment, pair, data)
    strata = [f"{data.speakers[utt]} {data.labels[utt]}" for utt in utts]
    chosen = choose(strata, args.max_utterances, args.random_seed)
    utts = [utts[position] for position in chosen]
    emotions = [data.labels[utt] for utt in utts]
    speakers = [data.speakers[utt] for utt in utts]

    # Their coordinates in each panel
    panels: list[tuple[str, np.ndarray]] = []
    rows = [("utt", "speaker", "emotion", "panel", "x", "y")]
    for title, vectors in spaces:
        vectors = StandardScaler().fit_transform(vectors[chosen])
        try:
            coordinates = tsne(vectors, args.random_seed)
        except Undrawable as error:
            raise Undrawable(f"{title}: {error}") from None
        rows += [(utt, speaker, emotion, title[1], f"{x:.4f}", f"{y:.4f}") for utt, speaker, emotion, (x, y)
                 in zip(utts, speakers, emotions, coordinates.tolist(), strict=True)]
        panels.append((f"{title}\nsilhouette by emotion {separation(vectors, emotions)}, "
                       f"by speaker {separation(vectors, speakers)}", coordinates))
        log(f"drew {title}")

    # Table and picture
    title = title_of(f"t-SNE of {len(utts)} utterances of {experiment.dataset}, {data.name}, "
                     f"model seed {experiment.seeds[0]}", experiment.dataset)
    number_of = {name: str(number) for number, name in enumerate(sorted(set(speakers)), 1)}
    figure = draw(panels, emotions, [number_of[name] for name in speakers], palette(data.classes), title,
                  caption_of(data, number_of))
    write_text(out / "figure1.tsv", as_tsv(rows))
    for kind in ("pdf", "png"):
        save(figure, out / f"figure1.{kind}")
    print(f"make_figure1.py: made {out}/figure1.png, figure1.pdf and figure1.tsv")


if __name__ == "__main__":
    run(main)

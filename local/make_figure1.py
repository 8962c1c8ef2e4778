#!/usr/bin/env python3
"""Draw the paper's Figure 1: t-SNE of utterance embeddings, colour = emotion, number = speaker.

Panels: (a) the extractor before fine-tuning, (b) fine-tuned with a linear classifier, (c) fine-tuned with AD: F+,
(d) its F-. Embeddings are mean-pooled as in the network and standardized; all panels show the same utterances of all
parts of one fold, up to --max-utterances, every speaker and emotion with its share. Reads
EXP/SYSTEM/FOLD/analysis/embeddings.npz, which steps/analyse.py makes; writes EXP/analysis/figure1.png, figure1.pdf and
figure1.tsv (utt speaker emotion panel x y).
"""

import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

from options import OptionParser, run
from ser.data_dir import read_dataset, read_list
from ser.errors import UserError
from ser.files import atomic_path, write_text
from ser.fold_data import FoldData
from ser.log import log
from ser.probing import silhouette
from systems import read_systems

# Okabe and Ito's colours for every kind of colour vision
PALETTE = ("#D55E00", "#56B4E9", "#000000", "#009E73", "#CC79A7", "#E69F00", "#0072B2", "#F0E442")


def read_embeddings(directory, keys):
    """Utterances, and the embeddings of some keys, `[N, C]` each; raises UserError when they are not there."""
    path = Path(directory) / "analysis" / "embeddings.npz"
    if not path.exists():
        raise UserError(f"{path}: not there; run steps/analyse.py --dir {directory} (run.sh: stage 7)")
    with np.load(path) as arrays:
        missing = [key for key in keys if key not in arrays]
        if missing:
            raise UserError(f"{path}: has no {missing[0]!r}; --ad must name a system with AD")
        return arrays["utts"].tolist(), [arrays[key] for key in keys]


def choose(strata, most, seed):
    """Positions of up to `most` of the strata's members, sorted, so that each stratum keeps its share."""
    rng = np.random.default_rng(seed)
    strata = np.asarray(strata)
    quantile = np.empty(len(strata))
    for name in np.unique(strata):
        members = np.flatnonzero(strata == name)
        quantile[members] = (rng.permutation(len(members)) + 0.5) / len(members)
    return np.sort(np.argsort(quantile, kind="stable")[:most])


def tsne(vectors, seed):
    """Coordinates `[N, 2]` of standardized vectors."""
    return TSNE(perplexity=min(30, len(vectors) / 4), init="pca", random_state=seed).fit_transform(vectors)


def palette(classes):
    """`{class: colour}`, for every kind of colour vision up to eight classes."""
    colours = PALETTE if len(classes) <= len(PALETTE) else matplotlib.colormaps["viridis"](
        np.linspace(0, 1, len(classes)))
    return dict(zip(classes, colours, strict=False))


def draw(panels, emotions, numbers, colours, title, caption):
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


def caption_of(data, number_of):
    """Which number is which speaker, and which speakers did not train the network."""
    part_of = {data.speakers[utt]: part for part, utts in data.parts.items() for utt in utts}
    names = [f"{number} {name}" + ("" if part_of[name] == "train" else f" ({part_of[name]})")
             for name, number in number_of.items()]
    return f"speakers: {', '.join(names)}; those without a word in brackets trained the network"


def save(figure, path):
    """Write PNG or PDF, the same bytes for the same figure."""
    kind = path.suffix[1:]
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=200, metadata={"CreationDate": None} if kind == "pdf" else None)


def get_args():
    parser = OptionParser(__doc__, "local/make_figure1.py --fold fold_Ses01M data/iemocap exp")
    parser.add_argument("--linear", metavar="SYSTEM", default="resnet18_pretrain",
                        help="of panels a and b, without AD (default: resnet18_pretrain)")
    parser.add_argument("--ad", metavar="SYSTEM", default="resnet18_pretrain_ad",
                        help="of panels c and d (default: resnet18_pretrain_ad)")
    parser.add_argument("--fold", help="name under DATA/folds (default: the first of its list)")
    parser.add_argument("--model-seed", type=int, default=0, metavar="N", help="seed of the models (default: 0)")
    parser.add_argument("--seed", type=int, default=0, help="of t-SNE and of the choice of utterances (default: 0)")
    parser.add_argument("--max-utterances", type=int, default=600, metavar="N", help="to show (default: 600)")
    parser.add_argument("data", help="data directory with folds")
    parser.add_argument("exp", help="experiment directory")
    args = parser.parse_args()
    if args.max_utterances < 12:
        parser.error("--max-utterances must be at least 12")
    return args


def main():
    args = get_args()
    systems, fold = read_systems(), args.fold or read_list(f"{args.data}/folds/list")[0]
    for name in (args.linear, args.ad):
        if name not in systems:
            raise UserError(f"conf/systems.conf: has no system {name!r}; it has {' '.join(systems)}")
    data = FoldData.read(args.data, fold)
    utts, (before, after) = read_embeddings(f"{systems[args.linear].directory(args.exp, args.model_seed)}/{fold}",
                                            ("before F", "after F"))
    utts_ad, (plus, minus) = read_embeddings(f"{systems[args.ad].directory(args.exp, args.model_seed)}/{fold}",
                                             ("after F+", "after F-"))
    if utts != utts_ad or sorted(utts) != sorted(utt for part in data.parts.values() for utt in part):
        raise UserError(f"{args.exp}: analysis of {args.linear} and {args.ad} is not of the utterances of {args.data}; "
                        "run steps/analyse.py again with --restart true (run.sh: --stage 7)")
    chosen = choose([f"{data.speakers[utt]} {data.labels[utt]}" for utt in utts], args.max_utterances, args.seed)
    utts = [utts[position] for position in chosen]
    emotions, speakers = ([table[utt] for utt in utts] for table in (data.labels, data.speakers))
    start = "pre-trained" if systems[args.linear].needs_pretraining else "random"
    titles = (f"(a) {start} extractor", f"(b) fine-tuned, linear: {args.linear}",
              f"(c) fine-tuned with AD, F+: {args.ad}", f"(d) fine-tuned with AD, F-: {args.ad}")
    panels, lines = [], ["utt\tspeaker\temotion\tpanel\tx\ty\n"]
    for title, vectors in zip(titles, (before, after, plus, minus), strict=True):
        vectors = StandardScaler().fit_transform(vectors[chosen])
        coordinates = tsne(vectors, args.seed)
        lines += [f"{utt}\t{speaker}\t{emotion}\t{title[1]}\t{x:.4f}\t{y:.4f}\n" for utt, speaker, emotion, (x, y)
                  in zip(utts, speakers, emotions, coordinates.tolist(), strict=True)]
        panels.append((f"{title}\nsilhouette by emotion {silhouette(vectors, emotions):.3f}, "
                       f"by speaker {silhouette(vectors, speakers):.3f}", coordinates))
        log(f"drew {title}")
    dataset = read_dataset(args.data)
    title = f"t-SNE of {len(utts)} utterances of {dataset}, {fold}, model seed {args.model_seed}"
    if dataset.startswith("synthetic-"):
        title = f"SYNTHETIC corpora, not speech: {title}"
    number_of = {name: str(number) for number, name in enumerate(sorted(set(speakers)), 1)}
    figure = draw(panels, emotions, [number_of[name] for name in speakers], palette(data.classes), title,
                  caption_of(data, number_of))
    out = Path(args.exp) / "analysis"
    write_text(out / "figure1.tsv", "".join(lines))
    for kind in ("pdf", "png"):
        save(figure, out / f"figure1.{kind}")
    print(f"make_figure1.py: made {out}/figure1.png, figure1.pdf and figure1.tsv")


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Draw where the attention of a fine-tuned model looks.

Reads a finished model directory with AD and an attention, and the data directory that it was made from; writes
DIR/analysis/masks.png and masks.tsv (utt axis position mask_mean). The picture shows the features of a few test
utterances as the network sees them, above each the mean of the mask over channels and mel filters along time, beside it
the mean over channels and time along the mel filters. Positions count voiced frames and mel filters from 0 and say
where a step of the mask begins. Of several AD modules it is the last one's mask.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from options import OptionParser, run
from ser.analysis.attention_maps import attention_masks, last_module, step_size
from ser.analysis.figures import PALETTE, WIDTH, put_title, save, title_of
from ser.base.device import DEVICES, explain_out_of_memory, pick_device
from ser.base.errors import UserError
from ser.base.files import write_text
from ser.base.log import log
from ser.data.data_dir import read_table
from ser.data.feature_bank import load_bank
from ser.data.fold_data import FoldData
from ser.model_dir.emotion_model import load_emotion_model
from ser.train.finetuning import finished_task


def median_utterances(labels, lengths):
    """Of each class the utterance of median length, of two the shorter one.

    Parameters
    ----------
    labels : dict of str to str
        Class by utterance.
    lengths : dict of str to int
        Frames by utterance.

    Returns
    -------
    list of str
        In the order of the classes.
    """
    members = {}
    for utt in sorted(labels, key=lambda utt: (labels[utt], lengths[utt], utt)):
        members.setdefault(labels[utt], []).append(utt)
    return [utts[(len(utts) - 1) // 2] for utts in members.values()]


def profiles(mask):
    """Means of a mask `[C, T', F']` along time, `[T']`, and along frequency, `[F']`."""
    return {"time": mask.mean(axis=(0, 2)), "frequency": mask.mean(axis=(0, 1))}


def edges(steps, size, end):
    """Where `steps` steps of a size begin, and where the last one ends, `[steps + 1]`."""
    return np.minimum(np.arange(steps + 1) * size, end)


def common_range(arrays):
    """Limits of a common axis of several arrays, with some room also when all values are the same."""
    low, high = min(map(np.min, arrays)), max(map(np.max, arrays))
    room = max(0.08 * (high - low), 0.005)
    return low - room, high + room


def draw(utterances, sizes, title):
    """Draw utterances, each `(title, features [T, dimension], profiles)`; return the figure."""
    figure = Figure(figsize=(WIDTH, 2.5 * len(utterances) + 0.5), layout="constrained")
    limits = common_range([values for _, _, means in utterances for values in means.values()])
    pixels = np.concatenate([features.ravel() for _, features, _ in utterances])
    low, high = np.percentile(pixels, [1, 99])
    subfigures = figure.subfigures(len(utterances), 1, squeeze=False)[:, 0]
    for subfigure, (name, features, means) in zip(subfigures, utterances, strict=True):
        (above, corner), (image, beside) = subfigure.subplots(
            2, 2, sharex="col", sharey="row", gridspec_kw={"width_ratios": (6, 1), "height_ratios": (1, 2.6)})
        corner.set_visible(False)
        num_frames, dimension = features.shape
        image.imshow(features.T, aspect="auto", origin="lower", cmap="gray_r", vmin=low, vmax=high,
                     extent=(0, num_frames, 0, dimension), interpolation="nearest")
        look = {"baseline": None, "color": PALETTE[0], "linewidth": 1.8}
        above.stairs(means["time"], edges(len(means["time"]), sizes[0], num_frames), **look)
        beside.stairs(means["frequency"], edges(len(means["frequency"]), sizes[1], dimension),
                      orientation="horizontal", **look)
        above.set_ylim(limits)
        beside.set_xlim(limits)
        above.set_ylabel("mean mask", fontsize=8.5)
        beside.set_xlabel("mean mask", fontsize=8.5)
        image.set_xlabel("voiced frame", fontsize=8.5)
        image.set_ylabel("mel filter", fontsize=8.5)
        above.set_title(name, fontsize=9, loc="left")
        for axis in (above, image, beside):
            axis.tick_params(labelsize=8)
        for axis in (above, beside):
            axis.grid(color="0.88", linewidth=0.6)
        above.locator_params(axis="y", nbins=3)
        beside.locator_params(axis="x", nbins=3)
    put_title(figure, title)
    return figure


@explain_out_of_memory()
def plot_masks(model_dir, wanted, device):
    """Write MODEL_DIR/analysis/masks.tsv and masks.png.

    Parameters
    ----------
    model_dir : str
    wanted : list of str
        Test utterances; when empty, of each class the one of median length.
    device : torch.device

    Raises
    ------
    UserError
    """
    task = finished_task(model_dir)
    data = FoldData.read(task.data_dir, task.fold)
    test = data.parts["test"]
    unknown = [utt for utt in wanted if utt not in test]
    if unknown:
        raise UserError(f"--utts: {unknown[0]} is no test utterance of {data.data_dir}/folds/{data.name}; "
                        f"see {data.data_dir}/folds/{data.name}/test")
    model, config = load_emotion_model(model_dir, device)
    try:
        last_module(model)
    except UserError as error:
        raise UserError(f"{model_dir}: {error}") from None
    bank = load_bank(data.data_dir, wanted or test, task.config.feature_norm, device)
    utts = wanted or median_utterances({utt: data.labels[utt] for utt in test},
                                       dict(zip(bank.utts, bank.lengths.tolist(), strict=True)))
    sizes, which = step_size(model), bank.indices(utts)
    scored = read_table(Path(model_dir) / "score" / "per_utt", columns=3 + len(data.classes))
    unscored = [utt for utt in utts if utt not in scored]
    if unscored:
        raise UserError(f"{model_dir}/score/per_utt: has no {unscored[0]}; run steps/score.py again")
    rows, shown = [("utt", "axis", "position", "mask_mean")], []
    for number, utt, mask in zip(which, utts, attention_masks(model, bank, which), strict=True):
        means = profiles(mask)
        rows += [(utt, axis, step * size, f"{mean:.6f}") for (axis, values), size
                 in zip(means.items(), sizes, strict=True) for step, mean in enumerate(values)]
        features = (bank.frames_of(number[None]) - model.extractor.feature_mean) / model.extractor.feature_std
        name = f"{utt}, reference {data.labels[utt]}, hypothesis {scored[utt].split()[1]}"
        shown.append((name, features.cpu().numpy(), means))
    title = title_of(f"masks of {model_dir}, {config['dataset']}", config["dataset"])
    out = Path(model_dir) / "analysis"
    write_text(out / "masks.tsv", "".join("\t".join(map(str, row)) + "\n" for row in rows))
    save(draw(shown, sizes, title), out / "masks.png")


def main():
    parser = OptionParser(__doc__, "steps/plot_masks.py --device cpu --dir exp/vgg5_ad/fold_Ses01M")
    parser.add_argument("--device", default="auto", choices=DEVICES, help="(default: auto)")
    parser.add_argument("--utts", default="", metavar="IDS", help="test utterances, in one word (default: of each "
                        "class the one whose number of frames is the median)")
    parser.add_argument("--dir", required=True, help="model directory of steps/finetune.py")
    args = parser.parse_args()
    plot_masks(args.dir, list(dict.fromkeys(args.utts.split())), pick_device(args.device))
    log(f"made {args.dir}/analysis/masks.png and masks.tsv")


if __name__ == "__main__":
    run(main)

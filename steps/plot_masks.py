#!/usr/bin/env python3
"""Draw where the attention of a fine-tuned model looks.

Reads a finished model directory with AD and an attention, and the data directory that it was made from; writes
DIR/analysis/masks.png, masks.svg, which is the same drawn for a telephone, and masks.tsv (utt axis position mask_mean).
The picture shows the features of a few test utterances as the network sees them, above each the mean of the mask over
channels and dimensions along time, beside it the mean over channels and time along the dimensions, which are mel
filters unless the features are others. Positions in the table count voiced frames and dimensions from 0 and say where
a step of the mask begins. Of several AD modules it is the last
one's mask.
"""

import recipe_environment

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from options import OptionParser, run
from ser.analysis.attention_maps import attention_masks, last_module, step_size
from ser.analysis.figures import PALETTE, WIDTH, put_title, save_both, title_of
from ser.analysis.left_out import Undrawable, parts
from ser.audio.fbank import FbankConfig
from ser.base.conf import config_from
from ser.base.device import DEVICES, explain_out_of_memory, pick_device
from ser.base.errors import UserError
from ser.base.files import write_text
from ser.base.log import log
from ser.data.data_dir import read_table
from ser.data.feature_bank import load_bank
from ser.data.fold_data import FoldData
from ser.model_dir.emotion_model import load_emotion_model
from ser.train.finetuning import finished_task


def median_utterances(labels: Mapping[str, str], lengths: Mapping[str, int]) -> list[str]:
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
    members: dict[str, list[str]] = {}
    for utt in sorted(labels, key=lambda utt: (labels[utt], lengths[utt], utt)):
        members.setdefault(labels[utt], []).append(utt)
    return [utts[(len(utts) - 1) // 2] for utts in members.values()]


class Panel(NamedTuple):
    """What is drawn of an utterance: features `[T, dimension]`, and means of its mask `[T']` and `[F']`."""

    title: str
    features: np.ndarray
    along_time: np.ndarray
    along_frequency: np.ndarray


def edges(steps: int, size: int, end: int) -> np.ndarray:
    """Where `steps` steps of a size begin, and where the last one ends, `[steps + 1]`."""
    return np.minimum(np.arange(steps + 1) * size, end)


def common_range(arrays: Sequence[np.ndarray]) -> tuple[float, float]:
    """Limits of a common axis of several arrays, with some room also when all values are the same."""
    low = min(map(np.min, arrays))
    high = max(map(np.max, arrays))
    room = max(0.08 * (high - low), 0.005)
    return low - room, high + room


def draw(panels: Sequence[Panel], step: tuple[int, int], fbank: FbankConfig | None, title: str,
         width: float = WIDTH) -> Figure:
    """Draw utterances one below another; `step` is step_size(). Without `fbank` axes count frames and columns."""
    figure = Figure(figsize=(width, 2.5 * len(panels) + 0.5), layout="constrained")
    limits = common_range([means for panel in panels for means in (panel.along_time, panel.along_frequency)])
    low, high = np.percentile(np.concatenate([panel.features.ravel() for panel in panels]), [1, 99])
    subfigures = figure.subfigures(len(panels), 1, squeeze=False)[:, 0]
    for subfigure, panel in zip(subfigures, panels, strict=True):
        image = draw_panel(subfigure, panel, step, limits, (low, high))
        if fbank and fbank.dimension == panel.features.shape[1]:
            label_axes(image, fbank)
    put_title(figure, title)
    return figure


def draw_panel(subfigure: SubFigure, panel: Panel, step: tuple[int, int], limits: tuple[float, float],
               greys: tuple[float, float]) -> Axes:
    """Draw an utterance: features in grey, the mask along time above them, and along their dimensions beside them.

    Returns the axes of the features.
    """
    is_wide = subfigure.get_figure().get_size_inches()[0] >= WIDTH
    (above, corner), (image, beside) = subfigure.subplots(
        2, 2, sharex="col", sharey="row",
        gridspec_kw={"width_ratios": (6 if is_wide else 2.6, 1), "height_ratios": (1, 2.6)})
    corner.set_visible(False)
    num_frames, dimension = panel.features.shape
    frames, dimensions = step
    # Features.
    shades = image.imshow(panel.features.T, aspect="auto", origin="lower", cmap="gray_r", vmin=greys[0],
                          vmax=greys[1], extent=(0, num_frames, 0, dimension), interpolation="nearest")
    bar = subfigure.colorbar(shades, ax=[above, image, beside, corner], aspect=25, pad=0.02, fraction=0.05,
                             extend="both")
    bar.set_label("log energy, normalized", fontsize=8)
    bar.ax.tick_params(labelsize=7.5)
    image.set_xlabel("voiced frame", fontsize=8.5)
    image.set_ylabel("dimension", fontsize=8.5)
    # Mask.
    line = {"baseline": None, "color": PALETTE[0], "linewidth": 1.8}
    above.stairs(panel.along_time, edges(len(panel.along_time), frames, num_frames), **line)
    above.set_ylim(limits)
    above.set_ylabel("mean mask", fontsize=8.5)
    beside.stairs(panel.along_frequency, edges(len(panel.along_frequency), dimensions, dimension),
                  orientation="horizontal", **line)
    beside.set_xlim(limits)
    beside.set_xlabel("mean mask", fontsize=8.5)
    # Title, ticks and grid.
    above.set_title(panel.title if is_wide else panel.title.replace(", ", "\n", 1), fontsize=9, loc="left")
    for axis in (above, image, beside):
        axis.tick_params(labelsize=8)
    for axis in (above, beside):
        axis.grid(color="0.88", linewidth=0.6)
    above.locator_params(axis="y", nbins=3)
    beside.locator_params(axis="x", nbins=2)
    return image


def label_axes(image: Axes, fbank: FbankConfig) -> None:
    """Write seconds of voiced speech and Hz beside features whose axes count frames and columns."""
    num_frames = image.get_xlim()[1]
    step = fbank.frame_shift / 1000
    seconds = MaxNLocator(5, steps=[1, 2, 5]).tick_values(0, num_frames * step)
    seconds = seconds[seconds <= num_frames * step]
    image.set_xticks(seconds / step, [f"{second:g}" for second in seconds])
    image.set_xlabel("voiced speech in s", fontsize=8.5)
    hertz = np.array([250, 500, 1000, 2000, 4000])
    hertz = hertz[(fbank.low_freq < hertz) & (hertz < fbank.upper_edge)]
    image.set_yticks(fbank.column_of(hertz) + 0.5, hertz)
    image.set_ylabel("frequency in Hz", fontsize=8.5)


@explain_out_of_memory()
def plot_masks(model_dir: str, wanted: Sequence[str], device: torch.device) -> None:
    """Write MODEL_DIR/analysis/masks.tsv, masks.png and masks.svg.

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
    # Data and model.
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
    # Utterances, and what the model said of them.
    length_of = dict(zip(bank.utts, bank.lengths.tolist(), strict=True))
    utts = wanted or median_utterances({utt: data.labels[utt] for utt in test}, length_of)
    scored = read_table(Path(model_dir) / "score" / "per_utt", columns=3 + len(data.classes))
    unscored = [utt for utt in utts if utt not in scored]
    if unscored:
        raise UserError(f"{model_dir}/score/per_utt: has no {unscored[0]}; run steps/score.py again")
    # Means of their masks.
    frames, dimensions = step_size(model)
    rows: list[tuple] = [("utt", "axis", "position", "mask_mean")]
    panels = []
    positions = bank.indices(utts)
    for position, utt, mask in zip(positions, utts, attention_masks(model, bank, positions), strict=True):
        along_time = mask.mean(axis=(0, 2))
        along_frequency = mask.mean(axis=(0, 1))
        rows += [(utt, "time", step * frames, f"{mean:.6f}") for step, mean in enumerate(along_time)]
        rows += [(utt, "frequency", step * dimensions, f"{mean:.6f}") for step, mean in enumerate(along_frequency)]
        if not np.isfinite(mask).all():
            raise Undrawable(f"the mask of {utt} is not finite")
        features = (bank.frames_of(position[None]) - model.extractor.feature_mean) / model.extractor.feature_std
        title = f"{utt}, reference {data.labels[utt]}, hypothesis {scored[utt].split()[1]}"
        panels.append(Panel(title, features.cpu().numpy(), along_time, along_frequency))
    # Table and picture.
    out = Path(model_dir) / "analysis"
    write_text(out / "masks.tsv", "".join("\t".join(map(str, row)) + "\n" for row in rows))
    title = title_of(f"masks of {model_dir}, {config['dataset']}", config["dataset"])
    conf = config.get("features", {}).get("fbank.conf")
    fbank = config_from(FbankConfig, conf, f"{model_dir}: fbank.conf") if conf else None
    save_both(lambda width: draw(panels, (frames, dimensions), fbank, title, width), out / "masks.png")


def main() -> None:
    parser = OptionParser(__doc__, "steps/plot_masks.py --device cpu --dir exp/vgg5_ad/fold_Ses01M")
    parser.add_argument("--device", default="auto", choices=DEVICES, help="(default: auto)")
    parser.add_argument("--utts", default="", metavar="IDS", help="test utterances, quoted, separated by spaces "
                        "(default: of each class the one whose number of frames is the median)")
    parser.add_argument("--dir", required=True, help="model directory of steps/finetune.py")
    args = parser.parse_args()
    device = pick_device(args.device)
    out = Path(args.dir) / "analysis"
    finished_task(args.dir)  # else nothing is written there
    with parts(out / "masks.png", also=[out / "masks.svg", out / "masks.tsv"]):
        plot_masks(args.dir, list(dict.fromkeys(args.utts.split())), device)
        log(f"made {args.dir}/analysis/masks.png, masks.svg and masks.tsv")


if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Put a finished experiment on one page: EXP/report.html, which needs no network, no script and no other file.

Reads EXP/results.json, EXP/ablations.json, EXP/analysis, EXP/commands, the config.json of every model, and DATA. What
is not there is left out, except results.json; the end of the page names it and the command that makes it.
"""

import recipe_environment

import base64
import importlib.metadata
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from local.experiment.experiment import Experiment, add_experiment_options, open_experiment
from local.experiment.systems import System
from local.results import make_ablations, make_probes, make_results
from local.results.blocks import Block, title_blocks
from local.results.report_data import Configs, data_blocks
from options import OptionParser, run
from ser.analysis.left_out import reason_of
from ser.base.errors import UserError
from ser.base.files import write_text
from ser.infer.results_file import NAME, read_results
from ser.model_dir.checkpoint import load_config

ROOT = Path(__file__).resolve().parents[2]
RESULTS, ANALYSIS, ABLATIONS = "./run.sh --stage 6", "./run.sh --stage 7", "./run.sh --stop-stage 8"


@dataclass(frozen=True)
class Source:
    """A file of EXP that a section shows, and the command that makes it.

    Attributes
    ----------
    heading, file, command : str
    caption : str
        Of a picture.
    table : tuple of type and callable
        Of a results file: what it holds, and what makes blocks of that.
    """

    heading: str
    file: str
    command: str
    caption: str = ""
    table: tuple[type, Callable[[Any], list[Block]]] | None = None

    def blocks(self, path: Path) -> list[Block]:
        """What the section shows; raises UserError for a damaged file."""
        if self.table is None:
            return [Block("picture", [read_picture(path)], self.caption)]
        kind, blocks_of = self.table
        table: Any = read_results(path, kind, f"run {self.command}")
        return [*title_blocks(table.setting), *blocks_of(table)]


SOURCES = (
    Source("Results", NAME, RESULTS, table=(make_results.ResultsTable, make_results.blocks_of)),
    Source("Ablations", "ablations.json", ABLATIONS, table=(make_ablations.AblationsTable, make_ablations.blocks_of)),
    Source("Figure 1", "analysis/figure1.png", ANALYSIS,
           "t-SNE of utterance embeddings; colour is emotion, number is speaker: (a) the extractor before fine-tuning, "
           "(b) fine-tuned with a linear classifier, (c) fine-tuned with AD, F+, (d) its F-."),
    Source("Probes", "analysis/probes.json", ANALYSIS, table=(make_probes.ProbesTable, make_probes.blocks_of)),
    Source("Confusion matrices", "analysis/confusions.png", ANALYSIS,
           "Emotions taken for others, in percent of the reference class: the test utterances of all folds."),
    Source("Speakers", "analysis/speakers.png", ANALYSIS, "Weighted F1 of each system on each test speaker."),
    Source("Training curves", "analysis/curves.png", ANALYSIS,
           "Training loss, and weighted F1 of the validation speakers; of a pre-training the identification accuracy."),
)


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    heading: str
    blocks: list[Block]

    @property
    def anchor(self) -> str:
        return self.heading.lower().replace(" ", "-")


@dataclass(frozen=True)
class Picture:
    """A PNG file as it is in the page; width and height are the pixels of a screen, half of those of 200 dpi."""

    base64: str
    width: int
    height: int


def read_picture(path: Path) -> Picture:
    """The Picture of a PNG file; raises UserError when it is something else."""
    content = Path(path).read_bytes()
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise UserError(f"{path}: no PNG picture; make it again with {ANALYSIS}")
    width, height = (int.from_bytes(content[start:start + 4], "big") // 2 for start in (16, 20))
    return Picture(base64.b64encode(content).decode(), width, height)


def sources_there(experiment: Experiment) -> dict[Source, Path]:
    """The sources that are there; ablations of an earlier run are not, unless they are among the systems."""
    paths = {source: Path(experiment.exp, source.file) for source in SOURCES}
    asked = any(system.reference for system in experiment.systems)
    return {source: path for source, path in paths.items()
            if path.is_file() and not reason_of(path) and (asked or source.heading != "Ablations")}


def source_sections(experiment: Experiment) -> list[Section]:
    """Sections of the sources that are there; raises UserError when there are no results."""
    there = sources_there(experiment)
    if SOURCES[0] not in there:
        raise UserError(f"{experiment.exp}/{SOURCES[0].file}: not there; run {SOURCES[0].command}")
    return [Section(source.heading, source.blocks(path)) for source, path in there.items()]


def masks_of(experiment: Experiment, system: System) -> dict[tuple[str, str], Path]:
    """`{(seed, fold): path}` of the attention masks of a system that are there."""
    paths = {key: Path(model, "analysis", "masks.png") for key, model in experiment.models(system).items()}
    return {key: path for key, path in paths.items() if path.is_file() and not reason_of(path)}


def mask_section(experiment: Experiment) -> list[Section]:
    """The attention masks of all models that have them, or no section."""
    pictures = [Block("picture", [read_picture(path)], f"Attention masks of {system.name}, {fold}, seed {seed}.")
                for system in experiment.systems for (seed, fold), path in masks_of(experiment, system).items()]
    return [Section("Attention masks", pictures)] if pictures else []


def reasons(experiment: Experiment) -> dict[str, str]:
    """`{part: why it could not be made}`, of a source by its file."""
    notes = {source.file: reason_of(Path(experiment.exp, source.file)) for source in SOURCES}
    notes |= {f"attention masks of {system.name}": reason_of(Path(model, "analysis", "masks.png"))
              for system in experiment.systems if system.has_attention
              for model in experiment.models(system).values() if not masks_of(experiment, system)}
    return {part: reason for part, reason in notes.items() if reason}


def missing(experiment: Experiment) -> dict[str, list[str]]:
    """`{command: files that are not there and that it makes}`; without reasons()."""
    there = sources_there(experiment)
    known = reasons(experiment)
    files = [(source.command, source.file) for source in SOURCES if source not in there and source.file not in known]
    files += [(ANALYSIS, masks) for system in experiment.systems
              if system.has_attention and not system.reference and not masks_of(experiment, system)
              and (masks := f"attention masks of {system.name}") not in known]
    return {command: [file for other, file in files if other == command] for command, _ in files}


def command_blocks(exp: str) -> list[Block]:
    """The commands of run.sh that led here, as it wrote them down."""
    path = Path(exp, "commands")
    if not path.is_file():
        return [Block.paragraph(f"The commands are not known: {path} is not there. run.sh writes it.")]
    lines = [line.rpartition("\t") for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [Block("commands", [(time, command) for time, _, command in lines])]


def configuration_blocks(configs: Configs) -> list[Block]:
    """Options and features of the first of the models `{directory: config.json}`."""
    directory, config = next(iter(configs.items()))
    options = [[key, value if isinstance(value, str) else json.dumps(value)]
               for key, value in sorted(config["options"].items())]
    return [Block("details", [Block.table([["option", "value"], *options])], f"All options of {directory}"),
            *(Block("details", [Block("preformatted", text.rstrip("\n").split("\n"))], f"{name} of its features")
              for name, text in sorted(config.get("features", {}).items()))]


def environment_table(configs: Configs) -> Block:
    """The distinct environments that models were trained in, most models first."""
    count = Counter(json.dumps(config.get("environment", {}), sort_keys=True) for config in configs.values())
    distinct = [(number, json.loads(text)) for text, number in sorted(count.items(), key=lambda item: (-item[1], item))]
    keys = sorted({key for _, environment in distinct for key in environment})
    rows = [[number, *(environment.get(key, "not recorded") for key in keys)] for number, environment in distinct]
    return Block.table([["models", *keys], *rows])


def package_table() -> Block:
    """The versions of what requirements.txt names, as installed here."""
    names = re.findall(r"^[\w.-]+", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return Block.table([["package", "version"], *([name, importlib.metadata.version(name)] for name in names)])


def making_section(experiment: Experiment, configs: Configs) -> Section:
    """Commands, systems, configuration and environment."""
    systems = [[system.name, system.backbone, system.method, " ".join([system.script, *system.options])]
               for system in experiment.systems]
    return Section("How it was made", [
        Block("heading", ["Commands"]), *command_blocks(experiment.exp),
        Block("heading", ["Systems"]),
        Block.table([["system", "backbone", "method", "made with"], *systems]),
        Block("heading", ["Configuration"]), *configuration_blocks(configs),
        Block("heading", ["Environment"]), environment_table(configs),
        Block("details", [package_table()], "Packages that made this report")])


def missing_section(experiment: Experiment) -> list[Section]:
    """What could not be made and why, and a sentence on what else is left out, or no section."""
    lines = [f"{part}: {reason}" for part, reason in reasons(experiment).items()]
    blocks = [Block("list", lines)] if lines else []
    clauses = [f"{', '.join(files)} ({command} makes {'it' if len(files) == 1 else 'them'})"
               for command, files in missing(experiment).items()]
    text = (f"Not in this report: {'; '.join(clauses)}. Give run.sh the other options "
            "that the experiment was made with, too.")
    blocks += [Block.paragraph(text)] if clauses else []
    return [Section("Left out", blocks)] if blocks else []


def columns_where(rows: list[list[str]], condition: Callable[[tuple[str, ...]], bool]) -> set[int]:
    """Positions of the columns, after the first one, whose cells below the heading meet a condition."""
    return {number for number, cells in enumerate(zip(*rows[1:], strict=True)) if number and condition(cells)}


def numeric_columns(rows: list[list[str]]) -> set[int]:
    """Columns that hold figures only, such as "64.34 ± 1.00", "< 0.001" or "3 of 9"."""
    return columns_where(rows, lambda cells: any(cells) and all(
        re.fullmatch(r"[<±+-]?\d[\d.%-]*|[<±-]|to|of", word) for cell in cells for word in cell.split()))


def long_columns(rows: list[list[str]]) -> set[int]:
    """Columns of words that are to be broken into several lines."""
    return columns_where(rows, lambda cells: any(len(cell) > 40 and " " in cell for cell in cells))


def render(experiment: Experiment, sections: list[Section]) -> str:
    """The page as text."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined)
    environment.globals.update(numeric_columns=numeric_columns, long_columns=long_columns)
    template = environment.get_template("report.html.j2")
    return template.render(title=experiment.heading, experiment=experiment, synthetic=experiment.warning,
                           sections=sections)


def main() -> None:
    parser = OptionParser(__doc__, 'local/results/make_report.py --systems "vgg5_baseline vgg5_ad" data/iemocap exp')
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args())
    sections = [*source_sections(experiment), *mask_section(experiment)]
    configs = {directory: load_config(directory) for system in experiment.systems
               for directory in experiment.models(system).values()}
    sections += [making_section(experiment, configs), Section("Data", data_blocks(experiment, configs)),
                 *missing_section(experiment)]
    write_text(f"{experiment.exp}/report.html", render(experiment, sections))
    print(f"make_report.py: made {experiment.exp}/report.html")


if __name__ == "__main__":
    run(main)

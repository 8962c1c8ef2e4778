#!/usr/bin/env python3
"""Put a finished experiment on one page: EXP/report.html, which needs no network, no script and no other file.

It begins with the answers of EXP/claims.json. Reads EXP/results.json, EXP/ablations.json, EXP/analysis, EXP/commands,
the config.json of every model, and DATA. What is not there is left out, except results.json; the end of the page names
it and the command that makes it.
"""

import recipe_environment

import importlib.metadata
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from local.experiment.experiment import Experiment, add_experiment_options, open_experiment
from local.experiment.systems import System
from local.results import make_ablations, make_claims, make_probes, make_results
from local.results.blocks import Block
from local.results.pictures import read_picture
from local.results.report_data import Configs, data_blocks
from options import OptionParser, run
from ser.analysis.left_out import reason_of
from ser.base.errors import UserError
from ser.base.files import write_text
from ser.infer.results_file import NAME, read_results
from ser.model_dir.checkpoint import load_config

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Source:
    """A file of EXP that a section shows.

    Attributes
    ----------
    heading, file : str
    caption : str
        Of a picture.
    table : tuple of type and callable
        Of a results file: what it holds, and what makes blocks of that.
    folded : bool
        Whether its tables and definitions are shown only when they are asked for.
    stop_stage : str
        What run.sh has to be told beside the options of the experiment.
    """

    heading: str
    file: str
    caption: str = ""
    table: tuple[type, Callable[[Any], list[Block]]] | None = None
    folded: bool = False
    stop_stage: str = ""

    def blocks(self, experiment: Experiment) -> list[Block]:
        """What the section shows; raises UserError for a damaged file."""
        path, command = Path(experiment.exp, self.file), command_for(experiment.exp, self.stop_stage)
        if self.table is None:
            return [Block("picture", [read_picture(path, f"make it again with {command}")], self.caption)]
        kind, blocks_of = self.table
        table: Any = read_results(path, kind, f"run {command}")
        heading = [] if table.setting.heading == experiment.heading else [Block.paragraph(table.setting.heading)]
        return [*heading, *(fold(blocks_of(table)) if self.folded else blocks_of(table))]


ANSWER = (
    Source("Answer", "claims.json", table=(make_claims.ClaimsTable, make_claims.page_blocks_of)),
    Source("Answer", "analysis/wf1.svg", "Weighted F1 of each system on all test utterances, as the mean over the "
           "seeds, which are ticks where there are several. The thick line is a 95 % interval for other utterances of "
           "the same speakers, the thin line for other speakers."),
)
RESULTS = Source("Results", NAME, table=(make_results.ResultsTable, make_results.blocks_of))
SOURCES = (
    *ANSWER, RESULTS,
    Source("Ablations", "ablations.json", table=(make_ablations.AblationsTable, make_ablations.blocks_of),
           stop_stage=" --stop-stage 8"),
    Source("Figure 1", "analysis/figure1.png",
           "t-SNE of utterance embeddings; colour is emotion, number is speaker: (a) the extractor before fine-tuning, "
           "(b) fine-tuned with a linear classifier, (c) fine-tuned with AD, F+, (d) its F-."),
    Source("Probes", "analysis/probes.json", table=(make_probes.ProbesTable, make_probes.blocks_of), folded=True),
    Source("Confusion matrices", "analysis/confusions.png",
           "Emotions taken for others, in percent of the reference class: the test utterances of all folds."),
    Source("Speakers", "analysis/speakers.png", "Weighted F1 of each system on each test speaker; the grey line spans "
           "the systems."),
    Source("Training curves", "analysis/curves.png",
           "Training loss, and weighted F1 of the validation speakers; of a pre-training the identification accuracy."),
)


def fold(blocks: list[Block]) -> list[Block]:
    """Hide tables, and what follows the last of them, behind a line that opens them."""
    last = max((number for number, block in enumerate(blocks) if block.kind == "table"), default=-1)
    return [*(Block("details", [replace(block, caption="")], block.caption) if block.kind == "table" else block
              for block in blocks[:last + 1]), Block("details", blocks[last + 1:], "What is measured, and how")]


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    heading: str
    blocks: list[Block]

    @property
    def anchor(self) -> str:
        return self.heading.lower().replace(" ", "-")


def sources_there(experiment: Experiment) -> list[Source]:
    """The sources that are there; ablations of an earlier run are not, unless they are among the systems."""
    paths = {source: Path(experiment.exp, source.file) for source in SOURCES}
    asked = any(system.reference for system in experiment.systems)
    return [source for source, path in paths.items()
            if path.is_file() and not reason_of(path) and (asked or source.heading != "Ablations")]


def source_sections(experiment: Experiment) -> list[Section]:
    """Sections of the sources that are there; raises UserError when there are no results."""
    there = sources_there(experiment)
    if RESULTS not in there:
        raise UserError(f"{experiment.exp}/{RESULTS.file}: not there; run {command_for(experiment.exp)}")
    sections: dict[str, list[Block]] = {}
    for source in there:
        sections.setdefault(source.heading, []).extend(source.blocks(experiment))
    return [Section(heading, blocks) for heading, blocks in sections.items()]


def masks_of(experiment: Experiment, system: System) -> dict[tuple[str, str], Path]:
    """`{(seed, fold): path}` of the attention masks of a system that are there."""
    paths = {key: Path(model, "analysis", "masks.png") for key, model in experiment.models(system).items()}
    return {key: path for key, path in paths.items() if path.is_file() and not reason_of(path)}


def mask_section(experiment: Experiment) -> list[Section]:
    """The attention masks of all models that have them, or no section."""
    pictures = [Block("picture", [read_picture(path, f"make it again with {command_for(experiment.exp)}")],
                      f"Attention masks of {system.name}, {fold}, seed {seed}.")
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
    files = [(command_for(experiment.exp, source.stop_stage), source.file) for source in SOURCES
             if source not in there and source.file not in known]
    files += [(command_for(experiment.exp), masks) for system in experiment.systems
              if system.has_attention and not system.reference and not masks_of(experiment, system)
              and (masks := f"attention masks of {system.name}") not in known]
    return {command: [file for other, file in files if other == command] for command, _ in files}


def recorded_commands(exp: str) -> list[tuple[str, str]]:
    """Time and command of each run that led here, as run.sh wrote them down."""
    path = Path(exp, "commands")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [(time, command) for time, _, command in (line.rpartition("\t") for line in lines if line)]


def recorded_command(exp: str) -> str:
    """The last run without the options that say which stages; empty when it is not known."""
    commands = recorded_commands(exp)
    return re.sub(r" --(stop-)?stage [^ ]+", "", commands[-1][1]) if commands else ""


def command_for(exp: str, stop_stage: str = "") -> str:
    """What makes a file of EXP that is not there."""
    return f"{recorded_command(exp) or './run.sh'}{stop_stage}"


def command_blocks(exp: str) -> list[Block]:
    """The commands of run.sh that led here."""
    commands = recorded_commands(exp)
    if not commands:
        return [Block.paragraph(f"The commands are not known: {exp}/commands is not there. run.sh writes it.")]
    return [Block("commands", commands)]


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
    """What could not be made and why, and with which command what else is left out is made, or no section."""
    lines = [f"{part}: {reason}" for part, reason in reasons(experiment).items()]
    blocks = [Block("list", lines)] if lines else []
    for command, files in missing(experiment).items():
        blocks += [Block.paragraph(f"Not in this report: {', '.join(files)}. Made with:"),
                   Block("preformatted", [command])]
    if missing(experiment) and not recorded_command(experiment.exp):
        blocks.append(Block.paragraph("Give run.sh the other options that the experiment was made with, too."))
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

#!/usr/bin/env python3
"""Put a finished experiment on one page: EXP/report.html, which needs no network, no script and no other file.

It begins with the answers of EXP/claims.json. Reads EXP/results.json, EXP/ablations.json, EXP/analysis, EXP/commands,
the config.json of every model, and DATA. What is not there is left out, except results.json; the end of the page names
it and the command that makes it.
"""

import recipe_environment

import re
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from local.experiment.experiment import Experiment, add_experiment_options, open_experiment
from local.results.blocks import Headed, Section
from local.results.report_data import Configs, data_section
from local.results.report_making import making_section
from local.results.report_sources import mask_sections, missing_sections, source_sections
from options import OptionParser, run
from ser.base.files import write_text
from ser.model_dir.checkpoint import load_config


def sections_of(experiment: Experiment, configs: Configs) -> list[Section]:
    """The sections of the page in their order; raises UserError. One that shows a file of EXP is a line of SOURCES in
    report_sources.py."""
    return [*source_sections(experiment), *mask_sections(experiment), making_section(experiment, configs),
            data_section(experiment, configs), *missing_sections(experiment)]


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


def render(setting: Headed, sections: list[Section]) -> str:
    """The page as text."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined)
    environment.globals.update(numeric_columns=numeric_columns, long_columns=long_columns)
    template = environment.get_template("report.html.j2")
    return template.render(title=setting.heading, synthetic=setting.warning, sections=sections)


def main() -> None:
    parser = OptionParser(__doc__, 'local/results/make_report.py --systems "vgg5_baseline vgg5_ad" data/iemocap exp')
    add_experiment_options(parser)
    experiment = open_experiment(parser.parse_args())
    configs = {directory: load_config(directory) for system in experiment.systems
               for directory in experiment.models(system).values()}
    write_text(f"{experiment.exp}/report.html", render(experiment, sections_of(experiment, configs)))
    print(f"make_report.py: made {experiment.exp}/report.html")


if __name__ == "__main__":
    run(main)

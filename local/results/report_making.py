"""How a report says that its experiment was made: commands, systems, configuration and environment."""

import importlib.metadata
import json
import re
from collections import Counter
from pathlib import Path

from local.experiment.experiment import Experiment
from local.results.blocks import Block, Section
from local.results.report_commands import recorded_commands
from local.results.report_data import Configs

ROOT = Path(__file__).resolve().parents[2]


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

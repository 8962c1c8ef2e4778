"""Families of systems: networks of one backbone and configuration, and what each of them adds to the others."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.experiment.systems import System

# The questions of the paper come first. What makes a family is no question of a pair.
_FIRST = ("pretrained-dir", "ad-after")
_OF_FAMILY = ("backbone", "config")


@dataclass(frozen=True)
class Pair:
    """Two systems that differ in one option.

    Attributes
    ----------
    option : str
        Its name, such as ad-after.
    system, base : System
        That with the option, and that without; with another value where all have it.
    """

    option: str
    system: System
    base: System

    @property
    def question(self) -> str:
        """What their difference says something of."""
        value = options_of(self.system).get(self.option)
        if self.option == "pretrained-dir":
            return "Pre-training"
        if self.option == "ad-after":
            return "AD" if value == "last" else f"AD after {value}"
        other = options_of(self.base).get(self.option)
        return f"--{self.option}={value}" + (f" for {other}" if other else "")


def options_of(system: System) -> dict[str, str]:
    """The options of a line of conf/systems.conf by their names."""
    return dict(word.removeprefix("--").split("=", 1) for word in system.options)


def is_network(system: System) -> bool:
    return "backbone" in options_of(system)


def family_of(system: System) -> str:
    """What the family of a system is called; empty of one without a network."""
    if not is_network(system):
        return ""
    config = options_of(system).get("config")
    return system.backbone + (f" with {config}" if config else "")


def find_pairs(systems: Sequence[System]) -> list[Pair]:
    """All pairs of networks that differ in one option, by option; of several values each beside the same base."""
    networks = {system: options_of(system) for system in systems if is_network(system)}
    names = dict.fromkeys([*_FIRST, *(name for options in networks.values() for name in options)])
    pairs = []
    for name in names:
        if name in _OF_FAMILY:
            continue
        alike: dict[frozenset[tuple[str, str]], list[System]] = {}
        for system, options in networks.items():
            others = frozenset((key, value) for key, value in options.items() if key != name)
            alike.setdefault(others, []).append(system)
        for members in alike.values():
            base = next((system for system in members if name not in networks[system]), members[0])
            pairs += [Pair(name, system, base) for system in members
                      if networks[system].get(name) != networks[base].get(name)]
    return pairs


def describe_family(family: str, options: Mapping[str, Mapping[str, Any]]) -> str:
    """Say in which options the rows of a family differ from the first one, and what is the same in all.

    Parameters
    ----------
    family : str
    options : dict of str to dict
        Of each of its systems the options that are not at their default, by name.

    >>> print(describe_family("VGG5", {"a": {"ad_after": "none", "crop": 200}, "b": {"ad_after": "last", "crop": 200}}))
    VGG5: no option differs between these rows but ad-after (last in b). The same in all: crop 200.
    """
    names = sorted({name for one in options.values() for name in one}, key=_place)
    base, *others = options.values()
    differing = [name for name in names if any(one.get(name) != base.get(name) for one in others)]
    clauses = []
    for name in differing:
        systems_of: dict[str, list[str]] = {}
        for system, one in options.items():
            if one.get(name) != base.get(name):
                systems_of.setdefault(_word(one.get(name)), []).append(system)
        values = "; ".join(f"{value} in {', '.join(systems)}" for value, systems in systems_of.items())
        clauses.append(f"{_dashed(name)} ({values})")
    but = f" but {' and '.join(clauses)}" if clauses else ""
    shared = ", ".join(f"{_dashed(name)} {_word(base[name])}" for name in names if name not in differing)
    return f"{family}: no option differs between these rows{but}. The same in all: {shared}."


def _place(name: str) -> tuple[bool, bool, bool, str]:
    """What the rows are about comes first, on what they were trained last."""
    return name != "pretraining", name != "ad_after", name in ("precision", "device"), name


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _word(value: Any) -> str:
    return "its default" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def families_in(systems: Iterable[System]) -> dict[str, list[System]]:
    """The networks of each family, by what it is called."""
    families: dict[str, list[System]] = {}
    for system in filter(is_network, systems):
        families.setdefault(family_of(system), []).append(system)
    return families

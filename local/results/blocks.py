"""Parts of a result file, handed to both of its writers: the text, and the page of the report."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from local.experiment.experiment import Setting
from local.results.tables import as_table


@dataclass(frozen=True)
class Block:
    """A part of a result file, or of a page.

    Attributes
    ----------
    kind : str
        paragraph, definitions, list or table; of a page also warning, heading, commands, preformatted, picture and
        details.
    content : list
        Paragraphs that follow one another; pairs of term and explanation; items; rows of cells, the first one being
        the heading; a warning; a heading; pairs of time and command; lines; a picture; blocks.
    caption : str
        What a table, a picture or details are called.
    spare_columns : tuple of int
        Those of a table that a narrow page leaves out.
    """

    kind: str
    content: list[Any]
    caption: str = ""
    spare_columns: tuple[int, ...] = ()

    @classmethod
    def table(cls, rows: Iterable[Iterable[Any]], caption: str = "", spare_columns: tuple[int, ...] = ()) -> "Block":
        return cls("table", [[str(cell) for cell in row] for row in rows], caption, spare_columns)

    @classmethod
    def paragraph(cls, *texts: str) -> "Block":
        return cls("paragraph", list(texts))


def as_text(setting: Setting, blocks: Iterable[Block]) -> str:
    """A result file as text: what was run, a warning where the corpora are synthetic, and the blocks with an empty line
    before each."""
    warning = f"*** {setting.warning} ***\n" if setting.warning else ""
    return "\n".join([f"{setting.heading}\n{warning}", *map(_text_of, blocks)])


def _text_of(block: Block) -> str:
    """A block as lines.

    >>> print(_text_of(Block("definitions", [("before", "the weights that\\nfine-tuning starts from"), ("F", "map")])))
    before  the weights that
            fine-tuning starts from
    F       map
    <BLANKLINE>
    """
    if block.kind == "table":
        return (f"{block.caption}\n" if block.caption else "") + as_table(block.content)
    if block.kind == "definitions":
        column = 2 + max(len(term) for term, _ in block.content)
        return "".join(term.ljust(column) + text.replace("\n", "\n" + " " * column) + "\n"
                       for term, text in block.content)
    if block.kind == "list":
        return "".join(textwrap.fill(item, 118, subsequent_indent="  ", break_on_hyphens=False) + "\n"
                       for item in block.content)
    return "".join(f"{text}\n" for text in block.content)

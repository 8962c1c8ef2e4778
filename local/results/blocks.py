"""Result files read back: tables of tables.as_table, and the words around them, as blocks for a page."""

import re
from dataclasses import dataclass
from itertools import groupby, pairwise


@dataclass(frozen=True)
class Block:
    """What stands between two blank lines of a result file.

    Attributes
    ----------
    kind : str
        table, definitions, list, preformatted, paragraph or warning.
    content : list
        Rows of cells, the first one being the heading; pairs of term and explanation; items; lines; of a paragraph and
        of a warning one string.
    caption : str
        What stands directly above a table.
    """

    kind: str
    content: list
    caption: str = ""

    @classmethod
    def table(cls, rows):
        return cls("table", [[str(cell) for cell in row] for row in rows])

    @classmethod
    def paragraph(cls, text):
        return cls("paragraph", [text])


def read_blocks(text):
    """Read a result file: the tables that as_table made, and the words around them.

    Parameters
    ----------
    text : str
        Lines that begin with a blank go on with the line above them, and lines in *** are warnings.

    Returns
    -------
    list of Block

    Examples
    --------
    >>> from local.results.tables import as_table
    >>> read_blocks("Two systems\\n" + as_table([["system", "WF1"], ["vgg5_ad", "64.34"]]))
    [Block(kind='table', content=[['system', 'WF1'], ['vgg5_ad', '64.34']], caption='Two systems')]
    >>> read_blocks("before  the weights that\\n        training starts from\\nafter   those of the end\\n")[0].content
    [('before', 'the weights that training starts from'), ('after', 'those of the end')]
    """
    return [block for chunk in re.split(r"\n(?:[ \t]*\n)+", text.strip("\n")) if chunk
            for warning, lines in groupby(chunk.split("\n"), lambda line: line.startswith("***"))
            for block in _blocks(list(lines), warning)]


def _blocks(lines, warning):
    rule = next((number for number, line in enumerate(lines) if number and re.fullmatch("-+(  -+)*", line)), None)
    if rule:
        starts = [match.start() for match in re.finditer("-+", lines[rule])]
        spans = list(zip(starts, [*starts[1:], None], strict=True))
        rows = [[line[start:end].strip() for start, end in spans] for line in (lines[rule - 1], *lines[rule + 1:])]
        return [Block("table", rows, " ".join(lines[:rule - 1]))]
    items = _unfolded(lines)
    terms = [re.fullmatch(r"(\S+(?: \S+)*) {2,}(\S.*)", item) for item in items]
    if warning:
        return [Block("warning", [" ".join(line.strip("* ") for line in lines)])]
    if all(terms):
        return [Block("definitions", [term.groups() for term in terms])]
    if any(re.search(r"\S {2,}\S", line) for line in lines):
        return [Block("preformatted", lines)]
    return [Block("list", items)] if len(items) < len(lines) else [*map(Block.paragraph, _paragraphs(lines))]


def _unfolded(lines):
    """Lines with those that begin with a blank put behind the line above."""
    items = []
    for line in lines:
        if items and line.startswith(" "):
            items[-1] += " " + line.strip()
        else:
            items.append(line)
    return items


def _paragraphs(lines):
    """Join lines; a sentence that ends a line on which the next word had room ends a paragraph."""
    width, paragraphs = max(map(len, lines)), [lines[0]]
    for above, line in pairwise(lines):
        if above.endswith(".") and len(f"{above} {line.split()[0]}") <= width:
            paragraphs.append(line)
        else:
            paragraphs[-1] += " " + line
    return paragraphs

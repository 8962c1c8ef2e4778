"""Pictures as they are in a page that needs no other file."""

import base64
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ser.base.errors import UserError


@dataclass(frozen=True)
class Picture:
    """A PNG or SVG file in base64.

    Attributes
    ----------
    mime : str
    base64 : str
    width, height : int
        Pixels of a screen; of a PNG half of those of 200 dpi.
    """

    mime: str
    base64: str
    width: int
    height: int


def read_picture(path: Path, remedy: str) -> Picture:
    """Read a picture; raises UserError, with what to do, when it is something else than its name says."""
    content = path.read_bytes()
    if path.suffix == ".svg":
        mime, size = "image/svg+xml", _svg_size(content)
    else:
        mime, size = "image/png", _png_size(content)
    if size is None:
        raise UserError(f"{path}: no {path.suffix[1:].upper()} picture; {remedy}")
    return Picture(mime, base64.b64encode(content).decode(), *size)


def _png_size(content: bytes) -> tuple[int, int] | None:
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    width, height = (int.from_bytes(content[start:start + 4], "big") // 2 for start in (16, 20))
    return width, height


def _svg_size(content: bytes) -> tuple[int, int] | None:
    try:
        root = ElementTree.fromstring(content)
        width, height = (round(float(root.attrib[name].removesuffix("pt")) * 96 / 72) for name in ("width", "height"))
    except (ElementTree.ParseError, KeyError, ValueError):
        return None
    return width, height

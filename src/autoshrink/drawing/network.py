"""A network without a cell as a picture: one bar for each part, as wide as its channels are many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from autoshrink.drawing.markup import joined, tag
from autoshrink.drawing.svg import picture

_ROW, _BAR, _GAP = 40.0, 26.0, 12.0
_NARROWEST, _WIDEST, _WIDTH = 44.0, 220.0, 470.0
_COLOURS = ("#dbe8f6", "#22405f")


class Part(NamedTuple):
    """A part of a network: its name, what it does in a few words, and the channels and (height, width) it puts out."""

    name: str
    words: str
    channels: int
    size: tuple[int, int]


def network_svg(parts: Sequence[Part], *, standalone: bool = True) -> Markup:
    """The parts below one another as one SVG element; a bar's width goes with the root of its channels.

    Args:
        parts: in the order of the data's way, one at least.
        standalone: see `autoshrink.drawing.cell_svg`.
    """
    most = max(part.channels for part in parts)
    marks = []
    for place, part in enumerate(parts):
        top, width = place * _ROW, max(_NARROWEST, _WIDEST * math.sqrt(part.channels / most))
        left, middle = (_WIDEST - width) / 2, top + _BAR / 2 + 4.5
        if place:
            marks.append(tag("path", class_="as-wire", d=f"M{_WIDEST / 2} {top - _ROW + _BAR}V{top}"))
        marks.append(
            tag(
                "g",
                tag("rect", x=left, y=top, width=width, height=_BAR, rx=5, class_="as-op", style=_style()),
                tag("text", str(part.channels), x=_WIDEST / 2, y=middle, text_anchor="middle"),
                tag("text", part.name, x=_WIDEST + _GAP, y=middle - 6, class_="as-part"),
                tag("text", _said(part), x=_WIDEST + _GAP, y=middle + 7, class_="as-number"),
                class_="as-node",
            )
        )
    height = (len(parts) - 1) * _ROW + _BAR + 4
    words = "; ".join(f"{part.name}: {_said(part)}, {part.channels} channels" for part in parts)
    return picture(joined(marks), (_WIDTH, height), words, standalone=standalone)


def _said(part: Part) -> str:
    return f"{part.words}, {part.size[0]}×{part.size[1]}".removeprefix(", ")


def _style() -> str:
    return f"--as-light:{_COLOURS[0]};--as-dark:{_COLOURS[1]}"

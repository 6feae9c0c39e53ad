"""Pieces of Python source, laid out as ``ruff format`` lays them out with its default line length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

LINE = 88
INDENT = " " * 4


@dataclass(frozen=True)
class PlainSource:
    """A network as files: `texts` by file name (``model.py`` and what it reads), and `tensors` by their name there."""

    texts: Mapping[str, str]
    tensors: Mapping[str, Tensor]


def fill(template: str, **parts: object) -> str:
    """A template with its ``$names`` filled in; it begins after the first line end of its string."""
    return Template(template.removeprefix("\n")).substitute(parts)


def import_lines(imports: Iterable[str]) -> str:
    """Import statements in their usual order: ``import a`` before ``from b import c``, by name."""
    return "\n".join(sorted(imports, key=lambda line: (line.startswith("from"), line)))


def quoted(text: str) -> str:
    """A string literal, with the quotes that need fewer backslashes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + "".join(_escaped(letter, quote) for letter in text) + quote


def _escaped(letter: str, quote: str) -> str:
    if letter in (quote, "\\"):
        return "\\" + letter
    return letter if letter.isprintable() else repr(letter)[1:-1]


def listing(head: str, items: Sequence[str], *, indent: int = 0) -> str:
    """``head[a, b]`` on one line, or with an item a line where that is too long; `indent` counts levels."""
    margin = INDENT * indent
    line = f"{margin}{head}[{', '.join(items)}]"
    return line if len(line) <= LINE else _exploded(f"{margin}{head}[", items, f"{margin}]")


def table(head: str, rows: Iterable[str]) -> str:
    """``head[`` and a row a line, whatever the length."""
    return _exploded(f"{head}[", list(rows), "]")


def _exploded(head: str, items: Sequence[str], tail: str) -> str:
    inner = " " * (len(head) - len(head.lstrip()) + len(INDENT))
    return "\n".join([head, *(f"{inner}{item}," for item in items), tail])


def total(name: str, terms: Sequence[str], divisor: int, *, indent: int) -> str:
    """``name = (a + b) / divisor``, or without parentheses for 1; several lines where one is too long."""
    margin = INDENT * indent
    whole = " + ".join(terms)
    line = f"{margin}{name} = ({whole}) / {divisor}" if divisor > 1 else f"{margin}{name} = {whole}"
    if len(line) <= LINE:
        return line
    first, *rest = terms
    if divisor == 1:
        return "\n".join([f"{margin}{name} = {first}", *(f"{margin}{name} = {name} + {term}" for term in rest)])
    inner = margin + INDENT
    return "\n".join(
        [f"{margin}{name} = (", inner + first, *(f"{inner}+ {term}" for term in rest), f"{margin}) / {divisor}"]
    )

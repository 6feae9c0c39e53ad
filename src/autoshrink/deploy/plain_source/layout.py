"""Templates filled in, and pieces of Python laid out as ``ruff format`` lays them out with its default line length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from autoshrink.escaping import code
from autoshrink.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

LINE = 88
INDENT = " " * 4


@dataclass(frozen=True)
class PlainSource:
    """A network as files: `texts` by file name (``model.py`` and what it reads), and `tensors` by their name there."""

    texts: Mapping[str, str]
    tensors: Mapping[str, Tensor]


def filled(template: str, **values: object) -> str:
    """A template of the folder ``templates`` with its names filled in; what it needs and is not given is an error."""
    return _environment().get_template(template).render(version=__version__, **values)


@cache
def _environment() -> Environment:
    found = Environment(  # noqa: S701 - Python and Markdown; there is no HTML to escape
        loader=PackageLoader(__package__),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    found.filters |= {"repr": repr, "code": code, "short": "{:.4g}".format}
    return found


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
    if len(line) <= LINE:
        return line
    return "\n".join([f"{margin}{head}[", *(f"{margin}{INDENT}{item}," for item in items), f"{margin}]"])


def call(name: str, made: str, *, indent: int) -> str:
    """``name = Class(arguments)``, the arguments on a line of their own where one line is too long."""
    margin = INDENT * indent
    line = f"{margin}{name} = {made}"
    if len(line) <= LINE:
        return line
    head, _, arguments = line.partition("(")
    return "\n".join([f"{head}(", f"{margin}{INDENT}{arguments.removesuffix(')')}", f"{margin})"])


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

"""Pages from templates: whatever is filled in is escaped, unless it is markup already."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from autoshrink import formatting
from autoshrink.drawing.markup import plain
from autoshrink.escaping import escape_lines, shown


@dataclass(frozen=True)
class Table:
    """A table of texts; `numeric` columns, by their places, are aligned to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[str]], *, words: Iterable[str] = ()) -> Table:
        """From columns by their heads; all but those called `words` are numbers."""
        numeric = frozenset(place for place, head in enumerate(columns) if head not in words)
        return cls(tuple(columns), tuple(zip(*columns.values(), strict=True)), numeric)


def asset(name: str) -> Markup:
    """The text of a style sheet or script that stands beside the templates."""
    text = resources.files("autoshrink.report").joinpath("templates", name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - ours


def _finalize(value: object) -> object:
    # What is not seen, or turns the direction of writing, is shown as an escape.
    return value if isinstance(value, Markup) else shown(value)


def _lines(text: str) -> Markup:
    return Markup(escape_lines(text))  # noqa: S704 - just escaped


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("autoshrink.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"finite": math.isfinite, "lines": _lines, "plain": plain}
    names = ("count", "duration", "moment", "number", "percent", "quantity", "signed")
    made.filters |= {name: getattr(formatting, name) for name in names}
    return made


def filled(template: str, **values: object) -> str:
    """A template of this package with its values."""
    return _environment().get_template(template).render(**values)

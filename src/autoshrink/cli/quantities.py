"""Numbers as people type them: ``384M``, ``256KiB``, ``20m``, ``16,32,64``.

One grammar for all: ASCII digits, a decimal point, a power of ten (``1e6``), underscores or commas between groups of
three digits, then a unit. A comma that may be a decimal one is refused with both readings. A limit with a fraction of
a byte or a parameter is rounded down, which allows the same networks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

import typer

from autoshrink.budget import octaves
from autoshrink.errors import InputError
from autoshrink.machine import refuse_too_many
from autoshrink.quantity import Quantity
from autoshrink.resources import COUNT, Unit
from autoshrink.untrusted import LONGEST_NUMBER, brief

_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}

MOST = 10**18
"""Larger numbers are slips of the finger."""

_NUMBER = re.compile(r"(\d+(?:[_,.]\d+)*|\.\d+)(e\d{1,2})?", re.ASCII)
_PLAIN = re.compile(r"(?:\d+|\d{1,3}(?:,\d{3})+|\d{1,3}(?:_\d{3})+)(?:\.\d+)?|\.\d+", re.ASCII)
_WHOLE = re.compile(r"\d{1,18}", re.ASCII)


def count(text: str) -> Quantity:
    """A positive count, thousands by k, M, G, T: ``384M``, ``3.6M``, ``250k``, ``1_000_000``, ``5e6``."""
    return amount(COUNT, text)


def amount(unit: Unit, text: str) -> Quantity:
    """A positive amount in a unit."""
    if unit.countable and text.strip().lower().endswith("b"):
        raise typer.BadParameter(f"{brief(text)} is not {unit.about}: B is for bytes; a billion is 1G")
    value = _value(text, unit.typed, unit.about, whole="" in unit.typed)
    if value < 1:
        raise typer.BadParameter(f"{brief(text)} is not {unit.about}: it is less than one")
    typed = re.sub(r"^[\d.,_]*(e\d+)?\s*", "", text.strip().lower())
    return Quantity(int(value), text.strip(), unit.typed[typed])


def amounts(unit: Unit, text: str) -> Quantity | tuple[Quantity, Quantity]:
    """A positive amount in a unit, or a range of them: ``500k..4M``."""
    least, dots, most = text.partition("..")
    if not dots:
        return amount(unit, text)
    if not least.strip() or not most.strip():
        raise typer.BadParameter(f"{brief(text)} is no range of budgets: it takes both ends, as 500k..4M does")
    found = amount(unit, least), amount(unit, most)
    try:
        octaves(*found)
    except InputError as error:
        raise typer.BadParameter(f"{brief(text)} is no range of budgets: {error}") from None
    return found


def seconds(text: str) -> float:
    """A positive time: ``90``, ``90s``, ``20m`` (minutes), ``1.5h``, ``2d``."""
    about = "a time such as 90s, 20m (minutes) or 1.5h"
    value = float(_value(text, _SECONDS, about, whole=False))
    if value > MOST / 10**9:
        raise typer.BadParameter(f"{brief(text)} is not {about}: it is more than thirty years")
    return value


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers above zero with commas between them: ``16,32,64``."""
    parts = [part.strip() for part in text.split(",")]
    if not all(_WHOLE.fullmatch(part) and not part.startswith("0") for part in parts):
        raise typer.BadParameter(f"{brief(text)} is not a list of whole numbers above zero such as 16,32,64")
    return tuple(int(part) for part in parts)


def threads(text: str) -> int:
    """CPU threads: at least one, and not more than make sense here."""
    return _workforce(text, "threads", least=1)


def workers(text: str) -> int:
    """Processes: none or more, and not more than make sense here."""
    return _workforce(text, "processes", least=0)


def _workforce(text: str, what: str, *, least: int) -> int:
    # Defaults come here as numbers.
    if not _WHOLE.fullmatch(str(text)) or int(text) < least:
        raise typer.BadParameter(f"{brief(text)} is not a number of {what}: {least}, or more")
    try:
        refuse_too_many(int(text), what)
    except InputError as error:
        raise typer.BadParameter(str(error)) from None
    return int(text)


def sizes(text: str) -> tuple[int, ...]:
    """Whole numbers above zero with an x between them: ``3x224x224``."""
    parts = re.split("[x×]", text.strip().lower())
    if not all(_WHOLE.fullmatch(part) and int(part) for part in parts):
        raise typer.BadParameter(f"{brief(text)} is not a shape such as 3x224x224")
    return tuple(int(part) for part in parts)


def shape(text: str) -> tuple[int, int, int]:
    """Channels, height and width: ``3x224x224``."""
    match sizes(text):
        case (channels, height, width):
            return channels, height, width
    raise typer.BadParameter(f"{brief(text)} is not channels, height and width such as 3x224x224")


def candidates(text: str) -> int | str:
    """K, or ``all``."""
    if text == "all":
        return text
    if _WHOLE.fullmatch(text) and int(text):
        return int(text)
    raise typer.BadParameter(f"{brief(text)} is neither 'all' nor a positive whole number")


def _value(text: str, units: Mapping[str, int], about: str, *, whole: bool) -> Fraction:
    """The exact number, above zero.

    Args:
        text: as typed.
        units: what a unit multiplies by; "" is the number without one.
        about: what was expected, with examples.
        whole: whether a number without a unit is a whole one, so that ``1,500`` has one meaning only.

    Raises:
        BadParameter: it is no number, has another unit, two readings, or is out of range.
    """
    typed = text.strip()
    found = _NUMBER.match(typed) if len(typed) <= LONGEST_NUMBER else None
    if found is None:
        negative = ": it is not above zero" if re.match(r"[-−]\s*\.?\d", typed, re.ASCII) else ""
        raise typer.BadParameter(f"{brief(text)} is not {about}{negative}")
    rest = typed[found.end() :]
    unit = rest.strip().lower()
    if unit not in units:
        known = ", ".join(name for name in units if name)
        missing = f"the unit is missing: one of {known}" if not unit else f"{unit!r} is none of {known}"
        raise typer.BadParameter(f"{brief(text)} is not {about}: {missing}")
    digits, power = found[1], found[2] or ""
    _refuse_ambiguous(text, digits, power + rest, about, grouped=whole and not unit and not power)
    value = Fraction(re.sub("[_,]", "", digits) + power) * units[unit]
    if not 0 < value <= MOST:
        wrong = "it is not above zero" if value <= 0 else f"it is more than {MOST:.0e}"
        raise typer.BadParameter(f"{brief(text)} is not {about}: {wrong}")
    return value


def _refuse_ambiguous(text: str, digits: str, rest: str, about: str, *, grouped: bool) -> None:
    """Commas that may be decimal ones: a single one, unless it can only stand before the last three of whole digits."""
    whole, comma, last = digits.partition(",")
    if comma and "." not in digits and "," not in last and "_" not in digits:
        if grouped and _PLAIN.fullmatch(digits):
            return
        point, without = f"{whole}.{last}{rest}", f"{whole}{last}{rest}"
        raise typer.BadParameter(f"{brief(text)} may be {point} or {without}: write one of them, without a comma")
    if not _PLAIN.fullmatch(digits):
        joined = re.sub("[_,.]", "", digits)
        raise typer.BadParameter(f"{brief(text)} is not {about}: write {joined}{rest} if that is meant")

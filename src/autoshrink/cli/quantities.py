"""Numbers as people type them: ``384M``, ``256KiB``, ``20m``, ``16,32,64``."""

from __future__ import annotations

import re

import typer

_COUNT_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def count(text: str) -> int:
    """A positive count: ``384M``, ``3.6M``, ``250k``, ``256KiB``, ``1_000_000``."""
    match = re.fullmatch(r"([\d._,]+)\s*([kmg]i?)?b?", text.strip().lower())
    try:
        value = float(match[1].replace(",", "").replace("_", "")) * _COUNT_UNITS[match[2] or ""] if match else 0.0
    except ValueError:
        value = 0.0
    if value < 1:
        raise typer.BadParameter(f"{text!r} is not a count such as 384M, 250k or 256KiB")
    return round(value)


def seconds(text: str) -> float:
    """A positive time: ``90``, ``90s``, ``20m``, ``1.5h``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?", text.strip().lower())
    if match is None or float(match[1]) <= 0:
        raise typer.BadParameter(f"{text!r} is not a time such as 90s, 20m or 1.5h")
    return float(match[1]) * _SECONDS[match[2] or ""]


def nanoseconds(text: str) -> int:
    """A short time with its unit: ``5ms``, ``350us``, ``.2s``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*(s|ms|us|µs|ns)", text.strip().lower())
    value = round(float(match[1]) * _NANOSECONDS[match[2]]) if match else 0
    if value < 1:
        raise typer.BadParameter(f"{text!r} is not a latency such as 5ms or 350us")
    return value


def numbers(text: str) -> list[int]:
    """Whole numbers with commas: ``16,32,64``."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a list of whole numbers such as 16,32,64") from None


def candidates(text: str) -> int | str:
    """K, or ``all``."""
    if text == "all":
        return text
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise typer.BadParameter(f"{text!r} is neither 'all' nor a positive whole number")

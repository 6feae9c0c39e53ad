"""What other people wrote: text and JSON from files, logs, metadata and options, read within limits.

Every JSON text that did not come out of this program a moment ago is read here, so that nothing in it can end in a
traceback, take all memory, or mean something else than it says: a name that stands twice in one object, a number that
no float64 holds, and nesting that no format of ours has are refused by name. What is behind the reader, a model with
types and ranges, is each format's own business.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from autoshrink.errors import InputError
from autoshrink.escaping import shown

MOST_BYTES = 32 * 2**20
"""Of a text; the largest that is ours, a model's vocabulary of a million words, has a third of it."""
MOST_DEPTH = 64
"""Of lists and objects inside one another; ours have seven."""
LONGEST_NUMBER = 40
"""Characters of a number; float64 needs 24, and no count of ours has 30 digits."""
LONGEST_SHOWN = 60
"""Characters of a value that a message quotes."""

_SUSPICIOUS = re.compile(rf"[\[:,\s.-](?:\d{{{LONGEST_NUMBER}}}|\d[\d.]*[eE]\+?\d{{3}})")
"""Numbers that need a closer look; strings that look like them get it for nothing. A number that does not begin a text
follows a bracket, a comma, a colon, a space, a minus or, its decimals, a point: hexadecimal, of which logs are full, is
passed over at the speed of a search for these."""
_LONE_SURROGATE = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")
"""Half a character. U+DC80 to U+DCFF are not meant: with them Python spells file names that are no UTF-8."""


def brief(value: object, longest: int = LONGEST_SHOWN) -> str:
    """A value as a message quotes it: its `repr`, cut where it is long."""
    if isinstance(value, str | bytes):
        value = value[: longest + 1]  # the repr of a text of megabytes has megabytes
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; lists thousands deep
        return f"a {type(value).__name__} too long to be shown"
    return text if len(text) <= longest else text[: longest - 3] + "…"


def read_text(path: Path, *, most: int = MOST_BYTES) -> str:
    """The text of a file that a person named; a byte order mark is no part of it.

    Raises:
        InputError: it is missing, no ordinary file, unreadable, too large or not UTF-8; the message names it.
    """
    with inside(shown(path)):
        try:
            return _decoded(_read_bytes(path, most))
        except FileNotFoundError:
            raise InputError("no such file") from None
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL byte
            raise InputError(f"cannot be read as text ({getattr(error, 'strerror', None) or error})") from error


def read_json(path: Path, *, most: int = MOST_BYTES) -> Any:
    """The value in a JSON file that a person named.

    Raises:
        InputError: as `read_text` and `parse_json`; the message names the file.
    """
    text = read_text(path, most=most)
    with inside(shown(path)):
        return parse_json(text)


def parse_json(text: str | bytes, *, most: int = MOST_BYTES) -> Any:
    """The value of a JSON text.

    Raises:
        InputError: it is not UTF-8 or not JSON, is too large or too deep, holds a number that cannot be, half a
            character, or a name twice in one object; the message says what.
    """
    if len(text) > most:
        raise InputError(f"{len(text):,} bytes of JSON; at most {most:,} are read")
    text = _decoded(text) if isinstance(text, bytes) else text
    suspicious = text[:1].isdigit() or "NaN" in text or "Infinity" in text or _SUSPICIOUS.search(text)
    numbers: dict[str, Any] = {"parse_int": _number, "parse_float": _number, "parse_constant": _no_number}
    try:
        value = json.loads(text, object_pairs_hook=_object, **(numbers if suspicious else {}))
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from error
    except RecursionError:
        raise InputError(f"nested more than {MOST_DEPTH} deep") from None
    if "\\u" in text or text.count("[") + text.count("{") > MOST_DEPTH:
        _check(value)
    return value


@contextmanager
def inside(place: str) -> Iterator[None]:
    """Put where it stands before what is wrong."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{place}: {error}") from error


def refuse_nul(arguments: Iterable[str]) -> None:
    """No shell can give a NUL byte, a program can; no path, number or name has one.

    Raises:
        InputError: one has.
    """
    for argument in arguments:
        if "\0" in argument:
            raise InputError(f"{brief(argument)}: a NUL byte stands in nothing that can be meant")


def _read_bytes(path: Path, most: int) -> bytes:
    # A pipe that nobody writes to would be waited for without end: opened like this, it can be looked at first.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        facts = os.fstat(descriptor)
        if stat.S_ISDIR(facts.st_mode):
            raise InputError("a folder, not a file")
        if not stat.S_ISREG(facts.st_mode):
            raise InputError("a pipe or a device, not a file; save what it gives to a file first")
        content = file.read(most + 1)
    if len(content) > most:
        raise InputError(f"{facts.st_size:,} bytes; at most {most:,} are read of such a file")
    return content


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        found = f"byte 0x{content[error.start]:02x} at {error.start}"
        raise InputError(f"cannot be read as text: not UTF-8 ({found}); save it as UTF-8") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise InputError(f"the name {brief(twice)} stands twice in one object")
    return found


def _number(literal: str) -> int | float:
    if len(literal) > LONGEST_NUMBER:
        raise InputError(f"a number of {len(literal):,} characters, {literal[:12]}…; ours have {LONGEST_NUMBER}")
    value = float(literal)
    if abs(value) == float("inf"):
        raise InputError(f"{literal} is beyond every float64")
    return int(literal) if literal.removeprefix("-").isdigit() else value


def _no_number(literal: str) -> NoReturn:
    raise InputError(f"{literal} is no number")


def _check(value: Any) -> None:
    """Go through a value, and refuse what is nested too deep, and half characters."""
    waiting = [(value, 1)]
    while waiting:
        found, depth = waiting.pop()
        if isinstance(found, dict | list):
            if depth > MOST_DEPTH:
                raise InputError(f"nested more than {MOST_DEPTH} deep")
            inner = [*found.keys(), *found.values()] if isinstance(found, dict) else found
            waiting += [(one, depth + 1) for one in inner if isinstance(one, dict | list | str)]
        elif isinstance(found, str) and _LONE_SURROGATE.search(found):
            raise InputError(f"{brief(found)} holds half a character")

"""What other people wrote: text and JSON from files, logs, metadata and options, read within limits.

Every JSON text that did not come out of this program a moment ago is read here, so that nothing in it can end in a
traceback, take all memory, or mean something else than it says: a name that stands twice in one object, a number that
no float64 holds, and nesting that no format of ours has are refused by name and place. What is behind the reader, a
model with types and ranges, is each format's own business.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoshrink.errors import InputError

MOST_BYTES = 32 * 2**20
"""Of a text; the largest that is ours, a model's vocabulary of a million words, has a third of it."""
MOST_DEPTH = 64
"""Of lists and objects inside one another; ours have seven."""
LONGEST_NUMBER = 40
"""Characters of a number; float64 needs 24, and no count of ours has 30 digits."""
LONGEST_SHOWN = 60
"""Characters of a value that a message quotes."""

_SUSPICIOUS = re.compile(rf"\d{{{LONGEST_NUMBER}}}|\d[eE]\+?\d{{3}}|NaN|Infinity")
"""Numbers that need a closer look; strings that look like them get it for nothing."""
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|-?\d[\d.eE+-]*+|-?Infinity|NaN|[\[\]{},]', re.DOTALL)
"""Strings (also such as never end), numbers, brackets and commas of a JSON text; never tried twice at one place."""
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
    try:
        return _decoded(_read_bytes(path, most))
    except FileNotFoundError:
        raise InputError(f"{brief_path(path)}: no such file") from None
    except OSError as error:
        raise InputError(f"{brief_path(path)}: cannot be read as text ({error.strerror or error})") from error
    except ValueError as error:  # a path with a NUL byte
        raise InputError(f"{brief_path(path)}: cannot be read as text ({error})") from error
    except InputError as error:
        raise InputError(f"{brief_path(path)}: {error}") from error


def read_json(path: Path, *, most: int = MOST_BYTES) -> Any:
    """The value in a JSON file that a person named.

    Raises:
        InputError: as `read_text` and `parse_json`; the message names the file.
    """
    text = read_text(path, most=most)
    with inside(brief_path(path)):
        return parse_json(text)


def parse_json(text: str | bytes, *, most: int = MOST_BYTES) -> Any:
    """The value of a JSON text.

    Raises:
        InputError: it is not UTF-8 or not JSON, is too large or too deep, holds a number that cannot be, half a
            character, or a name twice in one object; the message says what and in which line and column.
    """
    if len(text) > most:
        raise InputError(f"{len(text):,} bytes of JSON; at most {most:,} are read")
    text = _decoded(text) if isinstance(text, bytes) else text
    if text.count("[") + text.count("{") > MOST_DEPTH or _SUSPICIOUS.search(text):
        _check_closely(text)
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from error
    except _TwiceError:
        _check_closely(text)
        raise
    if "\\u" in text:
        _check_characters(text, value)
    return value


@contextmanager
def inside(place: str) -> Iterator[None]:
    """Put where it stands before what is wrong."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{place}: {error}") from error


def brief_path(path: str | os.PathLike[str]) -> str:
    """A path as a message names it: as it is, or cut and quoted where a terminal could not show it."""
    text = os.fspath(path)
    return text if len(text) <= 4 * LONGEST_SHOWN and text.isprintable() else brief(text, 4 * LONGEST_SHOWN)


def refuse_nul(arguments: Iterable[str]) -> None:
    """No shell can give a NUL byte, a program can; no path, number or name has one.

    Raises:
        InputError: one has.
    """
    for argument in arguments:
        if "\0" in argument:
            raise InputError(f"{brief(argument)}: a NUL byte stands in nothing that can be meant")


class _TwiceError(InputError):
    """A name stands twice in an object; where, takes a closer look."""


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
        raise _TwiceError("a name stands twice in one object")
    return found


def _check_closely(text: str) -> None:
    """Go through the founds of a text and refuse the first that is beyond a limit, by its place."""
    names: list[set[str] | None] = []
    expecting_name = False
    for match in _TOKEN.finditer(text):
        found = match[0]
        if found in "[{":
            names.append(set() if found == "{" else None)
            if len(names) > MOST_DEPTH:
                raise InputError(f"nested more than {MOST_DEPTH} deep{_place(text, match.start())}")
        elif found in "]}":
            del names[-1:]
        elif found[0] == '"':
            if expecting_name and names and (known := names[-1]) is not None:
                _check_name(match, known)
        elif found != ",":
            _check_number(match)
        expecting_name = found in "{,"


def _check_name(match: re.Match[str], known: set[str]) -> None:
    try:
        name = json.loads(match[0])
    except json.JSONDecodeError:  # said by the parser, in its own words
        return
    if name in known:
        raise InputError(f"the name {brief(name)} stands twice in one object{_place(match.string, match.start())}")
    known.add(name)


def _check_number(match: re.Match[str]) -> None:
    literal = match[0]
    if literal.lstrip("-") in ("NaN", "Infinity"):
        raise InputError(f"{literal} is no number{_place(match.string, match.start())}")
    if len(literal) > LONGEST_NUMBER:
        place = _place(match.string, match.start())
        raise InputError(f"a number of {len(literal):,} characters, {literal[:12]}…{place}; ours have {LONGEST_NUMBER}")
    try:
        finite = abs(float(literal)) < float("inf")
    except ValueError:  # said by the parser, in its own words
        return
    if not finite:
        raise InputError(f"{literal} is beyond every float64{_place(match.string, match.start())}")


def _check_characters(text: str, value: Any) -> None:
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            waiting += [*found.keys(), *found.values()]
        elif isinstance(found, list):
            waiting += found
        elif isinstance(found, str) and (half := _LONE_SURROGATE.search(found)):
            place = _place(text, max(0, text.lower().find(f"\\u{ord(half[0]):04x}")))
            raise InputError(f"{brief(found)} holds half a character{place}")


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f" (line {line}, column {position - text.rfind(chr(10), 0, position)})"

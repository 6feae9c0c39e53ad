"""Damage: what a disk, an editor, a cut-off download or an ill-meaning person does to a file, from a seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

NASTY_TEXTS = (
    "",
    " ",
    "²",
    "٣",
    "-0",
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "1e-999",
    "0x10",
    "true",
    "null",
    "[]",
    "{}",
    "9" * 5000,
    "x" * 400,
    "a\x1b[31mb",
    "a\nb",
    "a`b`<script>",
    "\u202e",
    "é",
    "../../etc/passwd",
    "/dev/null",
    "/",
    ".",
    "~",
    "%s%n",
    "3,6M",
    "1e9",
    "100000000000",
    "-1",
    "0",
    "1.5",
    "'",
    '"',
    "--help",
    "=",
    "a=b=c",
    "recipe.epochs=[[[[",
)  # fmt: skip
"""Texts that stand for nothing, or for something else than they seem to."""
_NASTY_JSON = (
    "1e999",
    "NaN",
    "-Infinity",
    "9" * 5000,
    "[" * 10_000,
    '{"a":' * 5000,
    '"\\ud800"',
    '"\\u0000"',
    "1e-999",
    "-0",
    "true",
    "null",
    "[]",
    "{}",
    '""',
    "-1",
    "0",
    "0.5",
    "16.0",
    "10000000000000",
    '"3"',
    '{"a":1,"a":2}',
    "[[]]",
    '"' + "x" * 400 + '"',
)  # fmt: skip


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes of a file after one kind of damage."""
    kinds: list[Callable[[bytes, random.Random], bytes]] = [_flipped, _flipped, _cut, _spliced, _filled, _repeated]
    if data[:1] in b"{[" and data:
        kinds += [_edited, _edited, _edited, _retyped, _retyped]
    return rng.choice(kinds)(data, rng)


def _flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 4))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _spliced(data: bytes, rng: random.Random) -> bytes:
    one, other = rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)
    return data[:one] + data[other:]


def _filled(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    length = min(len(data) - start, rng.choice((1, 4, 8, 512)))
    return data[:start] + bytes([rng.choice((0, 0xFF, 0x7F, 0x80))]) * length + data[start + length :]


def _repeated(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start : start + 64] * rng.choice((2, 50)) + data[start:]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        found += _places(inner, (*path, step))
    return found


def _edited(data: bytes, rng: random.Random) -> bytes:
    """A JSON value somewhere replaced by a text that may be no JSON at all."""
    return _replaced(data, rng, rng.choice(_NASTY_JSON))


def _retyped(data: bytes, rng: random.Random) -> bytes:
    """A JSON value somewhere missing, of another type, or of another place."""
    try:
        value = json.loads(data)
        places = _places(value)
        one, other = rng.choice(places), rng.choice(places)
    except (ValueError, IndexError):
        return _flipped(data, rng)
    inner = value
    for step in other:
        inner = inner[step]
    return _replaced(data, rng, json.dumps(inner), one)


def _replaced(data: bytes, rng: random.Random, text: str, place: tuple[Any, ...] | None = None) -> bytes:
    try:
        value = json.loads(data)
        path = place or rng.choice(_places(value))
    except (ValueError, IndexError):
        return _flipped(data, rng)
    changed = copy.deepcopy(value)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = "\x00here\x00"
    return json.dumps(changed).replace(json.dumps("\x00here\x00"), text).encode("utf-8", "surrogatepass")

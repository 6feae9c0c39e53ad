"""Published architectures and their baselines, as architecture files; `sources.json` says where each comes from."""

from __future__ import annotations

import difflib
import json
from importlib.resources import files

from autoshrink.architecture import Architecture
from autoshrink.errors import InputError

SUFFIX = ".arch.json"


def names() -> tuple[str, ...]:
    """What `get` knows, sorted."""
    return tuple(
        sorted(entry.name.removesuffix(SUFFIX) for entry in files(__name__).iterdir() if entry.name.endswith(SUFFIX))
    )


def get(name: str) -> Architecture:
    """A published architecture by name.

    Raises:
        InputError: the zoo has no such name; the message lists near ones.
    """
    _known(name)
    return Architecture.from_json(json.loads(_text(f"{name}{SUFFIX}")))


def source(name: str) -> str:
    """Where an architecture comes from, what was published of it, and what is ours; a sentence or two.

    Raises:
        InputError: the zoo has no such name; the message lists near ones.
    """
    _known(name)
    sources: dict[str, str] = json.loads(_text("sources.json"))
    return sources[name]


def _known(name: str) -> None:
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(names())}"
        raise InputError(f"{name}: neither a file nor a name in the zoo{hint}")


def _text(file: str) -> str:
    return (files(__name__) / file).read_text(encoding="utf-8")

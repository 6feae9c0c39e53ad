"""Published architectures, as architecture files."""

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
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(names())}"
        raise InputError(f"{name}: neither a file nor a name in the zoo{hint}")
    return Architecture.from_json(json.loads((files(__name__) / f"{name}{SUFFIX}").read_text(encoding="utf-8")))

"""Published architectures and their baselines, as architecture files; `sources.json` says where each comes from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from autoshrink.architecture import Architecture
from autoshrink.errors import InputError
from autoshrink.registry import near

SUFFIX = ".arch.json"


@dataclass(frozen=True)
class Published:
    """What authors say of their network, rounded as they do; None where they say nothing.

    Attributes:
        error: top-1 error on ImageNet's validation images, one 224×224 crop, percent.
        perplexity: on the test text of the Penn Treebank, words.
        params: parameters.
        macs: multiply-adds of one image.
    """

    error: float | None = None
    perplexity: float | None = None
    params: int | None = None
    macs: int | None = None


def names() -> tuple[str, ...]:
    """What `get` knows, sorted."""
    return tuple(
        sorted(entry.name.removesuffix(SUFFIX) for entry in files(__name__).iterdir() if entry.name.endswith(SUFFIX))
    )


def get(name: str) -> Architecture:
    """A published architecture by name; ``ShrinkCNN_A`` is ``shrinkcnn-a``.

    Raises:
        InputError: the zoo has no such name; the message lists near ones.
    """
    return Architecture.from_json(json.loads(_text(f"{_known(name)}{SUFFIX}")))


def source(name: str) -> str:
    """Where an architecture comes from, what was published of it, and what is ours; a sentence or two.

    Raises:
        InputError: the zoo has no such name; the message lists near ones.
    """
    said: str = _entry(name)["source"]
    return said


def published(name: str) -> Published:
    """The figures that were published for an architecture; what it costs here, `autoshrink.count` counts.

    Raises:
        InputError: the zoo has no such name; the message lists near ones.
    """
    return Published(**_entry(name).get("published", {}))


def _entry(name: str) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(_text("sources.json"))[_known(name)]
    return entry


def _known(name: str) -> str:
    plain = name.lower().replace("_", "-")
    if plain not in names():
        hint = near(plain, names()) or f"; it has {', '.join(names())}"
        raise InputError(f"{name}: neither a file nor a name in the zoo{hint}")
    return plain


def _text(file: str) -> str:
    return (files(__name__) / file).read_text(encoding="utf-8")

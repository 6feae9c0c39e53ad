"""What a search proposes: a cell, a whole network, or a point of somebody's table."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

from autoshrink.errors import InputError
from autoshrink.registry import Registry
from autoshrink.untrusted import brief


class Design(Protocol):
    """A frozen, hashable value that can be measured, written down and read again.

    Two more attributes are read where a design has them: `branches`, by which ties in S are broken (fewer first), and
    `edges`, which the score of the released search of recurrent cells counts.
    """

    @property
    def kind(self) -> str:
        """What sort of network it is: ``conv``."""

    @property
    def key(self) -> str:
        """The same string for exactly the designs that are one network: those are trained once."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object whose ``"format"`` names what reads it (`DESIGNS`)."""

    def __hash__(self) -> int:
        """Equal designs have the same."""


class Pictured:
    """What a notebook shows as a picture."""

    def _repr_html_(self) -> str:
        """HTML for a notebook; who draws stands further up, and is imported when a picture is asked for."""
        made: str = import_module("autoshrink.notebook").html_of(self)
        return made


class Reader(Protocol):
    """A class of designs."""

    def from_json(self, value: object, /) -> Design:
        """The design that `to_json` wrote.

        Raises:
            InputError: it is none of this format; the message names the field.
        """


DESIGNS: Registry[Reader] = Registry(
    "autoshrink.designs",
    "design",
    {
        "autoshrink.cell/1": "autoshrink.cell:Cell",
        "autoshrink.architecture/1": "autoshrink.architecture:Architecture",
    },
    has=("from_json",),
)
"""The classes of designs by the ``"format"`` of their JSON."""


def edges_of(design: Design) -> int | None:
    """How many edges a design has; None where it is no graph of its own."""
    edges = getattr(design, "edges", None)
    return None if edges is None else len(edges)


def name_of(design: Design) -> str:
    """``cell`` or ``architecture``; ``design`` of a format that others registered."""
    own, _, name = str(design.to_json()["format"]).partition(".")
    return name.partition("/")[0] if own == "autoshrink" else "design"


def design_from_json(value: object) -> Design:
    """The design that a JSON object describes, of whatever class its ``"format"`` asks for.

    Raises:
        InputError: it is no design, or nobody registered its format; the message names what is wrong.
    """
    if not isinstance(value, dict):
        raise InputError(f"a design is a JSON object, not {brief(value)}")
    name = value.get("format")
    if not isinstance(name, str):
        raise InputError(f'a design has a "format", one of {", ".join(DESIGNS)}, not {brief(name)}')
    return DESIGNS[name].from_json(value)

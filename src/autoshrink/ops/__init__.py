"""The operations that a node of a cell can have, one file each; how to add one is said in docs/plugins.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

from autoshrink.errors import InputError
from autoshrink.ops.base import ActivationName, ConvOperation, NodePlan, Operation, RecurrentOperation, Source
from autoshrink.ops.pieces import Convolution, Piece, Pooling, Squeeze
from autoshrink.registry import BY_PLUGIN, Registry
from autoshrink.untrusted import brief

__all__ = [
    "DEFAULTS",
    "OPERATIONS",
    "ActivationName",
    "ConvOperation",
    "Convolution",
    "NodePlan",
    "Operation",
    "Piece",
    "Pooling",
    "RecurrentOperation",
    "Source",
    "Squeeze",
    "cell_kinds",
    "conv",
    "drawn",
    "known",
    "names",
    "operation",
    "recurrent",
    "register",
    "require",
    "unknown",
]

Kind = TypeVar("Kind", bound=Operation)

DEFAULTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"conv": ("conv1x1", "sepconv3x3"), "recurrent": ("relu", "sigmoid", "tanh", "identity")}
)
"""By kind of cell of this package, what AutoShrink's nodes draw from, in the order in which they are drawn."""

_CONV = (
    *DEFAULTS["conv"],
    *("conv3x3", "mbconv3x3_se", "mbconv3x3", "sepconv5x5", "maxpool3x3", "avgpool3x3"),
)

OPERATIONS: Registry[Operation] = Registry(
    "autoshrink.ops",
    "operation",
    {
        **{f"conv.{name}": f"autoshrink.ops.{name}:{name.upper()}" for name in _CONV},
        "conv.identity": "autoshrink.ops.identity:SKIP",
        **{f"recurrent.{name}": f"autoshrink.ops.{name}:{name.upper()}" for name in DEFAULTS["recurrent"]},
    },
)
"""By kind of cell and name: ``conv.sepconv3x3``. Entry points of the group ``autoshrink.ops`` are named likewise."""


def register(added: Operation) -> None:
    """Make an operation known, so that cells may have it and searches may draw it; with it its kind of cells.

    Raises:
        InputError: the name is another operation's.
    """
    OPERATIONS.register(f"{added.kind}.{added.name}", added)


def cell_kinds() -> tuple[str, ...]:
    """Every kind of cell that an operation is registered for."""
    return tuple(dict.fromkeys(key.partition(".")[0] for key in OPERATIONS))


def drawn(kind: str) -> tuple[str, ...]:
    """What nodes of a kind of cell draw from unless a search says otherwise.

    `DEFAULTS` for the kinds of this package, whatever else is registered for them, so that a seed means what it meant;
    all that is registered for any other.
    """
    return DEFAULTS.get(kind) or names(kind)


def names(kind: str) -> tuple[str, ...]:
    """Every operation that a kind of cell may have: those of this package, then the installed and registered ones."""
    return tuple(key.partition(".")[2] for key in OPERATIONS if key.startswith(f"{kind}."))


def operation(kind: str, name: str) -> Operation:
    """The operation of a name.

    Raises:
        InputError: a kind of cell has none of this name; the message lists those that it has.
    """
    if not known(kind, name):
        raise InputError(unknown(kind, name))
    return OPERATIONS[f"{kind}.{name}"]


def known(kind: str, name: str) -> bool:
    """Whether a kind of cell has an operation of this name."""
    return f"{kind}.{name}" in OPERATIONS


def unknown(kind: str, name: object) -> str:
    """What is said of an operation that nobody registered."""
    return f"operation {brief(name)} is unknown in a {kind} cell; choose from {', '.join(names(kind))}, {BY_PLUGIN}"


def conv(name: str) -> ConvOperation:
    """The operation of a convolutional cell's nodes; raises as `operation` does."""
    return _checked(operation("conv", name), ConvOperation)


def recurrent(name: str) -> RecurrentOperation:
    """The operation of a recurrent cell's nodes; raises as `operation` does."""
    return _checked(operation("recurrent", name), RecurrentOperation)


def require(kind: str, wanted: Iterable[str], part: str) -> None:
    """Refuse operations that lack a part.

    Args:
        kind: of the cell.
        wanted: names.
        part: the method or field that is needed, such as ``inherit``.

    Raises:
        InputError: one of them does not provide it; the message has its name and the way out.
    """
    for name in wanted:
        found = operation(kind, name)
        if not found.provides(part):
            raise found.lacks(part)


def _checked(found: Operation, kind: type[Kind]) -> Kind:
    if not isinstance(found, kind):
        raise InputError(f"operation {found.name!r} is registered as {found.kind}, but is no {kind.__name__}")
    return found

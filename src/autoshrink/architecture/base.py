"""What every kind of architecture shares: the frozen value, its file format, and the way from a file to its kind."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from autoshrink.cell import CELL_FORMAT, Cell
from autoshrink.design import Design, Pictured
from autoshrink.errors import InputError
from autoshrink.escaping import shown
from autoshrink.registry import BY_PLUGIN
from autoshrink.steps import Step
from autoshrink.untrusted import LONGEST_SHOWN, brief, inside, read_json

if TYPE_CHECKING:
    from torch import nn

Value = TypeVar("Value", bound=BaseModel)

ARCHITECTURE_FORMAT = "autoshrink.architecture/1"


def _cell(value: object) -> Cell:
    try:
        return value if isinstance(value, Cell) else Cell.from_json(value)
    except InputError as error:
        raise ValueError(str(error)) from error


CellField = Annotated[
    Cell, PlainValidator(_cell), PlainSerializer(lambda cell: cell.to_json(), return_type=dict[str, Any])
]


MOST_PARTS = 1000
"""Cells, blocks or layers of a network; the deepest that were ever trained have about so many."""
Size = Annotated[int, Field(gt=0, le=10**6)]
"""Channels, pixels, a stride: beyond a million nothing could be built, and counting alone would take the machine."""
Names = Annotated[int, Field(ge=2, le=10**7)]
"""Classes, or words: of which there are at least two."""
Depth = Annotated[int, Field(gt=0, le=MOST_PARTS)]


class Frozen(BaseModel):
    """A value: cannot be changed, takes no unknown field, converts nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Architecture(Pictured, Frozen, ABC):
    """A whole network as a value (file format ``autoshrink.architecture/1``); its `kind` decides the other fields.

    Build it with `autoshrink.networks.build`, count it with `autoshrink.cost.count`. `cell` is None where the kind
    has none.
    """

    format: Literal["autoshrink.architecture/1"] = "autoshrink.architecture/1"
    kind: str
    cell: CellField | None = None

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Register a subclass for the kinds that its `kind` may name."""
        _CLASSES.update(dict.fromkeys(get_args(cls.model_fields["kind"].annotation), cls))

    @field_validator("cell")
    @classmethod
    def _of_this_kind(cls, cell: Cell | None, info: ValidationInfo) -> Cell | None:
        kind = info.data.get("kind")
        if cell is not None and cell.kind != kind:
            raise ValueError(f"a {kind} architecture needs a {kind} cell, not a {cell.kind} one")
        return cell

    @property
    @abstractmethod
    def sizes(self) -> str:
        """What goes in, in words: ``3×224×224`` (channels, pixels) or ``10,000 words, width 745``."""

    @property
    def cells(self) -> dict[str, Cell]:
        """The different cells that it is made of, by where they stand; with no words where all are the same."""
        return {} if self.cell is None else {"": self.cell}

    @property
    def joins(self) -> str | None:
        """How a cell's picture says that nodes join what they read, where it is not the usual way of the kind."""
        return None

    @property
    def key(self) -> str:
        """The same string for exactly the architectures that are one network, up to the order of channels in a cell."""
        return _key(self)

    def identity(self) -> dict[str, Any]:
        """What decides which network it is: its JSON with each cell's key in place of the cell."""
        found: dict[str, Any] = _keyed(self.to_json())
        return found

    def steps(self) -> Iterable[Step]:
        """One sample's way from the tensor ``input`` on, of a kind that `autoshrink.cost` does not know.

        Raises:
            InputError: it cannot be counted.
        """
        raise InputError(f"an architecture of kind {self.kind!r} cannot be counted: it has no `steps`")

    def network(self) -> nn.Module:
        """A new network, of a kind that `autoshrink.networks` does not know.

        Raises:
            InputError: it cannot be built.
        """
        raise InputError(f"an architecture of kind {self.kind!r} cannot be built: it has no `network`")

    def __str__(self) -> str:
        """In a few words."""
        return f"{self.kind} network, {self.sizes}"

    def to_json(self) -> dict[str, Any]:
        """The architecture file's object."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, value: object) -> Self:
        """An architecture, of the class that its kind asks for, from an architecture file's object.

        Called on a subclass it takes that subclass's kinds only. A missing kind means ``conv``.

        Raises:
            InputError: the kind is unknown, or a field is missing, unknown or out of range; the message names it.
        """
        kind = (value.get("kind") if isinstance(value, dict) else None) or "conv"
        known = {name: found for name, found in _CLASSES.items() if issubclass(found, cls)}
        if not isinstance(kind, str) or kind not in known:
            where = "by this version" if cls is Architecture else f"as {cls.__name__}"
            plugin = f", {BY_PLUGIN}" if cls is Architecture else ""
            raise InputError(
                f"architecture kind {brief(kind)} cannot be built {where}; it knows {', '.join(known)}{plugin}"
            )
        if isinstance(value, dict) and "format" not in value:
            raise InputError(f'format: Field required; an architecture has "format": "{ARCHITECTURE_FORMAT}"')
        try:
            return known[kind].model_validate(value)
        except ValidationError as error:
            raise InputError(first_problem(error)) from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """The architecture in a ``*.arch.json`` file.

        Raises:
            InputError: the file is missing, not JSON, or no architecture; the message names the file and the field.
        """
        value = read_json(path)
        with inside(shown(path)):
            return cls.from_json(value)


def network_of(design: Design, around: Callable[[Cell], Architecture]) -> Architecture:
    """A design as a network: itself, or what stands around it where it is a cell.

    Raises:
        InputError: it is neither.
    """
    if isinstance(design, Cell):
        return around(design)
    if isinstance(design, Architecture):
        return design
    raise InputError(f"a {design.kind} design is no network that could be built")


@lru_cache(maxsize=65536)
def _key(architecture: Architecture) -> str:
    text = json.dumps(architecture.identity(), sort_keys=True, separators=(",", ":"))
    return f"{architecture.kind} {hashlib.sha256(text.encode()).hexdigest()}"


def _keyed(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("format") == CELL_FORMAT:
            return Cell.from_json(value).key
        return {name: _keyed(inner) for name, inner in value.items()}
    return [_keyed(inner) for inner in value] if isinstance(value, list) else value


def checked(model: type[Value], place: str, **fields: object) -> Value:
    """A value of a model from what a person gave.

    Raises:
        InputError: a field is out of range; the message names the place and it.
    """
    try:
        return model(**fields)
    except ValidationError as error:
        raise InputError(f"{place}: {first_problem(error)}") from error


_CLASSES: dict[str, type[Architecture]] = {}


def first_problem(error: ValidationError) -> str:
    """The first thing wrong with a file or a setting, as ``field: what (got value)``."""
    problem = error.errors()[0]
    place = ".".join(_shown(part) for part in problem["loc"]) or "value"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in ("missing", "extra_forbidden"):
        return f"{place}: {message}"
    return f"{place}: {message} (got {brief(problem['input'])})"


def _shown(part: int | str) -> str:
    """A step of a place: a name as it is, or as a message quotes what is no name."""
    text = str(part)
    return text if text.isprintable() and len(text) <= LONGEST_SHOWN else brief(text)

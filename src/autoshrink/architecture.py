"""The architecture: a cell plus everything around it, as a frozen value that can be written to a file.

Nothing here knows tensors. `Architecture.plan()` works out every shape once; costs are counted from the plan and
networks are built from it, so neither can disagree with the other about what the network is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PositiveInt, ValidationError

from autoshrink.cell import Cell, read_text
from autoshrink.errors import InputError

ActivationName = Literal["relu", "swish", "hardswish", "relu6", "gelu", "leaky_relu"]


def _cell(value: object) -> Cell:
    try:
        return value if isinstance(value, Cell) else Cell.from_json(value)
    except InputError as error:
        raise ValueError(str(error)) from error


CellField = Annotated[
    Any, BeforeValidator(_cell), PlainSerializer(lambda cell: cell.to_json(), return_type=dict[str, Any])
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Stem(_Frozen):
    """The first convolution: 3×3, BN, activation."""

    channels: PositiveInt = 32
    stride: PositiveInt = 1


class Stage(_Frozen):
    """Equal cells in a row. Every node has `width` channels; the first cell's input is max-pooled by `pool`."""

    cells: PositiveInt = 1
    width: PositiveInt
    pool: PositiveInt = 1


class Head(_Frozen):
    """A 1×1 convolution, BN, activation before the global pooling."""

    channels: PositiveInt


@dataclass(frozen=True)
class NodePlan:
    """One node of one cell, with its shapes.

    Attributes:
        node: its number in the cell.
        op: ``conv1x1`` or ``sepconv3x3``.
        inputs: the nodes it concatenates, ascending.
        in_channels: their channels together.
        out_channels: the stage's width.
        is_leaf: leaves end in BN without activation, since the shortcut is added to them.
    """

    node: int
    op: str
    inputs: tuple[int, ...]
    in_channels: int
    out_channels: int
    is_leaf: bool


@dataclass(frozen=True)
class CellPlan:
    """One cell of the network, with its shapes (AutoShrink, §"CNN": Table 1 and the released network builder).

    The output is ``concat(leaves) + shortcut(input)``; the shortcut starts before the pooling and is the identity when
    channels and size agree, else a 1×1 convolution with stride `pool` and BN.

    Attributes:
        name: ``stage1.cell1`` and so on.
        in_channels: channels of the cell's input.
        in_size: height and width of the cell's input, pixels.
        pool: max-pooling of node 0; 1 for none.
        size: height and width of every node, pixels: ceil(in_size / pool).
        nodes: the reachable nodes after node 0, ascending.
        leaves: the nodes whose outputs are concatenated.
        out_channels: channels of the cell's output.
    """

    name: str
    in_channels: int
    in_size: tuple[int, int]
    pool: int
    size: tuple[int, int]
    nodes: tuple[NodePlan, ...]
    leaves: tuple[int, ...]
    out_channels: int

    @property
    def projects(self) -> bool:
        """Whether the shortcut needs its 1×1 convolution."""
        return self.in_channels != self.out_channels or self.in_size != self.size


@dataclass(frozen=True)
class NetworkPlan:
    """Every shape of a convolutional network: channels, and (height, width) in pixels."""

    input: tuple[int, int, int]
    stem: Stem
    stem_size: tuple[int, int]
    cells: tuple[CellPlan, ...]
    head: Head | None
    features: int
    classes: int
    activation: ActivationName

    @property
    def final_size(self) -> tuple[int, int]:
        """Height and width where the global pooling happens, pixels."""
        return self.cells[-1].size


class Architecture(_Frozen):
    """A whole convolutional network as a value (file format ``autoshrink.architecture/1``).

    `input` is (channels, height, width). Build it with `autoshrink.networks.build`, count it with
    `autoshrink.cost.count`.
    """

    format: Literal["autoshrink.architecture/1"] = "autoshrink.architecture/1"
    kind: Literal["conv"] = "conv"
    cell: CellField
    input: Annotated[
        tuple[PositiveInt, PositiveInt, PositiveInt],
        BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    ]
    classes: Annotated[int, Field(ge=2)]
    stem: Stem = Stem()
    stages: Annotated[
        tuple[Stage, ...],
        BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
        Field(min_length=1),
    ]
    head: Head | None = None
    activation: ActivationName = "relu"

    def model_post_init(self, _context: object, /) -> None:
        """Refuse a cell of another kind."""
        if self.cell.kind != self.kind:
            raise ValueError(f"a {self.kind} architecture needs a {self.kind} cell, not a {self.cell.kind} one")

    def plan(self) -> NetworkPlan:
        """Every shape of the network, worked out once."""
        _, height, width = self.input
        size = (_ceil(height, self.stem.stride), _ceil(width, self.stem.stride))
        stem_size, channels, cells = size, self.stem.channels, []
        for number, stage in enumerate(self.stages, start=1):
            for position in range(stage.cells):
                name = f"stage{number}.cell{position + 1}"
                pool = stage.pool if position == 0 else 1
                cells.append(_plan_cell(self.cell, name, channels=channels, size=size, width=stage.width, pool=pool))
                channels, size = cells[-1].out_channels, cells[-1].size
        return NetworkPlan(
            input=self.input,
            stem=self.stem,
            stem_size=stem_size,
            cells=tuple(cells),
            head=self.head,
            features=self.head.channels if self.head else channels,
            classes=self.classes,
            activation=self.activation,
        )

    def to_json(self) -> dict[str, Any]:
        """The architecture file's object."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, value: object) -> Architecture:
        """An architecture from an architecture file's object.

        Raises:
            InputError: a field is missing, unknown or out of range; the message names it.
        """
        if isinstance(value, dict) and value.get("kind") not in (None, "conv"):
            raise InputError(f"architecture kind {value['kind']!r} cannot be built by this version; it knows 'conv'")
        if isinstance(value, dict) and "format" not in value:
            raise InputError('format: Field required; an architecture has "format": "autoshrink.architecture/1"')
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise InputError(first_problem(error)) from error

    @classmethod
    def read(cls, path: Path) -> Architecture:
        """The architecture in a ``*.arch.json`` file.

        Raises:
            InputError: the file is missing, not JSON, or no architecture; the message names the file and the field.
        """
        try:
            return cls.from_json(json.loads(read_text(path)))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: not JSON (line {error.lineno}: {error.msg})") from error
        except InputError as error:
            message = str(error)
            raise InputError(message if message.startswith(str(path)) else f"{path}: {message}") from error


def proxy_architecture(
    cell: Cell,
    *,
    shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    stem: int = 32,
    widths: tuple[int, ...] = (16, 32, 64),
    activation: ActivationName = "relu",
) -> Architecture:
    """The paper's proxy network (Table 1, T = 1): one cell a stage, pooling by 2 before every stage but the first.

    `shape` is the input's (channels, height, width); `stem` and `widths` are channels.

    Raises:
        InputError: a width or the input shape is out of range.
    """
    stages = [{"cells": 1, "width": width, "pool": 1 if index == 0 else 2} for index, width in enumerate(widths)]
    value = {
        "format": "autoshrink.architecture/1",
        "cell": cell,
        "input": list(shape),
        "classes": classes,
        "stages": stages,
        "activation": activation,
    }
    return Architecture.from_json(value | {"stem": {"channels": stem, "stride": 1}})


def first_problem(error: ValidationError) -> str:
    """The first thing wrong with a file or a setting, as ``field: what (got value)``."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"]) or "value"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in ("missing", "extra_forbidden"):
        return f"{place}: {message}"
    shown = repr(problem["input"])
    return f"{place}: {message} (got {shown if len(shown) <= 60 else shown[:57] + '…'})"


def _ceil(length: int, stride: int) -> int:
    return -(-length // stride)


def _plan_cell(cell: Cell, name: str, *, channels: int, size: tuple[int, int], width: int, pool: int) -> CellPlan:
    def channels_of(node: int) -> int:
        return channels if node == 0 else width

    nodes = tuple(
        NodePlan(
            node=node,
            op=cell.ops[node],
            inputs=cell.predecessors[node],
            in_channels=sum(channels_of(i) for i in cell.predecessors[node]),
            out_channels=width,
            is_leaf=node in cell.leaves,
        )
        for node in cell.reachable[1:]
    )
    return CellPlan(
        name=name,
        in_channels=channels,
        in_size=size,
        pool=pool,
        size=(_ceil(size[0], pool), _ceil(size[1], pool)),
        nodes=nodes,
        leaves=cell.leaves,
        out_channels=sum(channels_of(leaf) for leaf in cell.leaves),
    )

"""Convolutional architectures: a cell, stages of it, and what stands around them (AutoShrink's image network)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import SerializerFunctionWrapHandler, ValidationInfo, field_validator, model_serializer

from autoshrink.architecture.base import ARCHITECTURE_FORMAT, CellField, Depth, Frozen, Size
from autoshrink.architecture.image import ImageArchitecture, NetworkPlan, Stages, reduced
from autoshrink.cell import Cell
from autoshrink.ops import ActivationName, NodePlan, conv

JoinName = Literal["concat", "sum"]


class Stage(Frozen):
    """Equal cells in a row. Every node has `width` channels; the first cell's input is max-pooled by `pool`.

    `cell` is the stage's own; None for the network's. `output` is the channels that a 1×1 convolution makes of a cell's
    leaves; None for the leaves themselves (see `CellPlan`).
    """

    cells: Depth = 1
    width: Size
    pool: Size = 1
    cell: CellField | None = None
    output: Size | None = None

    @field_validator("cell")
    @classmethod
    def _convolutional(cls, cell: Cell | None) -> Cell | None:
        if cell is not None and cell.kind != "conv":
            raise ValueError(f"a stage of a conv architecture needs a conv cell, not a {cell.kind} one")
        return cell

    def sized(self, cells: int, width: int) -> Stage:
        """With so many cells of a width; an output of its own goes with the width."""
        output = self.output and max(1, round(self.output * width / self.width))
        return self.model_copy(update={"cells": cells, "width": width, "output": output})

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a cell or output where a file that has none would mean the same."""
        usual = ("cell", "output")
        return {name: value for name, value in dump(self).items() if name not in usual or value is not None}


@dataclass(frozen=True)
class CellPlan:
    """One cell of the network, with its shapes (AutoShrink, §"CNN": Table 1 and the released network builder).

    Where tensors are concatenated the output is ``concat(leaves) + shortcut(input)``; the shortcut starts before the
    pooling and is the identity when channels and size agree, else a 1×1 convolution with stride `pool` and BN. Where
    they are added, node 0 is the pooled input, brought to the stage's width by a 1×1 convolution with BN if it has
    other channels; every node has that width, and the output is ``sum(leaves) + node 0``.

    Where a stage says its output's channels, it is ``activation(conv1x1(concat(leaves)) + shortcut(node 0))``, BN after
    either convolution, and leaves are activated as any node: the cell of Cheng et al. 2019 (SwiftNet), as their entry
    for the Visual Wake Words Challenge has it.

    Attributes:
        name: ``stage1.cell1`` and so on.
        in_channels: channels of the cell's input.
        in_size: height and width of the cell's input, pixels.
        pool: max-pooling of node 0; 1 for none.
        size: height and width of every node, pixels: ceil(in_size / pool).
        nodes: the reachable nodes after node 0, ascending.
        leaves: the nodes whose outputs are joined.
        out_channels: channels of the cell's output.
        leaf_channels: channels of the leaves, joined.
        aggregate: how a node's inputs are joined, and the leaves.
        merges: whether a 1×1 convolution makes the output of the leaves.
    """

    name: str
    in_channels: int
    in_size: tuple[int, int]
    pool: int
    size: tuple[int, int]
    nodes: tuple[NodePlan, ...]
    leaves: tuple[int, ...]
    out_channels: int
    leaf_channels: int
    aggregate: JoinName = "concat"
    merges: bool = False

    @property
    def first_channels(self) -> int:
        """Channels of node 0."""
        return self.out_channels if self.adds else self.in_channels

    @property
    def adds(self) -> bool:
        """Whether tensors are added, not concatenated."""
        return self.aggregate == "sum"

    @property
    def enters(self) -> bool:
        """Whether the pooled input needs a 1×1 convolution to become node 0."""
        return self.adds and self.in_channels != self.out_channels

    @property
    def stride(self) -> int:
        """Of the cell, which is its pooling's."""
        return self.pool

    @property
    def projects(self) -> bool:
        """Whether the shortcut needs its 1×1 convolution."""
        resized = self.in_size != self.size and not self.merges
        return not self.adds and (self.in_channels != self.out_channels or resized)

    @property
    def shortcut_stride(self) -> int:
        """Of the shortcut's convolution, which reads the cell's input, or where the cell merges node 0."""
        return 1 if self.merges else self.pool


class ConvArchitecture(ImageArchitecture):
    """A whole convolutional network as a value.

    Attributes:
        cell: of the stages that have none of their own.
        stages: cells in a row, of one width each.
        aggregate: ``concat``, or ``sum``: nodes add what they read, and a cell its leaves (see `CellPlan`).
    """

    part: ClassVar[str] = "cells"

    kind: Literal["conv"] = "conv"
    cell: CellField
    stages: Stages[Stage]
    aggregate: JoinName = "concat"

    @field_validator("aggregate")
    @classmethod
    def _has_one_output(cls, aggregate: JoinName, info: ValidationInfo) -> JoinName:
        if aggregate == "sum" and any(stage.output for stage in info.data.get("stages", ())):
            raise ValueError("a stage's output is for leaves that are concatenated; where they are summed leave it out")
        return aggregate

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `aggregate` where a file that has none would mean the same."""
        return {name: value for name, value in dump(self).items() if (name, value) != ("aggregate", "concat")}

    def cell_of(self, stage: Stage) -> Cell:
        """The cell that a stage repeats."""
        return stage.cell or self.cell

    @property
    def cells(self) -> dict[str, Cell]:
        """See `Architecture.cells`."""
        found: dict[Cell, list[str]] = {}
        for number, stage in enumerate(self.stages, start=1):
            found.setdefault(self.cell_of(stage), []).append(str(number))
        if len(found) == 1:
            return {"": next(iter(found))}
        return {f"stage{'s' * (len(numbers) > 1)} {', '.join(numbers)}": cell for cell, numbers in found.items()}

    @property
    def joins(self) -> str:
        """See `Architecture.joins`."""
        return "merge" if all(stage.output for stage in self.stages) else self.aggregate

    def identity(self) -> dict[str, Any]:
        """See `Architecture.identity`; a cell counts where it stands, and the network's alone where it is used."""
        stages = [stage.model_dump() | {"cell": self.cell_of(stage).key} for stage in self.stages]
        return self.to_json() | {"cell": None, "stages": stages}

    def plan(self) -> NetworkPlan[CellPlan]:
        """Every shape of the network, worked out once."""
        return self._planned(self._cells)

    def _cells(self, channels: int, size: tuple[int, int]) -> Iterator[CellPlan]:
        for number, stage in enumerate(self.stages, start=1):
            for position in range(stage.cells):
                name = f"stage{number}.cell{position + 1}"
                pool = stage.pool if position == 0 else 1
                found = plan_cell(
                    self.cell_of(stage),
                    name,
                    channels=channels,
                    size=size,
                    width=stage.width,
                    pool=pool,
                    aggregate=self.aggregate,
                    output=stage.output,
                )
                yield found
                channels, size = found.out_channels, found.size


def proxy_architecture(
    cell: Cell,
    *,
    shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    stem: int = 32,
    widths: tuple[int, ...] = (16, 32, 64),
    activation: ActivationName = "relu",
    aggregate: JoinName = "concat",
) -> ConvArchitecture:
    """The paper's proxy network (Table 1, T = 1): one cell a stage, pooling by 2 before every stage but the first.

    `shape` is the input's (channels, height, width); `stem` and `widths` are channels.

    Raises:
        InputError: a width or the input shape is out of range.
    """
    stages = [{"cells": 1, "width": width, "pool": 1 if index == 0 else 2} for index, width in enumerate(widths)]
    value = {
        "format": ARCHITECTURE_FORMAT,
        "cell": cell,
        "input": list(shape),
        "classes": classes,
        "stages": stages,
        "activation": activation,
    }
    value |= {"aggregate": aggregate, "stem": {"channels": stem, "stride": 1}}
    return ConvArchitecture.from_json(value)


def plan_cell(
    cell: Cell,
    name: str,
    *,
    channels: int,
    size: tuple[int, int],
    width: int,
    pool: int,
    aggregate: JoinName,
    output: int | None = None,
) -> CellPlan:
    """A cell in its place: (height, width) of its input, channels of that, of every node, and the pooling before.

    `output` is what its leaves are made into, None for none.
    """
    adds = aggregate == "sum"
    widths, nodes = {0: width if adds else channels}, []
    for node in cell.reachable[1:]:
        reads = width if adds else sum(widths[i] for i in cell.predecessors[node])
        widths[node] = conv(cell.ops[node]).out_channels(reads, width)
        leaf = node in cell.leaves and output is None
        nodes.append(NodePlan(node, cell.ops[node], cell.predecessors[node], reads, widths[node], is_leaf=leaf))
    joined = width if adds else sum(widths[leaf] for leaf in cell.leaves)
    return CellPlan(
        name=name,
        in_channels=channels,
        in_size=size,
        pool=pool,
        size=reduced(size, pool),
        nodes=tuple(nodes),
        leaves=cell.leaves,
        out_channels=output or joined,
        leaf_channels=joined,
        aggregate=aggregate,
        merges=output is not None,
    )

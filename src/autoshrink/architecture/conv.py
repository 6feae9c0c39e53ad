"""Convolutional architectures: a cell, stages of it, and what stands around them (AutoShrink's image network)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from autoshrink.architecture.base import ARCHITECTURE_FORMAT, CellField, Depth, Frozen, Size
from autoshrink.architecture.image import ImageArchitecture, NetworkPlan, Stages, reduced
from autoshrink.cell import Cell
from autoshrink.ops import ActivationName, NodePlan, conv


class Stage(Frozen):
    """Equal cells in a row. Every node has `width` channels; the first cell's input is max-pooled by `pool`."""

    cells: Depth = 1
    width: Size
    pool: Size = 1


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
    def stride(self) -> int:
        """Of the cell, which is its pooling's."""
        return self.pool

    @property
    def projects(self) -> bool:
        """Whether the shortcut needs its 1×1 convolution."""
        return self.in_channels != self.out_channels or self.in_size != self.size


class ConvArchitecture(ImageArchitecture):
    """A whole convolutional network as a value."""

    part: ClassVar[str] = "cells"

    kind: Literal["conv"] = "conv"
    cell: CellField
    stages: Stages[Stage]

    def plan(self) -> NetworkPlan[CellPlan]:
        """Every shape of the network, worked out once."""
        return self._planned(self._cells)

    def _cells(self, channels: int, size: tuple[int, int]) -> Iterator[CellPlan]:
        for number, stage in enumerate(self.stages, start=1):
            for position in range(stage.cells):
                name = f"stage{number}.cell{position + 1}"
                pool = stage.pool if position == 0 else 1
                found = _plan_cell(self.cell, name, channels=channels, size=size, width=stage.width, pool=pool)
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
    return ConvArchitecture.from_json(value | {"stem": {"channels": stem, "stride": 1}})


def _plan_cell(cell: Cell, name: str, *, channels: int, size: tuple[int, int], width: int, pool: int) -> CellPlan:
    widths, nodes = {0: channels}, []
    for node in cell.reachable[1:]:
        reads = sum(widths[i] for i in cell.predecessors[node])
        widths[node] = conv(cell.ops[node]).out_channels(reads, width)
        leaf = node in cell.leaves
        nodes.append(NodePlan(node, cell.ops[node], cell.predecessors[node], reads, widths[node], is_leaf=leaf))
    return CellPlan(
        name=name,
        in_channels=channels,
        in_size=size,
        pool=pool,
        size=reduced(size, pool),
        nodes=tuple(nodes),
        leaves=cell.leaves,
        out_channels=sum(widths[leaf] for leaf in cell.leaves),
    )

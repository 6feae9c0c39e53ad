"""Latency by look-up: a convolutional network as a list of operations, and a table of what each takes on a device.

A network's latency is taken as the sum of its operations' (as ProxylessNAS and FBNet do); docs/latency.md says how far
that holds. The unit is the nanosecond, so that sums are exact. Measuring is somebody else's work
(`autoshrink.deploy.latency_table`): nothing here needs a device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Self

from autoshrink.architecture import Architecture, CellPlan, ConvArchitecture, NetworkPlan
from autoshrink.errors import InputError
from autoshrink.ops import DEFAULTS, NodePlan, conv
from autoshrink.steps import RuntimeOperation
from autoshrink.untrusted import brief, brief_path, inside, read_json

TABLE_FORMAT = "autoshrink.latency-table/1"


@dataclass(frozen=True)
class LatencyTable:
    """What operations take on one device.

    Attributes:
        device: what was measured, how, and on what, for people to read.
        nanoseconds: by `RuntimeOperation.key`.
    """

    device: Mapping[str, str | int]
    nanoseconds: Mapping[str, int]

    def missing(self, architecture: Architecture) -> tuple[RuntimeOperation, ...]:
        """The operations that the table lacks, each once, in order.

        Raises:
            InputError: the architecture is of a kind that has no table.
        """
        wanted = {one.key: one for one in operations(architecture)}
        return tuple(one for key, one in wanted.items() if key not in self.nanoseconds)

    def of(self, architecture: Architecture) -> int:
        """Nanoseconds for one image: the sum over all operations.

        Raises:
            InputError: an operation is missing; the message names it.
        """
        missing = self.missing(architecture)
        if missing:
            raise InputError(f"the latency table has no {missing[0].key!r}")
        return sum(self.nanoseconds[one.key] for one in operations(architecture))

    def extended(self, nanoseconds: Mapping[str, int]) -> LatencyTable:
        """With more entries."""
        return LatencyTable(self.device, {**self.nanoseconds, **nanoseconds})

    def to_json(self) -> dict[str, Any]:
        """The table file's object."""
        return {"format": TABLE_FORMAT, "device": dict(self.device), "nanoseconds": dict(self.nanoseconds)}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The table in a table file's object.

        Raises:
            InputError: it is no table, or a figure is not a positive whole number; the message says which.
        """
        if not isinstance(value, dict) or value.get("format") != TABLE_FORMAT:
            raise InputError(f'a latency table has "format": "{TABLE_FORMAT}"')
        device, figures = value.get("device"), value.get("nanoseconds")
        if not isinstance(device, dict) or not isinstance(figures, dict):
            raise InputError("a latency table has the objects device and nanoseconds")
        for key, figure in figures.items():
            if isinstance(figure, bool) or not isinstance(figure, int) or figure < 1:
                raise InputError(f"nanoseconds of {brief(key)}: a whole number above 0 is needed (got {brief(figure)})")
        return cls(device, figures)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The table in a file.

        Raises:
            InputError: the file is missing, not JSON, or no table; the message names it.
        """
        value = read_json(path)
        with inside(brief_path(path)):
            return cls.from_json(value)


def operations(architecture: Architecture) -> Iterator[RuntimeOperation]:
    """What one image goes through, in execution order, BN folded into the convolutions.

    Raises:
        InputError: the architecture is not convolutional.
    """
    if not isinstance(architecture, ConvArchitecture):
        raise InputError(
            f"a {architecture.kind} architecture has no latency table; measure it whole with `autoshrink latency`"
        )
    return _network(architecture.plan())


def every_operation(around: ConvArchitecture, nodes: int) -> tuple[RuntimeOperation, ...]:
    """What cells of up to so many nodes, the input included, can need in the places of an architecture's cell.

    Args:
        around: gives input, stem, stages (one cell each, as in a search), head, classes and activation.
        nodes: of the largest cell.
    """
    plan = around.plan()
    found: dict[str, RuntimeOperation] = {}
    fixed = {"call", "conv3x3"}
    found.update((one.key, one) for one in _network(plan) if one.name in fixed)
    inputs = {around.stem.channels}
    for cell, stage in zip(plan.cells, around.stages, strict=True):
        outputs = {stage.width * leaves for leaves in range(1, nodes)}
        for channels in sorted(inputs):
            for one in _stage(cell, channels, stage.width, nodes, around.activation):
                found[one.key] = one
        inputs |= outputs
    size = plan.final_size
    for channels in sorted(inputs):
        features = around.head.channels if around.head else channels
        if around.head:
            head = RuntimeOperation("conv1x1", (channels,), features, size, activation=around.activation)
            found[head.key] = head
        for one in (
            RuntimeOperation("average", (features,), features, size),
            RuntimeOperation("linear", (features,), plan.classes),
        ):
            found[one.key] = one
    return tuple(found.values())


def _stage(cell: CellPlan, channels: int, width: int, nodes: int, activation: str) -> Iterator[RuntimeOperation]:
    """Everything that a cell can need that reads so many channels."""
    size, pool = cell.size, cell.pool
    if pool > 1:
        yield RuntimeOperation("maxpool", (channels,), channels, size, pool)
    for others in range(nodes - 1):
        for parts in ((width,) * others, (channels, *(width,) * others)):
            yield from _concatenation(parts, size)
            for op, is_leaf in product(DEFAULTS["conv"], (False, True)) if parts else ():
                node = NodePlan(1, op, (0,), sum(parts), width, is_leaf)
                yield from conv(op).latency(node, size, activation)
    yield from _concatenation((width,) * (nodes - 1), size)
    for out in {channels, *(width * leaves for leaves in range(1, nodes))}:
        if out == channels and cell.in_size == size:
            yield RuntimeOperation("add", (out, out), out, size)
        else:
            yield RuntimeOperation("shortcut", (channels, out), out, size, pool)


def _network(plan: NetworkPlan) -> Iterator[RuntimeOperation]:
    yield RuntimeOperation("call")
    stem = plan.stem
    yield RuntimeOperation("conv3x3", (plan.input[0],), stem.channels, plan.stem_size, stem.stride, plan.activation)
    for cell in plan.cells:
        yield from _cell(cell, plan.activation)
    last = plan.cells[-1]
    if plan.head:
        yield RuntimeOperation("conv1x1", (last.out_channels,), plan.features, last.size, activation=plan.activation)
    yield RuntimeOperation("average", (plan.features,), plan.features, last.size)
    yield RuntimeOperation("linear", (plan.features,), plan.classes)


def _cell(cell: CellPlan, activation: str) -> Iterator[RuntimeOperation]:
    if cell.pool > 1:
        yield RuntimeOperation("maxpool", (cell.in_channels,), cell.in_channels, cell.size, cell.pool)
    widths = {0: cell.in_channels} | {node.node: node.out_channels for node in cell.nodes}
    for node in cell.nodes:
        yield from _concatenation(tuple(widths[i] for i in node.inputs), cell.size)
        yield from conv(node.op).latency(node, cell.size, activation)
    yield from _concatenation(tuple(widths[leaf] for leaf in cell.leaves), cell.size)
    if cell.projects:
        yield RuntimeOperation(
            "shortcut", (cell.in_channels, cell.out_channels), cell.out_channels, cell.size, cell.pool
        )
    else:
        yield RuntimeOperation("add", (cell.out_channels, cell.out_channels), cell.out_channels, cell.size)


def _concatenation(parts: tuple[int, ...], size: tuple[int, int]) -> Iterator[RuntimeOperation]:
    if len(parts) > 1:
        yield RuntimeOperation("concat", parts, sum(parts), size)

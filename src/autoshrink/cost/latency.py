"""An image network as the list of operations that a runtime executes, for latencies by look-up.

What each takes on a device is in a table (`autoshrink.latency`): nothing here needs a device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from autoshrink.architecture import (
    Architecture,
    BlockPlan,
    CellPlan,
    ConvArchitecture,
    ImageArchitecture,
    NetworkPlan,
    PartPlan,
)
from autoshrink.errors import InputError
from autoshrink.ops import DEFAULTS, NodePlan, conv
from autoshrink.steps import RuntimeOperation


def operations(architecture: Architecture) -> Iterator[RuntimeOperation]:
    """What one image goes through, in execution order, BN folded into the convolutions.

    Raises:
        InputError: the architecture is no image network.
    """
    if not isinstance(architecture, ImageArchitecture):
        raise InputError(
            f"a {architecture.kind} architecture has no latency table; measure it whole with `autoshrink latency`"
        )
    return _network(architecture.plan())


def every_operation(
    around: ConvArchitecture, nodes: int, ops: Sequence[str] = DEFAULTS["conv"]
) -> tuple[RuntimeOperation, ...]:
    """What cells of up to so many nodes, the input included, can need in the places of an architecture's cell.

    Args:
        around: gives input, stem, stages (one cell each, as in a search), head, classes and activation.
        nodes: of the largest cell.
        ops: of its nodes, by name.

    Raises:
        InputError: an operation has no latency, or gives as many channels as it reads, whatever that is.
    """
    if around.aggregate == "sum":
        return tuple({one.key: one for one in _summed(around.plan(), ops)}.values())
    for name in ops:
        if not conv(name).mixes:
            raise InputError(
                f"operation {name!r} gives as many channels as it reads, which can be any number; search without a "
                "table, and what is needed is measured on the way"
            )
    if any(stage.output for stage in around.stages):
        raise InputError("stages with an output of their own have no such table: what is needed is measured on the way")
    plan = around.plan()
    found = {one.key: one for one in (RuntimeOperation("call"), *_stem(plan))}
    inputs = {around.stem.out_channels}
    for cell, stage in zip(plan.parts, around.stages, strict=True):
        outputs = {stage.width * leaves for leaves in range(1, nodes)}
        for channels in sorted(inputs):
            for one in _stage(cell, channels, stage.width, nodes, around.activation, ops):
                found[one.key] = one
        inputs |= outputs
    for channels in sorted(inputs):
        features = around.head.channels if around.head else channels
        for one in _end(plan, channels, features):
            found[one.key] = one
    return tuple(found.values())


def _summed(plan: NetworkPlan[CellPlan], ops: Sequence[str]) -> Iterator[RuntimeOperation]:
    """What cells can need whose tensors are added: all have the stage's width."""
    yield from _network(plan)
    for cell in plan.parts:
        for op, is_leaf in product(ops, (False, True)):
            node = NodePlan(1, op, (0,), cell.out_channels, cell.out_channels, is_leaf)
            yield from conv(op).latency(node, cell.size, plan.activation)


def _stage(  # noqa: PLR0917 - all of one stage
    cell: CellPlan, channels: int, width: int, nodes: int, activation: str, ops: Sequence[str]
) -> Iterator[RuntimeOperation]:
    """Everything that a cell can need that reads so many channels."""
    size, pool = cell.size, cell.pool
    if pool > 1:
        yield RuntimeOperation("maxpool", (channels,), channels, size, pool)
    for others in range(nodes - 1):
        for parts in ((width,) * others, (channels, *(width,) * others)):
            yield from _concatenation(parts, size)
            for op, is_leaf in product(ops, (False, True)) if parts else ():
                node = NodePlan(1, op, (0,), sum(parts), width, is_leaf)
                yield from conv(op).latency(node, size, activation)
    yield from _concatenation((width,) * (nodes - 1), size)
    for out in {channels, *(width * leaves for leaves in range(1, nodes))}:
        if out == channels and cell.in_size == size:
            yield RuntimeOperation("add", (out, out), out, size)
        else:
            yield RuntimeOperation("shortcut", (channels, out), out, size, pool)


def _network(plan: NetworkPlan[PartPlan]) -> Iterator[RuntimeOperation]:
    yield RuntimeOperation("call")
    yield from _stem(plan)
    for part in plan.parts:
        assert isinstance(part, CellPlan | BlockPlan), "the parts of image networks"
        yield from _cell(part, plan.activation) if isinstance(part, CellPlan) else _block(part)
    yield from _end(plan, plan.parts[-1].out_channels, plan.features)


def _end(plan: NetworkPlan[PartPlan], channels: int, features: int) -> Iterator[RuntimeOperation]:
    """What follows a last part of so many channels."""
    if plan.head:
        yield RuntimeOperation("conv1x1", (channels,), features, plan.final_size, activation=plan.activation)
    yield RuntimeOperation("average", (features,), features, plan.final_size)
    yield RuntimeOperation("linear", (features,), plan.classes)


def _stem(plan: NetworkPlan[PartPlan]) -> Iterator[RuntimeOperation]:
    stem, size, act = plan.stem, plan.stem_size, plan.activation
    first = f"conv{stem.kernel}x{stem.kernel}"
    yield RuntimeOperation(first, (plan.input[0],), stem.channels, size, stem.stride, act)
    if stem.separable:
        yield RuntimeOperation("depthwise3x3", (stem.channels,), stem.channels, size, activation=act)
        yield RuntimeOperation("conv1x1", (stem.channels,), stem.separable, size, activation=act)
    if stem.pool > 1:
        yield RuntimeOperation("maxpool", (stem.out_channels,), stem.out_channels, plan.first_size, stem.pool)


def _cell(cell: CellPlan, activation: str) -> Iterator[RuntimeOperation]:
    if cell.pool > 1:
        yield RuntimeOperation("maxpool", (cell.in_channels,), cell.in_channels, cell.size, cell.pool)
    if cell.enters:
        yield RuntimeOperation("conv1x1", (cell.in_channels,), cell.first_channels, cell.size)
    join = _addition if cell.adds else _concatenation
    widths = {0: cell.first_channels} | {node.node: node.out_channels for node in cell.nodes}
    for node in cell.nodes:
        yield from join(tuple(widths[i] for i in node.inputs), cell.size)
        yield from conv(node.op).latency(node, cell.size, activation)
    yield from join(tuple(widths[leaf] for leaf in cell.leaves), cell.size)
    out, last = cell.out_channels, activation if cell.merges else None
    if cell.merges:
        yield RuntimeOperation("conv1x1", (cell.leaf_channels,), out, cell.size)
    if cell.projects:
        yield RuntimeOperation("shortcut", (cell.in_channels, out), out, cell.size, cell.shortcut_stride, last)
    else:
        yield RuntimeOperation("add", (out, out), out, cell.size, activation=last)


def _block(block: BlockPlan) -> Iterator[RuntimeOperation]:
    for layer in block.layers:
        # A conv3x3 is the first layer of a network.
        what = layer.form.what.replace("conv", "dense") if layer.form.kernel > 1 else layer.form.what
        reads, writes = layer.channels
        yield RuntimeOperation(what, (reads,), writes, layer.size, layer.stride, layer.activation)
        if layer.name == block.excited:
            assert block.squeezed is not None, "what is excited was squeezed"
            yield RuntimeOperation("squeeze", (writes,), block.squeezed, layer.size, activation=block.activation)
            yield RuntimeOperation("excite", (writes, block.squeezed), writes, layer.size)
    out, last = block.out_channels, block.last_activation
    if block.shortcut is not None:
        yield RuntimeOperation("shortcut", (block.in_channels, out), out, block.size, block.stride, last)
    elif block.adds:
        yield RuntimeOperation("add", (out, out), out, block.size, activation=last)


def _addition(parts: tuple[int, ...], size: tuple[int, int]) -> Iterator[RuntimeOperation]:
    for width in parts[1:]:
        yield RuntimeOperation("add", (width, width), width, size)


def _concatenation(parts: tuple[int, ...], size: tuple[int, int]) -> Iterator[RuntimeOperation]:
    if len(parts) > 1:
        yield RuntimeOperation("concat", parts, sum(parts), size)

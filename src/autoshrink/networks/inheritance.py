"""A network started from the trained network of the design that it was made of.

Widths, depths and what blocks have are the business of `resizing`. Where a cell changed too, there is a network between
the two: the parent's cells in the child's sizes.

A convolution of a concatenation is a sum of blocks, one for every tensor that is concatenated: a child that lacks an
edge lacks its block, and every other block is inherited as it stands. What a child has that its parent had not:

- channels of a new leaf, which nobody has learned to read: their blocks start at zero where their reader knows some
  other channels, else from fresh weights (a reader of zeros alone has no gradient to speak of through its BN);
- a shortcut with new rows (fresh), or one that was the identity and is a convolution now: it starts as the identity,
  and its BN has to be told so after statistics were taken, see `ImageNetwork` and `undo_normalisation`.

For recurrent cells every parameter belongs to one edge, or to all cells alike: they are copied by name. What a child
has more than its parent is fresh (`autoshrink.networks.growing` is about such children).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from autoshrink.architecture import CellPlan, NetworkPlan
from autoshrink.architecture.conv import plan_cell
from autoshrink.cell import INPUT, Cell
from autoshrink.networks.conv import ConvCell
from autoshrink.networks.image import ImageNetwork, initialise
from autoshrink.networks.recurrent import LanguageNetwork
from autoshrink.networks.resizing import matched, resize
from autoshrink.ops import conv, inheriting
from autoshrink.ops.inheriting import Slot


def inherit(child: nn.Module, parent: nn.Module) -> tuple[nn.BatchNorm2d, ...]:
    """Copy into `child` what it shares with `parent`, which one move or several lead from to it; in place.

    Returns:
        The BN layers that have to be turned into identities once their statistics are taken, see `undo_normalisation`.

    Raises:
        TypeError: the two are not networks of one kind.
    """
    if isinstance(child, ImageNetwork) and isinstance(parent, ImageNetwork) and child.trunk_name == parent.trunk_name:
        with torch.no_grad():
            return resize(child, parent) if child.trunk_name == "blocks" else _inherit_cells(child, parent)
    if isinstance(child, LanguageNetwork) and isinstance(parent, LanguageNetwork):
        known = dict(parent.named_parameters())
        with torch.no_grad():
            for name, parameter in child.named_parameters():
                if name in known:
                    parameter.copy_(known[name])
        return ()
    raise TypeError(f"a {type(child).__name__} cannot inherit from a {type(parent).__name__}")


def _inherit_cells(child: ImageNetwork, parent: ImageNetwork) -> tuple[nn.BatchNorm2d, ...]:
    """At once where the sizes are the same, or the cells are; else by a network between the two."""
    if {(plan.aggregate, plan.merges) for plan in child.plan.parts} != {
        (plan.aggregate, plan.merges) for plan in parent.plan.parts
    }:
        _copy_equals(child, parent)
        return ()
    pairs = matched(child.plan.parts, parent.plan.parts)
    plan = _between(child.plan, parent.plan, pairs)
    if _sizes(plan) == _sizes(parent.plan):
        return tuple(_inherit_conv(child, parent))
    if plan == child.plan:
        return resize(child, parent)
    between = ImageNetwork(plan)
    initialise(between, 0)
    names = {module: name for name, module in between.named_modules()}
    undone = [names[layer] for layer in resize(between, parent)]
    mine = dict(child.named_modules())
    fresh = dict.fromkeys([*(mine[name] for name in undone if name in mine), *_inherit_conv(child, between)])
    return tuple(layer for layer in fresh if isinstance(layer, nn.BatchNorm2d))


def _copy_equals(child: ImageNetwork, parent: ImageNetwork) -> None:
    """Tensors of one name and shape."""
    known = parent.state_dict()
    for name, tensor in child.state_dict().items():
        if name in known and known[name].shape == tensor.shape:
            tensor.copy_(known[name])


def _sizes(plan: NetworkPlan[CellPlan]) -> list[object]:
    """All that widths, depths and strides decide of a network."""
    parts = [(part.name, part.pool, part.nodes, part.out_channels) for part in plan.parts]
    return [plan.input, plan.stem, plan.head, *parts]


def _between(
    child: NetworkPlan[CellPlan], parent: NetworkPlan[CellPlan], pairs: Sequence[int | None]
) -> NetworkPlan[CellPlan]:
    """The parent's cells in the child's sizes; the child's own where the parent has none."""
    parts: list[CellPlan] = []
    channels = child.stem.out_channels
    for part, at in zip(child.parts, pairs, strict=True):
        known = part if at is None else parent.parts[at]
        width = next((node.out_channels for node in part.nodes if conv(node.op).mixes), part.out_channels)
        place = partial(plan_cell, channels=channels, size=part.in_size, width=width, pool=part.pool)
        output = part.out_channels if part.merges else None
        parts.append(place(_cell(known), part.name, aggregate=part.aggregate, output=output))
        channels = parts[-1].out_channels
    features = child.head.channels if child.head else channels
    return replace(child, parts=tuple(parts), features=features)


def _cell(plan: CellPlan) -> Cell:
    """The cell of which this is the plan, but for nodes out of use."""
    ops = {node.node: node.op for node in plan.nodes}
    edges = tuple((i, node.node) for node in plan.nodes for i in node.inputs)
    unused = next(iter(ops.values()), "conv1x1")
    return Cell("conv", (INPUT, *(ops.get(node, unused) for node in range(1, max(ops, default=0) + 1))), edges)


def undo_normalisation(layer: nn.BatchNorm2d) -> None:
    """Scale and shift by the running statistics, so that the layer leaves what it was measured on as it is."""
    assert layer.running_mean is not None, "BN with running statistics"
    assert layer.running_var is not None, "BN with running statistics"
    with torch.no_grad():
        layer.weight.copy_((layer.running_var + layer.eps).sqrt())
        layer.bias.copy_(layer.running_mean)


def _inherit_conv(child: ImageNetwork, parent: ImageNetwork) -> Iterator[nn.BatchNorm2d]:
    child.stem.load_state_dict(parent.stem.state_dict())
    slots, known = stem_slots(child.plan), stem_slots(parent.plan)
    pairs = zip(child.plan.parts, parent.plan.parts, child.trunk, parent.trunk, strict=True)
    for plan, parent_plan, cell, parent_cell in pairs:
        assert isinstance(cell, ConvCell), "cells of a ImageNetwork"
        assert isinstance(parent_cell, ConvCell), "cells of a ImageNetwork"
        _inherit_nodes((cell, plan, slots), (parent_cell, parent_plan, known))
        after, known_after = output_slots(plan, slots), output_slots(parent_plan, known)
        if cell.merge is not None and parent_cell.merge is not None:
            inheriting.copy_dense(
                cell.merge, parent_cell.merge, leaf_slots(plan, slots), leaf_slots(parent_plan, known)
            )
        if cell.shortcut is not None:
            fresh = _inherit_shortcut(cell.shortcut, parent_cell.shortcut, (after, slots), (known_after, known))
            if fresh is not None:
                yield fresh
        slots, known = after, known_after
    if child.head is not None and parent.head is not None:
        inheriting.copy_dense(child.head, parent.head, slots, known)
        child.classifier.load_state_dict(parent.classifier.state_dict())
    else:
        child.classifier.weight.copy_(
            inheriting.columns(child.classifier.weight, parent.classifier.weight, slots, known)
        )
        child.classifier.bias.copy_(parent.classifier.bias)


_Side = tuple[ConvCell, CellPlan, Sequence[Slot]]


def _inherit_nodes(child: _Side, parent: _Side) -> None:
    """Every node of a cell, as its operation says."""
    cell, plan, slots = child
    parent_cell, parent_plan, known_slots = parent
    known = {node.node: node for node in parent_plan.nodes}
    if cell.entry is not None and parent_cell.entry is not None:
        inheriting.copy_dense(cell.entry, parent_cell.entry, slots, known_slots)
    for node in plan.nodes:
        its = known.get(node.node)
        # A node that an edge has brought into use is new.
        if its is not None:
            name = f"node{node.node}"
            ours, theirs = cell.nodes[name], parent_cell.nodes[name]
            reads = read_slots(plan, slots, node.inputs)
            theirs_read = read_slots(parent_plan, known_slots, its.inputs)
            conv(node.op).inherit_from(conv(its.op), ours, theirs, reads, theirs_read)


def _inherit_shortcut(
    ours: nn.Module,
    theirs: nn.Module | None,
    slots: tuple[Sequence[Slot], Sequence[Slot]],
    known: tuple[Sequence[Slot], Sequence[Slot]],
) -> nn.BatchNorm2d | None:
    """The projection, rows and columns by slot; its BN when it takes the place of an identity."""
    (rows, columns), (known_rows, known_columns) = slots, known
    conv, bn = ours.get_submodule("conv"), ours.get_submodule("bn")
    assert isinstance(conv, nn.Conv2d), "a projection is a convolution and BN"
    assert isinstance(bn, nn.BatchNorm2d), "a projection is a convolution and BN"
    places = inheriting.places(rows, known_rows)
    if theirs is None:
        # The identity sent the i-th channel of the cell's input to the i-th of its output.
        width = sum(slot.channels for slot in known_columns)
        weight = torch.eye(width, dtype=conv.weight.dtype, device=conv.weight.device).view(width, width, 1, 1)
    else:
        weight = theirs.get_submodule("conv").weight  # type: ignore[assignment]
        inheriting.copy_bn(bn, theirs.get_submodule("bn"), places)
    mixed = conv.weight.clone()
    for mine, yours in places:
        mixed[mine] = inheriting.columns(conv.weight[mine], weight[yours], columns, known_columns)
    conv.weight.copy_(mixed)
    return bn if theirs is None and places else None


def stem_slots(plan: NetworkPlan[CellPlan]) -> tuple[Slot, ...]:
    """The slots of the first cell's input."""
    return (Slot(("stem", 0), plan.stem.out_channels),)


def read_slots(plan: CellPlan, inputs: Sequence[Slot], nodes: Sequence[int]) -> tuple[Slot, ...]:
    """The slots of a concatenation of a cell's nodes.

    Node 0 stands for all of the cell's inputs; where an operation mixes no channels, those of its inputs go on.
    """
    if plan.adds:
        # Every tensor of the cell has the same channels, however many are added.
        return (Slot((plan.name,), plan.out_channels),)
    plans = {node.node: node for node in plan.nodes}
    slots: list[Slot] = []
    for number in nodes:
        if number == 0:
            slots.extend(inputs)
            continue
        node, owner = plans[number], (plan.name, number)
        if conv(node.op).mixes:
            slots.append(Slot(owner, node.out_channels))
        else:
            slots.extend(Slot((*owner, *slot.owner), slot.channels) for slot in read_slots(plan, inputs, node.inputs))
    return tuple(slots)


def output_slots(plan: CellPlan, inputs: Sequence[Slot]) -> tuple[Slot, ...]:
    """The slots of a cell's output: one where its leaves are merged."""
    return (Slot((plan.name,), plan.out_channels),) if plan.merges else leaf_slots(plan, inputs)


def leaf_slots(plan: CellPlan, inputs: Sequence[Slot]) -> tuple[Slot, ...]:
    """The slots of a cell's leaves."""
    return read_slots(plan, inputs, plan.leaves)

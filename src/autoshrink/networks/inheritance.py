"""A cell's network started from the trained network of the cell that it was cut from.

A convolution of a concatenation is a sum of blocks, one for every tensor that is concatenated: a child that lacks an
edge lacks its block, and every other block is inherited as it stands. What a child has that its parent had not:

- channels of a new leaf, which nobody has learned to read: their blocks start at zero where their reader knows some
  other channels, else from fresh weights (a reader of zeros alone has no gradient to speak of through its BN);
- a shortcut with new rows (fresh), or one that was the identity and is a convolution now: it starts as the identity,
  and its BN has to be told so after statistics were taken, see `ImageNetwork` and `undo_normalisation`.

For recurrent cells every parameter belongs to one edge, or to all cells alike: they are copied by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeGuard

import torch
from torch import nn

from autoshrink.architecture import CellPlan, NetworkPlan
from autoshrink.networks.conv import ConvCell
from autoshrink.networks.image import ImageNetwork
from autoshrink.networks.recurrent import LanguageNetwork
from autoshrink.ops import conv, inheriting
from autoshrink.ops.inheriting import Slot


def inherit(child: nn.Module, parent: nn.Module) -> tuple[nn.BatchNorm2d, ...]:
    """Copy into `child` what it shares with `parent`, whose cell has all of the child's edges; in place.

    Returns:
        The BN layers that have to be turned into identities once their statistics are taken, see `undo_normalisation`.

    Raises:
        TypeError: the two are not networks of one kind.
    """
    if _has_cells(child) and _has_cells(parent):
        with torch.no_grad():
            return tuple(_inherit_conv(child, parent))
    if isinstance(child, LanguageNetwork) and isinstance(parent, LanguageNetwork):
        known = dict(parent.named_parameters())
        with torch.no_grad():
            for name, parameter in child.named_parameters():
                parameter.copy_(known[name])
        return ()
    raise TypeError(f"a {type(child).__name__} cannot inherit from a {type(parent).__name__}")


def _has_cells(network: nn.Module) -> TypeGuard[ImageNetwork]:
    return isinstance(network, ImageNetwork) and isinstance(network.plan.parts[0], CellPlan)


def undo_normalisation(layer: nn.BatchNorm2d) -> None:
    """Scale and shift by the running statistics, so that the layer leaves what it was measured on as it is."""
    assert layer.running_mean is not None, "BN with running statistics"
    assert layer.running_var is not None, "BN with running statistics"
    with torch.no_grad():
        layer.weight.copy_((layer.running_var + layer.eps).sqrt())
        layer.bias.copy_(layer.running_mean)


def _inherit_conv(child: ImageNetwork, parent: ImageNetwork) -> Iterator[nn.BatchNorm2d]:
    child.stem.load_state_dict(parent.stem.state_dict())
    slots, known = _stem_slots(child.plan), _stem_slots(parent.plan)
    pairs = zip(child.plan.parts, parent.plan.parts, child.trunk, parent.trunk, strict=True)
    for plan, parent_plan, cell, parent_cell in pairs:
        assert isinstance(cell, ConvCell), "cells of a ImageNetwork"
        assert isinstance(parent_cell, ConvCell), "cells of a ImageNetwork"
        _inherit_nodes((cell, plan, slots), (parent_cell, parent_plan, known))
        after, known_after = _leaf_slots(plan, slots), _leaf_slots(parent_plan, known)
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
    known_inputs = {node.node: node.inputs for node in parent_plan.nodes}
    for node in plan.nodes:
        name = f"node{node.node}"
        ours, theirs = cell.nodes[name], parent_cell.nodes[name]
        reads = _read_slots(plan, slots, node.inputs)
        known = _read_slots(parent_plan, known_slots, known_inputs[node.node])
        conv(node.op).inherit(ours, theirs, reads, known)


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


def _stem_slots(plan: NetworkPlan[CellPlan]) -> tuple[Slot, ...]:
    return (Slot(("stem", 0), plan.stem.channels),)


def _read_slots(plan: CellPlan, inputs: Sequence[Slot], nodes: Sequence[int]) -> tuple[Slot, ...]:
    """The slots of a concatenation of nodes.

    Node 0 stands for all of the cell's inputs; where an operation mixes no channels, those of its inputs go on.
    """
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
            slots.extend(Slot((*owner, *slot.owner), slot.channels) for slot in _read_slots(plan, inputs, node.inputs))
    return tuple(slots)


def _leaf_slots(plan: CellPlan, inputs: Sequence[Slot]) -> tuple[Slot, ...]:
    return _read_slots(plan, inputs, plan.leaves)

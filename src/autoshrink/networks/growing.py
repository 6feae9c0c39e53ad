"""A network grown from a trained one: at first it computes what that did, and what is new says how much it could help.

Convolutions begin with zeros for what they did not read before; a node of a recurrent cell, which takes a mean, and the
mean of the leaves begin with a share of ε = 0 for what is new::

    s_j = (Σ_old m + ε · Σ_new m) / (number of old ones + ε · number of new ones)

The gradient of the loss at that point is what growing gains to first order (firefly neural architecture descent: Wu et
al., NeurIPS 2020, §2). It is that of a large child and of all children together (`autoshrink.spaces.growing.together`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from autoshrink.architecture import CellPlan, NetworkPlan, RecurrentPlan
from autoshrink.errors import InputError
from autoshrink.networks.image import ImageNetwork
from autoshrink.networks.inheritance import (
    inherit,
    leaf_slots,
    output_slots,
    read_slots,
    stem_slots,
    undo_normalisation,
)
from autoshrink.networks.recurrent import LanguageNetwork, RecurrentCell
from autoshrink.ops import conv
from autoshrink.ops.inheriting import Slot, places, ranges


def grow(child: nn.Module, parent: nn.Module, settle: Callable[[], None] = lambda: None) -> None:
    """Make a child compute, in evaluation mode, what its trained parent does; in place.

    A recurrent cell computes it at ε = 0 alone (`RecurrentGrowth`); with its means over all that it reads, ε = 1, it
    has the parent's weights and computes something near it.

    Args:
        child: freshly initialised, of a design that grows from the parent's (`autoshrink.spaces.growing.grows_from`).
        parent: trained.
        settle: takes BN's statistics anew; those of what is new are kept, all others are the parent's.

    Raises:
        InputError: nodes add what they read, so that nothing can be added.
    """
    if isinstance(child, ImageNetwork) and any(plan.adds for plan in child.plan.parts if isinstance(plan, CellPlan)):
        raise InputError("nodes that add what they read cannot grow; take aggregate concat")
    _copy(child, parent)
    settle()
    _copy(child, parent)


def _copy(child: nn.Module, parent: nn.Module) -> None:
    for layer in inherit(child, parent):
        undo_normalisation(layer)


def freeze(child: nn.Module, parent: nn.Module) -> None:
    """Let gradients of a grown image network reach only what its parent lacks, and normalisations and the classifier.

    Whoever trained the parent's blocks can then go on with them as they are: `inherit` takes them out of the grown
    network to the last bit. An optimiser with weight decay would change them nevertheless.
    """
    known = [{name: tensor.clone() for name, tensor in network.state_dict().items()} for network in (child, parent)]
    with torch.no_grad():
        # Where ones arrive among twos, an entry is inherited.
        for value, network in ((2.0, child), (1.0, parent)):
            for parameter in network.parameters():
                parameter.fill_(value)
        inherit(child, parent)
        for module in child.modules():
            if isinstance(module, nn.Conv2d):
                new = (module.weight != 1.0).to(module.weight.dtype)
                module.weight.register_hook(partial(torch.mul, new))  # type: ignore[no-untyped-call]
        for network, tensors in zip((child, parent), known, strict=True):
            network.load_state_dict(tensors)


class Growth(ABC):
    """A grown network at the point where it computes what its parent does.

    Attributes:
        parameters: what is new and has no weight yet, perhaps among other entries; gradients are taken of these.
    """

    parameters: Sequence[Tensor]

    @abstractmethod
    def directions(self, plan: Any, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Where a child's new blocks should go first, for each of `parameters`: zero but in these blocks.

        Args:
            plan: of the child, whose blocks the grown network has, perhaps among others.
            gradients: of the loss by `parameters`.
        """

    def gain(self, plan: Any, gradients: Sequence[Tensor]) -> float:
        """−dL/dε along `directions`: by how much the loss falls to first order, nats for a step of 1."""
        pairs = zip(self.directions(plan, gradients), gradients, strict=True)
        return -sum(float((direction * gradient).sum()) for direction, gradient in pairs)

    @torch.no_grad()
    def move(self, directions: Sequence[Tensor], step: float) -> None:
        """Go a step, in place."""
        for parameter, direction in zip(self.parameters, directions, strict=True):
            parameter.add_(direction, alpha=step)


def growth_of(child: nn.Module, parent: nn.Module, settle: Callable[[], None] = lambda: None) -> Growth:
    """Grow a network, and hold it at the point where it computes what its parent does.

    Raises:
        InputError: see `grow`.
        TypeError: the two are not networks of one kind that grows.
    """
    grow(child, parent, settle)
    if isinstance(child, ImageNetwork) and isinstance(parent, ImageNetwork):
        return ImageGrowth(child, parent)
    if isinstance(child, LanguageNetwork) and isinstance(parent, LanguageNetwork):
        return RecurrentGrowth(child, parent)
    raise TypeError(f"a {type(child).__name__} does not grow from a {type(parent).__name__}")


# --- images ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """What a layer reads of a tensor that it did not read before.

    Attributes:
        cell: the name of the cell that the layer belongs to; ``""`` for the head and the classifier.
        layer: the name of its weight.
        owner: whose channels they are.
        rows: the outputs that there were before.
        columns: the channels.
    """

    cell: str
    layer: str
    owner: tuple[str | int, ...]
    rows: tuple[slice, ...]
    columns: slice

    def of(self, tensor: Tensor) -> Tensor:
        """Its entries in a tensor of the weight's shape, flat."""
        return torch.cat([tensor[rows, self.columns].flatten() for rows in self.rows])


def new_blocks(plan: NetworkPlan[CellPlan], known: NetworkPlan[CellPlan]) -> Iterator[Block]:
    """The blocks of a grown network that begin at zero, cell by cell: known outputs of new channels."""
    everything = (slice(None),)
    slots, before = stem_slots(plan), stem_slots(known)
    for part, its in zip(plan.parts, known.parts, strict=True):
        place = f"cells.{part.name.replace('.', '_')}"
        old = {node.node: node for node in its.nodes}
        for node in part.nodes:
            mixer = conv(node.op).mixer
            if node.node in old and mixer is not None:
                reads, known_reads = (
                    read_slots(part, slots, node.inputs),
                    read_slots(its, before, old[node.node].inputs),
                )
                layer = f"{place}.nodes.node{node.node}.{mixer}.conv.weight"
                yield from _added(part.name, layer, everything, reads, known_reads)
        if part.merges:
            leaves, known_leaves = leaf_slots(part, slots), leaf_slots(its, before)
            yield from _added(part.name, f"{place}.merge.conv.weight", everything, leaves, known_leaves)
        after, known_after = output_slots(part, slots), output_slots(its, before)
        if part.projects:
            rows = tuple(mine for mine, _ in places(after, known_after))
            yield from _added(part.name, f"{place}.shortcut.conv.weight", rows, slots, before)
        slots, before = after, known_after
    yield from _added("", "head.conv.weight" if plan.head else "classifier.weight", everything, slots, before)


def _added(
    cell: str, layer: str, rows: tuple[slice, ...], slots: Sequence[Slot], known: Sequence[Slot]
) -> Iterator[Block]:
    for slot, columns in ranges(slots).items():
        if slot not in known:
            yield Block(cell, layer, slot.owner, rows, columns)


class ImageGrowth(Growth):
    """Of an image network: in every cell the new blocks go as far as in every other, each along its steepest descent.

    So the gain of a child is the sum over cells of ‖∂L/∂(new blocks)‖.
    """

    def __init__(self, child: ImageNetwork, parent: ImageNetwork) -> None:
        self._known = parent.plan
        self._blocks = {(one.layer, one.owner): one for one in new_blocks(child.plan, parent.plan)}
        self._layers = list(dict.fromkeys(one.layer for one in self._blocks.values()))
        weights = dict(child.named_parameters())
        self.parameters = [weights[name] for name in self._layers]

    def directions(self, plan: NetworkPlan[CellPlan], gradients: Sequence[Tensor]) -> list[Tensor]:
        """See `Growth`."""
        found, by_layer = [torch.zeros_like(one) for one in gradients], dict(zip(self._layers, gradients, strict=True))
        into = dict(zip(self._layers, found, strict=True))
        for _, own in groupby(new_blocks(plan, self._known), key=lambda block: block.cell):
            blocks = [self._blocks[one.layer, one.owner] for one in own]
            parts = [block.of(by_layer[block.layer]) for block in blocks]
            norm = torch.cat(parts).norm() if parts else torch.tensor(0.0)
            for block in blocks if float(norm) > 0 else ():
                for rows in block.rows:
                    into[block.layer][rows, block.columns] = by_layer[block.layer][rows, block.columns] / -norm
        return found


# --- language --------------------------------------------------------------------------------------------------------


def new_gates(plan: RecurrentPlan, known: RecurrentPlan) -> list[tuple[int, int | None]]:
    """What has a share in an old mean that it had not: edges into old nodes, and (node, None) for new leaves."""
    old = {node.node for node in known.nodes}
    found: list[tuple[int, int | None]] = [edge for edge in plan.edges if edge[1] in old and edge not in known.edges]
    return [*found, *((node, None) for node in plan.outputs if node not in known.outputs)]


class RecurrentGrowth(Growth):
    """Of a language model: `RecurrentCell.gates` has an ε for everything that is new in a mean.

    There is one direction, towards ε = 1, so a gain is negative where what is new does harm with its first weights.
    """

    def __init__(self, child: LanguageNetwork, parent: LanguageNetwork) -> None:
        cells = child.core, parent.core
        if not isinstance(cells[0], RecurrentCell) or not isinstance(cells[1], RecurrentCell):
            raise InputError("torch's LSTM and GRU do not grow; cells do")
        self._known, self._gates = cells[1].plan, new_gates(cells[0].plan, cells[1].plan)
        zero = child.embedding.detach().new_zeros
        self.parameters = [zero(()).requires_grad_() for _ in self._gates]
        gates: Mapping[tuple[int, int | None], Tensor] = dict(zip(self._gates, self.parameters, strict=True))
        cells[0].gates = gates

    def directions(self, plan: RecurrentPlan, gradients: Sequence[Tensor]) -> list[Tensor]:
        """See `Growth`."""
        own = set(new_gates(plan, self._known))
        pairs = zip(self._gates, gradients, strict=True)
        return [torch.ones_like(one) if gate in own else torch.zeros_like(one) for gate, one in pairs]

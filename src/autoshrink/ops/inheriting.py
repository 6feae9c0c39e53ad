"""What a layer inherits whose input was concatenated of more tensors than it is now.

A convolution of a concatenation is a sum of blocks, one for every tensor that is concatenated: what remains keeps its
block. These functions change tensors in place and want `torch.no_grad`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Slot(NamedTuple):
    """Channels that one tensor contributes to a concatenation: whose they are, and how many."""

    owner: tuple[str | int, ...]
    channels: int


def copy_dense(ours: nn.Module, theirs: nn.Module, slots: Sequence[Slot], known: Sequence[Slot]) -> None:
    """A dense ``conv`` with its ``bn``, block by block."""
    weight = ours.get_submodule("conv").weight
    weight.copy_(columns(weight, theirs.get_submodule("conv").weight, slots, known))  # type: ignore[operator, arg-type]
    ours.get_submodule("bn").load_state_dict(theirs.get_submodule("bn").state_dict())


def copy_depthwise(ours: nn.Module, theirs: nn.Module, slots: Sequence[Slot], known: Sequence[Slot]) -> None:
    """A depthwise ``conv`` with its ``bn``, channel by channel."""
    found = places(slots, known)
    weight, parent_weight = ours.get_submodule("conv").weight, theirs.get_submodule("conv").weight
    for mine, yours in found:
        weight[mine] = parent_weight[yours]  # type: ignore[index, operator]
    copy_bn(ours.get_submodule("bn"), theirs.get_submodule("bn"), found)


def copy_bn(ours: nn.Module, theirs: nn.Module, found: Sequence[tuple[slice, slice]]) -> None:
    """BN's four vectors where they have the same channels, and its count of batches."""
    known: Mapping[str, Tensor] = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        if tensor.dim() == 0:
            tensor.copy_(known[name])
            continue
        for mine, yours in found:
            tensor[mine] = known[name][yours]


def columns(weight: Tensor, parent: Tensor, slots: Sequence[Slot], known: Sequence[Slot]) -> Tensor:
    """(rows, columns, …): the parent's blocks, zero for what it did not read; fresh where it read nothing of this."""
    found = places(slots, known)
    if not found:
        return weight
    mixed = torch.zeros_like(weight)
    for mine, yours in found:
        mixed[:, mine] = parent[:, yours]
    return mixed


def places(slots: Sequence[Slot], known: Sequence[Slot]) -> list[tuple[slice, slice]]:
    """Where the slots that both have lie, here and there."""
    there = _ranges(known)
    return [(here, there[slot]) for slot, here in _ranges(slots).items() if slot in there]


def _ranges(slots: Sequence[Slot]) -> dict[Slot, slice]:
    ranges, start = {}, 0
    for slot in slots:
        ranges[slot] = slice(start, start + slot.channels)
        start += slot.channels
    return ranges

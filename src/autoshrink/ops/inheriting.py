"""What a layer inherits whose input was concatenated of more tensors than it is now, or that was another layer.

A convolution of a concatenation is a sum of blocks, one for every tensor that is concatenated: what remains keeps its
block. Where the operation is another one than the parent's, kernels are cut to size, and convolutions that the child
lacks are multiplied into those that it has. These functions change tensors in place and want `torch.no_grad`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Slot(NamedTuple):
    """Channels that one tensor contributes to a concatenation: whose they are, and how many."""

    owner: tuple[str | int, ...]
    channels: int


def copy_dense(ours: nn.Module, theirs: nn.Module, slots: Sequence[Slot], known: Sequence[Slot]) -> None:
    """A dense ``conv`` with its ``bn``, block by block."""
    weight = _weight(ours)
    weight.copy_(columns(weight, fitted(_weight(theirs), weight.shape[-1]), slots, known))
    ours.get_submodule("bn").load_state_dict(theirs.get_submodule("bn").state_dict())


def copy_depthwise(ours: nn.Module, theirs: nn.Module, slots: Sequence[Slot], known: Sequence[Slot]) -> None:
    """A depthwise ``conv`` with its ``bn``, channel by channel."""
    found = places(slots, known)
    weight = _weight(ours)
    parent_weight = fitted(_weight(theirs), weight.shape[-1])
    for mine, yours in found:
        weight[mine] = parent_weight[yours]
    copy_bn(ours.get_submodule("bn"), theirs.get_submodule("bn"), found)


def whole(layer: nn.Module) -> tuple[Slot, ...]:
    """The output of a ``conv`` as one slot."""
    return (Slot((), len(_weight(layer))),)


def copy_bn(ours: nn.Module, theirs: nn.Module, found: Sequence[tuple[slice, slice]]) -> None:
    """BN's four vectors where they have the same channels, and its count of batches."""
    known: Mapping[str, Tensor] = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        if tensor.dim() == 0:
            tensor.copy_(known[name])
            continue
        for mine, yours in found:
            tensor[mine] = known[name][yours]


def fitted(weight: Tensor, kernel: int) -> Tensor:
    """(…, K, K) as (…, kernel, kernel): zeros around it, its middle, or for a single tap the sum of all."""
    if kernel == 1:
        return weight.sum(dim=(-2, -1), keepdim=True)
    margin = (kernel - weight.shape[-1]) // 2
    return functional.pad(weight, [margin] * 4)


def copy_composed(ours: nn.Module, theirs: Sequence[nn.Module], slots: Sequence[Slot], known: Sequence[Slot]) -> None:
    """A 1×1 ``conv`` across channels in place of a row of convolutions: what all of these make of a flat picture.

    Their activations and shifts are left out; the last one's ``bn`` is copied.
    """
    response = torch.eye(sum(slot.channels for slot in known), device=_weight(ours).device)
    for place, layer in enumerate(theirs):
        taps = _weight(layer).sum(dim=(-2, -1))
        depthwise = taps.shape[1] < len(response)
        response = taps * response if depthwise else taps @ response
        if place < len(theirs) - 1:
            bn = layer.get_submodule("bn")
            assert isinstance(bn, nn.BatchNorm2d), "a convolution is followed by BN"
            assert bn.running_var is not None, "BN with running statistics"
            response = response * (bn.weight / (bn.running_var + bn.eps).sqrt()).unsqueeze(1)
    weight = _weight(ours)
    weight.copy_(columns(weight, response[:, :, None, None], slots, known))
    ours.get_submodule("bn").load_state_dict(theirs[-1].get_submodule("bn").state_dict())


def copy_factors(
    ours: tuple[nn.Module, nn.Module], theirs: nn.Module, slots: Sequence[Slot], known: Sequence[Slot]
) -> None:
    """A depthwise ``conv`` and a 1×1 one in place of a dense one: the product nearest to it, by least squares.

    What a dense convolution makes of one input channel is a matrix, outputs by taps; its first singular vectors are the
    1×1 convolution's column and the depthwise one's kernel, whose sign is the one with which it keeps a flat picture's.
    """
    depthwise, pointwise = ours
    dense = _weight(theirs)
    outputs, sizes, taps = torch.linalg.svd(dense.transpose(0, 1).flatten(2), full_matrices=False)
    sign = torch.where(taps[:, 0].sum(dim=1) < 0, -1.0, 1.0)
    kernels = (sign[:, None] * taps[:, 0]).unflatten(1, dense.shape[2:]).unsqueeze(1)
    matrix = (sign * sizes[:, 0] * outputs[:, :, 0].T)[:, :, None, None]
    weight = _weight(depthwise)
    for mine, yours in places(slots, known):
        weight[mine] = fitted(kernels, weight.shape[-1])[yours]
    weight = _weight(pointwise)
    weight.copy_(columns(weight, matrix, slots, known))
    pointwise.get_submodule("bn").load_state_dict(theirs.get_submodule("bn").state_dict())


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.get_submodule("conv").weight
    assert isinstance(weight, Tensor), "a convolution has weights"
    return weight


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
    there = ranges(known)
    return [(here, there[slot]) for slot, here in ranges(slots).items() if slot in there]


def ranges(slots: Sequence[Slot]) -> dict[Slot, slice]:
    """Where each slot lies."""
    found, start = {}, 0
    for slot in slots:
        found[slot] = slice(start, start + slot.channels)
        start += slot.channels
    return found

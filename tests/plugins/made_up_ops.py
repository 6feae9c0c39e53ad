"""Operations that the package does not know: of standard pieces, of two modules of its own, and a function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from autoshrink.ops import (
    ActivationName,
    Convolution,
    ConvOperation,
    NodePlan,
    Pooling,
    RecurrentOperation,
    Source,
    register,
)
from autoshrink.ops.inheriting import Slot, copy_dense
from autoshrink.ops.layers import conv_bn
from autoshrink.steps import Layer, Step, convolution

register(
    ConvOperation(
        "wide5x5",
        label="wide 5×5",
        colours=("#e2f0d9", "#2c4a1e"),
        cheaper=("conv1x1",),
        pieces=(Convolution(5, dilation=2, depthwise=True), Convolution()),
    )
)
register(ConvOperation("avgpool5x5", pieces=(Pooling(5),)))


class Gate(nn.Module):
    """A 1×1 convolution with BN, each channel of which is scaled by what all of them are on average."""

    def __init__(self, reads: int, writes: int, activation: ActivationName | None) -> None:
        super().__init__()
        self.mix = conv_bn(reads, writes, activation=activation)
        self.gate = nn.Conv2d(writes, writes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, reads, H, W) to (B, writes, H, W)."""
        mixed: Tensor = self.mix(x)
        gate: Tensor = self.gate(mixed.mean(dim=(2, 3), keepdim=True))
        return mixed * gate.sigmoid()


class Gated(ConvOperation):
    """An operation with a module of its own."""

    def module(self, node: NodePlan, activation: ActivationName) -> nn.Module:
        """See `Gate`."""
        return Gate(node.in_channels, node.out_channels, None if node.is_leaf else activation)

    def steps(self, node: NodePlan, name: str, source: str, size: tuple[int, int]) -> Iterator[Step]:
        """The convolution; what is pooled; the gate; the product, in place of the convolution's result."""
        reads, writes, area = node.in_channels, node.out_channels, size[0] * size[1]
        mixed = convolution(f"{name}.mix", "conv1x1", (reads, writes), size, reads * writes)
        yield Step((source,), f"{name}.mix", writes * area, mixed)
        yield Step((f"{name}.mix",), f"{name}.pooled", writes)
        weights = writes * writes
        gate = Layer(f"{name}.gate", "conv1x1", writes, writes, (1, 1), weights, 0, weights)
        yield Step((f"{name}.pooled",), f"{name}.gate", writes, gate)
        yield Step((f"{name}.mix", f"{name}.gate"), f"{name}.gated", writes * area, in_place=True)

    def inherit(self, child: nn.Module, parent: nn.Module, reads: Sequence[Slot], known: Sequence[Slot]) -> None:
        """The convolution block by block; the gate reads what it read before."""
        copy_dense(child.get_submodule("mix"), parent.get_submodule("mix"), reads, known)
        child.get_submodule("gate").load_state_dict(parent.get_submodule("gate").state_dict())


GATE_SOURCE = '''class Gate(nn.Module):
    """A 1×1 convolution, each channel scaled by what all are on average."""

    def __init__(
        self, in_channels: int, out_channels: int, outer: Callable[[], nn.Module]
    ) -> None:
        super().__init__()
        self.mix = ConvBN(in_channels, out_channels, outer)
        self.gate = nn.Conv2d(out_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        x = self.mix(x)
        return x * self.gate(x.mean(dim=(2, 3), keepdim=True)).sigmoid()
'''

register(Gated("gated", source=Source(GATE_SOURCE, "Gate({reads}, {writes}, {last})")))


class Shuffle(ConvOperation):
    """Channels turned by one, with nothing but what an operation cannot do without."""

    def module(self, node: NodePlan, activation: ActivationName) -> nn.Module:
        """A projection after which channels are turned."""
        mix = conv_bn(node.in_channels, node.out_channels, activation=None if node.is_leaf else activation)
        return nn.Sequential(mix, Turned())

    def steps(self, node: NodePlan, name: str, source: str, size: tuple[int, int]) -> Iterator[Step]:
        """The convolution, and the turned tensor."""
        reads, writes, area = node.in_channels, node.out_channels, size[0] * size[1]
        mixed = convolution(f"{name}.mix", "conv1x1", (reads, writes), size, reads * writes)
        yield Step((source,), f"{name}.mix", writes * area, mixed)
        yield Step((f"{name}.mix",), f"{name}.turned", writes * area)


class Turned(nn.Module):
    """The last channel first."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return x.roll(1, dims=1)


register(Shuffle("shuffle"))

register(RecurrentOperation("softsign", call="torch.nn.functional.softsign", colours=("#f6dbe8", "#5f2240")))


class Bump(RecurrentOperation):
    """e^(−x²), which PyTorch has not."""

    def apply(self, x: Tensor) -> Tensor:
        """The function's value."""
        return torch.exp(-x * x)


register(
    Bump(
        "bump",
        call="bump",
        definition='def bump(x: Tensor) -> Tensor:\n    """exp(-x²)."""\n    return torch.exp(-x * x)\n',
    )
)

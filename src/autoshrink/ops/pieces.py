"""The standard pieces that convolutional operations are made of; each knows its costs, its module and its source.

What needs torch imports it where it is called, since costs wait for nothing.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from autoshrink.steps import RuntimeOperation, Step, convolution, excitation

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.ops.inheriting import Slot

Size = tuple[int, int]
"""Height and width, pixels."""
Cut = Literal["columns", "rows", "whole", "mixed"]
"""How weights belong to tensors that are concatenated: by input channel (a sum of blocks, one a tensor), by output
channel, not at all; or to all of them together, so that no other concatenation can have them."""


class Piece(ABC):
    """One part of an operation, (B, C, H, W) to (B, C', H, W).

    Attributes:
        activated: whether an activation follows it.
    """

    activated: bool = False

    @property
    def dense(self) -> bool:
        """Whether every output channel is made of all inputs."""
        return False

    @property
    @abstractmethod
    def what(self) -> str:
        """A word for it in tables and sentences."""

    @property
    @abstractmethod
    def part(self) -> str:
        """The name of its module."""

    def writes(self, reads: int, width: int) -> int:  # noqa: ARG002 - the width is for what mixes
        """Channels of the output: those of the input, unless it is dense."""
        return reads

    @abstractmethod
    def steps(self, name: str, source: str, channels: tuple[int, int], size: Size) -> Iterator[Step]:
        """What it costs, as steps from tensor `source`; (in, out) channels."""

    @abstractmethod
    def runtime(self, channels: tuple[int, int], size: Size, activation: str | None) -> Iterator[RuntimeOperation]:
        """What a runtime executes; `activation` is the network's for what is not `activated`."""

    @abstractmethod
    def module(self, channels: tuple[int, int], activation: Any) -> nn.Module:
        """The module; `activation` as for `runtime`, or None."""

    @abstractmethod
    def source(self, reads: str, writes: str, activation: str) -> tuple[str, list[str]]:
        """Its module in plain source: what is called, and with which arguments, given as expressions."""

    def cuts(self) -> dict[str, Cut]:
        """By the name of each of its layers with weights, how these belong to the tensors that are read."""
        return {}

    def inherit(  # noqa: B027 - most have nothing to copy
        self, ours: nn.Module, theirs: nn.Module, reads: Sequence[Slot], known: Sequence[Slot]
    ) -> None:
        """Copy what a child's module shares with its parent's, whose input has all slots of the child's."""


@dataclass(frozen=True)
class Convolution(Piece):
    """A convolution without bias that keeps the size, then BN and, but at a leaf's end, an activation.

    Attributes:
        kernel: height and width, pixels; odd.
        dilation: pixels from one tap to the next.
        depthwise: within every channel, which keeps the channels; otherwise to the stage's width.
        widens: of a dense one, its channels in multiples of the stage's width: an inverted bottleneck's expansion.
    """

    kernel: int = 1
    dilation: int = 1
    depthwise: bool = False
    widens: int = 1

    activated = True

    @property
    def dense(self) -> bool:
        """See `Piece`."""
        return not self.depthwise

    @property
    def what(self) -> str:
        """``depthwise3x3``, ``conv1x1``, dilated by 2 ``conv3x3d2``."""
        return f"{'depthwise' if self.depthwise else 'conv'}{square(self.kernel, self.dilation)}"

    @property
    def part(self) -> str:
        """``depthwise``, ``pointwise`` or ``dense``."""
        return "depthwise" if self.depthwise else "pointwise" if self.kernel == 1 else "dense"

    def writes(self, reads: int, width: int) -> int:
        """See `Piece`."""
        return reads if self.depthwise else width * self.widens

    def steps(self, name: str, source: str, channels: tuple[int, int], size: Size) -> Iterator[Step]:
        """See `Piece`."""
        reads, writes = channels
        weights = self.kernel**2 * writes * (1 if self.depthwise else reads)
        layer = convolution(name, self.what, channels, size, weights)
        yield Step((source,), name, writes * size[0] * size[1], layer)

    def runtime(self, channels: tuple[int, int], size: Size, activation: str | None) -> Iterator[RuntimeOperation]:
        """See `Piece`."""
        # A conv3x3 is the first layer of a network.
        what = self.what.replace("conv", "dense") if self.kernel > 1 else self.what
        yield RuntimeOperation(what, channels[:1], channels[1], size, activation=activation)

    def module(self, channels: tuple[int, int], activation: Any) -> nn.Module:
        """See `Piece`."""
        from autoshrink.ops import layers  # noqa: PLC0415 - torch

        return layers.conv_bn(*channels, self, activation=activation)

    def source(self, reads: str, writes: str, activation: str) -> tuple[str, list[str]]:
        """See `Piece`."""
        options = [f"{reads}, {writes}, {activation}"]
        options += [f"kernel={self.kernel}"] if self.kernel > 1 else []
        options += [f"dilation={self.dilation}"] if self.dilation > 1 else []
        return "ConvBN", options + ([f"groups={reads}"] if self.depthwise else [])

    def inherit(self, ours: nn.Module, theirs: nn.Module, reads: Sequence[Slot], known: Sequence[Slot]) -> None:
        """See `Piece`."""
        from autoshrink.ops import inheriting  # noqa: PLC0415 - torch

        copy = inheriting.copy_depthwise if self.depthwise else inheriting.copy_dense
        copy(ours, theirs, reads, known)

    def cuts(self) -> dict[str, Cut]:
        """See `Piece`."""
        return {"conv": "rows", "bn": "rows"} if self.depthwise else {"conv": "columns", "bn": "whole"}


@dataclass(frozen=True)
class Pooling(Piece):
    """The average or the maximum of a square around every pixel, within the picture; it has no weights."""

    kernel: int = 3
    average: bool = True

    @property
    def what(self) -> str:
        """``avgpool3x3`` or ``maxpool3x3``."""
        return f"{'avg' if self.average else 'max'}pool{square(self.kernel)}"

    @property
    def part(self) -> str:
        """``pooling``."""
        return "pooling"

    def steps(self, name: str, source: str, channels: tuple[int, int], size: Size) -> Iterator[Step]:
        """See `Piece`."""
        yield Step((source,), name, channels[1] * size[0] * size[1])

    def runtime(self, channels: tuple[int, int], size: Size, activation: str | None) -> Iterator[RuntimeOperation]:  # noqa: ARG002
        """See `Piece`."""
        yield RuntimeOperation(self.what, channels[:1], channels[1], size)

    def module(self, channels: tuple[int, int], activation: Any) -> nn.Module:  # noqa: ARG002
        """See `Piece`."""
        from autoshrink.ops import layers  # noqa: PLC0415 - torch

        return layers.pooling(self)

    def source(self, reads: str, writes: str, activation: str) -> tuple[str, list[str]]:  # noqa: ARG002
        """See `Piece`."""
        options = [f"{self.kernel}, stride=1", f"padding={self.kernel // 2}"]
        return ("nn.AvgPool2d", [*options, "count_include_pad=False"]) if self.average else ("nn.MaxPool2d", options)


@dataclass(frozen=True)
class Squeeze(Piece):
    """Squeeze and excitation (Hu et al. 2018, §3): each channel times a gate that the means of all channels decide.

    Two 1×1 convolutions with biases on the means, the network's activation between them, a sigmoid at the end.

    Attributes:
        reduction: channels of the input for one between the two convolutions; at least 1 is there.
    """

    reduction: int = 4

    @property
    def what(self) -> str:
        """``squeeze``, with its reduction."""
        return f"squeeze{self.reduction}"

    @property
    def part(self) -> str:
        """``excitation``."""
        return "excitation"

    def squeezed(self, channels: int) -> int:
        """Channels between the two convolutions."""
        return max(1, channels // self.reduction)

    def steps(self, name: str, source: str, channels: tuple[int, int], size: Size) -> Iterator[Step]:
        """See `Piece`."""
        yield from excitation(name, source, channels[0], self.squeezed(channels[0]), size)

    def runtime(self, channels: tuple[int, int], size: Size, activation: str | None) -> Iterator[RuntimeOperation]:
        """See `Piece`."""
        writes, squeezed = channels[0], self.squeezed(channels[0])
        yield RuntimeOperation("squeeze", (writes,), squeezed, size, activation=activation)
        yield RuntimeOperation("excite", (writes, squeezed), writes, size)

    def module(self, channels: tuple[int, int], activation: Any) -> nn.Module:
        """See `Piece`."""
        from autoshrink.ops import layers  # noqa: PLC0415 - torch

        return layers.SqueezeExcite(channels[0], self.squeezed(channels[0]), activation)

    def source(self, reads: str, writes: str, activation: str) -> tuple[str, list[str]]:  # noqa: ARG002
        """See `Piece`."""
        channels = reads if reads.isidentifier() else f"({reads})"
        return "SqueezeExcite", [reads, f"max(1, {channels} // {self.reduction})", activation]

    def inherit(self, ours: nn.Module, theirs: nn.Module, reads: Sequence[Slot], known: Sequence[Slot]) -> None:
        """All where the channels are the same: a gate is made of every channel."""
        if tuple(reads) == tuple(known):
            ours.load_state_dict(theirs.state_dict())

    def cuts(self) -> dict[str, Cut]:
        """See `Piece`."""
        return {"squeeze": "mixed", "excite": "mixed"}


def square(side: int, dilation: int = 1) -> str:
    """``3x3``, dilated by 2 ``3x3d2``."""
    return f"{side}x{side}" + (f"d{dilation}" if dilation > 1 else "")

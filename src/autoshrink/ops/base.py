"""What an operation is: for convolutional cells a module with its costs, for recurrent cells a function.

An operation is imported where nothing may wait for torch: its methods import torch themselves.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from autoshrink.errors import InputError
from autoshrink.steps import RuntimeOperation, Step, convolution

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autoshrink.ops.inheriting import Slot

ActivationName = Literal["relu", "swish", "hardswish", "relu6", "gelu", "leaky_relu"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_WAYS_OUT = {
    "module": "an operation needs `pieces`, or a `module` of its own",
    "steps": "an operation needs `pieces`, or `steps` of its own",
    "inherit": "search with --evaluator trained",
    "latency": "measure the network whole with `autoshrink latency`",
    "source": "export it as ONNX",
}


@dataclass(frozen=True)
class NodePlan:
    """One node of one convolutional cell, with its shapes.

    Attributes:
        node: its number in the cell.
        op: the name of its operation.
        inputs: the nodes it concatenates, ascending.
        in_channels: their channels together.
        out_channels: what its operation makes of them.
        is_leaf: leaves end in BN without activation, since the shortcut is added to them.
    """

    node: int
    op: str
    inputs: tuple[int, ...]
    in_channels: int
    out_channels: int
    is_leaf: bool


@dataclass(frozen=True)
class Source:
    """An operation in plain PyTorch, for files that do without this package.

    Attributes:
        definition: what stands in the file before the cell: a class, or a function. It may use ``torch``, ``nn``,
            ``Tensor`` and, for images, ``ConvBN``.
        call: the expression for a node's module, in which ``{reads}``, ``{writes}`` (channels), ``{inner}`` and
            ``{last}`` (activations: within the operation, and at its end) are filled in.
        dropped: the beginning of the module's tensor names that the file's do not have.
    """

    definition: str
    call: str
    dropped: str = ""


@dataclass(frozen=True)
class Operation(ABC):
    """What every operation has.

    Attributes:
        name: as cells have it: small letters, digits and underscores.
        label: as drawings have it; empty for the name.
        colours: of its box in drawings on light and on dark paper, as in CSS.
        cheaper: the operations of the same kind, by name, that cost less than it in every place.
    """

    kind: ClassVar[str]

    name: str
    label: str = ""
    colours: tuple[str, str] = ("#e6e6ea", "#3a3f46")
    cheaper: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f"operation {self.name!r}: a name has up to 32 small letters, digits and underscores")
        if not all(re.fullmatch(r"#[0-9a-fA-F]{3,8}", colour) for colour in self.colours):
            raise InputError(f"operation {self.name!r}: colours such as '#e6e6ea' are needed, not {self.colours}")

    @property
    def shown(self) -> str:
        """Its name in drawings."""
        return self.label or self.name

    @abstractmethod
    def provides(self, part: str) -> bool:
        """Whether it has a method or field of its own, or one derived from what it declares."""

    def lacks(self, part: str) -> InputError:
        """The error that says so."""
        return InputError(f"operation {self.name!r} has no {part}; {_WAYS_OUT[part]}")


@dataclass(frozen=True)
class Convolution:
    """A convolution without bias that keeps the size, then BN and, but at a leaf's end, an activation.

    Attributes:
        kernel: height and width, pixels; odd.
        dilation: pixels from one tap to the next.
        depthwise: within every channel, which keeps the channels; otherwise to the stage's width.
    """

    kernel: int = 1
    dilation: int = 1
    depthwise: bool = False

    @property
    def what(self) -> str:
        """``depthwise3x3``, ``conv1x1``, dilated by 2 ``conv3x3d2``."""
        return f"{'depthwise' if self.depthwise else 'conv'}{_square(self.kernel, self.dilation)}"


@dataclass(frozen=True)
class Pooling:
    """The average or the maximum of a square around every pixel, within the picture; it has no weights."""

    kernel: int = 3
    average: bool = True

    @property
    def what(self) -> str:
        """``avgpool3x3`` or ``maxpool3x3``."""
        return f"{'avg' if self.average else 'max'}pool{_square(self.kernel)}"


Piece = Convolution | Pooling


@dataclass(frozen=True)
class ConvOperation(Operation):
    """What a node of a convolutional cell does: (B, C_in, H, W) to (B, C_out, H, W).

    One that is made of standard `pieces` has everything else from them: costs, module, inheritance, latency, plain
    source. Any other overrides `module` and `steps`; what else it does not override is refused by name where it is
    needed. After activations follow the search's choice: within a leaf, ReLU (as in the released networks, ShrinkCNN-B
    with swish included); at a leaf's end none.

    Attributes:
        pieces: in the order in which they are applied.
        mixes: whether every output channel is made of all inputs. Where it is not, channel i of the output belongs to
            channel i of the input, and there are as many. Of pieces it is known.
        source: in plain PyTorch; of pieces it is known.
    """

    kind: ClassVar[str] = "conv"

    pieces: tuple[Piece, ...] = ()
    mixes: bool = True
    source: Source | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.pieces:
            return
        mixes = any(isinstance(piece, Convolution) and not piece.depthwise for piece in self.pieces)
        object.__setattr__(self, "mixes", mixes)
        for piece in self.pieces:
            if piece.kernel < 1 or piece.kernel % 2 == 0:
                raise InputError(f"operation {self.name!r}: {piece.what} would change the size; kernels are odd")

    def provides(self, part: str) -> bool:
        """See `Operation.provides`."""
        if part == "source":
            return bool(self.pieces or self.source)
        return bool(self.pieces) or getattr(type(self), part) is not getattr(ConvOperation, part)

    def out_channels(self, in_channels: int, width: int) -> int:
        """Channels of the output in a stage of a width."""
        return width if self.mixes else in_channels

    def steps(self, node: NodePlan, name: str, source: str, size: tuple[int, int]) -> Iterator[Step]:
        """What it costs, as steps from tensor `source`; the last one writes the node's tensor.

        Args:
            node: with its channels.
            name: the node's, with which every tensor and layer begins.
            source: the tensor it reads.
            size: height and width, pixels.
        """
        for part, piece, reads, writes in self._placed(node, "steps"):
            made, layer = f"{name}.{part}", None
            if isinstance(piece, Convolution):
                weights = piece.kernel**2 * writes * (1 if piece.depthwise else reads)
                layer = convolution(made, piece.what, (reads, writes), size, weights)
            yield Step((source,), made, writes * size[0] * size[1], layer)
            source = made

    def latency(self, node: NodePlan, size: tuple[int, int], activation: str) -> Iterator[RuntimeOperation]:
        """What a runtime executes, BN folded into the convolutions; `size` in pixels.

        Raises:
            InputError: that is not known.
        """
        after = self._activations(node, activation)
        for part, piece, reads, writes in self._placed(node, "latency"):
            # A conv3x3 is the first layer of a network.
            what = piece.what.replace("conv", "dense") if piece.kernel > 1 else piece.what
            yield RuntimeOperation(what, (reads,), writes, size, activation=after.get(part))

    def module(self, node: NodePlan, activation: ActivationName) -> nn.Module:
        """The module, of whose `Conv2d` and `Linear` layers the weights are initialised by the network.

        Raises:
            InputError: it has none.
        """
        from autoshrink.ops import layers  # noqa: PLC0415 - torch

        after = self._activations(node, activation)
        return layers.in_a_row(
            (part, layers.pooling(piece))
            if isinstance(piece, Pooling)
            else (part, layers.conv_bn(reads, writes, piece, activation=after.get(part)))  # type: ignore[arg-type]
            for part, piece, reads, writes in self._placed(node, "module")
        )

    def inherit(self, child: nn.Module, parent: nn.Module, reads: Sequence[Slot], known: Sequence[Slot]) -> None:
        """Copy what a child's module shares with its parent's, whose node reads all that the child's does, if not more.

        Args:
            child: to be changed, in place.
            parent: as trained.
            reads: whose channels the child's input has, in order.
            known: likewise the parent's.

        Raises:
            InputError: nobody has said how.
        """
        from autoshrink.ops import inheriting  # noqa: PLC0415 - torch

        if not self.pieces:
            raise self.lacks("inherit")
        mixed = False
        for part, piece in self._named():
            if isinstance(piece, Pooling):
                continue
            ours, theirs = child.get_submodule(part), parent.get_submodule(part)
            if mixed:
                ours.load_state_dict(theirs.state_dict())
            elif piece.depthwise:
                inheriting.copy_depthwise(ours, theirs, reads, known)
            else:
                inheriting.copy_dense(ours, theirs, reads, known)
                mixed = True

    def plain(self) -> Source:
        """Itself in plain PyTorch.

        Raises:
            InputError: nobody has written it.
        """
        if self.source is not None:
            return self.source
        if not self.pieces:
            raise self.lacks("source")
        from autoshrink.ops.plain import source_of  # noqa: PLC0415 - for exports alone

        return source_of(self.name, self._named())

    def _named(self) -> tuple[tuple[str, Piece], ...]:
        """The pieces with names for their modules: ``depthwise``, ``pointwise``; a second one is ``depthwise2``."""
        found: dict[str, Piece] = {}
        for piece in self.pieces:
            name = "pooling"
            if isinstance(piece, Convolution):
                name = "depthwise" if piece.depthwise else "pointwise" if piece.kernel == 1 else "dense"
            number = sum(other.rstrip("0123456789") == name for other in found) + 1
            found[name if number == 1 else f"{name}{number}"] = piece
        return tuple(found.items())

    def _placed(self, node: NodePlan, part: str) -> Iterator[tuple[str, Piece, int, int]]:
        """Name, piece, and the channels that it reads and writes."""
        if not self.pieces:
            raise self.lacks(part)
        channels = node.in_channels
        for name, piece in self._named():
            dense = isinstance(piece, Convolution) and not piece.depthwise
            writes = node.out_channels if dense else channels
            yield name, piece, channels, writes
            channels = writes

    def _activations(self, node: NodePlan, activation: str) -> dict[str, str | None]:
        """What follows each convolution."""
        convolutions = [name for name, piece in self._named() if isinstance(piece, Convolution)]
        after: dict[str, str | None] = dict.fromkeys(convolutions, "relu" if node.is_leaf else activation)
        if node.is_leaf and convolutions:
            after[convolutions[-1]] = None
        return after


@dataclass(frozen=True)
class RecurrentOperation(Operation):
    """The function through which a node of a recurrent cell sends what it reads, element by element; it costs no MACs.

    A function of PyTorch needs its name alone. Any other overrides `apply`, and gives `definition` for plain source.
    Exported files are traced, so whatever torch can export to ONNX will do.

    Attributes:
        call: the function's name: of PyTorch, ``torch.tanh``, or what `definition` defines.
        definition: of a function that PyTorch has not, as plain source.
        squash: k, where the function is k·σ(k·x) − (k − 1): 1 for the sigmoid, 2 for tanh, which then share one call
            with the gates; 0 for any other function.
        backward: ATen's gradient that takes the function's own value, and what it takes after that:
            ``("threshold_backward", 0)``; empty where it has none.
    """

    kind: ClassVar[str] = "recurrent"

    call: str = ""
    definition: str = ""
    squash: float = 0.0
    backward: tuple[Any, ...] = ()

    def provides(self, part: str) -> bool:
        """See `Operation.provides`."""
        if part == "source":
            return bool(self.call) and (self.call.startswith("torch.") or bool(self.definition))
        if part == "derive" and self.backward:
            return True
        # A part that recurrent operations do not have (weights are inherited whatever the function) is needed of none.
        own = getattr(RecurrentOperation, part, None)
        return own is None or getattr(type(self), part) is not own

    def apply(self, x: Tensor) -> Tensor:
        """The function's value; gradients flow."""
        import torch  # noqa: PLC0415 - torch

        if not self.call.startswith("torch."):
            raise InputError(f"operation {self.name!r} needs a function of torch as `call`, or an `apply` of its own")
        value: Tensor = attrgetter(self.call.removeprefix("torch."))(torch)(x)
        return value

    def derive(self, into: Tensor, value: Tensor) -> None:
        """Put the gradient in place of the one that arrives, from the function's own value.

        Where that is not enough (no `backward`, no method of its own) what the function read is kept for autograd.
        """
        import torch  # noqa: PLC0415 - torch

        name, *others = self.backward
        getattr(torch.ops.aten, name).grad_input(into, value, *others, grad_input=into)

    def plain(self) -> Source:
        """Itself in plain PyTorch.

        Raises:
            InputError: nobody has written it.
        """
        if not self.provides("source"):
            raise self.lacks("source")
        return Source(self.definition, self.call)


def _square(side: int, dilation: int = 1) -> str:
    return f"{side}x{side}" + (f"d{dilation}" if dilation > 1 else "")

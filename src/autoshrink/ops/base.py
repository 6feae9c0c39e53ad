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
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from autoshrink.errors import InputError
from autoshrink.ops.pieces import Convolution, Cut, Piece, Pooling, Squeeze
from autoshrink.steps import RuntimeOperation, Step

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autoshrink.ops.inheriting import Slot

ActivationName = Literal["relu", "swish", "hardswish", "relu6", "gelu", "leaky_relu"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_WAYS_OUT = {
    "module": "an operation needs `pieces`, or a `module` of its own",
    "steps": "an operation needs `pieces`, or `steps` of its own",
    "inherit": "search with --evaluator trained",
    "cuts": "search with --evaluator trained",
    "latency": "measure the network whole with `autoshrink latency`",
    "source": "export it as ONNX",
}


@dataclass(frozen=True)
class NodePlan:
    """One node of one convolutional cell, with its shapes.

    Attributes:
        node: its number in the cell.
        op: the name of its operation.
        inputs: the nodes it concatenates or adds, ascending.
        in_channels: of what that gives.
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
        cheaper: every operation of the same kind, by name, that costs less than it wherever both read and write so
            many channels, 32 or more: no more parameters and MACs, and less of one of them or of what is written. What
            a change saves in a network, where other channels may follow from it, is counted there. A function of a
            recurrent cell has no MACs: those that it names are quicker to compute.
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
class ConvOperation(Operation):
    """What a node of a convolutional cell does: (B, C_in, H, W) to (B, C_out, H, W).

    One that is made of standard `pieces` has everything else from them: costs, module, inheritance, latency, plain
    source. Any other overrides `module` and `steps`; what else it does not override is refused by name where it is
    needed. After activations follow the search's choice: within a leaf, ReLU (as in the released networks, ShrinkCNN-B
    with swish included); at a leaf's end none.

    Attributes:
        pieces: in the order in which they are applied; none at all for the identity, None for a module of its own.
        residual: of pieces: whether the input is added to what they give where both have as many channels. Nothing
            then follows the last convolution (the linear bottleneck of MobileNetV2: Sandler et al. 2018, §3.2).
        mixes: whether every output channel is made of all inputs. Where it is not, channel i of the output belongs to
            channel i of the input, and there are as many. Of pieces it is known.
        source: in plain PyTorch; of pieces it is known.
    """

    kind: ClassVar[str] = "conv"

    pieces: tuple[Piece, ...] | None = None
    residual: bool = False
    mixes: bool = True
    source: Source | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pieces is None:
            return
        dense = [piece for piece in self.pieces if isinstance(piece, Convolution) and piece.dense]
        object.__setattr__(self, "mixes", bool(dense))
        if dense and dense[-1].widens != 1:
            raise InputError(f"operation {self.name!r}: its last {dense[-1].what} gives the stage's width: widens=1")
        for piece in self.pieces:
            if isinstance(piece, Convolution | Pooling) and (piece.kernel < 1 or piece.kernel % 2 == 0):
                raise InputError(f"operation {self.name!r}: {piece.what} would change the size; kernels are odd")

    @property
    def additive(self) -> bool:
        """Whether it gives what it gave when channels are added to its input to which the first convolution across
        channels gives no weight. Without one, each added channel is one more of the output."""
        for piece in self.pieces or ():
            if isinstance(piece, Squeeze):
                return False
            if piece.dense:
                break
        return self.pieces is not None and not self.residual

    @property
    def mixer(self) -> str | None:
        """The part that is the first convolution across channels; None where there is none, or nobody has said."""
        return next((name for name, piece in self._named() if piece.dense), None)

    def provides(self, part: str) -> bool:
        """See `Operation.provides`."""
        if part == "source":
            return self.pieces is not None or self.source is not None
        return self.pieces is not None or getattr(type(self), part) is not getattr(ConvOperation, part)

    def out_channels(self, in_channels: int, width: int) -> int:
        """Channels of the output in a stage of a width."""
        return width if self.mixes else in_channels

    def steps(self, node: NodePlan, name: str, source: str, size: tuple[int, int]) -> Iterator[Step]:
        """What it costs, as steps from tensor `source`; the last one writes the node's tensor.

        Args:
            node: with its channels.
            name: the node's, with which every tensor and layer begins.
            source: the tensor it reads; of an operation without steps it is the node's.
            size: height and width, pixels.
        """
        tensor = source
        for part, piece, channels in self._placed(node, "steps"):
            for step in piece.steps(f"{name}.{part}", tensor, channels, size):
                yield step
                tensor = step.writes
        if self._adds(node):
            yield Step((tensor, source), f"{name}.sum", node.out_channels * size[0] * size[1], in_place=True)

    def latency(self, node: NodePlan, size: tuple[int, int], activation: str) -> Iterator[RuntimeOperation]:
        """What a runtime executes, BN folded into the convolutions; `size` in pixels.

        Raises:
            InputError: that is not known.
        """
        after = self._activations(node, activation)
        for part, piece, channels in self._placed(node, "latency"):
            yield from piece.runtime(channels, size, after[part])
        if self._adds(node):
            yield RuntimeOperation("add", (node.out_channels,) * 2, node.out_channels, size)

    def module(self, node: NodePlan, activation: ActivationName) -> nn.Module:
        """The module, of whose `Conv2d` and `Linear` layers the weights are initialised by the network.

        Raises:
            InputError: it has none.
        """
        from autoshrink.ops import layers  # noqa: PLC0415 - torch

        after = self._activations(node, activation)
        row = layers.Residual if self._adds(node) else layers.in_a_row
        return row(
            (part, piece.module(channels, after[part])) for part, piece, channels in self._placed(node, "module")
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
        if self.pieces is None:
            raise self.lacks("inherit")
        mixed = False
        for part, piece in self._named():
            ours, theirs = child.get_submodule(part), parent.get_submodule(part)
            if mixed:
                ours.load_state_dict(theirs.state_dict())
            else:
                piece.inherit(ours, theirs, reads, known)
            mixed |= piece.dense

    def cuts(self) -> Iterator[tuple[str, Cut]]:
        """Every layer of its module that has weights, by name, and how these belong to the tensors that a node
        concatenates: where all know that, cells can share them block by block.

        Raises:
            InputError: nobody has said how, or some belong to all tensors together.
        """
        if self.pieces is None:
            raise self.lacks("cuts")
        mixed = False
        for part, piece in self._named():
            for layer, cut in piece.cuts().items():
                if cut == "mixed" and not mixed:
                    raise InputError(
                        f"operation {self.name!r}: its {piece.what} weighs all channels that a node reads together, so "
                        f"no other cell can share its weights; {_WAYS_OUT['cuts']}"
                    )
                yield f"{part}.{layer}", "whole" if mixed else cut
            mixed |= piece.dense

    def inherit_from(
        self, other: Self, child: nn.Module, parent: nn.Module, reads: Sequence[Slot], known: Sequence[Slot]
    ) -> None:
        """Likewise where the parent's node had perhaps another operation; what it has no equal of stays as it is.

        Convolutions of two operations that have them in one order are each other's, kernels cut to size. Else one 1×1
        convolution takes over what all of the parent's together did to a flat picture; and in place of a dense
        convolution a separable one takes over its nearest product.

        Args:
            other: the parent's operation.
            child: to be changed, in place.
            parent: as trained.
            reads: whose channels the child's input has, in order.
            known: likewise the parent's.

        Raises:
            InputError: they are one operation, and nobody has said how.
        """
        from autoshrink.ops import inheriting  # noqa: PLC0415 - torch

        if other.name == self.name:
            self.inherit(child, parent, reads, known)
            return
        ours, theirs = self._convolutions(), other._convolutions()
        if not ours or not theirs:
            return
        layers = [child.get_submodule(part) for part in ours]
        parents = [parent.get_submodule(part) for part in theirs]
        forms, others = ([(piece.depthwise, piece.widens) for piece in each.values()] for each in (ours, theirs))
        if forms == others:
            slots, known_slots = reads, known
            for (piece, layer), its in zip(zip(ours.values(), layers, strict=True), parents, strict=True):
                piece.inherit(layer, its, slots, known_slots)
                if piece.dense:
                    slots = known_slots = inheriting.whole(layer)
        elif forms == [(True, 1), (False, 1)] and others == [(False, 1)]:
            inheriting.copy_factors((layers[0], layers[1]), parents[0], reads, known)
        elif forms[-1] == (False, 1) and all(depthwise for depthwise, _ in forms[:-1]):
            inheriting.copy_composed(layers[-1], parents, reads, known)

    def _convolutions(self) -> dict[str, Convolution]:
        return {part: piece for part, piece in self._named() if isinstance(piece, Convolution)}

    def plain(self) -> Source:
        """Itself in plain PyTorch.

        Raises:
            InputError: nobody has written it.
        """
        if self.source is not None:
            return self.source
        if self.pieces is None:
            raise self.lacks("source")
        from autoshrink.ops.plain import source_of  # noqa: PLC0415 - for exports alone

        return source_of(self.name, self._named(), residual=self.residual)

    def _named(self) -> tuple[tuple[str, Piece], ...]:
        """The pieces with names for their modules: ``depthwise``, ``pointwise``; a second one is ``depthwise2``."""
        found: dict[str, Piece] = {}
        for piece in self.pieces or ():
            number = sum(other.part == piece.part for other in found.values()) + 1
            found[piece.part if number == 1 else f"{piece.part}{number}"] = piece
        return tuple(found.items())

    def _placed(self, node: NodePlan, part: str) -> Iterator[tuple[str, Piece, tuple[int, int]]]:
        """Name, piece, and the channels that it reads and writes."""
        if self.pieces is None:
            raise self.lacks(part)
        channels = node.in_channels
        for name, piece in self._named():
            writes = piece.writes(channels, node.out_channels)
            yield name, piece, (channels, writes)
            channels = writes

    def _adds(self, node: NodePlan) -> bool:
        return self.residual and node.in_channels == node.out_channels

    def _activations(self, node: NodePlan, activation: str) -> dict[str, Any]:
        """What follows each piece, or stands within it."""
        inner = "relu" if node.is_leaf else activation
        after: dict[str, str | None] = {name: inner for name, _ in self._named()}
        convolutions = [name for name, piece in self._named() if piece.activated]
        if convolutions and (node.is_leaf or self.residual):
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

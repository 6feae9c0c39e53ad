"""x as it is: no function in a recurrent cell; in a convolutional one nothing between two nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoshrink.ops.base import ConvOperation, RecurrentOperation

if TYPE_CHECKING:
    from torch import Tensor


class Identity(RecurrentOperation):
    """No function at all."""

    def apply(self, x: Tensor) -> Tensor:
        """The input."""
        return x

    def derive(self, into: Tensor, value: Tensor) -> None:
        """The gradient stays what it is."""


IDENTITY = Identity(
    "identity",
    colours=("#ece3f3", "#43325a"),
    call="identity",
    definition='def identity(x: Tensor) -> Tensor:\n    """x as it is."""\n    return x\n',
)

SKIP = ConvOperation("identity", colours=("#e6e6ea", "#3a3f46"), pieces=())

"""The hyperbolic tangent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoshrink.ops.base import RecurrentOperation

if TYPE_CHECKING:
    from torch import Tensor


class Tanh(RecurrentOperation):
    """The hyperbolic tangent."""

    def derive(self, into: Tensor, value: Tensor) -> None:
        """See `RecurrentOperation.derive`."""
        import torch  # noqa: PLC0415 - torch

        torch.ops.aten.tanh_backward.grad_input(into, value, grad_input=into)


TANH = Tanh("tanh", colours=("#dcefdc", "#244a2b"), call="torch.tanh", squash=2.0)

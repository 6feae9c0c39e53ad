"""1 / (1 + e^(−x))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoshrink.ops.base import RecurrentOperation

if TYPE_CHECKING:
    from torch import Tensor


class Sigmoid(RecurrentOperation):
    """The logistic function."""

    def derive(self, into: Tensor, value: Tensor) -> None:
        """See `RecurrentOperation.derive`."""
        import torch  # noqa: PLC0415 - torch

        torch.ops.aten.sigmoid_backward.grad_input(into, value, grad_input=into)


SIGMOID = Sigmoid("sigmoid", colours=("#fbe6c8", "#5a4214"), call="torch.sigmoid", squash=1.0)

"""max(x, 0)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoshrink.ops.base import RecurrentOperation

if TYPE_CHECKING:
    from torch import Tensor


class Relu(RecurrentOperation):
    """The rectifier."""

    def derive(self, into: Tensor, value: Tensor) -> None:
        """See `RecurrentOperation.derive`."""
        import torch  # noqa: PLC0415 - torch

        torch.ops.aten.threshold_backward.grad_input(into, value, 0, grad_input=into)


RELU = Relu("relu", colours=("#dbe8f6", "#22405f"), call="torch.relu")

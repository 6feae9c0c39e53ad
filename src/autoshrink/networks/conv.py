"""The cell of AutoShrink's image networks as a `torch.nn.Module`.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autoshrink.architecture import CellPlan
from autoshrink.networks.projection import Projection
from autoshrink.ops import ActivationName
from autoshrink.ops import conv as operation


class ConvCell(nn.Module):
    """One cell: (B, C_in, H, W) to (B, C_out, ceil(H / pool), ceil(W / pool))."""

    def __init__(self, plan: CellPlan, activation: ActivationName) -> None:
        super().__init__()
        # ceil_mode gives ceil(H / pool), the size of the strided shortcut, for every H.
        self.pool = nn.MaxPool2d(plan.pool, ceil_mode=True) if plan.pool > 1 else None
        self.nodes = nn.ModuleDict(
            {f"node{node.node}": operation(node.op).module(node, activation) for node in plan.nodes}
        )
        self.shortcut = Projection((plan.in_channels, plan.out_channels), plan.pool) if plan.projects else None
        self._walk = tuple((f"node{node.node}", node.node, node.inputs) for node in plan.nodes)
        self._leaves = plan.leaves

    def forward(self, x: Tensor) -> Tensor:
        """Leaves concatenated, plus the shortcut from before the pooling."""
        tensors = {0: x if self.pool is None else self.pool(x)}
        for name, node, inputs in self._walk:
            tensors[node] = self.nodes[name](_concat([tensors[i] for i in inputs]))
        output = _concat([tensors[leaf] for leaf in self._leaves])
        return (x if self.shortcut is None else self.shortcut(x)) + output


def _concat(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=1)

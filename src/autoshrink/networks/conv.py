"""The cell of AutoShrink's image networks as a `torch.nn.Module`.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn

from autoshrink.architecture import CellPlan
from autoshrink.networks.projection import Projection
from autoshrink.ops import ActivationName
from autoshrink.ops import conv as operation
from autoshrink.ops.layers import ACTIVATIONS, conv_bn


class ConvCell(nn.Module):
    """One cell: (B, C_in, H, W) to (B, C_out, ceil(H / pool), ceil(W / pool))."""

    def __init__(self, plan: CellPlan, activation: ActivationName) -> None:
        super().__init__()
        # ceil_mode gives ceil(H / pool), the size of the strided shortcut, for every H.
        self.pool = nn.MaxPool2d(plan.pool, ceil_mode=True) if plan.pool > 1 else None
        self.entry = conv_bn(plan.in_channels, plan.first_channels, activation=None) if plan.enters else None
        self.nodes = nn.ModuleDict(
            {f"node{node.node}": operation(node.op).module(node, activation) for node in plan.nodes}
        )
        channels = plan.in_channels, plan.out_channels
        self.shortcut = Projection(channels, plan.shortcut_stride) if plan.projects else None
        self.merge = self.activation = None
        if plan.merges:
            self.merge = conv_bn(plan.leaf_channels, plan.out_channels, activation=None)
            self.activation = ACTIVATIONS[activation]()
        self._walk = tuple((f"node{node.node}", node.node, node.inputs) for node in plan.nodes)
        self._leaves = plan.leaves
        self._adds = plan.adds

    def forward(self, x: Tensor) -> Tensor:
        """Leaves concatenated, plus the shortcut from before the pooling; or leaves and node 0 added; or merged."""
        first = x if self.pool is None else self.pool(x)
        tensors = {0: first if self.entry is None else self.entry(first)}
        for name, node, inputs in self._walk:
            tensors[node] = self.nodes[name](self._joined([tensors[i] for i in inputs]))
        output = self._joined([tensors[leaf] for leaf in self._leaves])
        if self._adds:
            return tensors[0] + output
        if self.merge is not None and self.activation is not None:
            x = first if self.shortcut is None else self.shortcut(first)
            merged: Tensor = self.activation(x + self.merge(output))
            return merged
        return (x if self.shortcut is None else self.shortcut(x)) + output

    def _joined(self, tensors: list[Tensor]) -> Tensor:
        if len(tensors) == 1:
            return tensors[0]
        return reduce(torch.add, tensors) if self._adds else torch.cat(tensors, dim=1)

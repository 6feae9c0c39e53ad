"""A convolutional architecture as a `torch.nn.Module` (AutoShrink's image network).

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from autoshrink.architecture import CellPlan, NetworkPlan
from autoshrink.ops import ActivationName, Convolution
from autoshrink.ops import conv as operation
from autoshrink.ops.layers import BN_MOMENTUM, conv_bn
from autoshrink.seeding import derive_seed


class ConvCell(nn.Module):
    """One cell: (B, C_in, H, W) to (B, C_out, ceil(H / pool), ceil(W / pool))."""

    def __init__(self, plan: CellPlan, activation: ActivationName) -> None:
        super().__init__()
        # ceil_mode gives ceil(H / pool), the size of the strided shortcut, for every H.
        self.pool = nn.MaxPool2d(plan.pool, ceil_mode=True) if plan.pool > 1 else None
        self.nodes = nn.ModuleDict(
            {f"node{node.node}": operation(node.op).module(node, activation) for node in plan.nodes}
        )
        self.shortcut = conv_bn(plan.in_channels, plan.out_channels, activation=None) if plan.projects else None
        self._stride = plan.pool
        self._walk = tuple((f"node{node.node}", node.node, node.inputs) for node in plan.nodes)
        self._leaves = plan.leaves

    def forward(self, x: Tensor) -> Tensor:
        """Leaves concatenated, plus the shortcut from before the pooling."""
        tensors = {0: x if self.pool is None else self.pool(x)}
        for name, node, inputs in self._walk:
            tensors[node] = self.nodes[name](_concat([tensors[i] for i in inputs]))
        output = _concat([tensors[leaf] for leaf in self._leaves])
        # The stride is taken here and not in the 1×1 convolution, which comes to the same: oneDNN's backward pass of a
        # strided 1×1 convolution in channels-last memory writes past its buffer for odd batches (torch 2.13, CPU).
        shortcut = x if self.shortcut is None else self.shortcut(x[:, :, :: self._stride, :: self._stride])
        return shortcut + output

    def take_stride(self) -> None:
        """Take the shortcut's stride in its convolution: the same output, one operation fewer, for inference alone."""
        if self.shortcut is not None:
            convolution = self.shortcut[0]
            assert isinstance(convolution, nn.Conv2d), "a projection begins with its convolution"
            convolution.stride = (self._stride, self._stride)
            self._stride = 1


class ConvNetwork(nn.Module):
    """Stem, cells, optional head, global average pooling, classifier: (B, C, H, W) to (B, classes) logits."""

    def __init__(self, plan: NetworkPlan) -> None:
        super().__init__()
        self.plan = plan
        activation = plan.activation
        self.stem = conv_bn(
            plan.input[0], plan.stem.channels, Convolution(3), stride=plan.stem.stride, activation=activation
        )
        cells: OrderedDict[str, nn.Module] = OrderedDict(
            (cell.name.replace(".", "_"), ConvCell(cell, activation)) for cell in plan.cells
        )
        self.cells = nn.Sequential(cells)
        last = plan.cells[-1].out_channels
        self.head = conv_bn(last, plan.features, activation=activation) if plan.head else None
        self.classifier = nn.Linear(plan.features, plan.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (B, classes)."""
        x = self.cells(self.stem(x))
        if self.head is not None:
            x = self.head(x)
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


def _concat(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=1)


def set_normalisation(network: nn.Module, *, epsilon: float, momentum: float = BN_MOMENTUM) -> None:
    """Give every BN layer what it adds to the variance, and the weight of a new batch in its running statistics."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = epsilon, momentum


def initialise(network: nn.Module, seed: int) -> None:
    """Glorot-normal weights, zero bias, each layer from its own generator named by the layer.

    A layer that two candidates share, with the same name and shape, starts from the same weights in both: their
    comparison is paired as far as it can be.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            generator = torch.Generator().manual_seed(derive_seed(seed, "weights", name))
            nn.init.xavier_normal_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

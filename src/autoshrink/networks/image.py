"""An image architecture as a `torch.nn.Module`.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from autoshrink.architecture import ActivationName, BlockPlan, CellPlan, NetworkPlan, PartPlan, Stem
from autoshrink.networks.conv import ConvCell
from autoshrink.networks.mobile import Block
from autoshrink.ops import Convolution
from autoshrink.ops.layers import BN_MOMENTUM, conv_bn
from autoshrink.seeding import derive_seed


class ImageNetwork(nn.Module):
    """Stem, cells or blocks, optional head, global average pooling, classifier: (B, C, H, W) to (B, classes) logits."""

    head: nn.Module | None

    def __init__(self, plan: NetworkPlan[Any]) -> None:
        super().__init__()
        self.plan = plan
        activation = plan.activation
        self.stem: nn.Module = _stem(plan.input[0], plan.stem, activation)
        self.trunk_name = "cells" if isinstance(plan.parts[0], CellPlan) else "blocks"
        named = OrderedDict((part.name.replace(".", "_"), _module(part, activation)) for part in plan.parts)
        self.add_module(self.trunk_name, nn.Sequential(named))
        last = plan.parts[-1].out_channels
        self.head = conv_bn(last, plan.features, activation=activation) if plan.head else None
        self.classifier = nn.Linear(plan.features, plan.classes)

    @property
    def trunk(self) -> nn.Sequential:
        """The cells or blocks."""
        found = self.get_submodule(self.trunk_name)
        assert isinstance(found, nn.Sequential), "cells and blocks come in a row"
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (B, classes)."""
        x = self.trunk(self.stem(x))
        if self.head is not None:
            x = self.head(x)
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


def _stem(channels: int, stem: Stem, activation: ActivationName) -> nn.Sequential:
    """The first convolution, whose parts stand in the row itself, and what follows it."""
    row = conv_bn(channels, stem.channels, Convolution(stem.kernel), stride=stem.stride, activation=activation)
    if stem.separable:
        depthwise = Convolution(3, depthwise=True)
        row.add_module("depthwise", conv_bn(stem.channels, stem.channels, depthwise, activation=activation))
        row.add_module("pointwise", conv_bn(stem.channels, stem.separable, activation=activation))
    if stem.pool > 1:
        row.add_module("pool", nn.MaxPool2d(stem.pool, ceil_mode=True))
    return row


def _module(part: PartPlan, activation: ActivationName) -> nn.Module:
    if isinstance(part, CellPlan):
        return ConvCell(part, activation)
    assert isinstance(part, BlockPlan), "the parts of image networks"
    return Block(part)


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
        initialise_layer(module, seed, name)


def initialise_layer(module: nn.Module, seed: int, name: str) -> None:
    """One of them; nothing where it is no convolution and not linear."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        generator = torch.Generator().manual_seed(derive_seed(seed, "weights", name))
        nn.init.xavier_normal_(module.weight, generator=generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

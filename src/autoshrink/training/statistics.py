"""Batch normalisation's running statistics, taken anew where training leaves them behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

SETTLED = 10
"""Updates times momentum from which running statistics have forgotten their start: e⁻¹⁰ of it is left."""


def normalising(network: nn.Module) -> list[_BatchNorm]:
    """The layers that normalise a batch."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


@torch.no_grad()
def take_statistics(network: nn.Module, batches: Iterable[Tensor], forward: Callable[[Tensor], object]) -> None:
    """Take BN's running statistics anew, as the plain mean over batches that are passed forward; nothing else changes.

    Args:
        network: its layers get the statistics; it is left in evaluation mode, but for them.
        batches: images (B, C, H, W).
        forward: passes one batch through the network.
    """
    layers = normalising(network)
    momenta = [layer.momentum for layer in layers]
    # Dropout would draw random numbers, on which the next step of a training depends.
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    for images in batches:
        forward(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum

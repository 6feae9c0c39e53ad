"""The exponential moving average of a network's weights, which is what a classifier is judged by and kept as."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class AveragedWeights:
    """A copy of a network whose floating weights and BN statistics follow those of the original.

    After step n (from 0) every value a becomes a + (1 − d)·(w − a) with d = min(decay, (1 + n) / (10 + n)): the young
    average forgets fast, so that it does not remember the random start (TensorFlow's `ExponentialMovingAverage`).

    Args:
        network: the original, which stands at its start.
        decay: what an old average keeps a step, in [0, 1).

    Attributes:
        network: the copy.
        steps: updates so far.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Follow the original by one step."""
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        ours, theirs = _values(self.network), _values(network)
        torch._foreach_lerp_(ours, theirs, 1 - keep)
        for mine, other in zip(self.network.buffers(), network.buffers(), strict=True):
            if not mine.is_floating_point():
                mine.copy_(other)


def _values(network: nn.Module) -> list[Tensor]:
    tensors = [*network.parameters(), *network.buffers()]
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]

"""Gradients of untrained networks, layer by layer, for scores that need no training.

Shape letters: T time steps, B streams or images, n width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.architecture import Architecture
from autoshrink.design import Design
from autoshrink.errors import InputError
from autoshrink.networks import LanguageNetwork
from autoshrink.networks.recurrent import RecurrentCell
from autoshrink.training.images import DeviceImages
from autoshrink.training.text import Streams


@runtime_checkable
class LayerGradients(Protocol):
    """A problem whose untrained networks can be differentiated, which is a thing that problems need not be able to."""

    def architecture(self, design: Design) -> Architecture:
        """The proxy network around a cell."""
        ...

    def layer_gradients(
        self, architecture: Architecture, seed: int, *, batches: int, draw: int
    ) -> list[dict[str, Tensor]]:
        """For each of so many different batches the loss's gradient by layer.

        Args:
            architecture: of the network.
            seed: decides its initial weights.
            batches: how many.
            draw: decides which; the same for all that are to be compared.

        Raises:
            ValueError: there are too few samples.
        """
        ...

    def gradient_samples(self, batches: int) -> int:
        """Training samples (images, or tokens of text) that `layer_gradients` reads."""
        ...


def images_a_batch(data: Sized, *, batch: int, batches: int) -> int:
    """B: `batch`, or less where there are too few images for so many different batches.

    Raises:
        ValueError: there is not an image for each batch.
    """
    size = min(batch, len(data) // batches)
    if size < 1:
        raise ValueError(f"{len(data)} images are too few for {batches} batches")
    return size


def image_gradients(
    network: nn.Module, data: DeviceImages, *, batch: int, batches: int, draw: int
) -> list[dict[str, Tensor]]:
    """Gradients of the cross-entropy of each batch, by layer: every `Conv2d`'s and `Linear`'s weight, no bias, no BN.

    The network is not updated between batches. It is left in training mode, whose statistics are the batch's; BN's
    running ones move, and take no part. The batches hold different images, without augmentation.

    Args:
        network: freshly initialised, on the images' device; (B, C, H, W) to logits. What is
            differentiated is what the training would start from.
        data: training images.
        batch: images a batch, at most.
        batches: N.
        draw: decides the batches; the same for all that are to be compared.

    Raises:
        ValueError: there are too few images.
    """
    size = images_a_batch(data, batch=batch, batches=batches)
    generator = torch.Generator().manual_seed(draw)
    order = torch.randperm(len(data), generator=generator)[: size * batches].to(data.device)
    network.train()
    weights = {
        name: module.weight for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)
    }
    found = []
    for indices in order.view(batches, size):
        images, labels = data.batch(indices)
        found.append(_gradients(functional.cross_entropy(network(images), labels), weights))
    return found


def steps_a_chunk(streams: Streams, *, bptt: int, batches: int) -> int:
    """T: `bptt`, or less where the streams are too short for so many different chunks.

    Raises:
        ValueError: there is not a step for each chunk.
    """
    steps = min(bptt, len(streams) // batches)
    if steps < 1:
        raise ValueError(f"streams of {len(streams)} tokens are too short for {batches} chunks")
    return steps


def text_gradients(
    network: LanguageNetwork, streams: Streams, *, bptt: int, batches: int, draw: int
) -> list[dict[str, Tensor]]:
    """Gradients of the mean loss of each chunk, by layer: gate and transform halves of W₀ (2n, n) and each W_ij (n, n).

    A chunk is T steps of all streams from anywhere in the text, with the state zero before it and no dropout. The tied
    embedding is left out: rows of absent words have only the decoder's part of a gradient.

    Args:
        network: freshly initialised, with a cell, on the streams' device.
        streams: training text, which fills its streams.
        bptt: T, at most.
        batches: N chunks.
        draw: decides the chunks; the same for all that are to be compared.

    Raises:
        ValueError: the text is too short.
        InputError: the network has no cell.
    """
    core = network.core
    if not isinstance(core, RecurrentCell):
        raise InputError(
            "gradients by layer are those of language models around a cell, not of an LSTM, a GRU or minGRU"
        )
    steps = steps_a_chunk(streams, bptt=bptt, batches=batches)
    generator = torch.Generator().manual_seed(draw)
    starts = torch.randperm(len(streams) // steps, generator=generator)[:batches] * steps
    weights: dict[str, Tensor] = {"W0": core.input_weight}
    weights |= {f"W{i}-{j}": weight for (i, j), weight in core.edge_weights().items()}
    found = []
    for start in starts.tolist():
        rows = slice(start, start + steps)
        features, _ = network.features(streams.inputs[rows], network.initial_state(streams.width))
        whole = _gradients(network.loss(features, streams.targets[rows]), weights)
        halves = {}
        for name, gradient in whole.items():
            halves[f"{name} gate"], halves[f"{name} transform"] = gradient.chunk(2, dim=1)
        found.append(halves)
    return found


def _gradients(loss: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))

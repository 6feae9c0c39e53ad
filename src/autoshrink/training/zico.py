"""ZiCo: a score of an untrained network from the gradients of a few batches (Li et al., ICLR 2023, arXiv 2301.11300).

Large, steady gradients score high. A layer's part is at least ln(number of its weights) for two batches, so the score
rewards more and wider layers whatever they are good for: compare cells by it only with the cost taken off
(`fitted_penalty`) or under a limit.

Shape letters: N batches, T time steps, B streams or images, n width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.architecture import Architecture
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.errors import InputError
from autoshrink.networks import LanguageNetwork
from autoshrink.networks.conv import ConvCell
from autoshrink.networks.recurrent import RecurrentCell
from autoshrink.ranking import spearman
from autoshrink.score import Spent
from autoshrink.seeding import derive_seed
from autoshrink.training.device import repeatable
from autoshrink.training.images import DeviceImages
from autoshrink.training.text import Streams

Variance = Literal["signed", "absolute"]

BATCHES = 2
"""N: the paper's default; it tried 2 to 10, and more were no better."""
SCORE_BATCH = 64
"""Images a batch at least: half of the paper's, which found as many to be enough."""
BISECTIONS = 60
"""Halvings of the interval of λ′: more than the bits of a float64's fraction."""


@runtime_checkable
class GradientSource(Protocol):
    """What is scored: a task's data and its networks, untrained. Each call meets the same batches."""

    def architecture(self, cell: Cell) -> Architecture:
        """The proxy network around a cell."""
        ...

    def score_gradients(self, architecture: Architecture, seed: int, batches: int) -> list[dict[str, Tensor]]:
        """For each batch the loss's gradient by layer; `seed` decides the initial weights, not the batches."""
        ...

    def score_samples(self, batches: int) -> int:
        """Training samples (images, or tokens of text) that `score_gradients` reads."""
        ...


class ZicoScorer:
    """ZiCo of cells in their proxy networks; higher is better, and no network is trained.

    Args:
        source: data and networks.
        batches: N, at least 2.
        variance: see `zico`.
        threads: CPU threads; None leaves them alone.
    """

    def __init__(
        self,
        source: GradientSource,
        *,
        batches: int = BATCHES,
        variance: Variance = "signed",
        threads: int | None = None,
    ) -> None:
        self._source = source
        self._batches = batches
        self._variance: Variance = variance
        self._threads = threads

    def __call__(self, cell: Cell, seed: int) -> float:
        """The score, nats; the seed decides the initial weights.

        Raises:
            ValueError: a gradient is not finite.
        """
        with repeatable(self._threads):
            gradients = self._source.score_gradients(self._source.architecture(cell), seed, self._batches)
            return zico(gradients, variance=self._variance)

    def spent(self, cell: Cell) -> Spent:
        """What one score of the cell costs; a sample takes three forward passes' MACs. Seconds are left at 0."""
        samples = self._source.score_samples(self._batches)
        return Spent(samples, 3 * samples * count(self._source.architecture(cell)).macs)


def zico(gradients: Sequence[Mapping[str, Tensor]], *, variance: Variance = "signed") -> float:
    """Σ over layers of ln Σ over weights w of mean_b |g_wb| / std_b(g_wb), nats: the paper's definition of ZiCo.

    The deviation is the population's (divided by N), sums are float64. A weight whose gradient does not vary is left
    out, and so is a layer without any other.

    Args:
        gradients: for each batch b the gradients g by layer, of any shape; the same layers and shapes in each.
        variance: whose deviation it is. ``"absolute"`` is the paper's formula, √Var_b(|g_wb|); ``"signed"`` is what
            the released code computes, √Var_b(g_wb). With two batches a signed weight gives (|g₁| + |g₂|) / |g₁ − g₂|:
            exactly 1 where the signs differ, and at least 1 always.

    Raises:
        ValueError: there are fewer than two batches, their layers differ, or a gradient is not finite.
    """
    if len(gradients) < 2:
        raise ValueError(f"ZiCo compares the gradients of at least two batches; there are {len(gradients)}")
    layers = gradients[0].keys()
    if any(batch.keys() != layers for batch in gradients):
        raise ValueError("ZiCo takes gradients of the same layers from every batch")
    terms = []
    for layer in layers:
        # On the CPU, since Apple's MPS has no float64.
        stacked = torch.stack([batch[layer].detach().cpu().double() for batch in gradients])
        if not bool(torch.isfinite(stacked).all()):
            raise ValueError(f"the gradient of {layer} is not finite at initialisation: the cell has no ZiCo score")
        terms.append(_layer(stacked, variance))
    return math.fsum(terms)


def _layer(gradients: Tensor, variance: Variance) -> float:
    """One layer's term from gradients (N, …)."""
    sizes = gradients.abs()
    varied = gradients if variance == "signed" else sizes
    # Less the first batch's, equal gradients have no deviation at all; rounded, their mean may differ from them.
    deviation = (varied - varied[0]).std(dim=0, correction=0)
    counted = deviation > 0
    total = float((sizes.mean(dim=0)[counted] / deviation[counted]).sum())
    return math.log(total) if total > 0 else 0.0


def images_a_batch(data: DeviceImages, *, batch: int, batches: int) -> int:
    """B: `batch`, or less where there are too few images for so many different batches.

    Raises:
        ValueError: there is not an image for each batch.
    """
    size = min(batch, len(data) // batches)
    if size < 1:
        raise ValueError(f"{len(data)} images are too few for {batches} batches")
    return size


def image_gradients(
    network: nn.Module, data: DeviceImages, *, batch: int, batches: int, seed: int, shortcuts: bool = True
) -> list[dict[str, Tensor]]:
    """Gradients of the cross-entropy of each batch, by layer: every `Conv2d`'s and `Linear`'s weight, no bias, no BN.

    The network is not updated between batches. It is left in training mode, whose statistics are the batch's; BN's
    running ones move, and take no part. The batches hold different images, without augmentation.

    Args:
        network: freshly initialised, on the images' device; (B, C, H, W) to logits. The paper starts from Kaiming's
            initialisation; here it is what the training would start from.
        data: training images.
        batch: images a batch, at most.
        batches: N.
        seed: decides the batches; the same for all that are to be compared.
        shortcuts: False takes the cells' shortcuts, and their projections' terms, away for as long as this takes, as
            ZiCo's released code does with residual links.

    Raises:
        ValueError: there are too few images.
    """
    size = images_a_batch(data, batch=batch, batches=batches)
    generator = torch.Generator().manual_seed(derive_seed(seed, "zico"))
    order = torch.randperm(len(data), generator=generator)[: size * batches].to(data.device)
    network.train()
    with _shortcuts(network, kept=shortcuts):
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
    network: LanguageNetwork, streams: Streams, *, bptt: int, batches: int, seed: int
) -> list[dict[str, Tensor]]:
    """Gradients of the mean loss of each chunk, by layer: gate and transform halves of W₀ (2n, n) and each W_ij (n, n).

    A chunk is T steps of all streams from anywhere in the text, with the state zero before it and no dropout. The tied
    embedding is left out: rows of absent words have only the decoder's part of a gradient.

    Args:
        network: freshly initialised, with a cell, on the streams' device.
        streams: training text, which fills its streams.
        bptt: T, at most.
        batches: N chunks.
        seed: decides the chunks; the same for all that are to be compared.

    Raises:
        ValueError: the text is too short.
        InputError: the network has no cell.
    """
    core = network.core
    if not isinstance(core, RecurrentCell):
        raise InputError("ZiCo scores language models around a cell, not torch's LSTM or GRU")
    steps = steps_a_chunk(streams, bptt=bptt, batches=batches)
    generator = torch.Generator().manual_seed(derive_seed(seed, "zico"))
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


def fitted_penalty(scores: Sequence[float], resources: Sequence[float]) -> float:
    """λ′ for which ZiCo − λ′·log₁₀(resource) has no rank correlation with the resource, over a set of cells.

    The correlation (Spearman's) falls in steps as λ′ grows; bisection finds the step that leaves the positive side. λ′
    is negative where the scores fall with the resource, and 0.0 where all resources are equal.

    Args:
        scores: ZiCo of each cell, nats.
        resources: MACs, or another cost, of each cell; less than 1 counts as 1.

    Raises:
        ValueError: there are fewer than three cells, or a score is not finite.
    """
    value, cost = np.asarray(scores, dtype=np.float64), np.log10(np.maximum(1.0, np.asarray(resources, dtype=float)))
    if not np.isfinite(value).all():
        raise ValueError("a penalty is fitted to finite scores; leave failed cells out")
    if spearman(cost, cost) == 0.0:
        return 0.0
    # Beyond the steepest line through two cells the order is the resource's own, or its reverse.
    gaps = np.diff(np.unique(cost))
    steepest = float(np.ptp(value) / gaps.min()) + 1.0
    low, high = -steepest, steepest
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        left = spearman(value - middle * cost, cost)
        if left == 0.0:
            return middle
        low, high = (middle, high) if left > 0 else (low, middle)
    return (low + high) / 2


def _gradients(loss: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


class _NoShortcut(nn.Sequential):
    """Zeros (B, C_out, H, W) for (B, C, H, W); C_out None is C."""

    def __init__(self, channels: int | None) -> None:
        super().__init__()
        self._channels = channels

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - its name in nn.Sequential
        batch, channels, height, width = input.shape
        return input.new_zeros(batch, self._channels or channels, height, width)


@contextmanager
def _shortcuts(network: nn.Module, *, kept: bool) -> Iterator[None]:
    """The network with its cells' shortcuts, or without them inside."""
    found = [(cell, cell.shortcut) for cell in network.modules() if isinstance(cell, ConvCell)]
    try:
        for cell, shortcut in found if not kept else ():
            projection = None if shortcut is None else shortcut.get_submodule("conv")
            cell.shortcut = _NoShortcut(projection.out_channels if isinstance(projection, nn.Conv2d) else None)
        yield
    finally:
        for cell, shortcut in found:
            cell.shortcut = shortcut

"""ZiCo: a score of an untrained network from the gradients of a few batches (Li et al., ICLR 2023, arXiv 2301.11300).

Large, steady gradients score high. A layer's part is at least ln(number of its weights) for two batches, so the score
rewards more and wider layers whatever they are good for: compare cells by it only with the cost taken off
(`fitted_penalty`) or under a limit.

N is the number of batches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from autoshrink.cost import count
from autoshrink.design import Design
from autoshrink.ranking import spearman
from autoshrink.score import Spent
from autoshrink.training.device import repeatable
from autoshrink.training.gradients import LayerGradients

Variance = Literal["signed", "absolute"]

BATCHES = 2
"""N: the paper's default; it tried 2 to 10, and more were no better."""
BISECTIONS = 60
"""Halvings of the interval of λ′: more than the bits of a float64's fraction."""


class ZicoScorer:
    """ZiCo of cells in their proxy networks; higher is better, and no network is trained.

    Args:
        source: data and networks.
        draw: decides the batches, the same for every cell.
        batches: N, at least 2.
        variance: see `zico`.
        threads: CPU threads; None leaves them alone.
    """

    def __init__(
        self,
        source: LayerGradients,
        *,
        draw: int = 0,
        batches: int = BATCHES,
        variance: Variance = "signed",
        threads: int | None = None,
    ) -> None:
        self._source = source
        self._draw = draw
        self._batches = batches
        self._variance: Variance = variance
        self._threads = threads

    def __call__(self, design: Design, seed: int) -> float:
        """The score, nats; the seed decides the initial weights.

        Raises:
            ValueError: a gradient is not finite.
        """
        with repeatable(self._threads):
            architecture = self._source.architecture(design)
            gradients = self._source.layer_gradients(architecture, seed, batches=self._batches, draw=self._draw)
            return zico(gradients, variance=self._variance)

    def spent(self, design: Design) -> Spent:
        """What one score of the design costs; a sample takes three forward passes' MACs. Seconds are left at 0."""
        samples = self._source.gradient_samples(self._batches)
        return Spent(samples, 3 * samples * count(self._source.architecture(design)).macs)


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

"""A recurrent cell as plainly as its equations read: one small product an edge and a step.

Slow. The tests hold the fast path (`autoshrink.networks.unrolled`) against it, benchmarks/recurrent.py measures the
difference, and it is what a single step with explicit state is made of.

Shape letters: T time steps, B streams, n width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from autoshrink.architecture import RecurrentPlan
from autoshrink.cell import Edge
from autoshrink.ops import recurrent

Gates = Mapping[tuple[int, int | None], Tensor]
"""What an edge (i, j), or a leaf (j, None), counts for in its mean, a number each; 1 for what is not there."""


def highway(x: Tensor, product: Tensor, op: str) -> Tensor:
    """x + σ(c) ⊙ (op(h) − x) for a product [c | h]; x (B, n), product (B, 2n)."""
    gate, transform = product.chunk(2, dim=1)
    return x + torch.sigmoid(gate) * (recurrent(op).apply(transform) - x)


def step(
    plan: RecurrentPlan,
    x: Tensor,
    state: Tensor,
    *,
    input_weight: Tensor,
    edge_weights: Mapping[Edge, Tensor],
    mask: Tensor | None = None,
    gates: Gates | None = None,
) -> Tensor:
    """The hidden state (B, n) after one input x (B, n); weights as in `autoshrink.networks.recurrent.RecurrentCell`."""

    def dropped(tensor: Tensor) -> Tensor:
        return tensor if mask is None else tensor * mask

    states = {0: highway(state, torch.cat([x, dropped(state)], dim=1) @ input_weight, "tanh")}
    for node in plan.nodes:
        arriving = [highway(states[i], dropped(states[i]) @ edge_weights[i, node.node], node.op) for i in node.inputs]
        if gates is not None:
            states[node.node] = _gated(arriving, [(i, node.node) for i in node.inputs], gates, plan.aggregate)
            continue
        total = torch.stack(arriving).sum(dim=0)
        states[node.node] = total / len(arriving) if plan.aggregate == "mean" else total
    outputs = [states[node] for node in plan.outputs]
    if gates is None:
        return torch.stack(outputs).mean(dim=0)
    return _gated(outputs, [(node, None) for node in plan.outputs], gates, "mean")


def _gated(tensors: Sequence[Tensor], places: Sequence[tuple[int, int | None]], gates: Gates, aggregate: str) -> Tensor:
    """The mean or the sum of some tensors, each counted as its gate says."""
    shares = [gates.get(place, tensors[0].new_ones(())) for place in places]
    total = torch.stack([share * tensor for share, tensor in zip(shares, tensors, strict=True)]).sum(dim=0)
    return total / torch.stack(shares).sum() if aggregate == "mean" else total


def run(
    plan: RecurrentPlan,
    inputs: Tensor,
    state: Tensor,
    *,
    input_weight: Tensor,
    edge_weights: Mapping[Edge, Tensor],
    mask: Tensor | None = None,
    gates: Gates | None = None,
) -> Tensor:
    """The hidden states (T, B, n) after inputs (T, B, n)."""
    outputs = []
    for x in inputs:
        state = step(plan, x, state, input_weight=input_weight, edge_weights=edge_weights, mask=mask, gates=gates)
        outputs.append(state)
    return torch.stack(outputs)

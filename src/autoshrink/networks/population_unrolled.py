"""Recurrent cells of several candidates unrolled over a chunk of text together, forward and backward.

As in `autoshrink.networks.unrolled`, which gives the reasons; here every product is one for all candidates. The cells
lie over each other: nodes and edges are those that any candidate has. An edge that a candidate lacks has weights of
zero there and no share in what its reader gets, so its gradient is zero too.

Shape letters: K candidates, T time steps, B streams, n width, m nodes in use by any candidate, d edges that leave a
node in any candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoshrink.architecture import RecurrentPlan
from autoshrink.cell import Edge
from autoshrink.ops import DEFAULTS, recurrent

ACTIVATIONS = {name: recurrent(name).apply for name in DEFAULTS["recurrent"]}
MIXED = "mixed"
"""Instead of an activation: the candidates have different ones at this node."""
ORDER = ("sigmoid", "tanh", "relu", "identity", MIXED)
"""Of the transforms' columns: what goes through the sigmoid lies beside the gates, which do too."""

_aten = torch.ops.aten
_DERIVE: dict[str, Callable[[Tensor, Tensor], object]] = {
    "sigmoid": lambda into, value: _aten.sigmoid_backward.grad_input(into, value, grad_input=into),
    "tanh": lambda into, value: _aten.tanh_backward.grad_input(into, value, grad_input=into),
    "relu": lambda into, value: _aten.threshold_backward.grad_input(into, value, 0, grad_input=into),
}
"""Gradient of an activation from its own value, in place of the gradient that arrives; identity changes nothing."""


class Fan(nn.Module):
    """The edges that leave one node in any candidate: their weights, and where their results go.

    Attributes:
        place: position of the node among those in use.
        edges: node numbers, ordered by the activation of the reader.
        blocks: (activation or `MIXED`, first, last + 1) of the edges.
        weight: (K, n, 2, d, n): gates of all edges, then transforms.
        share: (K, m − 1 − place, d): what each edge's result adds to each later node's state.
        chosen: (activations, K, d, 1, 1) bool, in `ACTIVATIONS`' order: which one each candidate's edge has.
    """

    share: Tensor
    chosen: Tensor

    def __init__(self, plans: Sequence[RecurrentPlan], numbers: Sequence[int], place: int) -> None:
        super().__init__()
        source, later = numbers[place], numbers[place + 1 :]
        nodes = [{node.node: node for node in plan.nodes} for plan in plans]
        ops = {j: {by[j].op for by in nodes if j in by} for j in later}
        kinds = {j: next(iter(found)) if len(found) == 1 else MIXED for j, found in ops.items()}
        targets = sorted({node.node for plan in plans for node in plan.nodes if source in node.inputs})
        targets.sort(key=lambda j: ORDER.index(kinds[j]))
        order = [kinds[j] for j in targets]
        self.place = place
        self.edges: tuple[Edge, ...] = tuple((source, j) for j in targets)
        self.blocks = tuple((op, order.index(op), len(order) - order[::-1].index(op)) for op in dict.fromkeys(order))
        width = plans[0].width
        self.weight = nn.Parameter(torch.zeros(len(plans), width, 2, len(targets), width))
        # Rounded to the weights' precision once that is known.
        share = torch.zeros(len(plans), len(later), len(targets), dtype=torch.float64)
        chosen = torch.zeros(len(ACTIVATIONS), len(plans), len(targets), 1, 1, dtype=torch.bool)
        names = list(ACTIVATIONS)
        for k, (plan, by) in enumerate(zip(plans, nodes, strict=True)):
            for column, j in enumerate(targets):
                if j in by and source in by[j].inputs:
                    share[k, later.index(j), column] = 1.0 / len(by[j].inputs) if plan.aggregate == "mean" else 1.0
                    chosen[names.index(by[j].op), k, column] = True
        self.register_buffer("share", share, persistent=False)
        self.register_buffer("chosen", chosen, persistent=False)

    def block(self, op: str) -> tuple[int, int]:
        """First and last + 1 of the edges with an activation; equal when there is none."""
        return next(((first, last) for name, first, last in self.blocks if name == op), (0, 0))


def unroll(
    fans: Sequence[Fan],
    projected: Tensor,
    state: Tensor,
    *,
    hidden_weight: Tensor,
    mean: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Run the cells over a chunk.

    Args:
        fans: the edges, ascending by the node they leave.
        projected: (K, T, B, 2n), the inputs times the upper half of W₀.
        state: (K, B, n), the hidden states before the chunk.
        hidden_weight: (K, n, 2n), the lower half of W₀.
        mean: (K, 1, m): how much of each node's state is in the new hidden state.
        mask: (B, n) or (K, B, n), multiplies every state before a product; None for none.

    Returns:
        (K, T, B, n), the hidden states after every step. Gradients flow to everything but mean and mask.
    """
    outputs: Tensor = _Unrolled.apply(  # type: ignore[no-untyped-call]
        _Cells(fans, mean, mask), projected, state, hidden_weight, *[fan.weight.flatten(2) for fan in fans]
    )
    return outputs


@dataclass(frozen=True)
class _Cells:
    """What a chunk is unrolled with beside tensors that get gradients; `mask` is (B, n) or (K, B, n) or None."""

    fans: Sequence[Fan]
    mean: Tensor
    mask: Tensor | None

    def dropped(self, states: Tensor) -> Tensor:
        """(K, B, n) as a product reads it."""
        return states if self.mask is None else states * self.mask

    def weight_gradient(self, states: Tensor, grads: Tensor) -> Tensor:
        """(K, T, B, n) states and (K, T, B, c) gradients of their products: (K, n, c)."""
        if self.mask is not None:
            states = states * (self.mask.unsqueeze(1) if self.mask.dim() == 3 else self.mask)
        return torch.bmm(states.flatten(1, 2).transpose(1, 2), grads.flatten(1, 2))

    def add_product(self, into: Tensor, grads: Tensor, transposed: Tensor) -> None:
        """into (K, B, n) += (grads (K, B, c) · transposed (K, c, n)) ⊙ mask."""
        if self.mask is None:
            into.baddbmm_(grads, transposed)
        else:
            into.addcmul_(torch.bmm(grads, transposed), self.mask)


class _FanTensors:
    """What one fan keeps for all steps, and views of it a step; see `autoshrink.networks.unrolled`."""

    def __init__(self, fan: Fan, states: Tensor) -> None:
        candidates, steps, _, streams, width = states.shape
        count = len(fan.edges)
        self.all = states.new_empty(candidates, steps, streams, 2 * count * width)
        self.whole = self.all.unbind(1)
        halves = self.all.view(candidates, steps, streams, 2, count, width).permute(1, 3, 0, 4, 2, 5)
        self.gates, self.transforms = halves[:, 0].unbind(0), halves[:, 1].unbind(0)
        self._count, self._width = count, width

    def columns(self, first: int, last: int) -> tuple[Tensor, ...]:
        """(K, B, columns) a step of the transforms of edges first … last − 1; edges below 0 are the gates."""
        return self.all[..., (self._count + first) * self._width : (self._count + last) * self._width].unbind(1)


class _Unrolled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cells: _Cells, projected: Tensor, state: Tensor, *weights: Tensor) -> Tensor:
        hidden_weight, *fan_weights = weights
        candidates, steps, streams, _ = projected.shape
        width, nodes = state.shape[2], cells.mean.shape[2]
        # Columns that become tanh are doubled, so that one sigmoid serves them too: tanh(x) = 2σ(2x) − 1.
        double = projected.new_ones(2 * width)
        double[width:] = 2.0
        gates, first_weight = projected * double, hidden_weight * double
        whole, gate, transform = gates.unbind(1), gates[..., :width].unbind(1), gates[..., width:].unbind(1)
        states = projected.new_empty(candidates, steps, nodes, streams, width)
        first, flat = states[:, :, 0].unbind(1), states.flatten(3).unbind(1)
        outputs = projected.new_empty(candidates, steps, streams, width)
        output, flat_output = outputs.unbind(1), outputs.view(candidates, steps, 1, -1).unbind(1)
        tensors = [_FanTensors(fan, states) for fan in cells.fans]
        runs = [_FanForward(*each, states) for each in zip(cells.fans, tensors, fan_weights, strict=True)]
        minus_one = projected.new_full((), -1.0)
        hidden = state
        for t in range(steps):
            whole[t].baddbmm_(cells.dropped(hidden), first_weight).sigmoid_()
            torch.add(minus_one, transform[t], alpha=2.0, out=transform[t])
            torch.lerp(hidden, transform[t], gate[t], out=first[t])
            for run in runs:
                run.step(t, cells)
            torch.bmm(cells.mean, flat[t], out=flat_output[t])
            hidden = output[t]
        ctx.cells, ctx.tensors = cells, tensors
        ctx.save_for_backward(state, hidden_weight, outputs, gates, states, *fan_weights)
        return outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        cells: _Cells = ctx.cells
        state, hidden_weight, outputs, gates, states, *fan_weights = ctx.saved_tensors
        candidates, steps, nodes, streams, width = states.shape
        gate, value = gates[..., :width].unbind(1), gates[..., width:].unbind(1)
        grad_gates = torch.empty_like(gates)
        grad_whole = grad_gates.unbind(1)
        grad_gate, grad_value = grad_gates[..., :width].unbind(1), grad_gates[..., width:].unbind(1)
        grad_states = states.new_empty(candidates, nodes, streams, width)
        grad_first, flat = grad_states[:, 0], grad_states.flatten(2)
        runs = [
            _FanBackward(*each, states, grad_states) for each in zip(cells.fans, ctx.tensors, fan_weights, strict=True)
        ]
        runs.reverse()
        before, arriving = (state, *outputs.unbind(1)), grad_outputs.unbind(1)
        spread, transposed = cells.mean.transpose(1, 2).contiguous(), hidden_weight.transpose(1, 2)
        carry, kept = torch.zeros_like(state), torch.empty_like(state)
        for t in reversed(range(steps)):
            carry += arriving[t]
            torch.bmm(spread, carry.view(candidates, 1, -1), out=flat)
            for run in runs:
                run.step(t, cells)
            torch.mul(grad_first, gate[t], out=kept)
            _aten.tanh_backward.grad_input(kept, value[t], grad_input=grad_value[t])
            torch.sub(grad_first, kept, out=carry)
            torch.sub(value[t], before[t], out=kept).mul_(grad_first)
            _aten.sigmoid_backward.grad_input(kept, gate[t], grad_input=grad_gate[t])
            cells.add_product(carry, grad_whole[t], transposed)
        earlier = torch.cat([state.unsqueeze(1), outputs[:, :-1]], dim=1)
        grad_weights = [cells.weight_gradient(states[:, :, run.fan.place], run.gradient) for run in reversed(runs)]
        return None, grad_gates, carry, cells.weight_gradient(earlier, grad_gates), *grad_weights


class _FanForward:
    """One fan's part of a step: gates and transforms of its edges, added to the states of their readers."""

    def __init__(self, fan: Fan, tensors: _FanTensors, weight: Tensor, states: Tensor) -> None:
        candidates, _, _, streams, width = states.shape
        count, (tanh_first, tanh_last), relu = len(fan.edges), fan.block("tanh"), fan.block("relu")
        self._fan, self._tensors = fan, tensors
        self._weight = weight
        if tanh_last:
            double = weight.new_ones(2 * count * width)
            double[(count + tanh_first) * width : (count + tanh_last) * width] = 2.0
            self._weight = weight * double
        self._source = states[:, :, fan.place].unbind(1)
        self._later = states.flatten(3)[:, :, fan.place + 1 :].unbind(1)
        self._squashed = tensors.columns(-count, max(fan.block("sigmoid")[1], tanh_last))
        self._tanh = tensors.columns(tanh_first, tanh_last) if tanh_last else None
        self._relu = tensors.columns(*relu) if relu[1] else None
        self._mixed = fan.block(MIXED)
        self._moved = states.new_empty(candidates, count, streams, width)
        self._flat = self._moved.flatten(2)
        self._minus_one = states.new_full((), -1.0)

    def step(self, t: int, cells: _Cells) -> None:
        source, transforms = self._source[t], self._tensors.transforms[t]
        torch.bmm(cells.dropped(source), self._weight, out=self._tensors.whole[t])
        self._squashed[t].sigmoid_()
        if self._tanh is not None:
            torch.add(self._minus_one, self._tanh[t], alpha=2.0, out=self._tanh[t])
        if self._relu is not None:
            self._relu[t].relu_()
        if self._mixed[1]:
            self._mix(transforms[:, slice(*self._mixed)])
        torch.lerp(source.unsqueeze(1), transforms, self._tensors.gates[t], out=self._moved)
        if self._fan.place == 0:
            torch.bmm(self._fan.share, self._flat, out=self._later[t])
        else:
            self._later[t].baddbmm_(self._fan.share, self._flat)

    def _mix(self, product: Tensor) -> None:
        """(K, edges, B, n), in place: each candidate's own activation."""
        result = product
        for chosen, activation in zip(self._fan.chosen[:, :, slice(*self._mixed)], ACTIVATIONS.values(), strict=True):
            result = torch.where(chosen, activation(product), result)
        product.copy_(result)


class _FanBackward:
    """One fan's part of a step back: gradients of its product, and what its source receives through it."""

    def __init__(self, fan: Fan, tensors: _FanTensors, weight: Tensor, states: Tensor, grad_states: Tensor) -> None:
        candidates, _, _, streams, width = states.shape
        self.fan = fan
        self._tensors, self._into = tensors, _FanTensors(fan, states)
        self.gradient = self._into.all
        self._share = fan.share.transpose(1, 2).contiguous()
        self._ones = states.new_ones(candidates, 1, len(fan.edges))
        self._transposed = weight.transpose(1, 2)
        self._source = states[:, :, fan.place].unbind(1)
        flat = grad_states.flatten(2)
        self._later, self._grad_flat = flat[:, fan.place + 1 :], flat[:, fan.place : fan.place + 1]
        self._grad_source = grad_states[:, fan.place]
        self._arriving = states.new_empty(candidates, len(fan.edges), streams, width)
        self._flat = self._arriving.flatten(2)
        self._away = torch.empty_like(self._arriving)
        self._derived = [
            (_DERIVE[op], self._into.columns(first, last), tensors.columns(first, last))
            for op, first, last in fan.blocks
            if op in _DERIVE
        ]
        self._mixed = fan.block(MIXED)

    def step(self, t: int, cells: _Cells) -> None:
        gates, values, arriving, kept = (
            self._tensors.gates[t],
            self._tensors.transforms[t],
            self._arriving,
            self._into.transforms[t],
        )
        torch.bmm(self._share, self._later, out=self._flat)
        torch.sub(values, self._source[t].unsqueeze(1), out=self._away).mul_(arriving)
        _aten.sigmoid_backward.grad_input(self._away, gates, grad_input=self._into.gates[t])
        torch.mul(arriving, gates, out=kept)
        arriving.sub_(kept)
        for derive, into, value in self._derived:
            derive(into[t], value[t])
        if self._mixed[1]:
            edges = slice(*self._mixed)
            self._derive_mixed(kept[:, edges], values[:, edges])
        self._grad_flat.baddbmm_(self._ones, self._flat)
        cells.add_product(self._grad_source, self._into.whole[t], self._transposed)

    def _derive_mixed(self, into: Tensor, value: Tensor) -> None:
        """(K, edges, B, n), in place: the gradient of each candidate's own activation."""
        result = into
        for chosen, op in zip(self.fan.chosen[:, :, slice(*self._mixed)], ACTIVATIONS, strict=True):
            if op in _DERIVE:
                gradient = into.clone()
                _DERIVE[op](gradient, value)
                result = torch.where(chosen, gradient, result)
        into.copy_(result)

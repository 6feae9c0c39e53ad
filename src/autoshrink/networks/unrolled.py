"""A recurrent cell unrolled over a chunk of text: the fast path, forward and backward.

It computes what `autoshrink.networks.reference` spells out, with less work around the arithmetic:

- the input's product is made for the whole chunk before the loop, since it does not depend on the previous step;
- all edges that leave a node are one product: their matrices lie side by side, gates first, then the transforms,
  ordered by activation, so that gates, sigmoid and tanh are one call, tanh(x) being 2σ(2x) − 1 (on the CPU torch's tanh
  takes five times as long as its sigmoid);
- what a node sends to its readers is added to their sums by one small product, which holds the means' weights too;
- the backward pass is written by hand: gradients of the weights are one product a node for the whole chunk instead of
  a product and an addition a step.

Shape letters: T time steps, B streams, n width, m nodes in use, d edges that leave a node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autoshrink.architecture import RecurrentPlan
from autoshrink.cell import Edge

ORDER = ("sigmoid", "tanh", "relu", "identity")
"""Of the transforms' columns: what goes through the sigmoid lies beside the gates, which do too."""

_aten = torch.ops.aten


@dataclass(frozen=True)
class Fan:
    """The edges that leave one node.

    Attributes:
        source: position of the node among those in use.
        edges: node numbers, ordered by the activation of the reader.
        share: (readers' positions after `source`, d) what each edge's result adds to each later node's state.
        blocks: (activation, first, last + 1) of the edges.
    """

    source: int
    edges: tuple[Edge, ...]
    share: tuple[tuple[float, ...], ...]
    blocks: tuple[tuple[str, int, int], ...]

    def block(self, op: str) -> tuple[int, int]:
        """First and last + 1 of the edges with an activation; equal when there is none."""
        return next(((first, last) for name, first, last in self.blocks if name == op), (0, 0))

    @property
    def squashed(self) -> int:
        """How many of the first transforms go through the sigmoid, as it is or as tanh."""
        return max(self.block("sigmoid")[1], self.block("tanh")[1])


@dataclass(frozen=True)
class Wiring:
    """A recurrent plan in positions: node 0 is position 0, the other nodes in use follow in order.

    Attributes:
        nodes: m.
        fans: for each node that is read, ascending; the first is node 0's.
        outputs: positions whose mean is the new state.
    """

    nodes: int
    fans: tuple[Fan, ...]
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, plan: RecurrentPlan) -> Wiring:
        """The wiring of a plan."""
        numbers = (0, *(node.node for node in plan.nodes))
        position = {node: place for place, node in enumerate(numbers)}
        scales = {node.node: 1.0 / len(node.inputs) if plan.aggregate == "mean" else 1.0 for node in plan.nodes}
        fans = []
        for place, source in enumerate(numbers):
            readers = sorted((ORDER.index(node.op), node.node) for node in plan.nodes if source in node.inputs)
            if not readers:
                continue
            ops = [ORDER[rank] for rank, _ in readers]
            targets = [node for _, node in readers]
            later = numbers[place + 1 :]
            fans.append(
                Fan(
                    source=place,
                    edges=tuple((source, node) for node in targets),
                    share=tuple(tuple(scales[node] * (node == target) for target in targets) for node in later),
                    blocks=tuple((op, ops.index(op), len(ops) - ops[::-1].index(op)) for op in dict.fromkeys(ops)),
                )
            )
        return cls(len(numbers), tuple(fans), tuple(position[node] for node in plan.outputs))


def unroll(
    wiring: Wiring,
    projected: Tensor,
    state: Tensor,
    *,
    hidden_weight: Tensor,
    fan_weights: Sequence[Tensor],
    mask: Tensor | None = None,
) -> Tensor:
    """Run a cell over a chunk.

    Args:
        wiring: what reads what.
        projected: (T, B, 2n), the inputs times the upper half of W₀.
        state: (B, n), the hidden state before the chunk.
        hidden_weight: (n, 2n), the lower half of W₀.
        fan_weights: for each fan (n, 2·d·n): gates of all its edges, then transforms.
        mask: (B, n), multiplies every state before a product (variational dropout); None for none.

    Returns:
        (T, B, n), the hidden state after every step. Gradients flow to everything but the mask.
    """
    outputs: Tensor = _Unrolled.apply(  # type: ignore[no-untyped-call]
        wiring, projected, state, mask, hidden_weight, *fan_weights
    )
    return outputs


class _FanTensors:
    """What one fan keeps for all steps, and views of it a step: made at once, since slicing a step at a time costs more
    than the arithmetic of a small cell."""

    def __init__(self, fan: Fan, like: Tensor, steps: int, streams: int) -> None:
        count, width = len(fan.edges), like.shape[-1]
        self.fan = fan
        self.all = like.new_empty(steps, streams, 2 * count * width)
        self.whole = self.all.unbind(0)
        halves = self.all.view(steps, streams, 2, count, width).permute(0, 2, 3, 1, 4)
        self.gates, self.transforms = halves[:, 0].unbind(0), halves[:, 1].unbind(0)
        self.share = like.new_tensor(fan.share)
        self._like, self._width, self._count = like, width, count

    def columns(self, first: int, last: int) -> tuple[Tensor, ...]:
        """(B, columns) a step of the transforms of edges first … last − 1; edges below 0 are the gates."""
        start = (self._count + first) * self._width
        return self.all[:, :, start : (self._count + last) * self._width].unbind(0)


class _Unrolled(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes tensors one by one
        ctx: Any,
        wiring: Wiring,
        projected: Tensor,
        state: Tensor,
        mask: Tensor | None,
        hidden_weight: Tensor,
        *fan_weights: Tensor,
    ) -> Tensor:
        steps, streams = projected.shape[:2]
        width = state.shape[1]
        # Columns that become tanh are doubled, so that one sigmoid serves them too.
        double = projected.new_ones(2 * width)
        double[width:] = 2.0
        inputs, first_weight = (projected * double).unbind(0), hidden_weight * double
        gates = projected.new_empty(steps, streams, 2 * width)
        whole, gate, transform = gates.unbind(0), gates[:, :, :width].unbind(0), gates[:, :, width:].unbind(0)
        states = projected.new_empty(steps, wiring.nodes, streams, width)
        first = states[:, 0].unbind(0)
        flat = states.view(steps, wiring.nodes, streams * width).unbind(0)
        mean = _output_weights(wiring, projected)
        outputs = projected.new_empty(steps, streams, width)
        output, flat_output = outputs.unbind(0), outputs.view(steps, 1, streams * width).unbind(0)
        fans = [_FanTensors(fan, state, steps, streams) for fan in wiring.fans]
        runs = [_FanForward(fan, weight, states) for fan, weight in zip(fans, fan_weights, strict=True)]
        minus_one = projected.new_tensor(-1.0)
        hidden = state
        for t in range(steps):
            torch.addmm(inputs[t], hidden if mask is None else hidden * mask, first_weight, out=whole[t]).sigmoid_()
            torch.add(minus_one, transform[t], alpha=2.0, out=transform[t])
            torch.lerp(hidden, transform[t], gate[t], out=first[t])
            for run in runs:
                run.step(t, mask)
            torch.mm(mean, flat[t], out=flat_output[t])
            hidden = output[t]
        ctx.wiring = wiring
        ctx.mask = mask
        ctx.save_for_backward(state, hidden_weight, outputs, gates, states, *[fan.all for fan in fans], *fan_weights)
        ctx.fans = fans
        return outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        wiring: Wiring = ctx.wiring
        mask: Tensor | None = ctx.mask
        state, hidden_weight, outputs, gates, states, *rest = ctx.saved_tensors
        fan_weights = rest[len(wiring.fans) :]
        steps, streams, width = outputs.shape
        gate, value = gates[:, :, :width].unbind(0), gates[:, :, width:].unbind(0)
        grad_gates = torch.empty_like(gates)
        grad_whole = grad_gates.unbind(0)
        grad_gate, grad_value = grad_gates[:, :, :width].unbind(0), grad_gates[:, :, width:].unbind(0)
        grad_states = states.new_empty(wiring.nodes, streams, width)
        grad_first, flat = grad_states[0], grad_states.view(wiring.nodes, streams * width)
        runs = [
            _FanBackward(fan, weight, states, grad_states) for fan, weight in zip(ctx.fans, fan_weights, strict=True)
        ]
        runs.reverse()
        before = (state, *outputs.unbind(0))
        arriving = grad_outputs.unbind(0)
        spread = _output_weights(wiring, state).t().contiguous()
        transposed = hidden_weight.t()
        carry, kept = torch.zeros_like(state), torch.empty_like(state)
        for t in reversed(range(steps)):
            carry += arriving[t]
            torch.mm(spread, carry.view(1, -1), out=flat)
            for run in runs:
                run.step(t, mask)
            torch.mul(grad_first, gate[t], out=kept)
            _aten.tanh_backward.grad_input(kept, value[t], grad_input=grad_value[t])
            torch.sub(grad_first, kept, out=carry)
            torch.sub(value[t], before[t], out=kept).mul_(grad_first)
            _aten.sigmoid_backward.grad_input(kept, gate[t], grad_input=grad_gate[t])
            _add_product(carry, grad_whole[t], transposed, mask)
        earlier = torch.cat([state.unsqueeze(0), outputs[:-1]])
        grad_weights = [_weight_gradient(states[:, run.fan.source], run.gradient, mask) for run in reversed(runs)]
        return None, grad_gates, carry, None, _weight_gradient(earlier, grad_gates, mask), *grad_weights


class _FanForward:
    """One fan's part of a step: gates and transforms of its edges, added to the states of their readers."""

    def __init__(self, tensors: _FanTensors, weight: Tensor, states: Tensor) -> None:
        fan, width = tensors.fan, states.shape[-1]
        steps, nodes, streams = states.shape[:3]
        count, (tanh_first, tanh_last) = len(fan.edges), fan.block("tanh")
        self._weight = weight
        if tanh_last:
            double = weight.new_ones(2 * count * width)
            double[(count + tanh_first) * width : (count + tanh_last) * width] = 2.0
            self._weight = weight * double
        self._share = tensors.share
        self._starts = fan.source == 0
        self._source = states[:, fan.source].unbind(0)
        self._later = states.view(steps, nodes, streams * width)[:, fan.source + 1 :].unbind(0)
        self._whole, self._gates, self._transforms = tensors.whole, tensors.gates, tensors.transforms
        self._squashed = tensors.columns(-count, fan.squashed)
        self._tanh = tensors.columns(tanh_first, tanh_last) if tanh_last else None
        relu = fan.block("relu")
        self._relu = tensors.columns(*relu) if relu[1] else None
        self._moved = states.new_empty(count, streams, width)
        self._flat = self._moved.view(count, streams * width)
        self._minus_one = states.new_tensor(-1.0)

    def step(self, t: int, mask: Tensor | None) -> None:
        source = self._source[t]
        torch.mm(source if mask is None else source * mask, self._weight, out=self._whole[t])
        self._squashed[t].sigmoid_()
        if self._tanh is not None:
            torch.add(self._minus_one, self._tanh[t], alpha=2.0, out=self._tanh[t])
        if self._relu is not None:
            self._relu[t].relu_()
        torch.lerp(source, self._transforms[t], self._gates[t], out=self._moved)
        if self._starts:
            torch.mm(self._share, self._flat, out=self._later[t])
        else:
            self._later[t].addmm_(self._share, self._flat)


class _FanBackward:
    """One fan's part of a step back: gradients of its product, and what its source receives through it."""

    def __init__(self, tensors: _FanTensors, weight: Tensor, states: Tensor, grad_states: Tensor) -> None:
        fan = tensors.fan
        steps, nodes, streams, width = states.shape
        count = len(fan.edges)
        into = _FanTensors(fan, grad_states, steps, streams)
        self.fan = fan
        self.gradient = into.all
        self._into, self._into_gates, self._into_transforms = into.whole, into.gates, into.transforms
        self._gates, self._transforms = tensors.gates, tensors.transforms
        self._share = tensors.share.t().contiguous()
        self._ones = states.new_ones(1, count)
        self._transposed = weight.t()
        self._source = states[:, fan.source].unbind(0)
        flat = grad_states.view(nodes, streams * width)
        self._later, self._grad_flat = flat[fan.source + 1 :], flat[fan.source : fan.source + 1]
        self._grad_source = grad_states[fan.source]
        self._arriving = states.new_empty(count, streams, width)
        self._flat = self._arriving.view(count, streams * width)
        self._away = torch.empty_like(self._arriving)
        self._derived = [
            (_DERIVE[op], into.columns(first, last), tensors.columns(first, last))
            for op, first, last in fan.blocks
            if op in _DERIVE
        ]

    def step(self, t: int, mask: Tensor | None) -> None:
        arriving, gates, kept = self._arriving, self._gates[t], self._into_transforms[t]
        torch.mm(self._share, self._later, out=self._flat)
        torch.sub(self._transforms[t], self._source[t], out=self._away).mul_(arriving)
        _aten.sigmoid_backward.grad_input(self._away, gates, grad_input=self._into_gates[t])
        torch.mul(arriving, gates, out=kept)
        arriving.sub_(kept)
        for derive, into, value in self._derived:
            derive(into[t], value[t])
        self._grad_flat.addmm_(self._ones, self._flat)
        _add_product(self._grad_source, self._into[t], self._transposed, mask)


_DERIVE: dict[str, Callable[[Tensor, Tensor], object]] = {
    "sigmoid": lambda into, value: _aten.sigmoid_backward.grad_input(into, value, grad_input=into),
    "tanh": lambda into, value: _aten.tanh_backward.grad_input(into, value, grad_input=into),
    "relu": lambda into, value: _aten.threshold_backward.grad_input(into, value, 0, grad_input=into),
}
"""Gradient of an activation from its own value, in place of the gradient that arrives."""


def _output_weights(wiring: Wiring, like: Tensor) -> Tensor:
    """(1, m): how much of each node's state is in the new hidden state."""
    return like.new_tensor([[(node in wiring.outputs) / len(wiring.outputs) for node in range(wiring.nodes)]])


def _add_product(into: Tensor, x: Tensor, weight: Tensor, mask: Tensor | None) -> None:
    """into += (x · weight) ⊙ mask."""
    if mask is None:
        into.addmm_(x, weight)
    else:
        into.addcmul_(x @ weight, mask)


def _weight_gradient(states: Tensor, grads: Tensor, mask: Tensor | None) -> Tensor:
    """(T, B, n) states and (T, B, c) gradients of their products: (n, c)."""
    used = states if mask is None else states * mask
    return used.reshape(-1, states.shape[-1]).t() @ grads.flatten(0, 1)

"""Recurrent cells unrolled over a chunk of text, one or several together: the fast path, forward and backward.

It computes what `autoshrink.networks.reference` spells out, with less work around the arithmetic:

- the input's product is made for the whole chunk before the loop, since it does not depend on the previous step;
- all edges that leave a node are one product: their matrices lie side by side, gates first, then the transforms,
  ordered by operation, so that gates, sigmoid and tanh are one call, tanh(x) being 2σ(2x) − 1 (on the CPU torch's tanh
  takes five times as long as its sigmoid);
- what a node sends to its readers is added to their sums by one small product, which holds the means' weights too;
- the backward pass is written by hand: gradients of the weights are one product a node for the whole chunk instead of
  a product and an addition a step.

Several cells lie over each other: nodes and edges are those that any of them has, and every product is one for all. An
edge that a cell lacks has weights of zero and no share in what its reader gets, so its gradient is zero too.

Shape letters: K cells, T time steps, B streams, n width, m nodes in use by any cell, d edges that leave a node in any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoshrink.architecture import RecurrentPlan
from autoshrink.cell import Edge
from autoshrink.ops import DEFAULTS, RecurrentOperation, recurrent

_aten = torch.ops.aten


@dataclass(frozen=True)
class Block:
    """Neighbouring edges of a fan whose readers have the same operations in all cells.

    Attributes:
        ops: the operation, or where the cells have different ones each of them.
        first: of the edges.
        last: the last one + 1.
    """

    ops: tuple[RecurrentOperation, ...]
    first: int
    last: int

    @property
    def squash(self) -> float:
        """`RecurrentOperation.squash`; 0 for several operations."""
        return self.ops[0].squash if len(self.ops) == 1 else 0.0

    @property
    def keeps_input(self) -> bool:
        """Whether a gradient takes more than the operation's own value."""
        return not all(op.provides("derive") for op in self.ops)


class Fan(nn.Module):
    """The edges that leave one node in any cell.

    Attributes:
        place: position of the node among those in use.
        edges: node numbers, ordered by the operation of the reader.
        blocks: of the edges.
        share: (K, m − 1 − place, d): what each edge's result adds to each later node's state.
        chosen: (K, d), which of its block's operations each cell's edge has.
    """

    share: Tensor
    chosen: Tensor

    def __init__(self, plans: Sequence[RecurrentPlan], numbers: Sequence[int], place: int) -> None:
        super().__init__()
        source, later = numbers[place], numbers[place + 1 :]
        nodes = [{node.node: node for node in plan.nodes} for plan in plans]
        readers = sorted({node.node for plan in plans for node in plan.nodes if source in node.inputs})
        names = {j: tuple(sorted({by[j].op for by in nodes if j in by}, key=_rank)) for j in readers}
        readers.sort(key=lambda j: (len(names[j]) > 1, [_rank(name) for name in names[j]]))
        order = [names[j] for j in readers]
        self.place = place
        self.edges: tuple[Edge, ...] = tuple((source, j) for j in readers)
        self.blocks = tuple(
            Block(tuple(map(recurrent, ops)), order.index(ops), len(order) - order[::-1].index(ops))
            for ops in dict.fromkeys(order)
        )
        # Rounded to the weights' precision where they meet.
        share = torch.zeros(len(plans), len(later), len(readers), dtype=torch.float64)
        chosen = torch.zeros(len(plans), len(readers), dtype=torch.long)
        for k, (plan, by) in enumerate(zip(plans, nodes, strict=True)):
            for column, j in enumerate(readers):
                if j in by and source in by[j].inputs:
                    share[k, later.index(j), column] = 1.0 / len(by[j].inputs) if plan.aggregate == "mean" else 1.0
                    chosen[k, column] = order[column].index(by[j].op)
        self.register_buffer("share", share, persistent=False)
        self.register_buffer("chosen", chosen, persistent=False)


class Wiring(nn.Module):
    """What reads what, in positions: node 0 is position 0, the other nodes in use by any cell follow in order.

    Attributes:
        fans: for each node that is read, ascending; the first is node 0's.
        mean: (K, 1, m): how much of each node's state is in the new hidden state.
    """

    mean: Tensor

    def __init__(self, plans: Sequence[RecurrentPlan]) -> None:
        super().__init__()
        numbers = (0, *sorted({node.node for plan in plans for node in plan.nodes}))
        read = {i for plan in plans for i, _ in plan.edges}
        self.fans = tuple(Fan(plans, numbers, place) for place, i in enumerate(numbers) if i in read)
        self._of_module = nn.ModuleList(self.fans)
        rows = [[(j in plan.outputs) / len(plan.outputs) for j in numbers] for plan in plans]
        self.register_buffer("mean", torch.tensor(rows, dtype=torch.float64).unsqueeze(1), persistent=False)

    def forward(
        self,
        projected: Tensor,
        state: Tensor,
        *,
        hidden_weight: Tensor,
        fan_weights: Sequence[Tensor],
        mask: Tensor | None = None,
    ) -> Tensor:
        """Run the cells over a chunk.

        Args:
            projected: (K, T, B, 2n), the inputs times the upper half of W₀.
            state: (K, B, n), the hidden states before the chunk.
            hidden_weight: (K, n, 2n), the lower half of W₀.
            fan_weights: for each fan (K, n, 2·d·n): gates of all its edges, then transforms.
            mask: (B, n) or (K, B, n), multiplies every state before a product (variational dropout); None for none.

        Returns:
            (K, T, B, n), the hidden states after every step. Gradients flow to everything but the mask.
        """
        cells = _Cells(self.fans, self.mean.to(state.dtype), mask)
        outputs: Tensor = _Unrolled.apply(cells, projected, state, hidden_weight, *fan_weights)  # type: ignore[no-untyped-call]
        return outputs


def _rank(name: str) -> tuple[bool, float, int, str]:
    """What goes through the sigmoid lies beside the gates, which do too."""
    squash, known = recurrent(name).squash, DEFAULTS["recurrent"]
    return (not squash, squash, known.index(name) if name in known else len(known), name)


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
    """What one fan keeps for all steps, and views of it a step: made at once, since slicing a step at a time costs more
    than the arithmetic of a small cell."""

    def __init__(self, fan: Fan, states: Tensor) -> None:
        cells, steps, _, streams, width = states.shape
        count = len(fan.edges)
        self.all = states.new_empty(cells, steps, streams, 2 * count * width)
        self.whole = self.all.unbind(1)
        halves = self.all.view(cells, steps, streams, 2, count, width).permute(1, 3, 0, 4, 2, 5)
        self.gates, self.transforms = halves[:, 0].unbind(0), halves[:, 1].unbind(0)
        self._count, self._width = count, width
        self.blocks = [_BlockSteps(block, fan, self) for block in fan.blocks]

    def columns(self, first: int, last: int) -> tuple[Tensor, ...]:
        """(K, B, columns) a step of the transforms of edges first … last − 1; edges below 0 are the gates."""
        return self.all[..., (self._count + first) * self._width : (self._count + last) * self._width].unbind(1)


class _BlockSteps:
    """One block's operations at every step, in place, and what their gradients take of what they read."""

    def __init__(self, block: Block, fan: Fan, tensors: _FanTensors) -> None:
        self.block = block
        chosen = fan.chosen[:, block.first : block.last, None, None]
        self._chosen = [chosen == place for place in range(1, len(block.ops))]
        self._values = self.views(tensors)
        self._read: dict[int, Tensor] = {}

    def views(self, tensors: _FanTensors) -> tuple[Tensor, ...]:
        """The block's columns a step: (K, B, columns), or (K, edges, B, n) where the cells' operations differ."""
        first, last = self.block.first, self.block.last
        if not self._chosen:
            return tensors.columns(first, last)
        return tuple(transforms[:, first:last] for transforms in tensors.transforms)

    def apply(self, t: int) -> None:
        """Each cell's own operation."""
        into = read = self._values[t]
        if self.block.keeps_input:
            read = self._read[t] = into.clone()
        value = self._own([op.apply(read) for op in self.block.ops])
        if value is not into:
            into.copy_(value)

    def derive(self, t: int, into: Tensor) -> None:
        """The gradient in place of the one that arrives, of the same shape as the values."""
        value, gradients = self._values[t], []
        for op in self.block.ops:
            gradient = into.clone() if self._chosen else into
            if op.provides("derive"):
                op.derive(gradient, value)
            else:
                gradient = _gradient(op, self._read[t], gradient)
            gradients.append(gradient)
        gradient = self._own(gradients)
        if gradient is not into:
            into.copy_(gradient)

    def _own(self, each: list[Tensor]) -> Tensor:
        own = each[0]
        for chosen, other in zip(self._chosen, each[1:], strict=True):
            own = torch.where(chosen, other, own)
        return own


def _gradient(op: RecurrentOperation, read: Tensor, arriving: Tensor) -> Tensor:
    with torch.enable_grad():
        x = read.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(op.apply(x), x, arriving)
    return gradient


class _Unrolled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cells: _Cells, projected: Tensor, state: Tensor, *weights: Tensor) -> Tensor:
        hidden_weight, *fan_weights = weights
        count, steps, streams, _ = projected.shape
        width, nodes = state.shape[2], cells.mean.shape[2]
        # Columns that become tanh are doubled, so that one sigmoid serves them too.
        double = projected.new_ones(2 * width)
        double[width:] = 2.0
        gates, first_weight = projected * double, hidden_weight * double
        whole, gate, transform = gates.unbind(1), gates[..., :width].unbind(1), gates[..., width:].unbind(1)
        states = projected.new_empty(count, steps, nodes, streams, width)
        first, flat = states[:, :, 0].unbind(1), states.flatten(3).unbind(1)
        outputs = projected.new_empty(count, steps, streams, width)
        output, flat_output = outputs.unbind(1), outputs.view(count, steps, 1, -1).unbind(1)
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
        count, steps, nodes, streams, width = states.shape
        gate, value = gates[..., :width].unbind(1), gates[..., width:].unbind(1)
        grad_gates = torch.empty_like(gates)
        grad_whole = grad_gates.unbind(1)
        grad_gate, grad_value = grad_gates[..., :width].unbind(1), grad_gates[..., width:].unbind(1)
        grad_states = states.new_empty(count, nodes, streams, width)
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
            torch.bmm(spread, carry.view(count, 1, -1), out=flat)
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
        cells, _, _, streams, width = states.shape
        count = len(fan.edges)
        self._place, self._tensors = fan.place, tensors
        self._share = fan.share.to(states.dtype)
        scale, squashed, self._stretched = weight.new_ones(2 * count, width), 0, []
        for block in fan.blocks:
            if block.squash:
                squashed = block.last
            if block.squash not in (0.0, 1.0):
                scale[count + block.first : count + block.last] = block.squash
                stretched = (states.new_full((), 1.0 - block.squash), block.squash)
                self._stretched.append((*stretched, tensors.columns(block.first, block.last)))
        self._weight = weight * scale.view(-1) if self._stretched else weight
        self._squashed = tensors.columns(-count, squashed)
        self._others = [block for block in tensors.blocks if not block.block.squash]
        self._source = states[:, :, fan.place].unbind(1)
        self._later = states.flatten(3)[:, :, fan.place + 1 :].unbind(1)
        self._moved = states.new_empty(cells, count, streams, width)
        self._flat = self._moved.flatten(2)

    def step(self, t: int, cells: _Cells) -> None:
        source = self._source[t]
        torch.bmm(cells.dropped(source), self._weight, out=self._tensors.whole[t])
        self._squashed[t].sigmoid_()
        for offset, factor, columns in self._stretched:
            torch.add(offset, columns[t], alpha=factor, out=columns[t])
        for block in self._others:
            block.apply(t)
        torch.lerp(source.unsqueeze(1), self._tensors.transforms[t], self._tensors.gates[t], out=self._moved)
        if self._place == 0:
            torch.bmm(self._share, self._flat, out=self._later[t])
        else:
            self._later[t].baddbmm_(self._share, self._flat)


class _FanBackward:
    """One fan's part of a step back: gradients of its product, and what its source receives through it."""

    def __init__(self, fan: Fan, tensors: _FanTensors, weight: Tensor, states: Tensor, grad_states: Tensor) -> None:
        cells, _, _, streams, width = states.shape
        self.fan = fan
        self._tensors, self._into = tensors, _FanTensors(fan, states)
        self.gradient = self._into.all
        self._share = fan.share.to(states.dtype).transpose(1, 2).contiguous()
        self._ones = states.new_ones(cells, 1, len(fan.edges))
        self._transposed = weight.transpose(1, 2)
        self._source = states[:, :, fan.place].unbind(1)
        flat = grad_states.flatten(2)
        self._later, self._grad_flat = flat[:, fan.place + 1 :], flat[:, fan.place : fan.place + 1]
        self._grad_source = grad_states[:, fan.place]
        self._arriving = states.new_empty(cells, len(fan.edges), streams, width)
        self._flat = self._arriving.flatten(2)
        self._away = torch.empty_like(self._arriving)
        self._blocks = [(block, block.views(self._into)) for block in tensors.blocks]

    def step(self, t: int, cells: _Cells) -> None:
        gates, arriving, kept = self._tensors.gates[t], self._arriving, self._into.transforms[t]
        torch.bmm(self._share, self._later, out=self._flat)
        torch.sub(self._tensors.transforms[t], self._source[t].unsqueeze(1), out=self._away).mul_(arriving)
        _aten.sigmoid_backward.grad_input(self._away, gates, grad_input=self._into.gates[t])
        torch.mul(arriving, gates, out=kept)
        arriving.sub_(kept)
        for block, into in self._blocks:
            block.derive(t, into[t])
        self._grad_flat.baddbmm_(self._ones, self._flat)
        cells.add_product(self._grad_source, self._into.whole[t], self._transposed)

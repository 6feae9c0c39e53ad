"""Language models around different cells, run as one program: every tensor has a leading axis of candidates.

Each candidate computes what `autoshrink.networks.recurrent.LanguageNetwork` computes alone, forward and backward, and
nothing crosses from one to another: a candidate that has become NaN leaves the others as they are. Shapes depend on
nothing but the cells and the chunk, and nothing waits for the device.

Shape letters: K candidates, T time steps, B streams, V vocabulary, n width, m nodes in use by any candidate, R rows
(tokens).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.architecture import RecurrentPlan
from autoshrink.networks.decoder import BLOCK_ELEMENTS
from autoshrink.networks.population_unrolled import Fan, unroll
from autoshrink.networks.recurrent import NO_MASKS, LanguageNetwork, Masks, RecurrentCell

MANY_ELEMENTS = 1 << 25
"""Logits in a block of the decoder off the CPU, 134 MB in float32: no cache has to hold them, and a block costs
launches."""


class LanguagePopulation(nn.Module):
    """K language models of one width and vocabulary around recurrent cells of any wiring and activations.

    Made by `of` from networks that were built, and initialised, alone.

    Attributes:
        plans: of the candidates.
        embedding: (K, V, n), also the decoders' weight.
        decoder_bias: (K, V).
        input_weight: (K, 2n, 2n), W₀.
        fans: the edges, by the node they leave.
        mean: (K, 1, m): how much of each node's state is in the new hidden state.
    """

    mean: Tensor

    def __init__(self, plans: Sequence[RecurrentPlan]) -> None:
        super().__init__()
        assert len({(plan.width, plan.vocabulary) for plan in plans}) == 1, "one width and one vocabulary"
        self.plans = tuple(plans)
        count, width, vocabulary = len(plans), plans[0].width, plans[0].vocabulary
        numbers = (0, *sorted({node.node for plan in plans for node in plan.nodes}))
        read = {i for plan in plans for i, _ in plan.edges}
        self.embedding = nn.Parameter(torch.zeros(count, vocabulary, width))
        self.decoder_bias = nn.Parameter(torch.zeros(count, vocabulary))
        self.input_weight = nn.Parameter(torch.zeros(count, 2 * width, 2 * width))
        self.fans = nn.ModuleList(Fan(plans, numbers, place) for place, i in enumerate(numbers) if i in read)
        rows = [[(j in plan.outputs) / len(plan.outputs) for j in numbers] for plan in plans]
        self.register_buffer("mean", torch.tensor(rows, dtype=torch.float64).unsqueeze(1), persistent=False)

    @classmethod
    def of(cls, networks: Sequence[LanguageNetwork]) -> LanguagePopulation:
        """The population of networks around recurrent cells, with their weights, device and precision."""
        plans = []
        for network in networks:
            assert isinstance(network.core, RecurrentCell), "torch's own modules have no population"
            plans.append(network.core.plan)
        return cls._filled(plans, [network.state_dict() for network in networks])

    @classmethod
    def _filled(cls, plans: Sequence[RecurrentPlan], states: Sequence[Mapping[str, Tensor]]) -> LanguagePopulation:
        population = cls(plans).to(states[0]["embedding"])
        for k, state in enumerate(states):
            for name, tensor in population._parts(k).items():
                tensor.copy_(state[name].view(tensor.shape))
        return population

    def _parts(self, k: int) -> dict[str, Tensor]:
        """Views of the k-th candidate's weights, by their names in its network; an edge's is (n, 2, n)."""
        parts = {
            "embedding": self.embedding.detach()[k],
            "decoder_bias": self.decoder_bias.detach()[k],
            "core.input_weight": self.input_weight.detach()[k],
        }
        own = set(self.plans[k].edges)
        for fan in self._fans:
            for column, (i, j) in enumerate(fan.edges):
                if (i, j) in own:
                    parts[f"core.edges.{i}-{j}"] = fan.weight.detach()[k, :, :, column]
        return parts

    @property
    def _fans(self) -> list[Fan]:
        return [fan for fan in self.fans if isinstance(fan, Fan)]

    def export(self, k: int) -> dict[str, Tensor]:
        """A copy of the k-th candidate's weights, as the `state_dict` of its `LanguageNetwork`."""
        parts = self._parts(k)
        return {name: part.flatten(1).clone() if ".edges." in name else part.clone() for name, part in parts.items()}

    def kept(self, positions: Sequence[int]) -> LanguagePopulation:
        """A population of some of the candidates, in the order given, without what only others had."""
        return self._filled([self.plans[k] for k in positions], [self.export(k) for k in positions])

    def initial_state(self, streams: int) -> Tensor:
        """(K, B, n) zeros."""
        return self.embedding.new_zeros(len(self.plans), streams, self.embedding.shape[2])

    def features(self, tokens: Tensor, state: Tensor, masks: Masks = NO_MASKS) -> tuple[Tensor, Tensor]:
        """Hidden states after each token, and the last of them.

        Args:
            tokens: (T, B) int64, or (K, T, B) for a text of each candidate's own.
            state: (K, B, n).
            masks: as for one network, shared by all, or each with a leading K.

        Returns:
            (K, T, B, n) and (K, B, n).
        """
        count, vocabulary, width = self.embedding.shape
        # One table for all, and a token's row in it.
        first = torch.arange(count, device=tokens.device).mul_(vocabulary).view(count, 1, 1)
        embedded = functional.embedding(tokens + first, self.embedding.view(-1, width))
        if masks.words is not None:
            embedded = embedded * masks.words.expand(count, -1).reshape(-1)[tokens + first].unsqueeze(3)
        for mask in (masks.embedding, masks.input):
            if mask is not None:
                embedded = embedded * (mask.unsqueeze(1) if mask.dim() == 3 else mask)
        projected = torch.bmm(embedded.flatten(1, 2), self.input_weight[:, :width])
        outputs = unroll(
            self._fans,
            projected.view(*embedded.shape[:3], 2 * width),
            state,
            hidden_weight=self.input_weight[:, width:],
            mean=self.mean,
            mask=masks.hidden,
        )
        return outputs, outputs[:, -1]

    def loss(self, features: Tensor, targets: Tensor) -> Tensor:
        """Mean negative log-likelihoods (K,), nats, of targets (T, B) or (K, T, B) after hidden states (K, T, B, n)."""
        losses: Tensor = _TiedCrossEntropies.apply(  # type: ignore[no-untyped-call]
            features.flatten(1, 2), self.embedding, self.decoder_bias, _rows(targets, len(features))
        )
        return losses

    @torch.no_grad()
    def token_losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood (K, T, B), nats, of each target; no gradients."""
        hidden, wanted = features.flatten(1, 2), _rows(targets, len(features))
        losses = [
            _exponentials(hidden[:, rows], self.embedding, self.decoder_bias, wanted[:, rows])[1]
            for rows in _blocks(hidden, self.embedding)
        ]
        return torch.cat(losses, dim=1).view(features.shape[:3])


class _TiedCrossEntropies(torch.autograd.Function):
    """(K, R, n), (K, V, n), (K, V), (K, R) to (K,); see `autoshrink.networks.decoder.tied_cross_entropy`."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        count = targets.shape[1]
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        grad_bias, total = torch.zeros_like(bias), hidden.new_zeros(len(hidden))
        for rows in _blocks(hidden, weight):
            chances, losses = _exponentials(hidden[:, rows], weight, bias, targets[:, rows])
            total += losses.sum(dim=1)
            # d loss / d logits = softmax − one-hot.
            wanted = targets[:, rows].unsqueeze(2)
            chances.scatter_add_(2, wanted, chances.new_full((), -1.0).expand(wanted.shape))
            chances *= 1.0 / count
            grad_hidden[:, rows] = torch.bmm(chances, weight)
            grad_weight.baddbmm_(chances.transpose(1, 2), hidden[:, rows])
            grad_bias += chances.sum(dim=1)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        return total / count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight, grad_bias = ctx.saved_tensors
        each = grad.view(-1, 1, 1)
        return grad_hidden * each, grad_weight * each, grad_bias * grad.view(-1, 1), None


def _rows(targets: Tensor, candidates: int) -> Tensor:
    """Targets (T, B) or (K, T, B) as (K, R)."""
    return targets.expand(candidates, -1, -1).flatten(1)


def _blocks(hidden: Tensor, weight: Tensor) -> Iterator[slice]:
    elements = BLOCK_ELEMENTS if weight.device.type == "cpu" else MANY_ELEMENTS
    rows = max(1, elements // (weight.shape[0] * weight.shape[1]))
    for first in range(0, hidden.shape[1], rows):
        yield slice(first, min(first + rows, hidden.shape[1]))


def _exponentials(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax (K, r, V) and losses (K, r) of a block, with one pass of exponentials."""
    logits = torch.baddbmm(bias.unsqueeze(1), hidden, weight.transpose(1, 2))
    logits -= logits.amax(dim=2, keepdim=True)
    wanted = logits.gather(2, targets.unsqueeze(2)).squeeze(2)
    logits.exp_()
    totals = logits.sum(dim=2)
    logits /= totals.unsqueeze(2)
    return logits, totals.log() - wanted

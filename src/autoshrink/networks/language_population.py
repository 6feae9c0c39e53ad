"""Language models around different cells, run as one program: every tensor has a leading axis of candidates.

Each candidate computes what `autoshrink.networks.recurrent.LanguageNetwork` computes alone, forward and backward, and
nothing crosses from one to another: a candidate that has become NaN leaves the others as they are. Shapes depend on
nothing but the cells and the chunk, and nothing waits for the device.

Shape letters: K candidates, T time steps, B streams, V vocabulary, n width, m nodes in use by any candidate, R rows
(tokens).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.architecture import RecurrentPlan
from autoshrink.networks.decoder import tied_cross_entropy, token_losses
from autoshrink.networks.recurrent import NO_MASKS, LanguageNetwork, Masks, RecurrentCell
from autoshrink.networks.unrolled import Wiring


class LanguagePopulation(nn.Module):
    """K language models of one width and vocabulary around recurrent cells of any wiring and activations.

    Made by `of` from networks that were built, and initialised, alone.

    Attributes:
        plans: of the candidates.
        embedding: (K, V, n), also the decoders' weight.
        decoder_bias: (K, V).
        input_weight: (K, 2n, 2n), W₀.
        wiring: the nodes and edges that any candidate has.
        fan_weights: for each of its fans (K, n, 2, d, n): gates of all edges, then transforms.
    """

    def __init__(self, plans: Sequence[RecurrentPlan]) -> None:
        super().__init__()
        assert len({(plan.width, plan.vocabulary) for plan in plans}) == 1, "one width and one vocabulary"
        self.plans = tuple(plans)
        count, width, vocabulary = len(plans), plans[0].width, plans[0].vocabulary
        self.embedding = nn.Parameter(torch.zeros(count, vocabulary, width))
        self.decoder_bias = nn.Parameter(torch.zeros(count, vocabulary))
        self.input_weight = nn.Parameter(torch.zeros(count, 2 * width, 2 * width))
        self.wiring = Wiring(plans)
        self.fan_weights = nn.ParameterList(
            nn.Parameter(torch.zeros(count, width, 2, len(fan.edges), width)) for fan in self.wiring.fans
        )

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
        for fan, weight in zip(self.wiring.fans, self.fan_weights, strict=True):
            for column, (i, j) in enumerate(fan.edges):
                if (i, j) in own:
                    parts[f"core.edges.{i}-{j}"] = weight.detach()[k, :, :, column]
        return parts

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
        outputs = self.wiring(
            projected.view(*embedded.shape[:3], 2 * width),
            state,
            hidden_weight=self.input_weight[:, width:],
            fan_weights=[weight.flatten(2) for weight in self.fan_weights],
            mask=masks.hidden,
        )
        return outputs, outputs[:, -1]

    def loss(self, features: Tensor, targets: Tensor) -> Tensor:
        """Mean negative log-likelihoods (K,), nats, of targets (T, B) or (K, T, B) after hidden states (K, T, B, n)."""
        return tied_cross_entropy(*self._decoded(features, targets))

    def token_losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood (K, T, B), nats, of each target; no gradients."""
        return token_losses(*self._decoded(features, targets)).view(features.shape[:3])

    def _decoded(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows = targets.expand(len(features), -1, -1).flatten(1)
        return features.flatten(1, 2), self.embedding, self.decoder_bias, rows

"""Language models as `torch.nn.Module`s: an embedding, a cell (or torch's LSTM or GRU, or minGRU), the tied decoder.

Shape letters: T time steps, B streams, V vocabulary, n width, k layers of state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.architecture import LanguageModel, LibraryArchitecture, RecurrentArchitecture, RecurrentPlan
from autoshrink.cell import Edge
from autoshrink.errors import InputError
from autoshrink.networks import reference
from autoshrink.networks.decoder import tied_cross_entropy, token_losses
from autoshrink.networks.mingru import MinGRU
from autoshrink.networks.unrolled import Wiring
from autoshrink.seeding import derive_seed

RELEASED_RANGE, RELEASED_WIDTH = 0.04, 745
"""Embedding and cell of the released ShrinkRNN start from U(−.04, .04), at this width."""


@dataclass(frozen=True)
class Masks:
    """One draw of variational dropout for a chunk: what is multiplied with, or None for nothing.

    Attributes:
        words: (V,), for whole rows of the embedding.
        embedding: (B, n), for the embedded words.
        input: (B, n), for what the cell reads of them.
        hidden: (B, n), for every state that a product in the cell reads.
        output: (B, n), for what the decoder reads.
    """

    words: Tensor | None = None
    embedding: Tensor | None = None
    input: Tensor | None = None
    hidden: Tensor | None = None
    output: Tensor | None = None


NO_MASKS = Masks()


class Core(Protocol):
    """What stands between embedding and decoder."""

    layers: int
    """k, of the state (k, B, n)."""

    def __call__(self, inputs: Tensor, state: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Inputs (T, B, n) and state (k, B, n) to outputs (T, B, n) and the next state."""
        ...


class RecurrentCell(nn.Module):
    """A recurrent cell: `input_weight` W₀ (2n, 2n), and for each edge W_ij (n, 2n); gates are the left halves.

    (T, B, n) and (1, B, n) to (T, B, n) and (1, B, n), see `autoshrink.architecture.RecurrentArchitecture`.

    Attributes:
        gates: what some edges and leaves count for in their means, with gradients, while a cell grows
            (`autoshrink.networks.growing`), at the pace of `autoshrink.networks.reference`; None: all the same.
    """

    layers = 1

    def __init__(self, plan: RecurrentPlan) -> None:
        super().__init__()
        self.plan = plan
        width = plan.width
        self.input_weight = nn.Parameter(torch.empty(2 * width, 2 * width))
        self.edges = nn.ParameterDict({_name(edge): nn.Parameter(torch.empty(width, 2 * width)) for edge in plan.edges})
        self.wiring = Wiring([plan])
        self.gates: reference.Gates | None = None

    def edge_weights(self) -> dict[Edge, Tensor]:
        """W_ij (n, 2n) by edge."""
        return {edge: self.edges[_name(edge)] for edge in self.plan.edges}

    def forward(self, inputs: Tensor, state: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs (T, B, n) and the next state (1, B, n); `mask` (B, n) is the hidden dropout."""
        width = self.plan.width
        if self.gates is not None:
            slowly = reference.run(
                self.plan,
                inputs,
                state[0],
                input_weight=self.input_weight,
                edge_weights=self.edge_weights(),
                mask=mask,
                gates=self.gates,
            )
            return slowly, slowly[-1:]
        # What does not depend on the step before is one product for the whole chunk.
        projected = inputs @ self.input_weight[:width]
        fans = []
        for fan in self.wiring.fans:
            weights = [self.edges[_name(edge)] for edge in fan.edges]
            halves = [weight[:, :width] for weight in weights] + [weight[:, width:] for weight in weights]
            fans.append(torch.cat(halves, dim=1).unsqueeze(0))
        hidden_weight = self.input_weight[width:].unsqueeze(0)
        (outputs,) = self.wiring(
            projected.unsqueeze(0), state, hidden_weight=hidden_weight, fan_weights=fans, mask=mask
        )
        return outputs, outputs[-1:]


class LibraryCore(nn.Module):
    """torch's LSTM or GRU, or minGRU, with the interface of a cell; an LSTM's state is (2·layers, B, n): hidden, then
    cell.

    The hidden mask multiplies the state that a chunk starts from only: torch's kernels take none inside.
    """

    def __init__(self, architecture: LibraryArchitecture) -> None:
        super().__init__()
        width, layers = architecture.width, architecture.layers
        self.module: nn.LSTM | nn.GRU | MinGRU
        if architecture.kind == "mingru":
            self.module = MinGRU(width, layers)
        else:
            self.module = (nn.LSTM if architecture.kind == "lstm" else nn.GRU)(width, width, layers)
        self.layers = layers * (2 if architecture.kind == "lstm" else 1)

    def forward(self, inputs: Tensor, state: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs (T, B, n) and the next state (k, B, n)."""
        if isinstance(self.module, nn.LSTM):
            hidden, cell = state.chunk(2)
            outputs, (hidden, cell) = self.module(inputs, (_masked(hidden, mask), cell.contiguous()))
            return outputs, torch.cat([hidden, cell])
        outputs, hidden = self.module(inputs, _masked(state, mask))
        return outputs, hidden


class LanguageNetwork(nn.Module):
    """Embedding (V, n), core, decoder with the embedding as its weight and a bias (V,) of its own.

    Dropout is what `Masks` say, call by call: the module is the same in training and evaluation mode.
    """

    def __init__(self, architecture: LanguageModel) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(architecture.vocabulary, architecture.width))
        self.decoder_bias = nn.Parameter(torch.zeros(architecture.vocabulary))
        self.core: Core = _core(architecture)

    def initial_state(self, streams: int) -> Tensor:
        """(k, B, n) zeros."""
        return self.embedding.new_zeros(self.core.layers, streams, self.embedding.shape[1])

    def features(self, tokens: Tensor, state: Tensor, masks: Masks = NO_MASKS) -> tuple[Tensor, Tensor]:
        """Hidden states (T, B, n) after each of the tokens (T, B) int64, and the next state (k, B, n)."""
        embedded = functional.embedding(tokens, self.embedding)
        if masks.words is not None:
            embedded = embedded * masks.words[tokens].unsqueeze(2)
        inputs = _masked(_masked(embedded, masks.embedding), masks.input)
        return self.core(inputs, state, masks.hidden)

    def loss(self, features: Tensor, targets: Tensor) -> Tensor:
        """Mean negative log-likelihood, nats, of targets (T, B) after hidden states (T, B, n)."""
        return tied_cross_entropy(*self._decoded(features, targets)).squeeze(0)

    def token_losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood (T, B), nats, of each target; no gradients."""
        return token_losses(*self._decoded(features, targets)).view(targets.shape)

    def _decoded(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return (
            features.reshape(1, -1, features.shape[-1]),
            self.embedding[None],
            self.decoder_bias[None],
            targets.reshape(1, -1),
        )

    def logits(self, features: Tensor) -> Tensor:
        """(…, n) to (…, V)."""
        return functional.linear(features, self.embedding, self.decoder_bias)

    def forward(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (T, B) and state (k, B, n) to logits (T, B, V) and the next state."""
        features, state = self.features(tokens, state)
        return self.logits(features), state


def _core(architecture: LanguageModel) -> Core:
    if isinstance(architecture, RecurrentArchitecture):
        return RecurrentCell(architecture.plan())
    if isinstance(architecture, LibraryArchitecture):
        return LibraryCore(architecture)
    raise InputError(f"a {architecture.kind} architecture is no language model that can be built here")


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask


def _name(edge: Edge) -> str:
    return f"{edge[0]}-{edge[1]}"


def usual_range(width: int) -> float:
    """r of the uniform weights that a cell of a width starts from, see `initialise`."""
    return RELEASED_RANGE * math.sqrt(RELEASED_WIDTH / width)


def initialise(network: LanguageNetwork, seed: int, *, initial_range: float | None = None) -> None:
    """U(−r, r) for embedding and cell, zero for the decoder's bias, torch's own range ±1/√n for an LSTM or GRU,
    which minGRU has too.

    r is `initial_range`, or .04·√(745/n): what the released model starts from at its width, with the same variance of a
    product's result at every other. (The released search takes .04 at n = 100 too: there its deep cells hardly start
    to learn, benchmarks/initial_range.py.)

    Each parameter has its own generator, named by the parameter: an edge that two candidates share starts from the same
    weights in both, and their comparison is paired as far as it can be.
    """
    width = network.embedding.shape[1]
    cell_range = initial_range or usual_range(width)
    library = isinstance(network.core, LibraryCore)
    for name, parameter in network.named_parameters():
        if name == "decoder_bias":
            nn.init.zeros_(parameter)
            continue
        generator = torch.Generator().manual_seed(derive_seed(seed, "weights", name))
        bound = width**-0.5 if library and name != "embedding" else cell_range
        nn.init.uniform_(parameter, -bound, bound, generator=generator)

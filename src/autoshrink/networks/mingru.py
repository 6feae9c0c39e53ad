"""minGRU (Feng et al. 2024, "Were RNNs All We Needed?", §3.1), with the parameters' names of `torch.nn.GRU`.

A layer's gates read its input alone, so that the products of a whole chunk are one::

    [z | c] = x_t · Wᵀ + b            W: 2n × n
    h_t     = h_{t-1} + sigmoid(z) · (c − h_{t-1})

Shape letters: T time steps, B streams, n width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class MinGRU(nn.Module):
    """Layers of minGRU: `weight_l0` (2n, n) and `bias_l0` (2n,) of the first, gates before candidates.

    Args:
        width: n, of inputs and states.
        num_layers: how many, each reading the states of the one below.
    """

    def __init__(self, width: int, num_layers: int = 1) -> None:
        super().__init__()
        self.num_layers = num_layers
        for layer in range(num_layers):
            self.register_parameter(f"weight_l{layer}", nn.Parameter(torch.empty(2 * width, width)))
            self.register_parameter(f"bias_l{layer}", nn.Parameter(torch.empty(2 * width)))

    def gates(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """sigmoid(z) and c of inputs (…, n), each (…, n)."""
        product = functional.linear(x, getattr(self, f"weight_l{layer}"), getattr(self, f"bias_l{layer}"))
        gate, candidate = product.chunk(2, dim=-1)
        return torch.sigmoid(gate), candidate

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (T, B, n) and state (layers, B, n) to the last layer's states (T, B, n) and the next state."""
        last = []
        for layer in range(self.num_layers):
            states = [state[layer]]
            for gate, candidate in zip(*self.gates(layer, inputs), strict=True):
                states.append(torch.lerp(states[-1], candidate, gate))
            inputs = torch.stack(states[1:])
            last.append(states[-1])
        return inputs, torch.stack(last)

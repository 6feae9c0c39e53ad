"""Tensors of K networks stacked along a leading axis and padded to what any of them has, and which part is whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


@dataclass(frozen=True)
class Channels:
    """Where among a tensor's padded channels each candidate's own lie, in the order they have in its own network."""

    width: int
    places: tuple[tuple[int, ...], ...]

    @classmethod
    def full(cls, width: int, present: Sequence[bool]) -> Channels:
        """All channels are the candidate's own, where it has the tensor."""
        return cls(width, tuple(tuple(range(width)) if has else () for has in present))

    @classmethod
    def joined(cls, parts: Sequence[tuple[Channels, Sequence[bool]]]) -> Channels:
        """Of a concatenation; each part comes with which candidates concatenate it."""
        places: list[tuple[int, ...]] = [() for _ in parts[0][1]]
        offset = 0
        for part, used in parts:
            for k, use in enumerate(used):
                if use:
                    places[k] += tuple(offset + place for place in part.places[k])
            offset += part.width
        return cls(offset, tuple(places))

    def only(self, chosen: Sequence[bool]) -> Channels:
        """Nothing of the candidates that are not chosen."""
        return Channels(self.width, tuple(own if use else () for own, use in zip(self.places, chosen, strict=True)))

    def keep(self, positions: Sequence[int]) -> Channels:
        """Of these candidates."""
        return Channels(self.width, tuple(self.places[k] for k in positions))


@dataclass(frozen=True)
class Binding:
    """A stacked tensor (K, rows, columns, …), and what its parts are called in the candidates' own networks."""

    attribute: str
    name: str
    rows: Channels
    columns: Channels | None = None

    def index(self, k: int) -> tuple[int | Tensor, ...]:
        """Where the k-th candidate's own tensor lies."""
        rows = torch.tensor(self.rows.places[k], dtype=torch.long)
        if self.columns is None:
            return (k, rows)
        return (k, rows[:, None], torch.tensor(self.columns.places[k], dtype=torch.long))


class Stack(nn.Module):
    """A module whose own parameters and buffers all have the leading axis K."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.bindings: list[Binding] = []

    def load(self, states: Sequence[State]) -> None:
        """Copy from the candidates' own networks, where they have the layer."""
        for binding in self.bindings:
            for k, state in enumerate(states):
                if binding.rows.places[k]:
                    getattr(self, binding.attribute).data[binding.index(k)] = state[binding.name]

    def export(self, k: int) -> State:
        """The k-th candidate's own tensors, copied."""
        return {
            binding.name: getattr(self, binding.attribute).detach()[binding.index(k)].clone()
            for binding in self.bindings
            if binding.rows.places[k]
        }

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with these candidates only."""
        self.size = len(positions)
        for tensor in [*self.parameters(recurse=False), *self.buffers(recurse=False)]:
            tensor.data = tensor.data[list(positions)]
        self.bindings = [
            Binding(
                binding.attribute,
                binding.name,
                binding.rows.keep(positions),
                None if binding.columns is None else binding.columns.keep(positions),
            )
            for binding in self.bindings
        ]

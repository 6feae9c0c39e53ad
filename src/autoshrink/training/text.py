"""A text on the device, cut into streams that are read side by side, and the random lengths of chunks.

Shape letters: L length of a stream, B streams.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autoshrink.config import TextRecipe

LONG_SHARE = 0.95
"""Of chunks whose length is drawn around `bptt`; the others are drawn around half of it."""
LENGTH_DEVIATION = 5.0
SHORTEST = 5
LONGER_BY = 20
"""A drawn length is at most this much above `bptt`: the released code's max_delta. (The last chunk of a text may have a
few steps more.)"""


@dataclass(frozen=True)
class Streams:
    """A text as B streams: each target's input is the token before it, and every token is a target once.

    Attributes:
        inputs: (L, B) int64; the very first input is `<eos>`.
        targets: (L, B) int64; positions after the text's end hold 0.
        counted: (L, B) bool, False after the text's end; None where every position counts.
        tokens: how many targets count.
    """

    inputs: Tensor
    targets: Tensor
    counted: Tensor | None
    tokens: int

    @classmethod
    def of(cls, tokens: np.ndarray, streams: int, *, end: int, device: torch.device, trim: bool = False) -> Streams:
        """Cut (n,) token ids into streams, at most n of them, in the text's order.

        Args:
            tokens: the text.
            streams: B.
            end: id of `<eos>`.
            device: where the result lies.
            trim: leave the n mod B last tokens out, rather than filling up: for training.
        """
        streams = min(streams, len(tokens))
        length = len(tokens) // streams if trim else -(-len(tokens) // streams)
        kept = tokens[: length * streams]
        room = length * streams - len(kept)
        targets = np.pad(kept.astype(np.int64), (0, room))
        inputs = np.roll(targets, 1)
        inputs[0] = end
        counted = np.arange(length * streams) < len(kept)

        def laid(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array.reshape(streams, length).T)).to(device)

        return cls(laid(inputs), laid(targets), laid(counted) if room else None, len(kept))

    def first(self, streams: int) -> Streams:
        """Some of the streams only."""
        counted = None if self.counted is None else self.counted[:, :streams]
        tokens = len(self) * min(streams, self.width) if counted is None else int(counted.sum())
        return Streams(self.inputs[:, :streams], self.targets[:, :streams], counted, tokens)

    def __len__(self) -> int:
        """L."""
        return len(self.inputs)

    @property
    def width(self) -> int:
        """B."""
        return self.inputs.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the text lies."""
        return self.inputs.device


def chunk_lengths(length: int, recipe: TextRecipe, generator: torch.Generator) -> Iterator[int]:
    """Lengths that add up to `length`, drawn by the recipe; the last is what is left, and joins the one before rather
    than being shorter than five steps."""
    left = length
    while left > 0:
        drawn = _length(recipe, generator) if recipe.random_lengths else recipe.bptt
        take = left if left - drawn < SHORTEST else drawn
        yield take
        left -= take


def _length(recipe: TextRecipe, generator: torch.Generator) -> int:
    long = float(torch.rand((), generator=generator)) < LONG_SHARE
    middle = recipe.bptt if long else recipe.bptt / 2
    drawn = int(middle + LENGTH_DEVIATION * float(torch.randn((), generator=generator)))
    return min(max(drawn, SHORTEST), recipe.bptt + LONGER_BY)

"""A joint categorical distribution over decisions, each by itself, that is pruned while it learns (Zheng et al.,
Dynamic Distribution Pruning for Efficient Network Architecture Search, 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from random import Random
from typing import Self

from autoshrink.spaces import Decision

Row = tuple[float, ...]
MEMORY = 0.5
"""What the probabilities of the phase before weigh, beside those of this one: θ ← E + ½θ."""


@dataclass(frozen=True)
class Distribution:
    """Probabilities of the options of every decision.

    Attributes:
        rows: (decisions, options): they sum to 1 over the options, and those of pruned options are 0.
    """

    rows: tuple[Row, ...]

    @classmethod
    def uniform(cls, sizes: Sequence[int]) -> Self:
        """All options of every decision alike; `sizes` says how many there are."""
        return cls(tuple((1 / size,) * size for size in sizes))

    def alive(self, decision: int) -> tuple[int, ...]:
        """The options of a decision that were not pruned."""
        return tuple(option for option, share in enumerate(self.rows[decision]) if share > 0)

    @property
    def open(self) -> tuple[int, ...]:
        """The decisions with more than one option alive."""
        return tuple(place for place in range(len(self.rows)) if len(self.alive(place)) > 1)

    @property
    def entropy(self) -> float:
        """Of all decisions together, nats."""
        return math.fsum(-share * math.log(share) for row in self.rows for share in row if share > 0)

    def lead(self, decision: int) -> float:
        """By how much the most probable option of a decision is ahead of the next."""
        first, second = sorted(self.rows[decision], reverse=True)[:2]
        return first - second

    def drawn(self, turns: int, rng: Random) -> tuple[tuple[int, ...], ...]:
        """(n, decisions) options, drawn without replacement: n is `turns` times the most options that a decision has.

        Every decision draws one random order of its options after another, so that two-way decisions come as
        pairs of a configuration and its complement (antithetic pairs).
        """
        alive = [self.alive(place) for place in range(len(self.rows))]
        length = turns * max(map(len, alive), default=0)
        columns = []
        for options in alive:
            blocks = (rng.sample(options, len(options)) for _ in range(-(-length // len(options))))
            columns.append(list(islice((option for block in blocks for option in block), length)))
        return tuple(zip(*columns, strict=True))

    def learned(self, drawn: Sequence[Sequence[int]], worth: Sequence[float], *, memory: float = MEMORY) -> Self:
        """θ ← E + `memory`·θ, of which each row is then normalised.

        E is the mean, over the whole orders of a decision's options that were drawn, of the softmax of what each option
        was worth there. So every option counts as often as any other; of the last order, where it is cut short, nothing
        counts.

        Args:
            drawn: (n, decisions) options, as `drawn` gave them.
            worth: (n,) of what was made of them, in units of the temperature; higher is better, −∞ for no worth at all.
        """
        rows = []
        for place, row in enumerate(self.rows):
            options = self.alive(place)
            total, size = [memory * share for share in row], len(options)
            blocks = range(0, len(drawn) - size + 1, size)
            for first in blocks:
                values = list(worth[first : first + size])
                for option, share in zip(
                    (one[place] for one in drawn[first : first + size]), softmax(values), strict=True
                ):
                    total[option] += share / len(blocks)
            rows.append(_normalised(total))
        return replace(self, rows=tuple(rows))

    def without(self, decision: int, options: Sequence[int]) -> Self:
        """Some options of a decision pruned: they have no probability any more."""
        kept = [0.0 if option in options else share for option, share in enumerate(self.rows[decision])]
        rows = (*self.rows[:decision], _normalised(kept), *self.rows[decision + 1 :])
        return replace(self, rows=rows)


def renamed(rows: Sequence[Sequence[float]], before: Sequence[Decision], after: Sequence[Decision]) -> tuple[Row, ...]:
    """Rows of other decisions: of those with the name of one before, its shares of the options that both have, where
    some are left; of the others, all alike."""
    known = {one.name: dict(zip(one.options, row, strict=True)) for one, row in zip(before, rows, strict=True)}
    found = []
    for one in after:
        kept = [known.get(one.name, {}).get(option, 0.0) for option in one.options]
        found.append(_normalised(kept if any(kept) else [1.0] * len(kept)))
    return tuple(found)


def softmax(values: Sequence[float]) -> Row:
    """exp(v) as shares of their sum; all alike where every value is −∞."""
    highest = max(values)
    if highest == -math.inf:
        return (1 / len(values),) * len(values)
    return _normalised([math.exp(value - highest) for value in values])


def _normalised(values: Sequence[float]) -> Row:
    total = math.fsum(values)
    return tuple(value / total for value in values)

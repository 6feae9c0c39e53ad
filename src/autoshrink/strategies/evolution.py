"""Regularised evolution: the oldest of a population dies, the best of a sample has a child (Real et al., AAAI 2019).

Ageing keeps the search from resting on figures that were lucky once.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from functools import partial

from autoshrink.design import Design
from autoshrink.errors import InputError
from autoshrink.score import Evaluation
from autoshrink.seeding import derive_seed
from autoshrink.strategies.base import (
    Choice,
    Proposal,
    Strategy,
    StrategyContext,
    best_first,
    choice,
    drawn,
    refuse_others,
)
from autoshrink.strategies.random_search import widths


class Evolution(Strategy):
    """Step 0 is what the space starts with, for the record alone. Step 1 draws a population. Each further step has
    children: of a sample, drawn without replacement, the best by S is mutated; every child takes the place of the
    oldest. `candidates` children are asked for at a time, one where that is ``all``.

    It is over after as many designs as AutoShrink would measure where every move leaves one fewer.

    Raises:
        InputError: the evaluator compares the candidates of one step only.
    """

    def __init__(self, context: StrategyContext) -> None:
        settings = context.settings
        if settings.relative:
            raise InputError(
                f"--strategy evolution compares designs of different steps, which --evaluator {settings.evaluator} "
                "cannot; add --evaluator trained"
            )
        self._context = context
        self._size, self._sample = settings.evolution.population, settings.evolution.sample
        self._at_once = 1 if settings.candidates == "all" else settings.candidates
        self._left = sum(widths(context)[1:])
        self._alive: deque[Evaluation] = deque()
        self._step = 0

    def ask(self) -> tuple[Proposal, ...]:
        """Drawn from the seed, the step's number and what is alive; empty at the end."""
        if self._step == 0:
            return tuple(Proposal(0, index, one) for index, one in enumerate(self._context.space.starts))
        rng = random.Random(derive_seed(self._context.settings.seed, "evolution", self._step))
        return tuple(Proposal(self._step, index, *self._born(rng)) for index in range(self._width()))

    def _width(self) -> int:
        return min(self._left, self._size if self._step <= 1 else self._at_once)

    def _born(self, rng: random.Random) -> tuple[Design, Design | None]:
        """A design, and what it was made of."""
        space, parent = self._context.space, None
        if self._step > 1 and self._alive:
            sample = rng.sample(list(self._alive), min(self._sample, len(self._alive)))
            parent = sample[best_first(sample, self._context.score)[0]].design
        draw = partial(space.random if parent is None else partial(space.mutated, parent), rng)
        return drawn(draw, self._context.allowed), parent

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """The children are alive, and as many of the oldest no more."""
        refuse_others(self.ask(), evaluations)
        if self._step:
            self._left -= len(evaluations)
            self._alive.extend(evaluations)
            while len(self._alive) > self._size:
                self._alive.popleft()
        self._step += 1
        ranked = best_first(evaluations, self._context.score)
        return choice(ranked[0], ranked, evaluations)

    def redirected(self, context: StrategyContext, design: Design | None) -> bool:
        """Whoever keeps the commands lives on; where nobody does, the next are drawn."""
        if design is not None:
            return False
        self._context = context
        self._alive = deque(one for one in self._alive if context.space.projected(one.design) == one.design)
        return True

    def over(self) -> str:
        """All are measured."""
        return "as many designs were measured as AutoShrink would measure"

    def outlook(self) -> tuple[int, ...]:
        """What is left, a step after another."""
        first = {0: (len(self._context.space.starts), min(self._left, self._size)), 1: (self._width(),)}
        begun = first.get(self._step, ())
        left = self._left - sum(begun[-1:])
        whole, rest = divmod(left, self._at_once)
        return (*begun, *[self._at_once] * whole, *([rest] if rest else []))

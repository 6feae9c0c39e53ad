"""Random search: designs drawn from the space, as many as AutoShrink would measure. What a strategy has to beat."""

from __future__ import annotations

import random
from collections.abc import Sequence

from autoshrink.design import Design
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


def widths(context: StrategyContext) -> tuple[int, ...]:
    """How many designs AutoShrink measures in each step, the start's among them, where every move leaves one fewer."""
    moves = context.space.outlook(context.start)
    most = context.settings.candidates
    moves = moves[: max(0, len(moves) - context.settings.stop.edges)]
    return (1, *(left if most == "all" else min(most, left) for left in moves))


class RandomSearch(Strategy):
    """Step 0 is the start. Each further step draws designs of its space; of cells, how many edges go is drawn first,
    each number as likely as another, and then which.

    There are as many steps, and as many designs in each, as AutoShrink has where every move leaves one fewer.
    """

    def __init__(self, context: StrategyContext) -> None:
        self._context = context
        self._widths = widths(context)
        self._start = context.start
        self._step = 0

    def ask(self) -> tuple[Proposal, ...]:
        """Designs drawn from the seed and the step's number alone; empty at the end."""
        start = self._start
        if self._step == 0:
            return (Proposal(0, 0, start),)
        if self._step == len(self._widths):
            return ()
        rng = random.Random(derive_seed(self._context.settings.seed, "random", self._step))
        return tuple(Proposal(self._step, index, self._drawn(rng), start) for index in range(self._widths[self._step]))

    def _drawn(self, rng: random.Random) -> Design:
        return drawn(lambda: self._context.space.random(rng), self._context.allowed)

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """Nothing is learned; the best of the step is named."""
        refuse_others(self.ask(), evaluations)
        self._step += 1
        ranked = best_first(evaluations, self._context.score)
        return choice(ranked[0], ranked, evaluations)

    def redirected(self, context: StrategyContext, design: Design | None) -> bool:
        """Draw from what the commands leave, as many as were left."""
        if design is None:
            self._context = context
            self._start = self._start if self._step else context.start
        return design is None

    def over(self) -> str:
        """All are drawn."""
        return "as many cells were drawn as AutoShrink would measure"

    def outlook(self) -> tuple[int, ...]:
        """What is left of the steps."""
        return self._widths[self._step :]

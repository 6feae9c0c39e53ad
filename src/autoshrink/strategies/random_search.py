"""Random search: cells drawn from the same space, as many as AutoShrink would measure. What a strategy has to beat."""

from __future__ import annotations

import random
from collections.abc import Sequence

from autoshrink.cell import Cell
from autoshrink.score import Evaluation
from autoshrink.seeding import derive_seed
from autoshrink.strategies.base import (
    Choice,
    Proposal,
    Strategy,
    StrategyContext,
    best_first,
    choice,
    refuse_others,
)

DRAWS = 100
"""A cell that breaks a limit is drawn again, at most so often."""


class RandomSearch(Strategy):
    """Step 0 is the starting cell. Each further step draws cells that lack some of its edges: how many go is drawn
    first, each number as likely as another, and then which.

    There are as many steps, and as many cells in each, as AutoShrink has where every removal takes one edge only.
    """

    def __init__(self, context: StrategyContext) -> None:
        self._context = context
        edges = range(len(context.start.edges), context.settings.stop.edges, -1)
        most = context.settings.candidates
        self._widths = (1, *(left if most == "all" else min(most, left) for left in edges))
        self._step = 0

    def ask(self) -> tuple[Proposal, ...]:
        """Cells drawn from the seed and the step's number alone; empty at the end."""
        start = self._context.start
        if self._step == 0:
            return (Proposal(0, 0, start),)
        if self._step == len(self._widths):
            return ()
        rng = random.Random(derive_seed(self._context.settings.seed, "random", self._step))
        return tuple(Proposal(self._step, index, self._drawn(rng), start) for index in range(self._widths[self._step]))

    def _drawn(self, rng: random.Random) -> Cell:
        start = self._context.start
        cell = start
        for _ in range(DRAWS):
            kept = rng.sample(start.edges, rng.randrange(len(start.edges)))
            cell = Cell(start.kind, start.ops, tuple(sorted(kept)))
            if self._context.allowed(cell):
                break
        return cell

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """Nothing is learned; the best of the step is named."""
        refuse_others(self.ask(), evaluations)
        self._step += 1
        ranked = best_first(evaluations, self._context.score)
        return choice(ranked[0], ranked, evaluations)

    def over(self) -> str:
        """All cells are drawn."""
        return "as many cells were drawn as AutoShrink would measure"

    def outlook(self) -> tuple[int, ...]:
        """What is left of the steps."""
        return self._widths[self._step :]

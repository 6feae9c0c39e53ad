"""AutoShrink: remove, edge by edge, what is missed least (Zhang et al., AAAI 2020, Algorithm 1)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal

from autoshrink.cell import Cell
from autoshrink.change import RemovedEdge
from autoshrink.score import Evaluation, Score, compare
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


class AutoShrink(Strategy):
    """Algorithm 1 as ask and tell.

    Step 0 is the starting cell alone, so that it is on record (the released code never evaluates it). Each further
    step proposes cells that lack one edge of the current cell, and goes on with the one of highest S; ties go to the
    cheaper cell, then to fewer branches.

    Args:
        start: where to begin; the complete graph in the paper.
        score: Eq. 5.
        candidates: K edges of each step, drawn without replacement, or ``"all"`` for the whole shrink space (Eq. 6).
        seed: decides the draws, together with the step's number alone.
        allowed: whether a cell keeps the limits. Cells that do not are proposed only in a step where no child keeps
            them: where the path down has to lead through.
        stop: whether the search ends at this cell; it always ends when no edge is left.
        grace: a candidate with more leaves than the cell it was cut from is taken before the best where it is behind by
            less than so many standard errors of the paired difference. Estimates with inherited weights need that:
            nobody has learned to read a new leaf's channels, and judged at once such removals always lose.
        rank: where given, the K edges are those whose removal leaves the cells of highest rank, and not drawn. Called
            once for every cell of a step's shrink space.
    """

    def __init__(
        self,
        start: Cell,
        *,
        score: Score,
        candidates: int | Literal["all"] = 10,
        seed: int = 0,
        allowed: Callable[[Cell], bool] = lambda _: True,
        stop: Callable[[Cell], str | None] = lambda _: None,
        grace: float = 0.0,
        rank: Callable[[Cell], float] | None = None,
    ) -> None:
        self._cell = start
        self._score = score
        self._candidates = candidates
        self._seed = seed
        self._allowed = allowed
        self._stop = stop
        self._grace = grace
        self._rank = rank
        self._step = 0
        self._asked: tuple[Proposal, ...] | None = None

    def ask(self) -> tuple[Proposal, ...]:
        """The starting cell, then at most K children of the current cell; empty at the end."""
        if self._asked is None:
            self._asked = self._proposals()
        return self._asked

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """Go on with the best of the step.

        Failed candidates lose to every other; when all failed, the cheapest is taken, so that the search goes on. Those
        that the evaluator left behind on the way lose to those that it measured further.

        Raises:
            ValueError: the evaluations are not those of the asked proposals.
        """
        refuse_others(self.ask(), evaluations)
        ranked = best_first(evaluations, self._score)
        first = self._graced(ranked, evaluations)
        self._cell = evaluations[first].cell
        self._step += 1
        self._asked = None
        return choice(first, ranked, evaluations)

    def _graced(self, ranked: Sequence[int], evaluations: Sequence[Evaluation]) -> int:
        """The index to go on with: that of the best, or of one with a new leaf that is not clearly worse."""
        best = evaluations[ranked[0]]
        if not self._grace or best.performance is None:
            return ranked[0]
        for index in ranked:
            one = evaluations[index]
            if one.rung < best.rung or one.failed:
                break
            error = compare(best, one).standard_error or 0.0
            behind = self._score(best) - self._score(one)
            new = len(one.cell.leaves) > len(self._cell.leaves)
            if new and behind <= self._grace * self._score.slope(best.performance) * error:
                return index
        return ranked[0]

    def over(self) -> str:
        """Why there is no next step."""
        return self._stop(self._cell) or "no edge is left"

    def outlook(self) -> tuple[int, ...]:
        """Upper bounds, step by step, for the case that every removal takes one edge only."""
        first = (1,) if self._step == 0 else ()
        if self._stop(self._cell):
            return first
        return first + tuple(self._width(edges) for edges in range(len(self._cell.edges), 0, -1))

    def _width(self, edges: int) -> int:
        return edges if self._candidates == "all" else min(self._candidates, edges)

    def _proposals(self) -> tuple[Proposal, ...]:
        if self._step == 0:
            return (Proposal(0, 0, self._cell),)
        if self._stop(self._cell):
            return ()
        space = self._cell.shrink_space()
        pool = [child for child in space if self._allowed(child[1])] or list(space)
        if self._candidates != "all":
            random.Random(derive_seed(self._seed, "edges", self._step)).shuffle(pool)
            if self._rank is not None:
                ranks = [self._rank(cell) for _, cell in pool]
                pool = [pool[place] for place in sorted(range(len(pool)), key=lambda place: -ranks[place])]
            pool = pool[: self._candidates]
        return tuple(
            Proposal(self._step, index, cell, self._cell, RemovedEdge(edge)) for index, (edge, cell) in enumerate(pool)
        )


def shrinking(context: StrategyContext) -> AutoShrink:
    """AutoShrink as a search's settings ask for it."""
    return AutoShrink(
        context.start,
        score=context.score,
        candidates=context.settings.candidates,
        seed=context.settings.seed,
        allowed=context.allowed,
        stop=context.stop,
        grace=context.grace,
        rank=context.rank,
    )

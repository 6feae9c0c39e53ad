"""AutoShrink: remove, edge by edge, what is missed least (Zhang et al., AAAI 2020, Algorithm 1)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal

from autoshrink.cell import Cell
from autoshrink.score import Evaluation, Score
from autoshrink.seeding import derive_seed
from autoshrink.strategies.base import Choice, Proposal


class AutoShrink:
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
    ) -> None:
        self._cell = start
        self._score = score
        self._candidates = candidates
        self._seed = seed
        self._allowed = allowed
        self._stop = stop
        self._step = 0
        self._asked: tuple[Proposal, ...] | None = None

    def ask(self) -> tuple[Proposal, ...]:
        """The starting cell, then at most K children of the current cell; empty at the end."""
        if self._asked is None:
            self._asked = self._proposals()
        return self._asked

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """Go on with the best of the step.

        Failed candidates lose to every other; when all failed, the cheapest is taken, so that the search goes on.

        Raises:
            ValueError: the evaluations are not those of the asked proposals.
        """
        asked = self.ask()
        if [one.cell for one in evaluations] != [proposal.cell for proposal in asked]:
            raise ValueError("told other cells than were asked for")
        # sorted is stable: of complete ties the lowest index wins, with reverse=True as well.
        ranked = sorted(range(len(asked)), key=lambda index: self._score.preference(evaluations[index]), reverse=True)
        self._cell = asked[ranked[0]].cell
        self._step += 1
        self._asked = None
        chosen = asked[ranked[0]].cell
        others = (index for index in ranked[1:] if asked[index].cell.key != chosen.key)
        return Choice(ranked[0], next(others, None))

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
            return (Proposal(0, 0, None, self._cell),)
        if self._stop(self._cell):
            return ()
        space = self._cell.shrink_space()
        pool = [child for child in space if self._allowed(child[1])] or list(space)
        if self._candidates != "all":
            random.Random(derive_seed(self._seed, "edges", self._step)).shuffle(pool)
            pool = pool[: self._candidates]
        return tuple(Proposal(self._step, index, edge, cell) for index, (edge, cell) in enumerate(pool))

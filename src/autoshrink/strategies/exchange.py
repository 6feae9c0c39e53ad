"""Exchange: at a fixed cost, take one move after another that makes a network better.

Where every move gives back as width what it saves, designs cost the same, and what they are worth can be compared
directly. The search goes uphill from the best of several starts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from autoshrink.change import Change
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
    refuse_others,
)


class Exchange(Strategy):
    """Step 0 measures every start of the space; the best by S is the parent.

    Each further step proposes the parent again, as its first candidate, and what K moves make of it that were never
    proposed before, drawn by the seed and the step's number. The best child becomes the parent where its S is higher
    than the parent's; else the parent stays, and other moves are drawn. An evaluator whose figures compare the
    candidates of one step only thus has both in it; any other measures the parent once. It is over after `patience`
    steps without an improvement, or when every move was tried.
    """

    def __init__(self, context: StrategyContext) -> None:
        self._context = context
        self._parent: Design = context.start
        self._proposed: set[str] = set()
        self._patience = context.settings.patience
        self._waited = 0
        self._step = 0
        self._asked: tuple[Proposal, ...] | None = None

    def ask(self) -> tuple[Proposal, ...]:
        """The starts, then the parent and at most K of its untried children; empty at the end."""
        if self._asked is None:
            self._asked = self._proposals()
        return self._asked

    def _proposals(self) -> tuple[Proposal, ...]:
        context = self._context
        if self._step == 0:
            return tuple(Proposal(0, index, one) for index, one in enumerate(context.space.starts))
        if self._waited >= self._patience or context.stop(self._parent):
            return ()
        pool = self._untried()
        random.Random(derive_seed(context.settings.seed, "moves", self._step)).shuffle(pool)
        if context.rank is not None:
            ranks = [context.rank(design) for _, design in pool]
            pool = [pool[place] for place in sorted(range(len(pool)), key=lambda place: -ranks[place])]
        if context.settings.candidates != "all":
            pool = pool[: context.settings.candidates]
        if not pool:
            return ()
        children = [
            Proposal(self._step, index, child, self._parent, change)
            for index, (change, child) in enumerate(pool, start=1)
        ]
        return (Proposal(self._step, 0, self._parent, self._parent), *children)

    def _untried(self) -> list[tuple[Change, Design]]:
        found: dict[str, tuple[Change, Design]] = {}
        for change, design in self._context.space.moves(self._parent):
            if design.key not in self._proposed and self._context.allowed(design):
                found.setdefault(design.key, (change, design))
        return list(found.values())

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """Go on with the best of the step; of equals with the parent, which is the first."""
        refuse_others(self.ask(), evaluations)
        ranked = best_first(evaluations, self._context.score)
        first = ranked[0]
        if self._step:
            # A child is no improvement where it is only cheaper.
            score = self._context.score
            first = first if score(evaluations[first]) > score(evaluations[0]) else 0
            self._waited = 0 if first else self._waited + 1
        self._proposed |= {one.design.key for one in evaluations}
        self._parent = evaluations[first].design
        self._step += 1
        self._asked = None
        return choice(first, ranked, evaluations)

    def over(self) -> str:
        """Why there is no next step."""
        if self._waited >= self._patience:
            steps = f"{self._patience} steps" if self._patience > 1 else "a step"
            return f"{steps} without an improvement"
        return self._context.stop(self._parent) or "every move was tried"

    def outlook(self) -> tuple[int, ...]:
        """The asked step, and as many after it as there are at least before the search gives up."""
        asked = len(self.ask())
        if not asked:
            return ()
        width = asked if self._step else 1 + len(self._context.space.moves(self._parent))
        if self._context.settings.candidates != "all":
            width = min(width, 1 + self._context.settings.candidates)
        return (asked, *[width] * max(0, self._patience - self._waited - (self._step > 0)))

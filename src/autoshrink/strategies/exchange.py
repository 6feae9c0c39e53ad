"""Exchange: at a fixed cost, take one move after another that makes a network better.

Where every move gives back as width what it saves, designs cost the same, and what they are worth can be compared
directly. The search goes uphill from the best of several starts, and takes no step that a second measurement does not
confirm.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import fmean

from autoshrink.change import Change
from autoshrink.design import Design
from autoshrink.formatting import count
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

CONFIRMED = 2
"""Children of a step that are measured once more, beside their parent; of the starts one more."""


class Exchange(Strategy):
    """Step 0 measures every start of the space. Then two kinds of step take turns.

    One confirms: the best of the step before are measured once more, beside the parent, all with one new seed, and the
    best of them by S is the parent from then on, if it is better than the parent now and than the mean of all figures
    that the parent had in such steps. The best of many noisy figures flatters itself, so that it would nearly always
    seem to be better than its parent; a second figure was not chosen by chance.
    The other kind explores: K moves of the parent to designs that were never proposed before. Moves of a kind that
    gained when it was tried come first, wherever in the network that was, then kinds that were not tried, then those
    that lost; among equals the seed and the step's number draw. It is over after `patience` confirmations without an
    improvement, or when every move was tried.
    """

    def __init__(self, context: StrategyContext) -> None:
        self._context = context
        self._parent: Design | None = None
        self._rivals: tuple[tuple[Change | None, Design], ...] = ()
        self._figures: list[float] = []
        self._gains: defaultdict[str, list[float]] = defaultdict(list)
        self._proposed: set[str] = set()
        self._patience = context.settings.patience
        self._waited = 0
        self._step = 0
        self._asked: tuple[Proposal, ...] | None = None

    def ask(self) -> tuple[Proposal, ...]:
        """The starts, untried children of the parent, or what has to be confirmed; empty at the end."""
        if self._asked is None:
            self._asked = tuple(self._proposals())
        return self._asked

    def _proposals(self) -> Iterator[Proposal]:
        if self._step == 0:
            for index, one in enumerate(self._context.space.starts):
                yield Proposal(0, index, one)
        elif self._rivals:
            held = () if self._parent is None else ((None, self._parent),)
            for index, (change, one) in enumerate((*held, *self._rivals)):
                yield Proposal(self._step, index, one, self._parent, change, anew=True)
        elif self._parent is not None and self._waited < self._patience and not self._context.stop(self._parent):
            for index, (change, child) in enumerate(self._drawn(self._parent)):
                yield Proposal(self._step, index, child, self._parent, change)

    def _drawn(self, parent: Design) -> list[tuple[Change, Design]]:
        context, found = self._context, dict[str, tuple[Change, Design]]()
        for change, design in context.space.moves(parent):
            if design.key not in self._proposed and context.allowed(design):
                found.setdefault(design.key, (change, design))
        pool = list(found.values())
        random.Random(derive_seed(context.settings.seed, "moves", self._step)).shuffle(pool)
        pool.sort(key=lambda one: -fmean(self._gains.get(one[0].sort, (0.0,))))
        if context.rank is not None:
            ranks = [context.rank(design) for _, design in pool]
            pool = [pool[place] for place in sorted(range(len(pool)), key=lambda place: -ranks[place])]
        return pool if context.settings.candidates == "all" else pool[: context.settings.candidates]

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """After a confirmation go on with the best, else confirm the best."""
        asked = self.ask()
        refuse_others(asked, evaluations)
        ranked = best_first(evaluations, self._context.score)
        first = ranked[0]
        if self._rivals:
            score = self._context.score
            # Of the starts the first is nobody's parent yet.
            self._figures = [*(() if self._parent is None else self._figures), score(evaluations[0])]
            # A child is no improvement where it is only cheaper.
            first = first if score(evaluations[first]) > max(self._figures[-1], fmean(self._figures)) else 0
            kept = self._parent is not None and first == 0
            self._waited = self._waited + 1 if kept else 0
            if not kept:
                self._figures = [score(evaluations[first])]
            self._parent, self._rivals = evaluations[first].design, ()
        else:
            self._remember(asked, evaluations)
            self._rivals = self._best(asked, ranked, evaluations)
            if self._parent is None and len(self._rivals) < 2:
                self._parent, self._rivals = evaluations[first].design, ()
                self._figures = [self._context.score(evaluations[first])]
            elif not self._rivals:
                self._waited += 1
        self._proposed |= {one.design.key for one in evaluations}
        self._step += 1
        self._asked = None
        return choice(first, ranked, evaluations)

    def _remember(self, asked: Sequence[Proposal], evaluations: Sequence[Evaluation]) -> None:
        """What each move gained on the mean of its parent's figures."""
        worth = fmean(self._figures) if self._figures else -math.inf
        for proposal, one in zip(asked, evaluations, strict=True):
            if math.isfinite(worth) and proposal.change is not None and not one.failed:
                self._gains[proposal.change.sort].append(self._context.score(one) - worth)

    def _best(
        self, asked: Sequence[Proposal], ranked: Sequence[int], evaluations: Sequence[Evaluation]
    ) -> tuple[tuple[Change | None, Design], ...]:
        usable = [index for index in ranked if not evaluations[index].failed]
        most = CONFIRMED + (self._parent is None)
        return tuple((asked[index].change, asked[index].design) for index in usable[:most])

    def redirected(self, context: StrategyContext, design: Design | None) -> bool:
        """Go on from a picked network, or from the parent: where that is another than before, it is measured first.
        What moves have gained by another score is forgotten."""
        if context.score != self._context.score:
            self._gains.clear()
            self._figures = []
        self._context, self._asked = context, None
        parent = self._parent if design is None else design
        kept = None if parent is None else context.space.projected(parent)
        if kept is not None and kept != self._parent:
            self._parent, self._rivals, self._figures, self._waited = None, ((None, kept),), [], 0
        self._rivals = tuple(one for one in self._rivals if context.space.projected(one[1]) == one[1])
        return True

    def over(self) -> str:
        """Why there is no next step."""
        if self._waited >= self._patience:
            return f"{count(self._patience, 'step')} without an improvement"
        return (self._parent and self._context.stop(self._parent)) or "every move was tried"

    def outlook(self) -> tuple[int, ...]:
        """The asked step, and as many after it as there are at least before the search gives up."""
        asked = len(self.ask())
        if not asked:
            return ()
        parent = self._parent or self._context.start
        most = self._context.settings.candidates
        width = len(self._context.space.moves(parent)) if most == "all" else most
        # The asked one is of the first round, but for the starts and their confirmation.
        rounds = max(0, self._patience - self._waited - (self._parent is not None))
        confirmation = CONFIRMED + 1
        rest = (width, confirmation) * rounds
        return (asked, *(rest if self._rivals else (confirmation, *rest)))

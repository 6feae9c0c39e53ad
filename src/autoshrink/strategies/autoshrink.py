"""AutoShrink: take away, move by move, what is missed least (Zhang et al., AAAI 2020, Algorithm 1)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

from autoshrink.change import Aim, Change
from autoshrink.design import Design
from autoshrink.score import Evaluation, Score, compare
from autoshrink.seeding import derive_seed
from autoshrink.spaces import Space
from autoshrink.strategies.base import (
    Choice,
    Proposal,
    Strategy,
    StrategyContext,
    best_first,
    choice,
    refuse_others,
)

Walk = Literal["child", "best"]
Move = tuple[Change, Design]


class AutoShrink(Strategy):
    """Algorithm 1 as ask and tell.

    Step 0 is the start alone, so that it is on record (the released code never evaluates it). Each further step
    proposes what one move makes of the current design (in the paper, the cell without one of its edges), and goes on
    with the one of highest S; ties go to the cheaper design, then to fewer branches.

    Args:
        space: where to begin, and the moves; the complete graph and its edges in the paper.
        score: Eq. 5.
        candidates: K moves of each step, drawn without replacement, or ``"all"`` for all of them (Eq. 6).
        seed: decides the draws, together with the step's number alone.
        allowed: whether a design keeps the limits. Those that do not are proposed only in a step where no child keeps
            them: where the path down has to lead through.
        stop: whether the search ends at this design; it always ends when no move is left.
        grace: a candidate with outputs that its parent had not (a cell's new leaf) is taken before the best where it is
            behind by less than so many standard errors of the paired difference. Estimates with inherited weights need
            that: nobody has learned to read a new leaf's channels, and judged at once such removals always lose.
        rank: where given, the K moves are those that make the designs of highest rank, and not drawn. Called once for
            every move of a step.
        walk: from where each step goes on. ``child``: from the best of the last step, as published. ``best``: from the
            best design of the whole search that has moves left whose outcome is unknown; and where K are drawn, moves
            that were never made come first, then those that lost least when they were last made, from whatever design
            (as in lazy greedy maximisation: Minoux, 1978). It needs evaluations that compare across steps.
    """

    def __init__(  # noqa: PLR0913 - what Algorithm 1 leaves open
        self,
        space: Space[Any],
        *,
        score: Score,
        candidates: int | Literal["all"] = 10,
        seed: int = 0,
        allowed: Callable[[Design], bool] = lambda _: True,
        stop: Callable[[Design], str | None] = lambda _: None,
        grace: float = 0.0,
        rank: Callable[[Design], float] | None = None,
        walk: Walk = "child",
    ) -> None:
        self._space = space
        self._design: Design = space.start
        self._score = score
        self._candidates = candidates
        self._seed = seed
        self._allowed = allowed
        self._stop = stop
        self._grace = grace
        self._rank = rank
        self._walk = walk
        self._step = 0
        self._told: dict[str, Evaluation] = {}
        self._open: dict[str, Evaluation] = {}
        self._alone = True
        self._gains: dict[Aim, float] = {}
        self._asked: tuple[Proposal, ...] | None = None

    def ask(self) -> tuple[Proposal, ...]:
        """The start, then at most K children of the current design; empty at the end."""
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
        if self._walk == "best":
            self._learn(evaluations)
        self._design = evaluations[first].design if self._walk == "child" else self._best_open()
        self._step += 1
        self._asked, self._alone = None, False
        return choice(first, ranked, evaluations)

    def _learn(self, evaluations: Sequence[Evaluation]) -> None:
        """What the step's designs are worth, and what each move gained against where it was made."""
        for proposal, one in zip(self.ask(), evaluations, strict=True):
            self._told.setdefault(one.design.key, one)
            self._open.setdefault(one.design.key, one)
            if proposal.parent is not None and proposal.change is not None:
                before = self._score(self._told[proposal.parent.key])
                # Against a failed parent everything is a gain, and says nothing.
                self._gains[proposal.change.aim] = self._score(one) - before if math.isfinite(before) else 0.0

    def _best_open(self) -> Design:
        """The best design with a move whose outcome is unknown; the current one where there is none."""
        told = list(self._open.values())
        ordered = (told[place].design for place in best_first(told, self._score))
        return next((one for one in ordered if not self._stop(one) and self._moves(one)), self._design)

    def _moves(self, design: Design) -> list[Move]:
        """The moves that a step may make of a design."""
        return [one for one in self._space.moves(design) if self._walk == "child" or one[1].key not in self._told]

    def _graced(self, ranked: Sequence[int], evaluations: Sequence[Evaluation]) -> int:
        """The index to go on with: that of the best, or of one with a new output that is not clearly worse."""
        best = evaluations[ranked[0]]
        if not self._grace or best.performance is None:
            return ranked[0]
        for index in ranked:
            one = evaluations[index]
            if one.rung < best.rung or one.failed:
                break
            # The allowance is one of performances, whose noise is several times that of probabilities.
            error = compare(best.by_performance(), one.by_performance()).standard_error or 0.0
            behind = self._score(best) - self._score(one)
            new = self._space.widened(self._design, one.design)
            if new and behind <= self._grace * self._score.slope(best.performance) * error:
                return index
        return ranked[0]

    def redirected(self, context: StrategyContext, design: Design | None) -> bool:
        """Go on from a picked design, or from the current one as the commands leave it. A step measures that alone
        where it is another than before: it may never have been measured, and its weights may not have been kept."""
        self._space, self._score, self._allowed, self._stop = (
            context.space,
            context.score,
            context.allowed,
            context.stop,
        )
        now = self._design if design is None else design
        kept = self._space.projected(now)
        self._open = {key: one for key, one in self._open.items() if self._space.projected(one.design) == one.design}
        if design is not None:
            self._open = {}
        if kept != self._design:
            self._design, self._alone = kept, True
        self._gains, self._asked = {}, None
        return True

    def over(self) -> str:
        """Why there is no next step."""
        return self._stop(self._design) or self._space.used_up

    def outlook(self) -> tuple[int, ...]:
        """Upper bounds, step by step, for the case that every move leaves one fewer."""
        first = (1,) if self._alone else ()
        if self._stop(self._design):
            return first
        return first + tuple(map(self._width, self._space.outlook(self._design)))

    def _width(self, moves: int) -> int:
        return moves if self._candidates == "all" else min(self._candidates, moves)

    def _proposals(self) -> tuple[Proposal, ...]:
        if self._alone:
            return (Proposal(self._step, 0, self._design),)
        if self._stop(self._design):
            return ()
        moves = self._moves(self._design)
        pool = [child for child in moves if self._allowed(child[1])] or moves
        if self._candidates != "all":
            random.Random(derive_seed(self._seed, "edges", self._step)).shuffle(pool)
            ranks = [self._worth(move) for move in pool]
            pool = [pool[place] for place in sorted(range(len(pool)), key=lambda place: -ranks[place])]
            pool = pool[: self._candidates]
        return tuple(
            Proposal(self._step, index, child, self._design, change) for index, (change, child) in enumerate(pool)
        )

    def _worth(self, move: Move) -> float:
        """By what the K moves of a step are chosen among those that were shuffled."""
        change, design = move
        if self._rank is not None:
            return self._rank(design)
        return self._gains.get(change.aim, math.inf)


def shrinking(context: StrategyContext) -> AutoShrink:
    """AutoShrink as a search's settings ask for it."""
    return AutoShrink(
        context.space,
        score=context.score,
        candidates=context.settings.candidates,
        seed=context.settings.seed,
        allowed=context.allowed,
        stop=context.stop,
        grace=context.grace,
        rank=context.rank,
        walk=context.settings.walk,
    )

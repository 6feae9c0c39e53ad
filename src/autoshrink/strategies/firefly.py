"""Firefly: begin small, add what lowers the loss most for its cost, train, go on (Wu et al., NeurIPS 2020)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from autoshrink.change import Aim, Change, Changed
from autoshrink.design import Design, edges_of
from autoshrink.score import Evaluation
from autoshrink.seeding import derive_seed
from autoshrink.strategies.base import Choice, Proposal, Strategy, StrategyContext, best_first, choice, refuse_others

Move = tuple[Change, Design]


class Firefly(Strategy):
    """Step 0 is the smallest design. Then two kinds of step take turns.

    One compares everything that a move adds to the current design, or K of these moves, drawn. Those that gain most for
    what they cost are taken, one after the other, as long as the limits and the step's number of edges allow: the gain
    is what is judged less the current design's, the cost what the score's resource grows by. Where nothing gains, that
    is the one move that loses least. The other kind of step has the design with all that was taken, alone, to be grown
    and trained; it is the current one from then on. What failed is not tried again. It is over when nothing can be
    added within the limits.

    Raises:
        InputError: the designs of the space do not grow.
    """

    def __init__(self, context: StrategyContext) -> None:
        self._context = context
        self._space = context.space
        self._most = context.settings.firefly.edges
        self._seedling: Design = self._space.seedling(context.settings.firefly.start)
        self._current: Evaluation | None = None
        self._taken: tuple[tuple[Aim, ...], Proposal] | None = None
        self._failed: set[Aim] = set()
        self._anew = True
        self._step = 0
        self._asked: tuple[Proposal, ...] | None = None

    def ask(self) -> tuple[Proposal, ...]:
        """The smallest design, what the current one may grow to, or what was made of that; empty at the end."""
        if self._asked is None:
            self._asked = self._proposals()
        return self._asked

    def _proposals(self) -> tuple[Proposal, ...]:
        if self._anew:
            return (Proposal(self._step, 0, self._seedling),)
        if self._taken is not None:
            return (self._taken[1],)
        parent = self._grown
        moves = self._moves(parent)
        if len(moves) == 1:
            # There is nothing to compare it with.
            change, grown = moves[0]
            self._taken = (change.aim,), Proposal(self._step, 0, grown, parent, change)
            return (self._taken[1],)
        return tuple(Proposal(self._step, index, one, parent, change) for index, (change, one) in enumerate(moves))

    @property
    def _grown(self) -> Design:
        return self._seedling if self._current is None else self._current.design

    def _moves(self, design: Design) -> list[Move]:
        """What a step compares: no two of one network."""
        if self._current is None and self._step:
            return []
        found: dict[str, Move] = {}
        for change, grown in self._space.growths(design):
            if change.aim not in self._failed and self._context.allowed(grown):
                found.setdefault(grown.key, (change, grown))
        pool, most = list(found.values()), self._context.settings.candidates
        if most != "all" and most < len(pool):
            rng = random.Random(derive_seed(self._context.settings.seed, "growths", self._step))
            pool = [pool[place] for place in sorted(rng.sample(range(len(pool)), most))]
        return pool

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """Take what gains most for its cost, or go on from what has grown."""
        asked = self.ask()
        refuse_others(asked, evaluations)
        if self._anew or self._taken is not None:
            index = 0
            ranked = [0]
            if not evaluations[0].failed:
                self._current = evaluations[0]
            elif self._taken is not None:
                self._failed |= set(self._taken[0])
            self._taken, self._anew = None, False
        else:
            ranked = self._by_gain(evaluations)
            index = ranked[0]
            pairs = zip(asked, evaluations, strict=True)
            self._failed |= {asking.change.aim for asking, one in pairs if one.failed and asking.change is not None}
            if not evaluations[index].failed:
                self._take(asked, evaluations, ranked)
        self._step += 1
        self._asked = None
        return choice(index, ranked, evaluations)

    def _by_gain(self, evaluations: Sequence[Evaluation]) -> list[int]:
        """Indices by gain for cost where there is a gain, then by the loss; failed ones last."""
        current, score = self._current, self._context.score
        assert current is not None, "what is compared has grown from something"

        def worth(index: int) -> tuple[bool, bool, float]:
            one = evaluations[index]
            if one.judged is None or current.judged is None:
                return False, False, 0.0
            gain = one.judged - current.judged
            cost = max(1, score.cost(one.resources) - score.cost(current.resources))
            return True, gain > 0, gain / cost if gain > 0 else gain

        by_score = best_first(evaluations, score)
        return sorted(by_score, key=worth, reverse=True)

    def _take(self, asked: Sequence[Proposal], evaluations: Sequence[Evaluation], ranked: Sequence[int]) -> None:
        """The next step's design: the best move's, and with it others that gain, as far as they fit."""
        current = self._current
        assert current is not None, "what is compared has grown from something"
        chosen, design = [ranked[0]], evaluations[ranked[0]].design
        for index in ranked[1:]:
            one = evaluations[index]
            if one.judged is None or one.judged <= (current.judged or 0.0):
                break
            united = self._space.united([design, one.design])
            added = (edges_of(united) or 0) - (edges_of(current.design) or 0)
            if added <= self._most and self._context.allowed(united):
                chosen.append(index)
                design = united
        changes = [change for index in chosen if (change := asked[index].change) is not None]
        together = " ".join(str(getattr(change, "after", change.label)) for change in changes)
        change = changes[0] if len(changes) == 1 else Changed("edges", "", "none", together)
        proposal = Proposal(self._step + 1, 0, design, current.design, change, anew=self._context.settings.relative)
        self._taken = tuple(one.aim for one in changes), proposal

    def redirected(self, context: StrategyContext, design: Design | None) -> bool:
        """Grow on from a picked design, or from the current one as the commands leave it, trained anew: what it has
        grown to may not be what it would grow from. By another score alone it just goes on."""
        self._context, self._space, self._asked = context, context.space, None
        now = self._grown if design is None else design
        kept = self._space.projected(now)
        if design is not None or kept != now or self._step == 0:
            self._seedling, self._current, self._taken, self._anew = kept, None, None, True
            self._failed = set()
        elif self._taken is not None and self._space.projected(self._taken[1].design) != self._taken[1].design:
            self._taken = None
        return True

    def over(self) -> str:
        """Why nothing is asked for."""
        if self._current is None and self._step:
            return "what it begins with could not be trained"
        return "nothing can be added within the limits"

    def outlook(self) -> tuple[int, ...]:
        """At most as many growths as moves are left, a comparison before each."""
        asked = len(self.ask())
        if not asked:
            return ()
        left = len(self._space.growths(self._grown)) if not self._anew else 0
        if self._anew:
            left = len(self._space.growths(self._seedling))
        elif self._taken is not None:
            left = len(self._space.growths(self._taken[1].design))
        else:
            left = max(0, left - self._most)
        widths = [width for moves in range(left, 0, -self._most) for width in (moves, 1)]
        return (asked, *widths) if self._anew or self._taken is not None else (asked, 1, *widths)

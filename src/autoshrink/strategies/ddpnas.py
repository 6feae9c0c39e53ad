"""DDPNAS: a distribution over what a space decides, pruned until one design is left (Zheng et al., 2019)."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from random import Random
from statistics import fmean, pstdev

from autoshrink.design import Design, edges_of
from autoshrink.score import Evaluation
from autoshrink.seeding import derive_seed
from autoshrink.strategies.base import (
    DRAWS,
    Choice,
    Proposal,
    Strategy,
    StrategyContext,
    best_first,
    choice,
    refuse_others,
)
from autoshrink.strategies.distribution import Distribution, renamed

PUBLISHED_TURNS, PAIRS = 3, 8
LIKELIEST = 500
"""The most probable designs among which one that keeps a budget is looked for before any is made to keep it."""

Choices = tuple[int, ...]


class DDPNAS(Strategy):
    """Step 0 is the start. Then each step is a phase: designs are drawn without replacement from the distribution
    (`Distribution.drawn`), what they are worth moves it (`Distribution.learned`), and it is pruned. The last step
    generates networks for several budgets.

    A design's worth is its S, so that cost is subtracted as λ·log10; it is standardised within the phase and divided
    by the temperature.

    With a ``share`` of 1 every decision loses its least probable option, as published. Of two options that would
    settle everything after one phase; so with less, that share of the open decisions, those whose first option is
    furthest ahead of the second, is settled on the first. Never is an option pruned without which no design would be
    left that has an edge, keeps every settled option (an edge that nothing reaches is dropped from a cell) and keeps
    the limits, as far as one that does is found among a number of draws.

    Designs that break a limit are drawn all the same, since something is learned from them; the generated ones keep it.
    Generated is the design of the highest Σ log θ, θ of each option as it was when last alive, that keeps the limits
    and costs at most a share of what the settled design does.

    Raises:
        InputError: the space has no decisions.
    """

    def __init__(self, context: StrategyContext) -> None:
        self._context = context
        self._own = context.settings.ddpnas
        sizes = [len(one.options) for one in context.space.decisions]
        several = all(size > 2 for size in sizes)
        self._share = (1.0 if several else 0.25) if self._own.share == "auto" else self._own.share
        self._turns = (PUBLISHED_TURNS if several else PAIRS) if self._own.turns == "auto" else self._own.turns
        self._theta = Distribution.uniform(sizes)
        self._last = [list(row) for row in self._theta.rows]
        self._step, self._generating = 0, False
        self._asked: tuple[Proposal, ...] | None = None
        self._drawn: tuple[Choices, ...] = ()
        self._witness: Choices | None = None
        self._first = context.start
        self._limited = True
        self._limited = self._found(self._theta) is not None

    def _whole(self, design: Design) -> bool:
        """What a design has to be that is left: of some edge, and within the limits, where one that is was found."""
        return edges_of(design) != 0 and (not self._limited or self._context.allowed(design))

    def ask(self) -> tuple[Proposal, ...]:
        """The start, a phase, or generated designs; empty at the end."""
        if self._asked is None:
            # Of the start, so that an evaluator that inherits weights has the largest design's to give.
            parent = self._first if self._step else None
            pairs = enumerate(self._designs())
            self._asked = tuple(Proposal(self._step, index, one, parent) for index, one in pairs)
        return self._asked

    def _designs(self) -> Sequence[Design]:
        if self._step == 0:
            return self._context.space.starts
        if self._theta.open:
            rng = Random(derive_seed(self._context.settings.seed, "ddpnas", self._step))
            self._drawn = self._theta.drawn(self._turns, rng)
            return [self._context.space.chosen(one) for one in self._drawn]
        return self._generated() if self._theta.rows and not self._generating else ()

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """Move the distribution, and prune it."""
        refuse_others(self.ask(), evaluations)
        if self._step and self._theta.open:
            self._theta = self._theta.learned(self._drawn, self._worth(evaluations))
            for place in self._theta.open:
                for option in self._theta.alive(place):
                    self._last[place][option] = self._theta.rows[place][option]
            self._theta = self._pruned(self._theta)
        elif self._step:
            self._generating = True
        self._step += 1
        self._asked = None
        ranked = best_first(evaluations, self._context.score)
        return choice(ranked[0], ranked, evaluations)

    def _worth(self, evaluations: Sequence[Evaluation]) -> list[float]:
        """S in units of the temperature; −∞ of a failed one."""
        scores = [self._context.score(one) for one in evaluations]
        known = [one for one in scores if math.isfinite(one)]
        middle, unit = 0.0, self._own.temperature
        if self._own.standardised and known:
            middle, unit = fmean(known), unit * (pstdev(known) or 1.0)
        return [(one - middle) / unit for one in scores]

    # --- what is pruned ----------------------------------------------------------------------------------------------

    def _pruned(self, theta: Distribution) -> Distribution:
        places = theta.open
        if self._share < 1:
            most = max(1, round(self._share * len(places)))
            places = tuple(sorted(places, key=lambda place: (-theta.lead(place), place))[:most])
        for place in places:
            likeliest = sorted(theta.alive(place), key=lambda option: -theta.rows[place][option])
            if self._share < 1:
                ways = [[other for other in likeliest if other != kept] for kept in likeliest]
            else:
                ways = [[option] for option in reversed(likeliest)]
            theta = self._guarded(theta, place, ways)
        return theta

    def _guarded(self, theta: Distribution, place: int, ways: Sequence[Sequence[int]]) -> Distribution:
        """The first way to prune a decision that leaves a whole design."""
        for options in ways:
            pruned = theta.without(place, options)
            witness = self._found(pruned)
            if witness is not None:
                self._witness = witness
                return pruned
        return theta.without(place, ways[0])

    def _found(self, theta: Distribution) -> Choices | None:
        """Choices that are left whose design is whole; None where none was found."""
        alive = [theta.alive(place) for place in range(len(theta.rows))]
        settled = [place for place, options in enumerate(alive) if len(options) == 1]
        for choices in self._tried(theta, alive):
            design = self._context.space.chosen(choices)
            own = self._context.space.choices(design)
            if all(own[place] == choices[place] for place in settled) and self._whole(design):
                return choices
        return None

    def _tried(self, theta: Distribution, alive: Sequence[Sequence[int]]) -> Iterator[Choices]:
        """What is left of the last whole design, the most probable one, both ends, and some that are drawn."""
        before = self._witness
        if before is not None and all(one in options for one, options in zip(before, alive, strict=True)):
            yield before
        yield tuple(max(options, key=row.__getitem__) for options, row in zip(alive, theta.rows, strict=True))
        yield tuple(options[0] for options in alive)
        yield tuple(options[-1] for options in alive)
        rng = Random(derive_seed(self._context.settings.seed, "whole", self._step))
        for _ in range(DRAWS):
            yield tuple(map(rng.choice, alive))

    # --- what is generated -------------------------------------------------------------------------------------------

    def _generated(self) -> list[Design]:
        """For each budget a design, no two of one network; where none keeps it, what was settled."""
        space, context = self._context.space, self._context
        settled = space.chosen([self._theta.alive(place)[0] for place in range(len(self._theta.rows))])
        cost = context.score.cost(context.resources(settled))
        found: dict[str, Design] = {settled.key: settled} if context.allowed(settled) else {}
        for share in self._own.budgets:
            design = self._best(share * cost if share < 1 else math.inf)
            if design is not None:
                found.setdefault(design.key, design)
        return list(found.values()) or [settled]

    def _best(self, most: float) -> Design | None:
        """The most probable design within the limits that costs at most so much; None where none was found."""
        context, space = self._context, self._context.space

        def fits(choices: Choices) -> bool:
            design = space.chosen(choices)
            # What was chosen and dropped again is no merit of the design.
            own = space.choices(design) == choices and edges_of(design) != 0
            return own and context.score.cost(context.resources(design)) <= most and context.allowed(design)

        losses = [[-math.log(share) for share in row] for row in self._last]
        found = next((one for one in islice(likeliest(losses), LIKELIEST) if fits(one)), None)
        found = found or self._lightened(losses, fits)
        return None if found is None else space.chosen(found)

    def _lightened(self, losses: Sequence[Sequence[float]], fits: Callable[[Choices], bool]) -> Choices | None:
        """From the most probable choices on one after another is changed that loses least for what it saves, until the
        design fits; then those are taken back that can be."""
        space, resources = self._context.space, self._context.resources
        weighed = {self._context.score.resource, *self._context.settings.limits.given()}

        def weight(choices: Choices) -> float:
            found = resources(space.chosen(choices))
            return math.fsum(math.log(max(1, found[name])) for name in weighed)

        def loss(choices: Choices) -> float:
            return math.fsum(row[one] for row, one in zip(losses, choices, strict=True))

        def others(choices: Choices) -> Iterator[Choices]:
            for place, row in enumerate(losses):
                for option in range(len(row)):
                    design = space.chosen((*choices[:place], option, *choices[place + 1 :]))
                    if option != choices[place] and edges_of(design) != 0:
                        yield space.choices(design)

        now = space.choices(space.chosen(next(likeliest(losses))))
        while not fits(now):
            heavy, lost = weight(now), loss(now)
            lighter = [(saved, one) for one in others(now) if (saved := heavy - weight(one)) > 0]
            if not lighter:
                return None
            now = min(lighter, key=lambda one: ((loss(one[1]) - lost) / one[0], one[1]))[1]
        while better := [one for one in others(now) if loss(one) < loss(now) and fits(one)]:
            now = min(better, key=lambda one: (loss(one), one))
        return now

    def redirected(self, context: StrategyContext, design: Design | None) -> bool:
        """Decisions that the commands leave open keep their probabilities."""
        if design is not None:
            return False
        before, after = self._context.space.decisions, context.space.decisions
        self._theta = Distribution(renamed(self._theta.rows, before, after))
        self._last = [list(row) for row in renamed(self._last, before, after)]
        self._context, self._asked, self._witness = context, None, None
        self._first = self._first if self._step else context.start
        self._limited = True
        self._limited = self._found(self._theta) is not None
        return True

    def over(self) -> str:
        """All is decided."""
        return "every decision is settled"

    def outlook(self) -> tuple[int, ...]:
        """The start, a phase as long as there are open decisions, and the generated designs."""
        found = [len(self._context.space.starts)] if self._step == 0 else []
        most = max((len(self._theta.alive(place)) for place in self._theta.open), default=1)
        if self._share == 1:
            found += [self._turns * left for left in range(most, 1, -1)]
        else:
            left = len(self._theta.open)
            while left:
                found.append(self._turns * most)
                left -= max(1, round(self._share * left))
        if self._theta.rows and not self._generating:
            found.append(1 + len(self._own.budgets))
        return tuple(found)


def likeliest(losses: Sequence[Sequence[float]]) -> Iterator[Choices]:
    """Every list of one option of each decision, by the sum of what each loses, the least first.

    Args:
        losses: (decisions, options).
    """
    orders = [sorted(range(len(row)), key=row.__getitem__) for row in losses]
    # Ranks of options; what follows one raises a rank at or after the last that is not 0, so that each comes once.
    heap: list[tuple[float, Choices, int]] = [(0.0, (0,) * len(losses), 0)]
    while heap:
        total, ranks, first = heapq.heappop(heap)
        yield tuple(order[rank] for order, rank in zip(orders, ranks, strict=True))
        for place in range(first, len(ranks)):
            row, order, rank = losses[place], orders[place], ranks[place] + 1
            if rank < len(order):
                more = total + row[order[rank]] - row[order[rank - 1]]
                heapq.heappush(heap, (more, (*ranks[:place], rank, *ranks[place + 1 :]), place))

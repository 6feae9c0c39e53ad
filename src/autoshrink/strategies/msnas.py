"""Meta-graph search with structural wiring: node by node, edges are drawn by weights that learn what they are worth.

After MSNet (Cheng and others, ICCV Workshops 2019) and SwiftNet (arXiv:1906.08305), of which no code was published: a
meta-graph holds what was learned, Gibbs sampling drives it, pruning it meets a budget, and with it another search may
begin.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from statistics import fmean, pstdev
from typing import Any

from autoshrink.config import SearchSettings
from autoshrink.design import Design
from autoshrink.errors import InputError
from autoshrink.formatting import count
from autoshrink.score import Evaluation
from autoshrink.seeding import derive_seed
from autoshrink.spaces import Space
from autoshrink.strategies.base import Choice, Proposal, Strategy, StrategyContext, best_first, choice, refuse_others
from autoshrink.strategies.blocks import Choices, grown
from autoshrink.strategies.meta_graph import MetaGraph, Weights

SETTLED = 0.01
"""A sweep that moves the weights by less, on average, is the last."""
MEMORY = 0.9
"""Share of the running mean and variance of rewards that stays with each."""
MOST_ADVANTAGE = 2.0
FLOORS = (0.0, 0.3, 0.5, 0.7)
"""Pruned networks hold the edges of at least such weights, as far as the limits allow; the first only where there are
limits."""


class _Walk:
    """What the meta-graph has learned of the steps so far, and the network that is being changed, node after node.

    It is decided by the settings, the space and the evaluations of the steps alone: no limit is asked here, so that a
    log can be folded again without counting a network.
    """

    def __init__(self, settings: SearchSettings, space: Space[Any], known: Weights | None = None) -> None:
        own = settings.msnas
        known = own.known() if known is None else known
        self.graph = MetaGraph.begun(space.decisions, levels=own.levels, inputs=own.inputs, known=known)
        self._settings = settings
        self._space = space
        every = range(len(space.decisions))
        blank = tuple(0 for _ in every)
        self.choices: Choices = self.graph.drawn(blank, every, self._rng("first"))
        self._reward: float | None = None
        self._mean: float | None = None
        self._variance = 0.0
        self._before = self.graph
        self._visits = 0
        self.settled = not self.graph.columns

    def _rng(self, *names: str | int) -> random.Random:
        return random.Random(derive_seed(self._settings.seed, "msnas", *names))

    @property
    def place(self) -> tuple[int, int]:
        """The sweep, from 0, and which of its visits is next."""
        return divmod(self._visits, max(1, len(self.graph.columns)))

    @property
    def over(self) -> bool:
        """Whether all sweeps are done, or the weights have come to rest."""
        return self.settled or self.place[0] >= self._settings.msnas.sweeps

    @property
    def column(self) -> tuple[int, ...]:
        """The decisions that are drawn next: each sweep has an order of its own."""
        sweep, position = self.place
        order = list(self.graph.columns)
        self._rng("order", sweep).shuffle(order)
        return order[position]

    def drawn(self) -> list[Choices]:
        """The current network with its next node drawn anew, several times."""
        return [
            self.graph.drawn(self.choices, self.column, self._rng("draw", self._visits, index))
            for index in range(self._settings.msnas.samples)
        ]

    def told(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn what the draws of a visit are worth, and go on with one of them or as before."""
        column, found = self.column, [self._space.choices(one.design) for one in evaluations]
        rewards = [self.reward(one) for one in evaluations]
        finite = [one for one in rewards if math.isfinite(one)]
        if self._mean is None and finite:
            self._mean, self._variance = fmean(finite), pstdev(finite) ** 2
        rng = self._rng("accept", self._visits)
        for choices, reward in zip(found, rewards, strict=True):
            advantage = self._advantage(reward)
            odds = 1.0 if self._reward is None else math.exp(min(0.0, advantage - self._advantage(self._reward)))
            if math.isfinite(reward) and rng.random() < odds:
                self.choices, self._reward = choices, reward
            self.graph = self.graph.learned(choices, column, advantage)
            self._remember(reward)
        self._visits += 1
        if self.place[1] == 0:
            self.settled = self.graph.change(self._before) < SETTLED
            self._before = self.graph

    def reward(self, one: Evaluation) -> float:
        """S, less μ for every limit as a share that it is exceeded by; −∞ of a failed one."""
        over = (max(0.0, one.resources[name] / limit - 1) for name, limit in self._settings.limits.given().items())
        return self._settings.score(one) - self._settings.msnas.excess * math.fsum(over)

    def _advantage(self, reward: float) -> float:
        if self._mean is None or not math.isfinite(reward):
            return -MOST_ADVANTAGE
        ahead = (reward - self._mean) / (math.sqrt(self._variance) + 1e-3)
        return min(MOST_ADVANTAGE, max(-MOST_ADVANTAGE, ahead))

    def _remember(self, reward: float) -> None:
        if self._mean is not None and math.isfinite(reward):
            away = reward - self._mean
            self._mean += (1 - MEMORY) * away
            self._variance = MEMORY * self._variance + (1 - MEMORY) * away**2


class MetaGraphSearch(Strategy):
    """Step 0 is the start. Each further step visits a node of the current network, whose edges and operation are drawn
    anew by the weights, as often as `msnas.samples` says; a sweep visits all of them, in an order of its own.

    What a draw is worth, r = S − μ·(by what share limits are exceeded), is compared with the running mean and standard
    deviation of r: advantage a = clip((r − mean) / (deviation + 0.001), −2, 2). Every weight of the node goes towards
    what was drawn, w ← clip(w + 0.1·a·(x − w), 0.02, 0.98), and the network goes on with the draw with probability
    min(1, exp(a − the current one's a)). It is over after `msnas.sweeps`, or when a sweep moves the weights by less
    than 0.01 on average. The last step prunes: networks of the edges of highest weight, as long as the limits hold.

    Raises:
        InputError: the space has no decisions, or a meta-graph that the search is to begin with is of another.
    """

    def __init__(self, context: StrategyContext) -> None:
        self._context = context
        self._walk = _Walk(context.settings, context.space)
        self._first = context.start
        self._step = 0
        self._ended = False
        self._asked: tuple[Proposal, ...] | None = None

    @property
    def meta_graph(self) -> MetaGraph:
        """As it is by what was told."""
        return self._walk.graph

    @staticmethod
    def learned(settings: SearchSettings, space: Space[Any], steps: Sequence[Sequence[Evaluation]]) -> dict[str, Any]:
        """``meta_graph``, as JSON."""
        walk = _Walk(settings, space)
        for evaluations in steps[1:]:
            if not walk.over:
                walk.told(evaluations)
        return {"meta_graph": walk.graph.to_json()}

    def ask(self) -> tuple[Proposal, ...]:
        """The start, draws of one node, then the pruned networks; empty at the end."""
        if self._asked is None:
            start = self._first
            designs = enumerate(self._designs())
            self._asked = tuple(
                Proposal(self._step, index, one, start if self._step else None) for index, one in designs
            )
        return self._asked

    def _designs(self) -> Iterator[Design]:
        if self._step == 0:
            yield self._first
        elif not self._walk.over:
            yield from map(self._context.space.chosen, self._walk.drawn())
        elif not self._ended:
            yield from self.pruned()

    def pruned(self) -> tuple[Design, ...]:
        """Networks of the meta-graph's best edges, the smallest first: all of at least some weight, in the order of
        their weights, as long as every limit is kept. The likeliest operations; nothing is measured for it."""
        graph, space = self.meta_graph, self._context.space
        floors = FLOORS if self._context.settings.limits.given() else FLOORS[1:]
        found: dict[str, Design] = {}
        for floor in reversed(floors):
            design = space.chosen(grown(space, graph.bare, graph.ranked(floor), self._context.allowed))
            found.setdefault(design.key, design)
        return tuple(found.values())

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """Learn the draws of the visit; its best by S is named."""
        refuse_others(self.ask(), evaluations)
        if self._step and self._walk.over:
            self._ended = True
        elif self._step:
            self._walk.told(evaluations)
        self._step += 1
        self._asked = None
        ranked = best_first(evaluations, self._context.score)
        return choice(ranked[0], ranked, evaluations)

    def redirected(self, context: StrategyContext, design: Design | None) -> bool:
        """Its sweeps begin anew, with the weights that it has learned of the decisions that the commands leave open."""
        if design is not None or self._ended:
            return False
        settings = context.settings
        seed = derive_seed(settings.seed, "commanded", self._step) if self._step else settings.seed
        try:
            known = self._walk.graph.to_json()["weights"]
            walk = _Walk(settings.changed({"seed": seed}), context.space, known)
        except InputError:  # none of them is left
            return False
        self._context, self._walk, self._asked = context, walk, None
        self._first = self._first if self._step else context.start
        return True

    def over(self) -> str:
        """Why no node is visited any more."""
        sweeps = self._walk.place[0]
        return (
            f"the weights have come to rest after {count(sweeps, 'sweep')}"
            if self._walk.settled
            else "all sweeps are done"
        )

    def outlook(self) -> tuple[int, ...]:
        """What is left of the start, the visits, and the pruned networks."""
        settings, (sweep, position) = self._context.settings.msnas, self._walk.place
        if self._ended:
            return ()
        columns = len(self._walk.graph.columns)
        visits = 0 if self._walk.over else columns * (settings.sweeps - sweep) - position
        return (1,) * (self._step == 0) + (settings.samples,) * visits + (len(FLOORS),)

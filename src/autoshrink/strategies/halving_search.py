"""Successive halving as a search: many random designs trained a little, the better ones longer (Jamieson & Talwalkar,
AISTATS 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from autoshrink.design import Design
from autoshrink.errors import InputError
from autoshrink.registry import EVALUATORS
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
    drawn,
    refuse_others,
)
from autoshrink.strategies.halving import SuccessiveHalving


class HalvingSearch(Strategy):
    """Step 0 is the start, trained for as long as the last round trains. Step 1 draws designs, no two of one network;
    each step is a round, in which all that are left are trained from scratch for the same share of the recipe's epochs,
    and the better ones by S stay. Whatever is left in the end was trained for the last round's share.

    Raises:
        InputError: the evaluator does not train from scratch for as long as it is told.
    """

    def __init__(self, context: StrategyContext) -> None:
        settings = context.settings
        if settings.estimates or not EVALUATORS[settings.evaluator].trains:
            raise InputError(
                f"--strategy successive-halving trains from scratch for longer and longer, which --evaluator "
                f"{settings.evaluator} does not; add --evaluator trained"
            )
        self._context, self._own = context, settings.halving
        self._rounds = tuple(sorted(set(self._own.rounds)))
        rng, found = Random(derive_seed(settings.seed, "halving")), dict[str, Design]()
        for _ in range(self._own.designs * DRAWS):
            if len(found) == self._own.designs:
                break
            one = drawn(lambda: context.space.random(rng), context.allowed)
            if one.key not in {start.key for start in context.space.starts}:
                found.setdefault(one.key, one)
        self._halving = SuccessiveHalving(
            tuple(found.values()),
            score=context.score,
            rounds=self._rounds,
            reduction=self._own.reduction,
            alone=True,
        )
        self._step = 0

    def ask(self) -> tuple[Proposal, ...]:
        """The start, then a round's designs; empty at the end."""
        last = len(self._rounds) - 1
        if self._step == 0:
            pairs = enumerate(self._context.space.starts)
            return tuple(Proposal(0, index, one, share=self._rounds[-1], rung=last) for index, one in pairs)
        turn, share, left = self._halving.ask()
        return tuple(
            Proposal(self._step, index, one, anew=turn > 0, share=share, rung=turn) for index, one in enumerate(left)
        )

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """The better ones stay."""
        refuse_others(self.ask(), evaluations)
        if self._step:
            self._halving.tell(evaluations)
        self._step += 1
        ranked = best_first(evaluations, self._context.score)
        return choice(ranked[0], ranked, evaluations)

    def over(self) -> str:
        """All rounds are done, or nothing is left."""
        return "the last round is over"

    def outlook(self) -> tuple[int, ...]:
        """The rounds that are left, where none fails."""
        first = (len(self._context.space.starts),) if self._step == 0 else ()
        return first + self._halving.outlook()

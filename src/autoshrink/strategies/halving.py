"""Successive halving: train many designs a little, the better ones further (Jamieson & Talwalkar, AISTATS 2016)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest

from autoshrink.design import Design
from autoshrink.score import Evaluation, Score


class SuccessiveHalving:
    """Names the best of some designs by training them from scratch, as ask and tell.

    In every round all that are left are trained for the same time; then the best share of them, by S, stays. It
    is over after the last round, or as soon as one is left.

    Args:
        designs: no two of one network.
        score: Eq. 5.
        rounds: epochs of a training in each round, ascending.
        reduction: one of so many stays after a round, and at least one.
        alone: whether one that is left alone goes through the rounds that are left, so that it was trained to the end.
    """

    def __init__(
        self,
        designs: Sequence[Design],
        *,
        score: Score,
        rounds: Sequence[float],
        reduction: int = 3,
        alone: bool = False,
    ) -> None:
        self._designs = tuple(designs)
        self._fewest = 1 if alone else 2
        self._score = score
        self._rounds = tuple(rounds)
        self._reduction = reduction
        self._round = 0

    def ask(self) -> tuple[int, float, tuple[Design, ...]]:
        """The round from 0, the epochs of its trainings, and the designs; none when it is over."""
        if self._round == len(self._rounds) or (self._round > 0 and len(self._designs) < self._fewest):
            return self._round, 0, ()
        return self._round, self._rounds[self._round], self._designs

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn the round's evaluations, in the order of its designs; failed ones go first.

        Raises:
            ValueError: the evaluations are not those of the asked designs.
        """
        if [one.design for one in evaluations] != list(self._designs):
            raise ValueError("told other designs than were asked for")
        ranked = sorted(evaluations, key=self._score.preference, reverse=True)
        usable = [one.design for one in ranked if not one.failed]
        self._designs = tuple(usable[: math.ceil(len(ranked) / self._reduction)])
        self._round += 1

    def outlook(self) -> tuple[int, ...]:
        """How many designs the rounds that are left have, where none fails."""
        _, _, left = self.ask()
        found, count = list[int](), len(left)
        for _ in self._rounds[self._round :]:
            if count < (self._fewest if found else 1):
                break
            found.append(count)
            count = math.ceil(count / self._reduction)
        return tuple(found)


def entrants(evaluations: Sequence[Evaluation], *, score: Score, count: int) -> tuple[Design, ...]:
    """The designs that a search's estimates recommend for training from scratch: the best of every size, by turns.

    Estimates made with inherited weights compare cells of one step. They say little of cells of different sizes, whose
    weights have been trained, and cut, for different times; and they favour cells with few leaves, since nobody has
    learned to read the channels of a new leaf. So the range of log cost is divided into as many parts as cells are
    wanted. Every part gives its best by S; parts that are left over are made up for by the best of the cheaper parts
    with another number of leaves, then by whatever is next best there.

    Args:
        evaluations: in any order; failed ones are no candidates.
        score: Eq. 5.
        count: how many, at most.
    """
    ranked = sorted((one for one in evaluations if not one.failed), key=score.preference, reverse=True)
    best: dict[str, Evaluation] = {}
    for one in ranked:
        best.setdefault(one.design.key, one)
    unique = list(best.values())
    if not unique:
        return ()
    logs = {one.design.key: math.log(max(1, score.cost(one.resources))) for one in unique}
    low, high = min(logs.values()), max(logs.values())
    parts: list[list[Evaluation]] = [[] for _ in range(count)]
    for one in unique:
        place = (logs[one.design.key] - low) / (high - low) if high > low else 0.0
        parts[min(count - 1, int(place * count))].append(one)
    turns = zip_longest(*(_other_leaves_next(part) for part in parts))
    return tuple(one.design for one in [one for turn in turns for one in turn if one is not None][:count])


def spread(
    evaluations: Sequence[Evaluation], taken: Sequence[Design], *, score: Score, count: int
) -> tuple[Design, ...]:
    """Designs by which estimates are held against trainings: evenly spread over their order by S, good and bad ones.

    Args:
        evaluations: in any order; failed ones are no candidates.
        taken: what is trained anyway.
        score: Eq. 5.
        count: how many, at most.
    """
    ranked = sorted((one for one in evaluations if not one.failed), key=score.preference, reverse=True)
    known = {one.key for one in taken}
    left = list({one.design.key: one.design for one in ranked if one.design.key not in known}.values())
    count = min(count, len(left))
    return tuple(left[(2 * place + 1) * len(left) // (2 * count)] for place in range(count))


def _other_leaves_next(part: list[Evaluation]) -> list[Evaluation]:
    """The best of every number of leaves first, then the others."""
    best = list({len(getattr(one.design, "leaves", ())): one for one in reversed(part)}.values())
    first = [one for one in part if one in best]
    return first + [one for one in part if one not in best]

"""What a space's decisions are made of, block by block, and what the evaluations say of each.

A block is one option of one decision: an edge that is there, a node that has some operation. That an edge is absent is
no block of its own: it says the opposite of the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import NormalDist, fmean
from typing import Any

from autoshrink.design import Design
from autoshrink.errors import InputError
from autoshrink.registry import near
from autoshrink.score import Evaluation, Score
from autoshrink.spaces import Decision, Space

ABSENT = "absent"
"""The option of a decision that takes something away."""

Choices = tuple[int, ...]
"""The option that each decision has, by its place."""
Place = tuple[int, int]
"""A decision, and an option of it."""


@dataclass(frozen=True)
class Block:
    """What the designs that have a block say of it.

    Attributes:
        name: of the decision, and of the option where it is not only whether there is something: ``0-3``,
            ``node 3=conv1x1``.
        fitness: Φ(difference ÷ error), in [0, 1]; ½ where there is no evidence.
        difference: mean S of the designs with it minus mean S of those without it; None where one of the two is empty.
        error: the pooled standard error of that difference; None where it is unknown.
        count: how many evaluated designs have it.
        of: how many there are.
    """

    name: str
    fitness: float
    difference: float | None
    error: float | None
    count: int
    of: int

    def to_json(self) -> dict[str, Any]:
        """A JSON object of the same fields."""
        return dict(vars(self))


def places(decisions: Sequence[Decision]) -> dict[str, Place]:
    """Every block's decision and option, by its name."""
    found: dict[str, Place] = {}
    for place, decision in enumerate(decisions):
        for option, name in enumerate(decision.options):
            if not is_switch(decision):
                found[f"{decision.name}={name}"] = (place, option)
            elif name != ABSENT:
                found[decision.name] = (place, option)
    return found


def is_switch(decision: Decision) -> bool:
    """Whether it is only whether there is something."""
    return len(decision.options) == 2 and ABSENT in decision.options


def place_of(decisions: Sequence[Decision], name: object) -> Place:
    """A block's decision and option.

    Raises:
        InputError: there is no such block; the message has the nearest.
    """
    known = places(decisions)
    if not isinstance(name, str) or name not in known:
        first, *_, last = known
        raise InputError(f"there is no block {name!r}; they go from {first!r} to {last!r}{near(str(name), known)}")
    return known[name]


Told = tuple[Choices, float]
"""A design's choices, and its S: −∞ of one that failed."""


def told_of(space: Space[Any], evaluations: Iterable[Evaluation], score: Score) -> list[Told]:
    """What evaluations say of choices; of designs that are none of the space, nothing."""
    found = []
    for one in evaluations:
        try:
            found.append((space.choices(one.design), score(one)))
        except InputError:
            continue
    return found


def worths(decisions: Sequence[Decision], told: Iterable[Told]) -> tuple[Block, ...]:
    """What each block is worth, in the order of the decisions.

    Fitness is that of NAS-Navigator (Tyagi et al., IEEE TVCG 2022), made of a standard error: the designs with a block
    against those without it, both taken to spread alike. Failed ones say nothing.
    """
    finite = [one for one in told if math.isfinite(one[1])]
    found = []
    for name, (place, option) in places(decisions).items():
        having = [worth for choices, worth in finite if choices[place] == option]
        lacking = [worth for choices, worth in finite if choices[place] != option]
        found.append(_block(name, having, lacking))
    return tuple(found)


def _block(name: str, having: Sequence[float], lacking: Sequence[float]) -> Block:
    count, of = len(having), len(having) + len(lacking)
    if not having or not lacking:
        return Block(name, 0.5, None, None, count, of)
    means = fmean(having), fmean(lacking)
    difference = means[0] - means[1]
    if of == 2:
        return Block(name, 0.5, difference, None, count, of)
    squares = math.fsum((one - means[0]) ** 2 for one in having) + math.fsum((one - means[1]) ** 2 for one in lacking)
    error = math.sqrt(squares / (of - 2) * (1 / len(having) + 1 / len(lacking)))
    if error == 0:
        return Block(name, 0.5 + 0.5 * ((difference > 0) - (difference < 0)), difference, error, count, of)
    return Block(name, NormalDist().cdf(difference / error), difference, error, count, of)


def drawn(decisions: Sequence[Decision], odds: Mapping[Place, float], rng: Random) -> Choices:
    """One option of every decision, as likely as its odds are among those of the decision; without odds never."""
    found = []
    for place, decision in enumerate(decisions):
        weights = [odds.get((place, option), 0.0) for option in range(len(decision.options))]
        found.append(rng.choices(range(len(weights)), weights)[0])
    return tuple(found)


def grown(space: Space[Any], base: Choices, more: Iterable[Place], allowed: Callable[[Design], bool]) -> Choices:
    """A base with further blocks, in their order: each that leaves a design that is allowed.

    An edge that nothing reaches yet costs nothing, and is kept until something does.
    """
    kept = base
    for place, option in more:
        tried = (*kept[:place], option, *kept[place + 1 :])
        if allowed(space.chosen(tried)):
            kept = tried
    return kept

"""An image network scaled to budgets: those that can be counted, and a latency that is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt
from statistics import median

from autoshrink.budget import NEAR, Budget, Larger, Use, shown
from autoshrink.cost import count
from autoshrink.crafting import NETWORKS, Measure
from autoshrink.errors import InputError
from autoshrink.spaces.fitting import Fitting
from autoshrink.spaces.sizes import Scalable


@dataclass(frozen=True)
class ImageScaling:
    """See `autoshrink.crafting.budget.Scaling`.

    Attributes:
        skeleton: what is scaled.
        budget: what it may cost.
        deepens: whether the number of cells may be scaled too, or widths alone.
        divisor: widths are multiples of it.
        measure: an architecture's seconds; needed for a budget of latency.
    """

    skeleton: Scalable
    budget: Budget
    deepens: bool
    divisor: int
    measure: Measure | None

    def fit(self) -> tuple[Scalable, tuple[Use, ...]]:
        """The largest network found, and what it uses of a latency."""
        limit = self.budget.latency
        if limit is None:
            return self._fitting(self.budget).fit(), ()
        if self.measure is None:
            raise InputError("latency: it takes a `measure` that times an architecture")

        def fit(macs: int | None) -> Scalable:
            limits = [most for most in (macs, self.budget.macs) if most is not None]
            return self._fitting(replace(self.budget, macs=min(limits, default=None))).fit()

        least = self._fitting(self.budget).smallest
        first = None if self.budget.counted else max(count(self.skeleton).macs, count(least).macs)
        architecture, seconds = fit_latency(fit, self.measure, limit=limit, first=first, smallest=least)
        return architecture, (Use("latency", limit, seconds),)

    def larger(self, architecture: Scalable) -> Larger | None:
        """The cheapest single width step."""
        return self._fitting(self.budget).larger(architecture)

    def _fitting(self, budget: Budget) -> Fitting:
        return Fitting(self.skeleton, budget, deepens=self.deepens, divisor=self.divisor)


# --- latency ---------------------------------------------------------------------------------------------------------

ROUNDS = 24
"""Guesses at most: two of them may lead to one network."""
GROWTH = 8.0
"""Most that MACs grow from one measured network to the next."""
AIM = 0.99
"""Share of the latency that a network is guessed for."""


class _Clock:
    """Measures every network twice, and a third time where one figure keeps the limit and the other does not.

    Whatever else the machine does makes a network look slow; one bad moment must not decide.
    """

    def __init__(self, measure: Measure, limit: float) -> None:
        self._measure, self._limit = measure, limit
        self._known: dict[str, float] = {}

    @property
    def networks(self) -> int:
        """How many were measured."""
        return len(self._known)

    def __call__(self, architecture: Scalable) -> float:
        """Seconds of one forward pass."""
        key = architecture.model_dump_json()
        if key not in self._known:
            self._known[key] = self._seconds(architecture)
        return self._known[key]

    def _seconds(self, architecture: Scalable) -> float:
        """The middle figure where the third decides; else the one nearer to the limit."""
        faster, slower = sorted(self._measure(architecture) for _ in range(2))
        if slower <= self._limit:
            return slower
        if faster > self._limit:
            return faster
        return median((faster, slower, self._measure(architecture)))


def fit_latency(
    fit: Callable[[int | None], Scalable],
    measure: Measure,
    *,
    limit: float,
    first: int | None,
    smallest: Scalable,
) -> tuple[Scalable, float]:
    """The largest network found whose measured latency is at most `limit` seconds, and its seconds.

    Latency is taken to rise with MACs, and its ratio to them from the last network measured; a bracket of MACs closes
    around the limit until a network uses 97 % of it, the bracket is 3 % wide, or eight networks were measured. The
    network that comes back kept the limit in both measurements, or in two of three.

    Args:
        fit: the largest network with at most so many MACs that keeps all other budgets; None for those alone.
        measure: seconds of one forward pass.
        limit: seconds.
        first: MACs to begin with; None for the other budgets alone, which are then the most there can be.
        smallest: the network to fall back to.

    Raises:
        InputError: even the smallest network is slower; the message has its figure.
    """
    clock, fewest = _Clock(measure, limit), count(smallest).macs
    best: tuple[Scalable, float] | None = None
    low, high = float(fewest), None
    macs: int | None = first
    for _ in range(ROUNDS):
        architecture = fit(macs)
        seconds = clock(architecture)
        spent = float(count(architecture).macs if macs is None else macs)
        if seconds <= limit:
            best, low = (architecture, seconds), spent
            if macs is None or seconds >= NEAR * limit:
                return best
        else:
            high = spent
        if clock.networks == NETWORKS or (high is not None and high <= low / NEAR):
            break
        guess = spent * AIM * limit / max(seconds, 1e-9)
        macs = fewest if best is None and guess <= fewest else round(_next(guess, low, high))
    if best is None:
        seconds = clock(smallest)
        if seconds > limit:
            raise InputError(
                f"latency: {shown(limit, 'latency')} are too few: the smallest network takes "
                f"{shown(seconds, 'latency')} here; allow more, or take fewer stages or a smaller input"
            )
        best = smallest, seconds
    return best


def _next(guess: float, low: float, high: float | None) -> float:
    """A guess inside the bracket; its middle where it lies outside."""
    if high is None:
        return min(max(guess, low / NEAR), GROWTH * low)
    return guess if low / NEAR**0.5 < guess < high * NEAR**0.5 else sqrt(low * high)

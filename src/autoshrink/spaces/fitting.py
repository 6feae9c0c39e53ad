"""A skeleton of an image network scaled to budgets: MACs, parameters, peak memory, a latency that is predicted.

A skeleton that uses 99 % of a budget already stays as it is. Else there are four passes, each under every budget:

1. **Together.** Widths grow by t and the number of cells by t², so that width and depth share the growth of the cost
   evenly, as in EfficientNet (Tan and Le 2019: depth 1.2, width 1.1 ≈ √1.2). This decides the cells. Peak memory does
   not rise with depth, so memory holds back the widths only, and alone it leaves the cells as they are.
2. **Widths alone**, by one multiplier, since a cell is a coarse step.
3. **Single widths**, one step of the divisor at a time: of the steps that fit, the one that uses most of what is left.
4. **Swaps**, where that leaves more than 3 %: one width a step narrower, and pass 3 again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

from autoshrink.budget import NEAR, Budget, Larger, Use, binding, too_few
from autoshrink.cost import count
from autoshrink.errors import InputError
from autoshrink.spaces.sizes import Scalable, Sizes, deepened

CLOSE = 0.99
"""Share of the binding budget from which on single widths stay as they are."""
PRECISION = 1e-4
"""Relative, of a multiplier."""
SMALLEST = 2.0**-20
"""Multiplier below which every width is one divisor."""


Seconds = Callable[[Scalable], float]
"""What a network takes, as predicted (`autoshrink.latency.predicting`): the more, the wider it is."""


def used(network: Scalable, budget: Budget, seconds: Seconds | None = None) -> tuple[Use, ...]:
    """What a network uses of each budget."""
    found = budget.uses(count(network))
    if seconds is None or budget.latency is None:
        return found
    return (*found, Use("latency", budget.latency, seconds(network)))


def share(network: Scalable, budget: Budget, seconds: Seconds | None = None) -> float:
    """How much a network uses of the budget that it uses most; above 1 where it breaks one."""
    use = binding(used(network, budget, seconds))
    assert use is not None, "there is a budget"
    return use.share


class Fitting:
    """A skeleton, what may be scaled in it, and the budgets, one at least.

    Args:
        skeleton: to be scaled.
        budget: what it may cost.
        deepens: whether the number of cells may be scaled too.
        divisor: widths are multiples of it.
        seconds: what a network takes, as predicted; needed with a budget of latency.
        kept: a place whose width stays (`Sizes.places`); None for none.
        close: share of the budget from which on a skeleton, and single widths, stay as they are.
    """

    def __init__(
        self,
        skeleton: Scalable,
        budget: Budget,
        *,
        deepens: bool,
        divisor: int,
        seconds: Seconds | None = None,
        kept: str | None = None,
        close: float = CLOSE,
    ) -> None:
        if divisor < 1:
            raise InputError(f"divisor: widths are multiples of 1 or more, not of {divisor}")
        self._skeleton, self._budget, self._divisor = skeleton, budget, divisor
        self._start = Sizes.of(skeleton)
        self._seconds, self._kept, self._close = seconds, kept, close
        # Every width one divisor, and one cell a stage where depth may be scaled.
        self._smallest = self._widened(0, (self._start.deeper(0) if deepens else self._start).cells)
        self._deepens = deepens and any(limit is not None for limit in (budget.macs, budget.params, budget.latency))
        self._counted: dict[Sizes, tuple[Use, ...]] = {}

    def fit(self) -> Scalable:
        """The largest network found that keeps all budgets; the module says how.

        Raises:
            InputError: even the smallest network breaks one; the message has its figure.
        """
        if self._close <= self._use(self._start).share <= 1:
            return self._skeleton
        use = self._use(self._smallest)
        if use.share > 1:
            raise InputError(self._too_small(use))
        cells = self._cells()
        wide = self._widened(largest(lambda t: self._fits(self._widened(t, cells))), cells)
        return self._put(self._swapped(self._filled(wide)))

    @property
    def smallest(self) -> Scalable:
        """The skeleton with every width one divisor, and one cell a stage where depth may be scaled."""
        return self._put(self._smallest)

    def larger(self, architecture: Scalable) -> Larger | None:
        """The cheapest single step up from a network that breaks a budget; None where none does."""
        steps = [(change, self._use(sizes)) for change, sizes in Sizes.of(architecture).stepped(self._divisor)]
        above = [Larger(change, use) for change, use in steps if use.share > 1]
        return min(above, key=lambda one: one.use.share, default=None)

    def _cells(self) -> tuple[int, ...]:
        """Pass 1: the cells of every stage."""
        cells = self._start.cells
        if self._deepens:
            costly, memory = replace(self._budget, memory=None), Budget(memory=self._budget.memory)
            widest = largest(lambda t: self._fits(self._widened(t, cells), memory)) if self._budget.memory else inf

            def together(t: float) -> Sizes:
                return self._widened(min(t, widest), self._start.deeper(t * t).cells)

            deepest = largest(lambda t: self._fits(together(t), costly), most=max(1.0, widest))
            cells = together(deepest).cells
        while cells != self._smallest.cells and not self._fits(self._widened(0, cells)):
            cells = deepened(self._start.cells, sum(cells) - 1)
        return cells

    def _filled(self, sizes: Sizes) -> Sizes:
        """Pass 3. Where no step is left, each one breaks a budget or uses no more of the binding one."""
        while (used := self._use(sizes).share) < self._close:
            steps = sizes.stepped(self._divisor, kept=self._kept)
            shares = {step: self._use(step).share for _, step in steps}
            fitting = [step for step, share in shares.items() if used < share <= 1]
            if not fitting:
                break
            sizes = max(fitting, key=shares.__getitem__)
        return sizes

    def _swapped(self, sizes: Sizes) -> Sizes:
        """Pass 4."""
        while (used := self._use(sizes).share) < NEAR:
            narrower = sizes.stepped(-self._divisor, least=self._divisor, kept=self._kept)
            # A narrower width costs more where a shortcut then needs its convolution, as beside a pooling.
            swaps = [self._filled(step) for _, step in narrower if self._fits(step)]
            best = max(swaps, key=lambda swap: self._use(swap).share, default=sizes)
            if self._use(best).share <= used:
                break
            sizes = best
        return sizes

    def _widened(self, multiplier: float, cells: tuple[int, ...]) -> Sizes:
        sizes = replace(self._start.wider(multiplier, self._divisor), cells=cells)
        return sizes if self._kept is None else sizes.with_width(self._kept, self._start.places[self._kept])

    def _put(self, sizes: Sizes) -> Scalable:
        return sizes.put_into(self._skeleton)

    def _fits(self, sizes: Sizes, budget: Budget | None = None) -> bool:
        return self._use(sizes, budget).share <= 1

    def _use(self, sizes: Sizes, budget: Budget | None = None) -> Use:
        """Of the budget that binds."""
        if sizes not in self._counted:
            self._counted[sizes] = used(self._put(sizes), self._budget, self._seconds)
        limits = budget or self._budget
        found = binding(tuple(use for use in self._counted[sizes] if getattr(limits, use.name) is not None))
        assert found is not None, "there is a budget to fit into"
        return found

    def _too_small(self, use: Use) -> str:
        cells, unit = "+".join(map(str, self._smallest.cells)), "cells" if self._skeleton.kind == "conv" else "blocks"
        ways = ["fewer stages", "a smaller input"]
        ways += ["a stem of stride 2"] if self._skeleton.stem.stride == 1 else []
        ways += [f"a divisor below {self._divisor}"] if self._divisor > 1 else []
        ways += [f"fewer {unit}"] if max(self._smallest.cells) > 1 else []
        least = too_few(use, f"the smallest network ({cells} {unit} of width {self._divisor})")
        return f"{least}, or take {', '.join(ways[:-1])} or {ways[-1]}"


def largest(fits: Callable[[float], bool], *, most: float = inf) -> float:
    """The largest multiplier up to `most` that fits, by bisection to a relative 10⁻⁴; 0 where hardly any does."""
    if most < inf and fits(most):
        return most
    low, high = 1.0, 2.0
    while high < most and fits(high):
        low, high = high, 2 * high
    while not fits(low):
        low, high = low / 2, low
        if low < SMALLEST:
            return 0.0
    while high / low > 1 + PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low

"""What designs cost as a problem's networks, counted once each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from autoshrink.architecture import Architecture
from autoshrink.cost import count
from autoshrink.design import Design
from autoshrink.resources import Resources


def largest_below(size: int, fits: Callable[[int], bool]) -> int:
    """The largest whole number below `size` that fits, where all smaller ones fit too; 0 where none does."""
    return bisect_left(range(1, size), True, key=lambda number: not fits(number))


class DesignCosts:
    """A design's resources, without training it.

    Args:
        architecture: a design as a network.
        latency: what such a network takes, nanoseconds; None: nobody asks.
    """

    def __init__(
        self, architecture: Callable[[Design], Architecture], latency: Callable[[Architecture], int] | None = None
    ) -> None:
        self._architecture = architecture
        self._latency = latency
        self._known: dict[Design, Resources] = {}

    def __call__(self, design: Design) -> Resources:
        """Counted from the architecture, once a design."""
        if design not in self._known:
            architecture = self._architecture(design)
            measured = {"latency": self._latency(architecture)} if self._latency else {}
            self._known[design] = Resources.of(architecture, count(architecture), **measured)
        return self._known[design]

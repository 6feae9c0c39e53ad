"""What cells cost in a problem's proxy network, counted once each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from autoshrink.architecture import Architecture
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.resources import Resources


def largest_below(size: int, fits: Callable[[int], bool]) -> int:
    """The largest whole number below `size` that fits, where all smaller ones fit too; 0 where none does."""
    return bisect_left(range(1, size), True, key=lambda number: not fits(number))


class CellCosts:
    """A cell's resources, without training it.

    Args:
        architecture: the proxy network around a cell.
        latency: what such a network takes, nanoseconds; None: nobody asks.
    """

    def __init__(
        self, architecture: Callable[[Cell], Architecture], latency: Callable[[Architecture], int] | None = None
    ) -> None:
        self._architecture = architecture
        self._latency = latency
        self._known: dict[Cell, Resources] = {}

    def __call__(self, cell: Cell) -> Resources:
        """Counted from the architecture, once a cell."""
        if cell not in self._known:
            architecture = self._architecture(cell)
            measured = {"latency": self._latency(architecture)} if self._latency else {}
            self._known[cell] = Resources.of(architecture, count(architecture), **measured)
        return self._known[cell]

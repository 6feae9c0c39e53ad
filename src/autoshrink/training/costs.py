"""What cells cost in a problem's proxy network, counted once each."""

from __future__ import annotations

from collections.abc import Callable

from autoshrink.architecture import Architecture
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.score import Resources


class CellCosts:
    """A cell's resources, without training it.

    Args:
        architecture: the proxy network around a cell.
    """

    def __init__(self, architecture: Callable[[Cell], Architecture]) -> None:
        self._architecture = architecture
        self._known: dict[Cell, Resources] = {}

    def __call__(self, cell: Cell) -> Resources:
        """Counted from the architecture, once a cell."""
        if cell not in self._known:
            cost = count(self._architecture(cell))
            self._known[cell] = Resources(cost.macs, cost.params, cost.peak_activation_bytes, cost.cell_params)
        return self._known[cell]

"""What a person holds of the cells that a search may propose, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autoshrink.cell import Cell, Edge
from autoshrink.design import Design


@dataclass(frozen=True)
class Constraints:
    """What every design has to keep.

    Attributes:
        pinned: edges that every cell has.
        forbidden: edges that no cell has.
        ops: the operations of some nodes, by number.
        centre: what cells may differ from in `radius` edges and operations at most; None for any cell.
        radius: see there.
    """

    pinned: frozenset[Edge] = frozenset()
    forbidden: frozenset[Edge] = frozenset()
    ops: Mapping[int, str] = field(default_factory=dict, hash=False)
    centre: Cell | None = None
    radius: int = 0

    def __bool__(self) -> bool:
        """Whether anything is held."""
        return bool(self.pinned or self.forbidden or self.ops) or self.centre is not None

    def broken_by(self, design: Design) -> str | None:
        """What of it a design does not keep, in words; None where it keeps all."""
        if not self:
            return None
        if not isinstance(design, Cell):
            return "it is no cell"
        return self._edges(design) or self._ops(design) or self._far(design)

    def keeps(self, design: Design) -> bool:
        """Whether a design keeps all of it."""
        return self.broken_by(design) is None

    def _edges(self, cell: Cell) -> str | None:
        lacking = sorted(self.pinned - set(cell.edges))
        having = sorted(self.forbidden & set(cell.edges))
        if lacking:
            return f"it lacks edge {lacking[0][0]}-{lacking[0][1]}, which is pinned"
        return f"it has edge {having[0][0]}-{having[0][1]}, which is forbidden" if having else None

    def _ops(self, cell: Cell) -> str | None:
        other = next((node for node, op in self.ops.items() if node >= len(cell.ops) or cell.ops[node] != op), None)
        return None if other is None else f"its node {other} is not {self.ops[other]}"

    def _far(self, cell: Cell) -> str | None:
        if self.centre is not None and len(cell.ops) != len(self.centre.ops):
            return "it has other nodes than the focus"
        if self.centre is None or distance(cell, self.centre) <= self.radius:
            return None
        return f"it differs from the focus in more than {self.radius} edges and operations"


def distance(one: Cell, other: Cell) -> int:
    """In how many edges and operations two cells of as many nodes differ (Hamming)."""
    return len(set(one.edges) ^ set(other.edges)) + sum(
        first != second for first, second in zip(one.ops, other.ops, strict=True)
    )

"""The cells of a search as masks over what it started from, and a map on which alike ones stand together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from autoshrink.cell import Cell
from autoshrink.design import Design


@dataclass(frozen=True)
class Mask:
    """A cell within another one.

    Attributes:
        bits: for each edge of the whole, in its order, ``1`` where the cell has it, else ``0``.
        ops: of the nodes in use whose operation is another than in the whole.
    """

    bits: str
    ops: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Masks:
    """The cells that a search has met, as masks over all of their edges together."""

    whole: Cell

    @classmethod
    def over(cls, start: Design, designs: Sequence[Design]) -> Masks | None:
        """Over a start and what was made of it; None where they are no cells of as many nodes."""
        if not isinstance(start, Cell):
            return None
        alike = [one for one in designs if isinstance(one, Cell) and _alike(start, one)]
        edges = set(start.edges).union(*(one.edges for one in alike))
        return cls(Cell(start.kind, start.ops, tuple(sorted(edges))))

    def of(self, design: Design) -> Mask | None:
        """A design's mask; None where it is no cell within the whole."""
        if not isinstance(design, Cell) or not _alike(self.whole, design):
            return None
        own = set(design.edges)
        if not own <= self._places.keys():
            return None
        ops = ((node, design.ops[node]) for node in design.reachable if design.ops[node] != self.whole.ops[node])
        return Mask("".join("01"[edge in own] for edge in self.whole.edges), tuple(ops))

    @cached_property
    def _places(self) -> dict[tuple[int, int], int]:
        return {edge: place for place, edge in enumerate(self.whole.edges)}


def _alike(one: Cell, other: Cell) -> bool:
    return one.kind == other.kind and len(one.ops) == len(other.ops)


def embedded(masks: Sequence[Mask]) -> npt.NDArray[np.float64]:
    """(n, 2) places of n masks: their first two principal components, which is classical scaling of their distances.

    An operation that differs counts as an edge does. The same masks have the same places: signs are such that the
    largest loading of each component is positive.
    """
    names = sorted({place for mask in masks for place in mask.ops})
    columns = {place: column for column, place in enumerate(names)}
    edges = len(masks[0].bits) if masks else 0
    points = np.zeros((len(masks), edges + len(names)))
    for row, mask in enumerate(masks):
        points[row, :edges] = np.frombuffer(mask.bits.encode(), dtype=np.uint8) - ord("0")
        points[row, [edges + columns[place] for place in mask.ops]] = 1.0
    if points.shape[0] < 2 or points.shape[1] == 0:
        return np.zeros((len(masks), 2))
    points -= points.mean(axis=0)
    _, axes = np.linalg.eigh(points.T @ points)
    first = axes[:, ::-1][:, :2]
    first = first * np.where(first[np.abs(first).argmax(axis=0), np.arange(first.shape[1])] < 0, -1.0, 1.0)
    places = points @ first
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))

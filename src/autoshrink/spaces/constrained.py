"""The cells of a space that keep what a person holds of them: every start, move and draw does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

from autoshrink.cell import Cell, Edge
from autoshrink.change import Change
from autoshrink.errors import InputError
from autoshrink.ops import known, unknown
from autoshrink.spaces.base import Decision, Space
from autoshrink.spaces.cells import EDGE, CellSpace
from autoshrink.spaces.constraints import Constraints
from autoshrink.spaces.growing import Seedling

TRIES = 20
"""Mutations that are drawn until one is another cell."""


def constrained(space: CellSpace, constraints: Constraints) -> Space[Cell]:
    """The cells of a space that keep what is held.

    Forbidden edges are none of its start, and nodes whose operation is held have that there; so the rest of the space
    follows, and pinned edges, and how far cells may be from a focus, are looked at one by one.

    Raises:
        InputError: no cell keeps all of it, or nothing would be left to search; the message says why.
    """
    if not constraints:
        return space
    start = _start(space.start, constraints)
    found = Constrained(start, replace(space, start=start), constraints)
    if constraints.centre is not None:
        _check_centre(found, constraints)
    if not found.decisions:
        raise InputError("nothing would be left to search; take another command back first")
    return replace(found, start=found.projected(start))


def _start(cell: Cell, held: Constraints) -> Cell:
    for edge in sorted(held.pinned | held.forbidden):
        if edge not in cell.edges:
            raise InputError(f"edge {edge[0]}-{edge[1]} is not in the cell ({_edges(cell)})")
    for edge in sorted(held.pinned & held.forbidden):
        raise InputError(f"edge {edge[0]}-{edge[1]} cannot be both pinned and forbidden; unpin it first")
    ops = list(cell.ops)
    for node, op in held.ops.items():
        if node not in cell.reachable:
            raise InputError(f"node {node} is not in the cell; it has nodes {', '.join(map(str, cell.reachable[1:]))}")
        if not known(cell.kind, op):
            raise InputError(unknown(cell.kind, op))
        ops[node] = op
    start = Cell(cell.kind, tuple(ops), tuple(edge for edge in cell.edges if edge not in held.forbidden))
    for edge in sorted(held.pinned - set(start.edges)):
        raise InputError(f"nothing would lead to edge {edge[0]}-{edge[1]}, which is pinned; unpin it first")
    if not start.edges:
        raise InputError("no edge would be left")
    return start


def _edges(cell: Cell) -> str:
    listed = ", ".join(f"{i}-{j}" for i, j in cell.edges[:40])
    return f"it has {listed}{' …' if len(cell.edges) > 40 else ''}"


def _check_centre(space: Constrained, held: Constraints) -> None:
    centre, start = held.centre, space.start
    assert centre is not None, "there is a focus"
    if centre.kind != start.kind or len(centre.ops) != len(start.ops):
        raise InputError(f"the focus is no cell of this search, whose cells are {start.kind} of {len(start.ops)} nodes")
    broken = replace(held, centre=None).broken_by(centre)
    if broken is not None:
        raise InputError(f"the focus does not keep that: {broken}; focus on another cell, or take a command back")
    space.base.choices(centre)


@dataclass(frozen=True)
class Constrained(Space[Cell]):
    """A space of cells under constraints that its start keeps.

    Attributes:
        start: the largest cell, or, near a focus, what is nearest to that.
        base: the space of all that is made of the largest cell.
        constraints: what its designs keep besides.
    """

    base: CellSpace
    constraints: Constraints

    @property
    def used_up(self) -> str:
        """See `Space.used_up`."""
        return "no move is left that keeps what was commanded" if self.constraints else self.base.used_up

    def begun_at(self, design: Cell) -> Space[Cell]:
        """See `Space.begun_at`."""
        return replace(self, start=design, base=replace(self.base, start=design))

    def projected(self, design: Cell) -> Cell:
        """With the operations that are held, without the forbidden edges, with the pinned ones and those by which they
        are reached; and then, one difference after another, as near to the focus as has to be."""
        ops = tuple(self.constraints.ops.get(node, op) for node, op in enumerate(design.ops))
        edges = set(design.edges) & set(self.base.start.edges) | self.constraints.pinned
        found = Cell(design.kind, ops, tuple(edges))
        for edge in sorted(self.constraints.pinned):
            if edge not in found.edges:
                edges |= set(self._path(edge, found))
                found = Cell(design.kind, ops, tuple(edges))
        return next(one for one in self._nearer(found) if self.constraints.keeps(one))

    def _path(self, edge: Edge, cell: Cell) -> Iterator[Edge]:
        """An edge of the start, and edges by which what a cell has leads to it."""
        yield edge
        node = edge[0]
        while node not in cell.reachable:
            before = self.base.start.predecessors[node][0]
            yield (before, node)
            node = before

    def _nearer(self, cell: Cell) -> Iterator[Cell]:
        """The cell, then with one difference from the focus less after another, down to the focus itself."""
        yield cell
        centre = self.constraints.centre
        if centre is None:
            return
        edges, ops = set(cell.edges), list(cell.ops)
        for edge in sorted(edges ^ set(centre.edges)):
            edges ^= {edge}
            yield Cell(cell.kind, tuple(ops), tuple(edges))
        for node, op in enumerate(centre.ops):
            ops[node] = op
            yield Cell(cell.kind, tuple(ops), tuple(edges))

    def moves(self, design: Cell) -> tuple[tuple[Change, Cell], ...]:
        """See `Space.moves`."""
        return tuple(one for one in self.base.moves(design) if self.constraints.keeps(one[1]))

    def random(self, rng: Random) -> Cell:
        """See `Space.random`: a draw of the base, brought to keep the constraints."""
        return self.projected(self.base.random(rng))

    def mutated(self, design: Cell, rng: Random) -> Cell:
        """See `Space.mutated`."""
        for _ in range(TRIES):
            found = self.projected(self.base.mutated(design, rng))
            if found != design:
                return found
        return design

    @cached_property
    def _open(self) -> tuple[int, ...]:
        """The decisions of the base that are not settled by what is held, by place."""
        settled = {f"{i}-{j}" for i, j in self.constraints.pinned} | {f"node {node}" for node in self.constraints.ops}
        return tuple(place for place, one in enumerate(self.base.decisions) if one.name not in settled)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Those of the base that are not settled."""
        return tuple(self.base.decisions[place] for place in self._open)

    def choices(self, design: Cell) -> tuple[int, ...]:
        """See `Space.choices`."""
        broken = self.constraints.broken_by(design)
        if broken is not None:
            raise InputError(f"cell {design} is none of the space: {broken}")
        found = self.base.choices(design)
        return tuple(found[place] for place in self._open)

    def chosen(self, choices: Sequence[int]) -> Cell:
        """See `Space.chosen`; brought to keep the constraints."""
        self.options(choices)
        present = {f"{i}-{j}": EDGE.index("present") for i, j in self.constraints.pinned}
        found = [present.get(one.name, 0) for one in self.base.decisions]
        for place, choice in zip(self._open, choices, strict=True):
            found[place] = choice
        return self.projected(self.base.chosen(found))

    def seedling(self, way: Seedling) -> Cell:
        """See `Space.seedling`."""
        return self.projected(self.base.seedling(way))

    def growths(self, design: Cell) -> tuple[tuple[Change, Cell], ...]:
        """See `Space.growths`."""
        return tuple(one for one in self.base.growths(design) if self.constraints.keeps(one[1]))

    def united(self, designs: Sequence[Cell]) -> Cell:
        """See `Space.united`."""
        return self.projected(self.base.united(designs))

    def chains(self, design: Cell) -> tuple[Cell, ...]:
        """See `Space.chains`: they are compared with, and need not keep what is held."""
        return self.base.chains(design)

    def widened(self, parent: Cell, child: Cell) -> bool:
        """See `Space.widened`."""
        return self.base.widened(parent, child)

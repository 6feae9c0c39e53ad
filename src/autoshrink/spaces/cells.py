"""The space of the cells that can be cut from one: edges go, operations become cheaper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from random import Random

from autoshrink.cell import INPUT, Cell
from autoshrink.change import Change, ChangedOp, RemovedEdge
from autoshrink.errors import InputError
from autoshrink.ops import names, operation
from autoshrink.spaces import growing
from autoshrink.spaces.base import Decision, Space, refuse_unknown
from autoshrink.spaces.constraints import Constraints
from autoshrink.spaces.growing import Seedling

MOVES = ("edges", "ops")
"""An edge goes (AutoShrink, Eq. 6); a node's operation becomes a cheaper one."""
EDGE = ("absent", "present")
"""What is decided of an edge."""


@dataclass(frozen=True)
class CellSpace(Space[Cell]):
    """The cells that moves make of a starting cell.

    Attributes:
        start: the largest cell of the space.
        allowed: which moves there are, of `MOVES`.
        ops: the operations that nodes may come to have; None: every cheaper one.

    Raises:
        InputError: there is no such move.
    """

    allowed: frozenset[str] = frozenset({"edges"})
    ops: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        refuse_unknown(self.allowed, MOVES, "cells")

    @property
    def used_up(self) -> str:
        """See `Space.used_up`."""
        return "no edge is left" if self.allowed == {"edges"} else super().used_up

    def moves(self, design: Cell) -> tuple[tuple[Change, Cell], ...]:
        """Every edge with the cell that is left when it goes, then every reachable node with its cheaper operations."""
        found: list[tuple[Change, Cell]] = []
        if "edges" in self.allowed:
            found += [(RemovedEdge(edge), cell) for edge, cell in design.shrink_space()]
        if "ops" in self.allowed:
            for node in design.reachable[1:]:
                found += [(ChangedOp(node, op), _with_op(design, node, op)) for op in self._cheaper(design.ops[node])]
        return tuple(found)

    def random(self, rng: Random) -> Cell:
        """A cell that lacks some of the start's edges (how many is drawn first, each number as likely as another), and
        in which each node has its operation or a cheaper one."""
        edges, ops = self.start.edges, self.start.ops
        if "edges" in self.allowed:
            edges = tuple(sorted(rng.sample(edges, rng.randrange(len(edges)))))
        if "ops" in self.allowed:
            ops = (INPUT, *(rng.choice((op, *self._cheaper(op))) for op in ops[1:]))
        return Cell(self.start.kind, ops, edges)

    def mutated(self, design: Cell, rng: Random) -> Cell:
        """An edge of the start more or less, or another operation that the start's can become at one node."""
        found = []
        if "edges" in self.allowed:
            found += [cell for _, cell in design.shrink_space()]
            absent = (edge for edge in self.start.edges if edge not in design.edges and edge[0] in design.reachable)
            found += [Cell(design.kind, design.ops, (*design.edges, edge)) for edge in absent]
        if "ops" in self.allowed:
            for node in design.reachable[1:]:
                first = self.start.ops[node]
                others = (op for op in (first, *self._cheaper(first)) if op != design.ops[node])
                found += [_with_op(design, node, op) for op in others]
        return rng.choice(found) if found else design

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """With the move ``edges`` one for every edge of the start, ``0-3``: `EDGE`. With the move ``ops`` one for every
        node whose operation can become another, ``node 3``: its own, then the cheaper ones."""
        found: list[Decision] = []
        if "edges" in self.allowed:
            found += [Decision(f"{i}-{j}", EDGE) for i, j in self.start.edges]
        if "ops" in self.allowed:
            nodes = ((node, (op, *self._cheaper(op))) for node, op in enumerate(self.start.ops) if node)
            found += [Decision(f"node {node}", ops) for node, ops in nodes if len(ops) > 1]
        return tuple(found)

    def choices(self, design: Cell) -> tuple[int, ...]:
        """An edge on no path from node 0 is absent of every cell, so it is absent here as well."""
        wanted = {f"{i}-{j}": EDGE[1] for i, j in design.edges}
        wanted |= {f"node {node}": op for node, op in enumerate(design.ops)}
        pairs = ((one.options, wanted.get(one.name, EDGE[0])) for one in self.decisions)
        found = tuple(options.index(option) if option in options else 0 for options, option in pairs)
        if self.chosen(found) != design:
            raise InputError(f"cell {design} is not among those that moves make of {self.start}")
        return found

    def chosen(self, choices: Sequence[int]) -> Cell:
        """As every `Cell` it is canonical: edges whose node nothing reaches are dropped, whatever was chosen of them,
        and the operation of such a node changes no network. Where no edge of node 0 is present all are, and what is
        left is the empty cell, whose network is its shortcut alone."""
        options = self.options(choices)
        edges = tuple(edge for edge in self.start.edges if options.get(f"{edge[0]}-{edge[1]}", EDGE[1]) == EDGE[1])
        ops = (options.get(f"node {node}", op) for node, op in enumerate(self.start.ops))
        return Cell(self.start.kind, tuple(ops), edges)

    def constrained(self, constraints: Constraints) -> Space[Cell]:
        """See `autoshrink.spaces.constrained`."""
        from autoshrink.spaces.constrained import constrained  # noqa: PLC0415 - it is made of this class

        return constrained(self, constraints)

    def seedling(self, way: Seedling) -> Cell:
        """See `autoshrink.spaces.growing.seedling`."""
        return growing.seedling(self.start, way)

    def growths(self, design: Cell) -> tuple[tuple[Change, Cell], ...]:
        """See `autoshrink.spaces.growing.growths`."""
        return growing.growths(self.start, design)

    def united(self, designs: Sequence[Cell]) -> Cell:
        """With the edges of all."""
        return growing.united(designs)

    def chains(self, design: Cell) -> tuple[Cell, ...]:
        """Its own operations in a row. Of a cell that is this chain, or has no edge: as many, at least one, of the
        start's operation that becomes most others; where none does, of each of the start's."""
        ops = tuple(design.ops[node] for node in design.reachable[1:])
        own = in_a_row(design.kind, ops)
        if own.key != design.key:
            return (own,)
        others = dearest(design.kind, tuple(dict.fromkeys(self.start.ops[1:]))) or ()
        alike = (in_a_row(design.kind, (op,) * max(1, len(ops))) for op in others)
        return tuple(one for one in alike if one.key != design.key)

    def widened(self, parent: Cell, child: Cell) -> bool:
        """Whether it has more leaves."""
        return len(child.leaves) > len(parent.leaves)

    def _cheaper(self, op: str) -> tuple[str, ...]:
        return tuple(one for one in cheaper(self.start.kind, op) if self.ops is None or one in self.ops)


def _with_op(cell: Cell, node: int, op: str) -> Cell:
    return Cell(cell.kind, (*cell.ops[:node], op, *cell.ops[node + 1 :]), cell.edges)


def in_a_row(kind: str, ops: tuple[str, ...]) -> Cell:
    """The cell whose every node reads the one before it."""
    return Cell(kind, (INPUT, *ops), tuple((node, node + 1) for node in range(len(ops))))


def is_chain(cell: Cell) -> bool:
    """Whether a cell is a chain of its operations, one at least."""
    ops = tuple(cell.ops[node] for node in cell.reachable[1:])
    return bool(ops) and cell.key == in_a_row(cell.kind, ops).key


def dearest(kind: str, ops: tuple[str, ...] | None = None) -> tuple[str, ...] | None:
    """The operation from which most others can be reached by cheaper ones: where a search begins that changes them.

    Args:
        kind: of the cells.
        ops: the operations that there may be; None: all that are registered.

    Returns:
        It alone; `ops` where none of them names a cheaper one.
    """
    choices = ops or names(kind)
    reached = {one: sum(other in choices for other in cheaper(kind, one)) for one in choices}
    best = max(choices, key=lambda one: reached[one])
    return (best,) if reached[best] else ops


@lru_cache(maxsize=1024)
def cheaper(kind: str, name: str) -> tuple[str, ...]:
    """Every operation that a node's can become: those that it names as cheaper, those that they name, and so on.

    Raises:
        InputError: one of them is not registered.
    """
    own = operation(kind, name).cheaper
    return tuple(dict.fromkeys(chain(own, *(cheaper(kind, other) for other in own))))

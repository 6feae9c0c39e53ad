"""Cells that grow: what may be added to one so that its trained network goes on computing what it computes.

What is new begins at zero (a block of a convolution) or with no share in a mean (a recurrent cell's edge), as in
firefly neural architecture descent (Wu et al., NeurIPS 2020). A leaf stays one: read by another node it would no longer
be part of the cell's output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from autoshrink.cell import Cell, Edge
from autoshrink.change import Change, Changed
from autoshrink.errors import InputError
from autoshrink.ops import ConvOperation, operation

Seedling = Literal["chain", "edge"]


def seedling(roof: Cell, way: Seedling) -> Cell:
    """What grows into a cell.

    Args:
        roof: the cell above which nothing grows.
        way: ``chain``, its longest path from node 0 on (of a complete cell all nodes in a row); ``edge``, a single edge
            from node 0 to the last node that has one.

    Raises:
        InputError: the roof has no edge.
    """
    if not roof.edges:
        raise InputError("a cell without edges has nothing to grow into; start from a larger one")
    if way == "edge":
        return Cell(roof.kind, roof.ops, (max(edge for edge in roof.edges if edge[0] == 0),))
    longest: dict[int, tuple[Edge, ...]] = {0: ()}
    for i, j in sorted(roof.edges, key=lambda edge: (edge[1], edge[0])):
        path = (*longest[i], (i, j))
        if len(path) >= len(longest.get(j, ())):
            longest[j] = path
    return Cell(roof.kind, roof.ops, max(longest.values(), key=len))


def growths(roof: Cell, cell: Cell) -> tuple[tuple[Change, Cell], ...]:
    """Every edge of the roof, and every node with one edge to it and one or none from it, that a cell may get."""
    found: dict[Cell, Change] = {}
    for change, edges in _additions(roof, cell):
        child = Cell(cell.kind, cell.ops, (*cell.edges, *edges))
        if grows_from(child, cell):
            found.setdefault(child, change)
    return tuple((change, child) for child, change in found.items())


def _additions(roof: Cell, cell: Cell) -> Iterator[tuple[Change, tuple[Edge, ...]]]:
    absent = [edge for edge in roof.edges if edge not in cell.edges]
    for i, j in absent:
        if i in cell.reachable and j in cell.reachable:
            yield Changed("edge", "", "none", f"({i},{j})"), ((i, j),)
    for i, v in absent:
        if i in cell.reachable and v not in cell.reachable:
            yield Changed("node", "", "none", f"{i}→{v}"), ((i, v),)
            for j in roof.successors[v]:
                if j in cell.reachable:
                    yield Changed("node", "", "none", f"{i}→{v}→{j}"), ((i, v), (v, j))


def united(cells: Sequence[Cell]) -> Cell:
    """The cell with the edges of all; they have the same operations."""
    first = cells[0]
    return Cell(first.kind, first.ops, tuple(sorted({edge for cell in cells for edge in cell.edges})))


def grows_from(child: Cell, parent: Cell) -> bool:
    """Whether a network around the child computes what the parent's does as long as what is new has no weight.

    It has all edges, and all leaves are leaves still. A node whose operation looks at all channels together (squeeze
    and excitation of its input, or an input that is added where it has as many channels) reads what it read.
    """
    kept = all(child.ops[node] == parent.ops[node] for node in parent.reachable)
    if not parent.edges or not kept or child == parent or child.kind != parent.kind:
        return False
    if not set(parent.edges) <= set(child.edges) or not set(parent.leaves) <= set(child.leaves):
        return False
    for node in parent.reachable[1:]:
        if not _additive(parent, node):
            reads = _sources(child, node)
            if reads != _sources(parent, node) or (0 in reads and child.leaves != parent.leaves):
                return False
    return True


def _additive(cell: Cell, node: int) -> bool:
    op = operation(cell.kind, cell.ops[node])
    return not isinstance(op, ConvOperation) or op.additive


def _sources(cell: Cell, node: int) -> tuple[int, ...]:
    """The nodes that made the channels that a node reads: through those that pass channels on."""
    found: list[int] = []
    for i in cell.predecessors[node]:
        op = None if i == 0 else operation(cell.kind, cell.ops[i])
        passes = isinstance(op, ConvOperation) and not op.mixes
        found.extend(_sources(cell, i) if passes else (i,))
    return tuple(found)


def together(cells: Sequence[Cell], parent: Cell) -> list[tuple[Cell, list[int]]]:
    """Few cells that hold many children of one parent, each with the children (by place) that it holds.

    In such a cell every child's new node reads what it reads in the child, and is a leaf if it is one there, so that
    what is new in the child has the same gradient, at zero, in the network of all as in its own.
    """
    groups: list[tuple[Cell, list[int]]] = []
    for place, cell in enumerate(cells):
        for number, (held, places) in enumerate(groups):
            union = united([held, cell])
            members = [cells[other] for other in places]
            if grows_from(union, parent) and all(_alike(one, union, parent) for one in (*members, cell)):
                groups[number] = union, [*places, place]
                break
        else:
            groups.append((cell, [place]))
    return groups


def _alike(child: Cell, union: Cell, parent: Cell) -> bool:
    """Whether the child's new nodes are the same in a larger cell."""
    new = [node for node in child.reachable if node not in parent.reachable]
    return all(
        child.predecessors[node] == union.predecessors[node] and (node in child.leaves) == (node in union.leaves)
        for node in new
    )

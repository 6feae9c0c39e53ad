"""The cell: a directed acyclic graph of operations, as a frozen value.

Node 0 is the cell's input and carries no operation; an edge (i, j) always has i < j, so every edge set is acyclic.
A `Cell` is canonical by construction: edges that no path from node 0 reaches are dropped when it is made, so two
cells with the same nodes compare equal exactly when they wire the same reachable network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from autoshrink import ops as operations
from autoshrink.design import Design, Pictured
from autoshrink.errors import InputError
from autoshrink.escaping import shown
from autoshrink.untrusted import brief, inside, parse_json, read_text

Edge = tuple[int, int]

CELL_FORMAT = "autoshrink.cell/1"
INPUT = "input"
MAX_NODES = 64


@dataclass(frozen=True)
class Cell(Pictured):
    """A canonical cell.

    Args:
        kind: ``"conv"`` or ``"recurrent"``; decides which operations are allowed.
        ops: one operation per node; ``ops[0]`` is ``"input"``. Unreachable nodes keep theirs.
        edges: pairs (i, j) with 0 <= i < j < len(ops). Edges on no path from node 0 are dropped; the rest are sorted.

    Raises:
        InputError: the kind, an operation or an edge is not allowed; the message names it.
    """

    kind: str
    ops: tuple[str, ...]
    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        ops = _checked_ops(self.kind, self.ops)
        edges = _checked_edges(self.edges, len(ops))
        reachable = _reachable(edges)
        object.__setattr__(self, "ops", ops)
        object.__setattr__(self, "edges", tuple(edge for edge in edges if edge[0] in reachable))

    def __str__(self) -> str:
        """Operations of the nodes in use and their predecessors, for example ``1:conv1x1<0 2:sepconv3x3<0,1``."""
        parts = [
            f"{j}:{self.ops[j]}<{','.join(map(str, self.predecessors[j]))}"
            for j in range(1, len(self.ops))
            if self.predecessors[j]
        ]
        return " ".join(parts) if parts else "empty cell"

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For every node, the nodes it reads, ascending."""
        return tuple(tuple(i for i, k in self.edges if k == j) for j in range(len(self.ops)))

    @cached_property
    def successors(self) -> tuple[tuple[int, ...], ...]:
        """For every node, the nodes that read it, ascending."""
        return tuple(tuple(j for k, j in self.edges if k == i) for i in range(len(self.ops)))

    @cached_property
    def reachable(self) -> tuple[int, ...]:
        """Nodes on some path from node 0, node 0 included, ascending."""
        return tuple(sorted(_reachable(self.edges)))

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """Reachable nodes that nobody reads, ascending; ``(0,)`` for the empty cell."""
        return tuple(node for node in self.reachable if not self.successors[node])

    @cached_property
    def branches(self) -> int:
        """Edges beyond the first out of each node: how often a tensor is read again. Ties prefer fewer."""
        return sum(len(readers) - 1 for readers in self.successors if readers)

    @cached_property
    def key(self) -> str:
        """The same string for exactly the isomorphic cells.

        Two cells share a key when some renaming of nodes, keeping node 0 and every operation, turns one into the
        other; nodes out of use are ignored. The channel order inside a concatenation differs between isomorphic
        cells, which random initialisation makes irrelevant: both are one network, to be trained once.
        """
        return _canonical_key(self)

    def without(self, edge: Edge) -> Cell:
        """This cell with one edge removed, and with it every edge that is then unreachable (AutoShrink, Algorithm 1).

        Raises:
            InputError: the cell has no such edge.
        """
        if edge not in self.edges:
            raise InputError(f"edge {edge} is not in the cell ({self})")
        return Cell(self.kind, self.ops, tuple(other for other in self.edges if other != edge))

    def shrink_space(self) -> tuple[tuple[Edge, Cell], ...]:
        """Every edge with the cell that is left when it goes, in edge order (AutoShrink, Eq. 6)."""
        return tuple((edge, self.without(edge)) for edge in self.edges)

    def to_json(self) -> dict[str, Any]:
        """The cell file's object (format ``autoshrink.cell/1``)."""
        return {
            "format": CELL_FORMAT,
            "kind": self.kind,
            "ops": list(self.ops),
            "edges": [list(edge) for edge in self.edges],
        }

    @classmethod
    def from_json(cls, value: object) -> Cell:
        """A cell from a cell file's object.

        Raises:
            InputError: the object is not a cell of this format; the message names the field.
        """
        if not isinstance(value, dict):
            raise InputError(f"a cell is a JSON object, not {brief(value)}")
        if value.get("format") != CELL_FORMAT:
            raise InputError(f'a cell has "format": "{CELL_FORMAT}", not {brief(value.get("format"))}')
        unknown = sorted(set(value) - {"format", "kind", "ops", "edges"})
        missing = sorted({"kind", "ops", "edges"} - set(value))
        if unknown or missing:
            raise InputError(
                f"a cell has kind, ops and edges: missing {missing or 'none'}, unknown {unknown or 'none'}"
            )
        return cls(value["kind"], value["ops"], value["edges"])

    @classmethod
    def read(cls, path: Path) -> Cell:
        """The cell in a ``*.cell.json`` file.

        Raises:
            InputError: the file is missing, is not JSON or holds no cell; the message names the file.
        """
        return cls.from_json_text(read_text(path), source=shown(path))

    @classmethod
    def from_json_text(cls, text: str, *, source: str) -> Cell:
        """A cell from a cell file's text; `source` is named in errors."""
        with inside(source):
            return cls.from_json(parse_json(text))


def cell_of(design: Design) -> Cell:
    """A design as the cell that it is.

    Raises:
        InputError: it is none.
    """
    if not isinstance(design, Cell):
        raise InputError(f"a {design.kind} design is no cell")
    return design


def _checked_ops(kind: object, ops: object) -> tuple[str, ...]:
    if not isinstance(kind, str) or (kind not in operations.DEFAULTS and kind not in operations.cell_kinds()):
        raise InputError(f"cell kind {brief(kind)} is unknown; choose from {', '.join(operations.cell_kinds())}")
    if isinstance(ops, str) or not isinstance(ops, Sequence) or not ops:
        raise InputError(f"cell ops must be a list that starts with {INPUT!r}, not {brief(ops)}")
    if len(ops) > MAX_NODES:
        raise InputError(f"a cell has at most {MAX_NODES} nodes, not {len(ops)}")
    if ops[0] != INPUT:
        raise InputError(f"node 0 of a cell is {INPUT!r}, not {brief(ops[0])}")
    for node, op in enumerate(ops[1:], start=1):
        if not isinstance(op, str) or not operations.known(kind, op):
            raise InputError(f"node {node}: {operations.unknown(kind, op)}")
    return tuple(ops)


def _checked_edges(edges: object, nodes: int) -> tuple[Edge, ...]:
    if isinstance(edges, str | Mapping) or not isinstance(edges, Iterable):
        raise InputError(f"cell edges must be a list of pairs, not {brief(edges)}")
    checked = set()
    for edge in edges:
        pair = tuple(edge) if isinstance(edge, Sequence) and not isinstance(edge, str) else ()
        if len(pair) != 2 or any(isinstance(end, bool) or not isinstance(end, int) for end in pair):
            raise InputError(f"edge {brief(edge)} is not a pair of node numbers")
        if not 0 <= pair[0] < pair[1] < nodes:
            raise InputError(f"edge {list(pair)} does not run from a lower to a higher node of 0 … {nodes - 1}")
        if pair in checked:
            raise InputError(f"edge {list(pair)} appears twice")
        checked.add(pair)
    return tuple(sorted(checked))


def _reachable(edges: Iterable[Edge]) -> set[int]:
    reachable = {0}
    # Sorted by head, every edge into a node comes before any edge out of it is needed.
    for i, j in sorted(edges, key=lambda edge: (edge[1], edge[0])):
        if i in reachable:
            reachable.add(j)
    return reachable


# --- canonical labelling -------------------------------------------------------------------------------------------
# Colour refinement with individualisation. `colors[v]` is the rank of v's class; classes are ranked by properties that
# do not depend on node numbers, so isomorphic cells meet the same ranks.

Colors = tuple[int, ...]


@dataclass(frozen=True)
class _Graph:
    ops: tuple[str, ...]
    predecessors: tuple[tuple[int, ...], ...]
    successors: tuple[tuple[int, ...], ...]


@lru_cache(maxsize=65536)
def _canonical_key(cell: Cell) -> str:
    number = {node: rank for rank, node in enumerate(cell.reachable)}
    graph = _Graph(
        tuple(cell.ops[node] for node in cell.reachable),
        tuple(tuple(number[i] for i in cell.predecessors[node]) for node in cell.reachable),
        tuple(tuple(number[j] for j in cell.successors[node]) for node in cell.reachable),
    )
    return f"{cell.kind} {_smallest_encoding(graph, _refine(graph, _ranks(graph.ops)))}"


def _ranks(signatures: Sequence[Any]) -> Colors:
    rank = {signature: position for position, signature in enumerate(sorted(set(signatures)))}
    return tuple(rank[signature] for signature in signatures)


def _refine(graph: _Graph, colors: Colors) -> Colors:
    """Split classes by the colours of predecessors and successors until nothing splits any more."""
    while True:
        refined = _ranks(
            [
                (
                    colors[v],
                    tuple(sorted(colors[i] for i in graph.predecessors[v])),
                    tuple(sorted(colors[j] for j in graph.successors[v])),
                )
                for v in range(len(colors))
            ]
        )
        if refined == colors:
            return colors
        colors = refined


def _first_open_class(colors: Colors) -> list[int]:
    """Members of the lowest-ranked class with more than one node, or nothing when every node stands alone."""
    for color in range(max(colors) + 1):
        members = [v for v, other in enumerate(colors) if other == color]
        if len(members) > 1:
            return members
    return []


def _individualise(graph: _Graph, colors: Colors, v: int) -> Colors:
    return _refine(graph, _ranks([(color, u != v) for u, color in enumerate(colors)]))


def _encode(graph: _Graph, colors: Colors) -> str:
    """The graph written with colours as node numbers; every colour must be its node's own."""
    ops = sorted(zip(colors, graph.ops, strict=True))
    edges = sorted((colors[i], colors[j]) for j, sources in enumerate(graph.predecessors) for i in sources)
    return ",".join(op for _, op in ops) + " " + " ".join(f"{i}-{j}" for i, j in edges)


def _greedy_encoding(graph: _Graph, colors: Colors) -> str:
    while members := _first_open_class(colors):
        colors = _individualise(graph, colors, members[0])
    return _encode(graph, colors)


def _smallest_encoding(graph: _Graph, colors: Colors) -> str:
    members = _first_open_class(colors)
    if not members:
        return _encode(graph, colors)
    # Children with the same class sizes and the same greedy encoding are mapped onto each other by an automorphism,
    # so one of them stands for all: this keeps highly symmetric cells (many equal chains) from branching n! times.
    representatives: dict[tuple[Colors, str], Colors] = {}
    for v in members:
        child = _individualise(graph, colors, v)
        representatives.setdefault((tuple(sorted(child)), _greedy_encoding(graph, child)), child)
    return min(_smallest_encoding(graph, child) for child in representatives.values())

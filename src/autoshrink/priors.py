"""Starting graphs: the complete graph, and the random-graph priors of RandWire (WS, ER, BA) as baselines."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import combinations

import networkx as nx

from autoshrink import ops as operations
from autoshrink.cell import INPUT, Cell, Edge
from autoshrink.errors import InputError


def balanced_ops(ops: Sequence[str], nodes: int, rng: random.Random) -> tuple[str, ...]:
    """Random operations, each equally often over `nodes` draws; the draw for node 0 is not used.

    This is the released AutoShrink rule for convolutional cells: 0, 1, 0, 1, … shuffled, four of each for eight nodes,
    one of which lands on the input. (The paper says "randomly assign".)
    """
    draws = [ops[index % len(ops)] for index in range(nodes)]
    rng.shuffle(draws)
    return (INPUT, *draws[1:])


def independent_ops(ops: Sequence[str], nodes: int, rng: random.Random) -> tuple[str, ...]:
    """Random operations, each node's by itself; node 0's draw is not used (the released rule of recurrent cells)."""
    return (INPUT, *[rng.choice(ops) for _ in range(nodes)][1:])


DRAWS: dict[str, Callable[[Sequence[str], int, random.Random], tuple[str, ...]]] = {
    "balanced": balanced_ops,
    "independent": independent_ops,
}


def complete_edges(nodes: int) -> tuple[Edge, ...]:
    """All nodes·(nodes−1)/2 edges: where AutoShrink starts (Algorithm 1)."""
    return tuple(combinations(range(nodes), 2))


def erdos_renyi_edges(nodes: int, probability: float, rng: random.Random) -> tuple[Edge, ...]:
    """ER(P): each pair of the nodes after the input is joined with the given probability."""
    _require(0 <= probability <= 1, f"er:{probability}: the probability is between 0 and 1")
    return _with_input(nx.gnp_random_graph(nodes - 1, probability, seed=rng))


def barabasi_albert_edges(nodes: int, links: int, rng: random.Random) -> tuple[Edge, ...]:
    """BA(M): each node after the first M links to M earlier ones, by degree: M·(n−M) edges for n = nodes − 1."""
    _require(1 <= links < nodes - 1, f"ba:{links}: the number of links is between 1 and {nodes - 2} for {nodes} nodes")
    return _with_input(nx.barabasi_albert_graph(nodes - 1, links, seed=rng))


def watts_strogatz_edges(nodes: int, neighbours: int, probability: float, rng: random.Random) -> tuple[Edge, ...]:
    """WS(K, P): a ring with K neighbours each, every link rewired with probability P: n·K/2 edges for n = nodes − 1."""
    _require(
        neighbours % 2 == 0 and 2 <= neighbours < nodes - 1,
        f"ws:{neighbours}: the number of neighbours is even and between 2 and {nodes - 2} for {nodes} nodes",
    )
    _require(0 <= probability <= 1, f"ws:{neighbours},{probability}: the probability is between 0 and 1")
    return _with_input(nx.watts_strogatz_graph(nodes - 1, neighbours, probability, seed=rng))


def _with_input(graph: nx.Graph) -> tuple[Edge, ...]:
    """Orient from lower to higher number and wire node 0, as an extra node, to every source (the RandWire rule)."""
    inner = [(min(edge) + 1, max(edge) + 1) for edge in graph.edges]
    fed = {j for _, j in inner}
    sources = [(0, node + 1) for node in graph.nodes if node + 1 not in fed]
    return tuple(sorted(inner + sources))


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InputError(message)


EXAMPLES = "complete, er:0.3, ba:2 or ws:4,0.75"


NUMBERS = {"complete": 0, "er": 1, "ba": 1, "ws": 2}
"""How many numbers stand after the colon of each prior."""


def start_cell(
    spec: str, *, kind: str, nodes: int, rng: random.Random, draw: str = "balanced", ops: Sequence[str] | None = None
) -> Cell:
    """The cell a search starts from.

    Args:
        spec: ``complete``, ``er:P``, ``ba:M`` or ``ws:K,P``.
        kind: the cell's kind.
        nodes: number of nodes, the input included; at least 2.
        rng: draws the operations first, then the graph.
        draw: ``balanced`` or ``independent`` operations.
        ops: the operations to draw from; None: AutoShrink's own.

    Raises:
        InputError: the spec or its numbers cannot be used.
    """
    _require(nodes >= 2, f"nodes {nodes}: a cell needs the input and at least one more node")
    name, _, rest = spec.partition(":")
    _require(name in NUMBERS and not (name == "complete" and rest), f"start {spec!r} is unknown; choose {EXAMPLES}")
    try:
        numbers = [float(part) for part in rest.split(",")] if rest else []
    except ValueError:
        numbers = []
    wanted = NUMBERS[name]
    _require(len(numbers) == wanted, f"start {spec!r}: expected {wanted} number(s) after the colon, as in {EXAMPLES}")
    drawn = DRAWS[draw](ops or operations.drawn(kind), nodes, rng)
    if name == "complete":
        return Cell(kind, drawn, complete_edges(nodes))
    first, *others = numbers
    if name == "er":
        _require(first != 0, f"start {spec!r}: joins no two nodes; the probability is above 0, as in {EXAMPLES}")
        return Cell(kind, drawn, erdos_renyi_edges(nodes, first, rng))
    _require(first.is_integer(), f"start {spec!r}: {first:g} is not a whole number, as in {EXAMPLES}")
    if name == "ba":
        return Cell(kind, drawn, barabasi_albert_edges(nodes, int(first), rng))
    return Cell(kind, drawn, watts_strogatz_edges(nodes, int(first), others[0], rng))


DENSITIES = (0.1, 1.0)
"""Of edges among all nodes·(nodes−1)/2, in `random_cells`."""
TRIES = 200
"""Draws for one more cell that is unlike all before it."""


def random_cells(kind: str, nodes: int, count: int, seed: int, ops: Sequence[str] | None = None) -> tuple[Cell, ...]:
    """Different cells of all sizes, to see how a measure does over a whole search space.

    Their numbers of edges lie evenly between a tenth of the complete graph's and all of them, in random order. A cell
    grows edge by edge from node 0, so that every edge is reachable, and small cells leave nodes unused. Operations are
    drawn by shares that are drawn for each cell. No two cells are isomorphic.

    Args:
        kind: the cells' kind.
        nodes: of each, the input included; at least 2.
        count: how many cells.
        seed: decides them.
        ops: the operations to draw from; None: AutoShrink's own.

    Raises:
        InputError: there are not so many different cells, or too few nodes.
    """
    _require(nodes >= 2, f"nodes {nodes}: a cell needs the input and at least one more node")
    rng = random.Random(seed)
    most, (low, high) = nodes * (nodes - 1) // 2, DENSITIES
    found: dict[str, Cell] = {}
    for index in range(count):
        density = low + (high - low) * (index + 0.5) / count
        for attempt in range(TRIES):
            # Of the smallest and the largest there may be too few different ones.
            edges = max(1, round(most * density)) if attempt < TRIES // 4 else rng.randint(1, most)
            cell = Cell(kind, _mixed_ops(ops or operations.drawn(kind), nodes, rng), _grown_edges(nodes, edges, rng))
            if found.setdefault(cell.key, cell) is cell:
                break
        else:
            raise InputError(f"{count} random cells: only {len(found)} different ones of {nodes} nodes were found")
    cells = list(found.values())
    rng.shuffle(cells)
    return tuple(cells)


def _mixed_ops(ops: Sequence[str], nodes: int, rng: random.Random) -> tuple[str, ...]:
    return (INPUT, *rng.choices(ops, [rng.random() for _ in ops], k=nodes - 1))


def _grown_edges(nodes: int, count: int, rng: random.Random) -> tuple[Edge, ...]:
    """So many edges, each from a node that was reachable when it came."""
    reached, absent, grown = {0}, set(complete_edges(nodes)), []
    for _ in range(count):
        edge = rng.choice(sorted(edge for edge in absent if edge[0] in reached))
        absent.remove(edge)
        reached.add(edge[1])
        grown.append(edge)
    return tuple(grown)

"""The cell: what is refused and how, its canonical form, the shrink space, and keys that name isomorphic cells."""

import json
import random
from collections.abc import Iterable
from itertools import combinations, permutations, product
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.cell import MAX_NODES, Cell, Edge
from autoshrink.errors import InputError
from autoshrink.ops import DEFAULTS

LETTERS = {"S": "sepconv3x3", "C": "conv1x1"}
CONTRACT = (
    '{"format": "autoshrink.cell/1", "kind": "conv",'
    ' "ops": ["input", "sepconv3x3", "sepconv3x3", "sepconv3x3", "conv1x1"],'
    ' "edges": [[0,1],[0,2],[0,3],[1,3],[0,4],[2,4]]}'
)


def _edges(text: str) -> tuple[Edge, ...]:
    return tuple((int(pair[0]), int(pair[1])) for pair in text.split())


def _conv(ops: str, edges: str) -> Cell:
    """``_conv("SC", "01 12")`` is input → sepconv3x3 → conv1x1."""
    return Cell("conv", ("input", *(LETTERS[op] for op in ops)), _edges(edges))


@st.composite
def _wirings(draw: st.DrawFn, most: int = 8) -> tuple[str, tuple[str, ...], list[Edge]]:
    """Kind, operations and edges in any order, not yet canonical."""
    kind = draw(st.sampled_from(sorted(DEFAULTS)))
    nodes = draw(st.integers(1, most))
    ops = draw(st.lists(st.sampled_from(DEFAULTS[kind]), min_size=nodes - 1, max_size=nodes - 1))
    pairs = list(combinations(range(nodes), 2))
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return kind, ("input", *ops), edges


def _cells(most: int = 8) -> st.SearchStrategy[Cell]:
    return _wirings(most).map(lambda wiring: Cell(wiring[0], wiring[1], tuple(wiring[2])))


def _graph(kind_and_ops: Iterable[str], edges: Iterable[Edge]) -> Any:
    graph = nx.DiGraph()
    graph.add_nodes_from((node, {"op": op}) for node, op in enumerate(kind_and_ops))
    graph.add_edges_from(edges)
    return graph


def _used(cell: Cell) -> Any:
    return _graph(cell.ops, cell.edges).subgraph(cell.reachable)


def _relabelled(cell: Cell, rng: random.Random) -> Cell:
    """The same network with its nodes in another order that runs along the edges, between some unreachable ones."""
    waiting = {node: set(cell.predecessors[node]) for node in range(1, len(cell.ops))}
    order = [0]
    while waiting:
        chosen = rng.choice([node for node, needs in waiting.items() if needs <= set(order)])
        order.append(chosen)
        del waiting[chosen]
    number = {node: position for position, node in enumerate(order)}
    ops = tuple(cell.ops[node] for node in order)
    return Cell(cell.kind, ops, tuple((number[i], number[j]) for i, j in cell.edges))


# What is refused, and what the message says


def _object(**changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        "format": "autoshrink.cell/1",
        "kind": "conv",
        "ops": ["input", "conv1x1", "sepconv3x3"],
        "edges": [[0, 1], [1, 2]],
    }
    changed = good | changes
    return {key: value for key, value in changed.items() if value is not ...}


BAD_CELLS: list[tuple[object, str]] = [
    ([], "a cell is a JSON object, not []"),
    ("0-1", "a cell is a JSON object, not '0-1'"),
    (None, "a cell is a JSON object, not None"),
    (_object(format=...), 'a cell has "format": "autoshrink.cell/1", not None'),
    (_object(format="autoshrink.cell/2"), "not 'autoshrink.cell/2'"),
    (_object(kind=...), "missing ['kind']"),
    (_object(ops=..., edges=...), "missing ['edges', 'ops']"),
    (_object(colour="red"), "unknown ['colour']"),
    (_object(kind="cnn"), "cell kind 'cnn' is unknown; choose from conv, recurrent"),
    (_object(kind=None), "cell kind None is unknown"),
    (_object(kind=["conv"]), "cell kind ['conv'] is unknown"),
    (_object(ops="input"), "cell ops must be a list that starts with 'input', not 'input'"),
    (_object(ops=[]), "cell ops must be a list that starts with 'input', not []"),
    (_object(ops=None), "cell ops must be a list that starts with 'input', not None"),
    (_object(ops={"0": "input"}), "cell ops must be a list that starts with 'input'"),
    (_object(ops=["conv1x1", "conv1x1", "conv1x1"]), "node 0 of a cell is 'input', not 'conv1x1'"),
    (_object(ops=["input"] + ["conv1x1"] * MAX_NODES), f"at most {MAX_NODES} nodes, not {MAX_NODES + 1}"),
    (_object(ops=["input", "conv9x9", "conv1x1"]), "node 1: operation 'conv9x9' is unknown in a conv cell"),
    (
        _object(ops=["input", "conv1x1", "tanh"]),
        "node 2: operation 'tanh' is unknown in a conv cell; choose from conv1x1",
    ),
    (_object(kind="recurrent"), "operation 'conv1x1' is unknown in a recurrent cell; choose from relu, sigmoid, tanh"),
    (_object(ops=["input", "input", "conv1x1"]), "node 1: operation 'input' is unknown"),
    (_object(ops=["input", 1, "conv1x1"]), "node 1: operation 1 is unknown"),
    (_object(ops=["input", ["conv1x1"], "conv1x1"]), "node 1: operation ['conv1x1'] is unknown"),
    (_object(edges=None), "cell edges must be a list of pairs, not None"),
    (_object(edges=3), "cell edges must be a list of pairs, not 3"),
    (_object(edges="0-1"), "cell edges must be a list of pairs, not '0-1'"),
    (_object(edges=[0, 1]), "edge 0 is not a pair of node numbers"),
    (_object(edges=["01"]), "edge '01' is not a pair of node numbers"),
    (_object(edges=[[0]]), "edge [0] is not a pair of node numbers"),
    (_object(edges=[[0, 1, 2]]), "edge [0, 1, 2] is not a pair of node numbers"),
    (_object(edges=[[0, 1.0]]), "edge [0, 1.0] is not a pair of node numbers"),
    (_object(edges=[[0, "1"]]), "edge [0, '1'] is not a pair of node numbers"),
    (_object(edges=[[False, True]]), "edge [False, True] is not a pair of node numbers"),
    (_object(edges=[[1, 0]]), "edge [1, 0] does not run from a lower to a higher node of 0 … 2"),
    (_object(edges=[[1, 1]]), "edge [1, 1] does not run from a lower to a higher node"),
    (_object(edges=[[0, 3]]), "edge [0, 3] does not run from a lower to a higher node of 0 … 2"),
    (_object(edges=[[-1, 1]]), "edge [-1, 1] does not run"),
    (_object(edges=[[0, 1], [1, 2], [0, 1]]), "edge [0, 1] appears twice"),
]


@pytest.mark.parametrize(("value", "said"), BAD_CELLS)
def test_a_bad_cell_is_refused_in_one_line_that_names_what_is_wrong(value: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        Cell.from_json(value)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert len(message) < 230


def test_a_bad_file_is_named_with_what_is_wrong_in_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.cell.json"
    contents: list[tuple[bytes, str]] = [
        (b"", "not JSON (line 1, column 1:"),
        (b'{"format":\n oops}', "not JSON (line 2, column 2:"),
        (b"[1, 2]", "a cell is a JSON object"),
        (json.dumps(_object(edges=[[1, 0]])).encode(), "edge [1, 0] does not run"),
        (b"\xff\xfe\x00", "cannot be read as text"),
    ]
    for content, said in contents:
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            Cell.read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert said in str(caught.value)
    with pytest.raises(InputError, match=r"none\.cell\.json: no such file"):
        Cell.read(tmp_path / "none.cell.json")
    with pytest.raises(InputError, match="cannot be read as text"):
        Cell.read(tmp_path)


def test_the_contract_cell_file(tmp_path: Path) -> None:
    path = tmp_path / "shrink.cell.json"
    path.write_text(CONTRACT, encoding="utf-8")
    cell = Cell.read(path)
    assert cell == _conv("SSSC", "01 02 03 13 04 24")
    assert cell.leaves == (3, 4)
    assert cell.to_json() == json.loads(CONTRACT) | {"edges": [[0, 1], [0, 2], [0, 3], [0, 4], [1, 3], [2, 4]]}


@given(_cells(12))
@settings(deadline=None)
def test_a_cell_survives_json(cell: Cell) -> None:
    assert Cell.from_json_text(json.dumps(cell.to_json()), source="a test") == cell


# Canonical form


@given(_wirings(12))
@settings(deadline=None)
def test_only_edges_out_of_unreachable_nodes_are_dropped(wiring: tuple[str, tuple[str, ...], list[Edge]]) -> None:
    kind, ops, edges = wiring
    cell = Cell(kind, ops, tuple(edges))
    graph = _graph(ops, edges)
    reachable = {0} | nx.descendants(graph, 0)
    assert cell.edges == tuple(sorted(edge for edge in edges if edge[0] in reachable))
    assert set(cell.reachable) == reachable
    assert cell.ops == ops


@given(_cells(12))
@settings(deadline=None)
def test_the_canonical_form_is_a_fixed_point_in_any_edge_order(cell: Cell) -> None:
    assert Cell(cell.kind, cell.ops, cell.edges[::-1]) == cell
    assert hash(Cell(cell.kind, cell.ops, cell.edges[::-1])) == hash(cell)


@given(_cells(12))
@settings(deadline=None)
def test_neighbours_leaves_and_branches_agree_with_networkx(cell: Cell) -> None:
    graph = _graph(cell.ops, cell.edges)
    for node in range(len(cell.ops)):
        assert cell.predecessors[node] == tuple(sorted(graph.predecessors(node)))
        assert cell.successors[node] == tuple(sorted(graph.successors(node)))
    assert cell.leaves == tuple(node for node in cell.reachable if graph.out_degree(node) == 0)
    assert cell.branches == len(cell.edges) - (len(cell.reachable) - len(cell.leaves))


def test_leaves_branches_and_words_of_cells_drawn_by_hand() -> None:
    table: list[tuple[Cell, tuple[int, ...], int, str]] = [
        (_conv("", ""), (0,), 0, "empty cell"),
        (_conv("SC", ""), (0,), 0, "empty cell"),
        (_conv("SC", "12"), (0,), 0, "empty cell"),
        (_conv("SC", "02"), (2,), 0, "2:conv1x1<0"),
        (_conv("SC", "01 12"), (2,), 0, "1:sepconv3x3<0 2:conv1x1<1"),
        (_conv("SC", "01 02"), (1, 2), 1, "1:sepconv3x3<0 2:conv1x1<0"),
        (_conv("SC", "01 02 12"), (2,), 1, "1:sepconv3x3<0 2:conv1x1<0,1"),
        (_conv("SSSC", "01 02 03 04 13 24"), (3, 4), 3, "1:sepconv3x3<0 2:sepconv3x3<0 3:sepconv3x3<0,1 4:conv1x1<0,2"),
    ]
    for cell, leaves, branches, words in table:
        assert (cell.leaves, cell.branches, str(cell)) == (leaves, branches, words)


# The shrink space


def test_removing_an_edge_takes_its_orphans_along() -> None:
    table = [
        ("01 12 23", "12", "01"),
        ("01 12 23", "01", ""),
        ("01 02 12 23", "02", "01 12 23"),
        ("01 02 12 23", "01", "02 23"),
        ("01 02 13 23", "01", "02 23"),
        ("01 12 13 03", "01", "03"),
        ("01 02 13 23", "13", "01 02 23"),
    ]
    for before, removed, after in table:
        assert _conv("SCS", before).without(_edges(removed)[0]) == _conv("SCS", after)


def test_an_edge_that_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(InputError, match=r"edge \(1, 2\) is not in the cell \(1:sepconv3x3<0\)"):
        _conv("SC", "01").without((1, 2))


@given(_cells(10))
@settings(deadline=None)
def test_the_shrink_space_has_one_smaller_canonical_child_an_edge(cell: Cell) -> None:
    space = cell.shrink_space()
    assert tuple(edge for edge, _ in space) == cell.edges
    for edge, child in space:
        graph = _graph(cell.ops, set(cell.edges) - {edge})
        reachable = {0} | nx.descendants(graph, 0)
        assert set(child.edges) == {other for other in graph.edges if other[0] in reachable}
        assert len(child.edges) < len(cell.edges)
        assert child.ops == cell.ops


# Keys


def _form(cell: Cell) -> tuple[str, tuple[tuple[str, ...], tuple[Edge, ...]]]:
    """The smallest writing of the cell's used part over all numberings that keep node 0 first."""
    inner = cell.reachable[1:]
    writings = []
    for order in permutations(inner):
        number = {node: position for position, node in enumerate((0, *order))}
        edges = sorted((number[i], number[j]) for i, j in cell.edges)
        writings.append((tuple(cell.ops[node] for node in order), tuple(edges)))
    return cell.kind, min(writings)


def _same_partition(cells: Iterable[Cell]) -> int:
    """How many classes there are, after a check that keys and brute force draw the same lines between the cells."""
    pairs = {(cell.key, _form(cell)) for cell in cells}
    assert len(pairs) == len({key for key, _ in pairs}) == len({form for _, form in pairs})
    return len(pairs)


def test_keys_divide_all_cells_of_four_nodes_as_brute_force_does() -> None:
    pairs = list(combinations(range(4), 2))
    wirings = [tuple(pair for pair, on in zip(pairs, bits, strict=True) if on) for bits in product((0, 1), repeat=6)]
    cells = {Cell("conv", ("input", *ops), edges) for ops in product(DEFAULTS["conv"], repeat=3) for edges in wirings}
    assert 50 < _same_partition(cells) < len(cells)


@given(st.lists(_cells(6), min_size=2, max_size=8))
@settings(max_examples=40, deadline=None)
def test_keys_divide_small_cells_as_brute_force_does(cells: list[Cell]) -> None:
    _same_partition(cells)


@given(_cells(6), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_two_cells_share_a_key_exactly_when_networkx_finds_them_isomorphic(cell: Cell, rng: random.Random) -> None:
    copy = _relabelled(cell, rng)
    others = [copy, *(child for _, child in cell.shrink_space()), *(child for _, child in copy.shrink_space())]
    match = nx.isomorphism.categorical_node_match("op", None)
    assert copy.key == cell.key
    for first, second in combinations(others, 2):
        assert (first.key == second.key) == nx.is_isomorphic(_used(first), _used(second), node_match=match)


@given(_cells(12), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_key_does_not_see_node_numbers(cell: Cell, rng: random.Random) -> None:
    assert _relabelled(cell, rng).key == cell.key


def test_the_key_sees_kind_operations_and_wiring() -> None:
    cells = [
        _conv("SC", "01 12"),
        _conv("CS", "01 12"),
        _conv("SS", "01 12"),
        _conv("SC", "01 02"),
        _conv("SC", "01 02 12"),
        _conv("SC", "01"),
        _conv("SC", "02"),
        _conv("SC", ""),
        Cell("recurrent", ("input",), ()),
    ]
    assert len({cell.key for cell in cells}) == len(cells)
    assert _conv("SC", "01 02").key == _conv("CS", "01 02").key
    assert _conv("SSC", "01 02 13 23").key != _conv("SSC", "01 12 23").key


def _layers(*widths: int) -> tuple[Edge, ...]:
    """The input feeds the first layer, every layer the next one, completely."""
    first, edges = [0], []
    for width in widths:
        second = list(range(first[-1] + 1, first[-1] + 1 + width))
        edges += list(product(first, second))
        first = second
    return tuple(edges)


def _chains(count: int, length: int) -> tuple[Edge, ...]:
    starts = range(1, count * length, length)
    return tuple((0 if step == 0 else start + step - 1, start + step) for start in starts for step in range(length))


def _rings(*lengths: int) -> tuple[Edge, ...]:
    """Two layers of equal nodes whose links form rings; colour refinement alone cannot tell ring lengths apart."""
    half = sum(lengths) // 2
    edges = [(0, node) for node in range(1, half + 1)]
    first = 1
    for length in lengths:
        size = length // 2
        for step in range(size):
            edges += [(first + step, half + first + step), (first + step, half + first + (step + 1) % size)]
        first += size
    return tuple(edges)


def _matched(seed: int) -> tuple[Edge, ...]:
    """Two layers of eight equal nodes, three links each, at random.

    No two nodes are equivalent, yet refinement sees no difference, and pinning any one of them splits all others.
    """
    rng, links = random.Random(seed), set[Edge]()
    while len(links) < 24:
        links = {(node, 8 + end) for _ in range(3) for node, end in enumerate(rng.sample(range(1, 9), 8), start=1)}
    return (*((0, node) for node in range(1, 9)), *sorted(links))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (_matched(0), _matched(1)),
        (_matched(2), _matched(3)),
        (_layers(15), _layers(14)),
        (_chains(7, 2), (*_chains(7, 2), (2, 3))),
        (_chains(4, 3), _chains(3, 4)),
        (_layers(5, 5), _layers(5, 5)[:-1]),
        (_layers(4, 4, 4), _layers(4, 4, 4)[:-1]),
        (_rings(12), _rings(6, 6)),
        (_rings(8, 6), _rings(10, 4)),
    ],
)
def test_highly_symmetric_cells_get_a_key_too(one: tuple[Edge, ...], other: tuple[Edge, ...]) -> None:
    cells = [Cell("conv", ("input",) + ("conv1x1",) * max(j for _, j in edges), edges) for edges in (one, other)]
    assert not nx.is_isomorphic(*(_used(cell) for cell in cells))
    keys = []
    for cell in cells:
        copies = {_relabelled(cell, random.Random(seed)).key for seed in range(5)}
        assert copies == {cell.key}
        keys.append(cell.key)
    assert keys[0] != keys[1]

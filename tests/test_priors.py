"""Starting graphs: edge counts, orientation, reachability, seeds, degree statistics, and refused specs."""

import math
import random
from collections import Counter
from itertools import combinations

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.cell import Cell, Edge
from autoshrink.errors import InputError
from autoshrink.ops import DEFAULTS
from autoshrink.priors import (
    balanced_ops,
    barabasi_albert_edges,
    complete_edges,
    erdos_renyi_edges,
    independent_ops,
    random_cells,
    start_cell,
    watts_strogatz_edges,
)

SPECS = ("complete", "er:0.3", "er:0.5", "ba:1", "ba:2", "ba:3", "ws:2,0.5", "ws:4,0.75", "ws:4,1", "ws:4,0")


def _inner(edges: tuple[Edge, ...]) -> list[Edge]:
    """The random graph's own edges: those that do not leave the input."""
    return [edge for edge in edges if edge[0] > 0]


def _degrees(graphs: list[list[Edge]], nodes: int) -> list[float]:
    """The mean degree of the busiest node, the second busiest, … over graphs on the nodes after the input."""
    counts = [Counter(end for edge in graph for end in edge) for graph in graphs]
    ranked = [sorted((count[node] for node in range(1, nodes)), reverse=True) for count in counts]
    return [sum(row[rank] for row in ranked) / len(ranked) for rank in range(nodes - 1)]


@given(st.sampled_from(SPECS), st.integers(6, 16), st.integers(0, 2**32))
@settings(deadline=None)
def test_every_start_is_a_cell_that_uses_all_its_nodes(spec: str, nodes: int, seed: int) -> None:
    cell = start_cell(spec, kind="conv", nodes=nodes, rng=random.Random(seed))
    assert all(i < j for i, j in cell.edges)
    assert cell.reachable == tuple(range(nodes))
    fed_by_others = {j for i, j in cell.edges if i > 0}
    if spec != "complete":
        assert {j for i, j in cell.edges if i == 0} == set(range(1, nodes)) - fed_by_others


@given(st.sampled_from(SPECS), st.sampled_from(sorted(DEFAULTS)), st.integers(0, 2**32))
@settings(deadline=None)
def test_the_seed_decides_the_start(spec: str, kind: str, seed: int) -> None:
    first, again = (start_cell(spec, kind=kind, nodes=9, rng=random.Random(seed)) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec not in ("complete", "ws:4,0")])
def test_other_seeds_give_other_graphs(spec: str) -> None:
    graphs = {start_cell(spec, kind="conv", nodes=10, rng=random.Random(seed)).edges for seed in range(40)}
    assert len(graphs) > 20


@given(st.integers(2, 20))
@settings(deadline=None)
def test_the_complete_graph_has_every_pair_once(nodes: int) -> None:
    edges = complete_edges(nodes)
    assert len(edges) == nodes * (nodes - 1) // 2
    assert set(edges) == {(i, j) for j in range(nodes) for i in range(j)}


@given(st.data(), st.integers(5, 20), st.floats(0, 1), st.integers(0, 2**32))
@settings(deadline=None)
def test_ws_keeps_half_k_edges_a_node(data: st.DataObject, nodes: int, probability: float, seed: int) -> None:
    n = nodes - 1
    neighbours = 2 * data.draw(st.integers(1, (n - 1) // 2))
    inner = _inner(watts_strogatz_edges(nodes, neighbours, probability, random.Random(seed)))
    assert len(set(inner)) == len(inner) == n * neighbours // 2


@given(st.data(), st.integers(3, 20), st.integers(0, 2**32))
@settings(deadline=None)
def test_ba_links_every_later_node_m_times(data: st.DataObject, nodes: int, seed: int) -> None:
    n = nodes - 1
    links = data.draw(st.integers(1, n - 1))
    inner = _inner(barabasi_albert_edges(nodes, links, random.Random(seed)))
    assert len(set(inner)) == len(inner) == links * (n - links)
    arrivals = Counter(j for _, j in inner)
    assert {j: count for j, count in arrivals.items() if j > links + 1} == dict.fromkeys(range(links + 2, nodes), links)


@pytest.mark.parametrize(("nodes", "probability"), [(8, 0.3), (8, 0.5), (16, 0.2)])
def test_er_has_p_of_all_pairs_on_average(nodes: int, probability: float) -> None:
    pairs, draws, rng = (nodes - 1) * (nodes - 2) // 2, 1000, random.Random(7)
    mean = sum(len(_inner(erdos_renyi_edges(nodes, probability, rng))) for _ in range(draws)) / draws
    standard_error = math.sqrt(pairs * probability * (1 - probability) / draws)
    assert abs(mean - probability * pairs) < 3 * standard_error


def test_extreme_parameters_give_known_graphs() -> None:
    rng = random.Random(0)
    everyone = tuple(combinations(range(1, 8), 2))
    assert erdos_renyi_edges(8, 1.0, rng) == ((0, 1), *everyone)
    assert erdos_renyi_edges(8, 0.0, rng) == tuple((0, node) for node in range(1, 8))
    ring = {(i, i + 1) for i in range(1, 7)} | {(1, 7)}
    assert set(watts_strogatz_edges(8, 2, 0.0, rng)) == ring | {(0, 1)}
    lattice = ring | {(i, i + 2) for i in range(1, 6)} | {(1, 6), (2, 7)}
    assert set(watts_strogatz_edges(8, 4, 0.0, rng)) == lattice | {(0, 1)}
    assert set(watts_strogatz_edges(8, 6, 1.0, rng)) == {(0, 1), *everyone}
    assert start_cell("complete", kind="conv", nodes=2, rng=rng).edges == ((0, 1),)


def test_degrees_spread_as_in_an_independent_generator() -> None:
    """Busiest node, second busiest, …: 400 of our graphs against 400 made here from the definitions."""
    nodes, draws = 16, 400
    n = nodes - 1
    rng = random.Random(3)
    ba = _degrees([_inner(barabasi_albert_edges(nodes, 2, rng)) for _ in range(draws)], nodes)
    assert ba == pytest.approx(_degrees([_attached(n, 2, rng) for _ in range(draws)], nodes), abs=0.4)
    assert ba[0] > 1.5 * ba[4] > 2 * ba[-1], "a few hubs, many nodes with few links"

    er = _degrees([_inner(erdos_renyi_edges(nodes, 0.3, rng)) for _ in range(draws)], nodes)
    coins = [[pair for pair in combinations(range(1, nodes), 2) if rng.random() < 0.3] for _ in range(draws)]
    assert er == pytest.approx(_degrees(coins, nodes), abs=0.4)

    ws = _degrees([_inner(watts_strogatz_edges(nodes, 4, 0.75, rng)) for _ in range(draws)], nodes)
    seeds = range(draws)
    peers = [nx.relabel_nodes(nx.watts_strogatz_graph(n, 4, 0.75, seed=seed), lambda v: v + 1) for seed in seeds]
    assert ws == pytest.approx(_degrees([list(graph.edges) for graph in peers], nodes), abs=0.4)


def _attached(n: int, links: int, rng: random.Random) -> list[Edge]:
    """Preferential attachment from its definition, on nodes 1 … n."""
    edges = [(node, links + 1) for node in range(1, links + 1)]
    for newcomer in range(links + 2, n + 1):
        ends = [end for edge in edges for end in edge]
        chosen: set[int] = set()
        while len(chosen) < links:
            chosen.add(rng.choice(ends))
        edges += [(earlier, newcomer) for earlier in sorted(chosen)]
    return edges


@given(st.sampled_from(sorted(DEFAULTS)), st.integers(1, 24), st.integers(0, 2**32))
@settings(deadline=None)
def test_operations_are_balanced(kind: str, nodes: int, seed: int) -> None:
    first, *drawn = balanced_ops(DEFAULTS[kind], nodes, random.Random(seed))
    assert first == "input"
    counts = Counter(drawn)
    assert set(counts) <= set(DEFAULTS[kind])
    # One draw lands on the input and is not used, so at most one operation is one short of its fair share.
    least, most = nodes // len(DEFAULTS[kind]), -(-nodes // len(DEFAULTS[kind]))
    assert all(least - 1 <= counts[op] <= most for op in DEFAULTS[kind])
    assert sum(counts[op] < least for op in DEFAULTS[kind]) <= 1


def test_eight_nodes_draw_four_of_each_and_lose_one() -> None:
    seen = [balanced_ops(DEFAULTS["conv"], 8, random.Random(seed)) for seed in range(300)]
    assert {tuple(sorted(Counter(ops[1:]).values())) for ops in seen} == {(3, 4)}
    lost = Counter("conv1x1" if ops.count("conv1x1") == 3 else "sepconv3x3" for ops in seen)
    assert min(lost.values()) > 100
    for node in range(1, 8):
        assert 100 < sum(ops[node] == "conv1x1" for ops in seen) < 200


@pytest.mark.parametrize("kind", sorted(DEFAULTS))
def test_independent_operations_are_equally_likely_at_every_node_and_know_nothing_of_each_other(kind: str) -> None:
    """Counts of single operations and of pairs, within five standard errors of a multinomial's."""
    nodes, draws, choices = 5, 4000, len(DEFAULTS[kind])
    seen = [independent_ops(DEFAULTS[kind], nodes, random.Random(seed)) for seed in range(draws)]
    assert {ops[0] for ops in seen} == {"input"}
    assert {len(ops) for ops in seen} == {nodes}
    places = [(node,) for node in range(1, nodes)] + list(combinations(range(1, nodes), 2))
    for place in places:
        counts, chance = Counter(tuple(ops[node] for node in place) for ops in seen), choices ** -len(place)
        assert len(counts) == choices ** len(place)
        error = math.sqrt(draws * chance * (1 - chance))
        assert all(abs(count - draws * chance) < 5 * error for count in counts.values())


def test_independent_draws_are_unbalanced_where_balanced_ones_never_are() -> None:
    """Of five nodes after the input one in 4⁴ has a single operation; balanced draws of six have no more than two."""
    alike = Counter(
        (draw, max(Counter(start_cell("complete", kind="recurrent", nodes=6, rng=rng, draw=draw).ops[1:]).values()))
        for draw in ("balanced", "independent")
        for rng in map(random.Random, range(3000))
    )
    assert {most for draw, most in alike if draw == "balanced"} == {2}
    assert {most for draw, most in alike if draw == "independent"} == {2, 3, 4, 5}
    assert alike["independent", 5] / 3000 == pytest.approx(4**-4, abs=5 * math.sqrt(4**-4 / 3000))


@given(st.sampled_from(SPECS), st.sampled_from(sorted(DEFAULTS)), st.integers(0, 2**32))
@settings(deadline=None)
def test_balanced_is_the_draw_that_nobody_asked_for(spec: str, kind: str, seed: int) -> None:
    asked = start_cell(spec, kind=kind, nodes=9, rng=random.Random(seed), draw="balanced")
    assert asked == start_cell(spec, kind=kind, nodes=9, rng=random.Random(seed))


@pytest.mark.parametrize(
    ("spec", "nodes", "said"),
    [
        ("er", 8, "start 'er': expected 1 number(s) after the colon, as in complete, er:0.3, ba:2 or ws:4,0.75"),
        ("er:", 8, "start 'er:': expected 1 number"),
        ("er:x", 8, "start 'er:x': expected 1 number"),
        ("er:0.3,0.4", 8, "start 'er:0.3,0.4': expected 1 number"),
        ("er:2", 8, "er:2.0: the probability is between 0 and 1"),
        ("er:-0.1", 8, "er:-0.1: the probability is between 0 and 1"),
        ("er:nan", 8, "the probability is between 0 and 1"),
        ("ba:x", 8, "start 'ba:x': expected 1 number"),
        ("ba:0", 8, "ba:0: the number of links is between 1 and 6 for 8 nodes"),
        ("ba:7", 8, "ba:7: the number of links is between 1 and 6 for 8 nodes"),
        ("ws:4", 8, "start 'ws:4': expected 2 number(s)"),
        ("ws:3,0.5", 8, "ws:3: the number of neighbours is even and between 2 and 6 for 8 nodes"),
        ("ws:8,0.5", 8, "ws:8: the number of neighbours is even and between 2 and 6 for 8 nodes"),
        ("ws:4,1.5", 8, "ws:4,1.5: the probability is between 0 and 1"),
        ("foo", 8, "start 'foo' is unknown; choose complete, er:0.3, ba:2 or ws:4,0.75"),
        ("", 8, "start '' is unknown"),
        ("complete", 1, "nodes 1: a cell needs the input and at least one more node"),
        ("complete", 0, "nodes 0: a cell needs"),
        ("complete", 65, "at most 64 nodes, not 65"),
    ],
)
def test_a_bad_spec_is_refused_by_name(spec: str, nodes: int, said: str) -> None:
    with pytest.raises(InputError) as caught:
        start_cell(spec, kind="conv", nodes=nodes, rng=random.Random(0))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["ba:2.5", "ba:nan", "ba:inf", "ws:4.5,0.5", "ws:nan,0.5", "complete:3"])
def test_numbers_that_are_no_counts_are_refused_by_name(spec: str) -> None:
    with pytest.raises(InputError, match=spec.split(":", maxsplit=1)[0]):
        start_cell(spec, kind="conv", nodes=8, rng=random.Random(0))


def test_the_drawn_graph_is_a_cell_of_the_asked_kind() -> None:
    cell = start_cell("ws:4,0.75", kind="recurrent", nodes=8, rng=random.Random(1))
    assert cell == Cell("recurrent", cell.ops, cell.edges)
    assert set(cell.ops[1:]) <= set(DEFAULTS["recurrent"])


@given(st.sampled_from(sorted(DEFAULTS)), st.integers(5, 10), st.integers(1, 30), st.integers(0, 2**32))
@settings(deadline=None)
def test_random_cells_are_different_and_of_all_sizes(kind: str, nodes: int, count: int, seed: int) -> None:
    cells = random_cells(kind, nodes, count, seed)
    assert cells == random_cells(kind, nodes, count, seed)
    assert len({cell.key for cell in cells}) == len(cells) == count
    assert {(cell.kind, len(cell.ops)) for cell in cells} == {(kind, nodes)}
    most = nodes * (nodes - 1) // 2
    sizes = sorted(len(cell.edges) for cell in cells)
    assert sizes[0] >= 1
    # Even steps over densities .1 to 1; few sizes have too few different cells and give a place to another.
    wanted = [most * (0.1 + 0.9 * (index + 0.5) / count) for index in range(count)]
    near = sum(abs(size - target) <= 1 for size, target in zip(sizes, wanted, strict=True))
    assert near >= 0.8 * count


def test_random_cells_mix_their_operations_and_their_order() -> None:
    cells = random_cells("conv", 8, 100, 0)
    assert len(cells[0].ops) == 8
    shares = sorted(cell.ops.count("conv1x1") / 7 for cell in cells)
    assert shares[5] < 0.3
    assert shares[-6] > 0.7
    sizes = [len(cell.edges) for cell in cells]
    assert (min(sizes), max(sizes)) == (3, 28)
    assert 12 < sum(sizes[:50]) / 50 < 19, "the first half stands for all"
    assert random_cells("conv", 8, 100, 1) != cells


def test_random_cells_that_cannot_be_different() -> None:
    assert {str(cell) for cell in random_cells("conv", 2, 2, 0)} == {"1:conv1x1<0", "1:sepconv3x3<0"}
    with pytest.raises(InputError, match="3 random cells: only 2 different ones of 2 nodes"):
        random_cells("conv", 2, 3, 0)
    with pytest.raises(InputError, match="nodes 1: "):
        random_cells("conv", 1, 1, 0)

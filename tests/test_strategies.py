"""AutoShrink as ask and tell: planted objectives, draws, counts, ties, failures, limits, and replay."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.cell import Cell, Edge, cell_of
from autoshrink.config import settings_from_json
from autoshrink.design import Design, edges_of
from autoshrink.ops import DEFAULTS
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Score
from autoshrink.spaces import CellSpace
from autoshrink.strategies import AutoShrink, Choice, Proposal
from autoshrink.strategies.base import StrategyContext
from autoshrink.strategies.exchange import Exchange
from fakes import edge_of

FREE = Score(penalty=0.0)
Objective = Callable[[Cell], float | None]


def _complete(nodes: int) -> Cell:
    ops = ("input", *(DEFAULTS["conv"][node % 2] for node in range(1, nodes)))
    return Cell("conv", ops, tuple(combinations(range(nodes), 2)))


def _evaluation(cell: Cell, performance: float | None, macs: int | None = None) -> Evaluation:
    resources = Resources(macs or 1_000 + 10 * len(cell.edges), 1, 1)
    return Evaluation(cell, resources, 0, "none", performance, None if performance is not None else "diverged")


def _edge_count(cell: Cell) -> float:
    """Prefers what loses one edge only, then what keeps the links to the input: nothing is pruned."""
    return len(cell.edges) + 0.01 * len(cell.successors[0])


def _shuffled_value(cell: Cell) -> float:
    """Worth that is the same in every process and has no structure."""
    return random.Random(f"{cell.edges}").random()


Step = tuple[tuple[Proposal, ...], Choice]


def _tell(strategy: AutoShrink, objective: Objective) -> Step:
    asked = strategy.ask()
    return asked, strategy.tell([_evaluation(proposal.cell, objective(proposal.cell)) for proposal in asked])


def _search(strategy: AutoShrink, objective: Objective) -> list[Step]:
    steps = []
    while strategy.ask():
        steps.append(_tell(strategy, objective))
    return steps


def _path(steps: list[Step]) -> list[Cell]:
    return [asked[choice.index].cell for asked, choice in steps]


@st.composite
def _starts(draw: st.DrawFn) -> Cell:
    nodes = draw(st.integers(2, 7))
    pairs = list(combinations(range(nodes), 2))
    return Cell("conv", _complete(nodes).ops, tuple(draw(st.lists(st.sampled_from(pairs), min_size=1, unique=True))))


@st.composite
def _hidden_and_start(draw: st.DrawFn) -> tuple[Cell, Cell]:
    start = draw(_starts())
    kept = draw(st.lists(st.sampled_from(start.edges), unique=True)) if start.edges else []
    return Cell("conv", start.ops, tuple(kept)), start


# Planted objectives


@given(_hidden_and_start())
@settings(max_examples=200, deadline=None)
def test_the_whole_shrink_space_leads_to_a_hidden_cell_inside_the_start(cells: tuple[Cell, Cell]) -> None:
    """Performance is minus the Hamming distance, an edge of the hidden cell weighing more than all others together.

    (With equal weights the law is false: where a node's only link belongs to the hidden cell and three of its links
    onwards do not, cutting it brings the edge sets closer than any other removal: see below.)
    """
    hidden, start = cells

    def objective(cell: Cell) -> float:
        have, want = set(cell.edges), set(hidden.edges)
        return -float(len(have - want) + 1_000 * len(want - have))

    path = _path(_search(AutoShrink(CellSpace(start), score=FREE, candidates="all"), objective))
    assert hidden in path
    assert all(set(hidden.edges) <= set(cell.edges) for cell in path[: path.index(hidden)])


def test_a_plain_hamming_distance_can_lead_past_the_hidden_cell() -> None:
    start = _complete(5)
    hidden = Cell("conv", start.ops, ((0, 1), (0, 2)))

    def objective(cell: Cell) -> float:
        return -float(len(set(cell.edges) ^ set(hidden.edges)))

    steps = _search(AutoShrink(CellSpace(start), score=FREE, candidates="all"), objective)
    assert edge_of(steps[1][0][steps[1][1].index]) == (0, 1), "takes four edges along, of which one is missed"
    assert hidden not in _path(steps)


# What is proposed


@given(_starts(), st.integers(1, 12), st.integers(0, 2**32))
@settings(deadline=None)
def test_every_step_proposes_min_k_e_different_children_of_the_chosen_cell(start: Cell, k: int, seed: int) -> None:
    strategy = AutoShrink(CellSpace(start), score=FREE, candidates=k, seed=seed)
    steps = _search(strategy, _shuffled_value)
    assert steps[0][0] == (Proposal(0, 0, start),)
    for number, (asked, _) in enumerate(steps):
        assert [(proposal.step, proposal.index) for proposal in asked] == [(number, i) for i in range(len(asked))]
    path = _path(steps)
    for current, (asked, _) in zip(path[:-1], steps[1:], strict=True):
        space = dict(current.shrink_space())
        removed = [edge_of(proposal) for proposal in asked]
        assert len(set(removed)) == len(asked) == min(k, len(current.edges))
        for proposal in asked:
            assert proposal.cell == space[edge_of(proposal)]
    lengths = [len(cell.edges) for cell in path]
    assert all(after < before for before, after in pairwise(lengths))
    assert lengths[-1] == 0
    assert strategy.over() == "no edge is left"


@pytest.mark.parametrize(("nodes", "k", "total"), [(8, 5, 130), (8, 10, 235), (8, 15, 315), (6, 5, 65)])
def test_the_number_of_evaluations_is_the_published_one(nodes: int, k: int, total: int) -> None:
    """Exact (and the start besides) when no step prunes; never more."""
    for seed in range(3):
        careful = _search(AutoShrink(CellSpace(_complete(nodes)), score=FREE, candidates=k, seed=seed), _edge_count)
        assert sum(len(asked) for asked, _ in careful) == total + 1
        assert len(careful) == nodes * (nodes - 1) // 2 + 1
        careless = _search(
            AutoShrink(CellSpace(_complete(nodes)), score=FREE, candidates=k, seed=seed), lambda c: -_edge_count(c)
        )
        assert sum(len(asked) for asked, _ in careless) < total
        anyhow = _search(AutoShrink(CellSpace(_complete(nodes)), score=FREE, candidates=k, seed=seed), _shuffled_value)
        assert sum(len(asked) for asked, _ in anyhow) <= total + 1


def test_every_edge_is_drawn_equally_often() -> None:
    """K = 5 of 28 edges over 1,400 seeds: 250 times each, give or take five standard deviations."""
    drawn: Counter[Edge | None] = Counter()
    pairs: Counter[Edge | None] = Counter()
    start = _complete(8)
    for seed in range(1_400):
        strategy = AutoShrink(CellSpace(start), score=FREE, candidates=5, seed=seed)
        _tell(strategy, _edge_count)
        asked = strategy.ask()
        drawn.update(edge_of(proposal) for proposal in asked)
        pairs.update([edge_of(asked[0])])
    assert len(drawn) == 28
    assert all(abs(times - 250) < 5 * (1_400 * (5 / 28) * (23 / 28)) ** 0.5 for times in drawn.values())
    assert all(abs(times - 50) < 5 * 7 for times in pairs.values()), "in first place too"


def test_the_seed_and_the_step_decide_the_draws() -> None:
    def draws(seed: int) -> list[list[Edge]]:
        steps = _search(AutoShrink(CellSpace(_complete(6)), score=FREE, candidates=4, seed=seed), _edge_count)
        return [[edge_of(proposal) for proposal in asked] for asked, _ in steps[1:]]

    assert draws(1) == draws(1)
    assert len({str(draws(seed)) for seed in range(20)}) == 20


def test_nothing_but_the_seed_and_the_step_decides_the_draws() -> None:
    """As places in the list of edges they are the same for every cell of five edges in step 1, and others in step 2."""

    def places(start: Cell, seed: int, steps: int) -> list[int]:
        strategy = AutoShrink(CellSpace(start), score=FREE, candidates=3, seed=seed)
        path = [_tell(strategy, _edge_count) for _ in range(steps)]
        current = path[-1][0][path[-1][1].index].cell
        assert len(current.edges) == 5
        return [current.edges.index(edge_of(proposal)) for proposal in strategy.ask()]

    one, other = (_complete(4).without(edge) for edge in ((2, 3), (0, 3)))
    for seed in range(20):
        assert places(one, seed, 1) == places(other, seed, 1)
    assert any(places(one, seed, 1) != places(_complete(4), seed, 2) for seed in range(20))


def test_the_draws_do_not_depend_on_what_was_measured_before() -> None:
    """Two runs with one seed that reach the same cell at the same step draw the same edges there."""
    first, second = (AutoShrink(CellSpace(_complete(6)), score=FREE, candidates="all", seed=3) for _ in range(2))
    sampled = [AutoShrink(CellSpace(_complete(6)), score=FREE, candidates=4, seed=3) for _ in range(2)]
    assert _tell(first, _edge_count)[0] == _tell(second, _shuffled_value)[0]
    _tell(sampled[0], lambda _: 0.1)
    _tell(sampled[1], lambda _: 0.9)
    assert sampled[0].ask() == sampled[1].ask()
    assert [edge_of(proposal) for proposal in first.ask()] == list(_complete(6).edges), "all: in edge order"


# Replay


@given(_starts(), st.integers(1, 5) | st.just("all"), st.integers(0, 2**32), st.integers(0, 12))
@settings(deadline=None)
def test_a_strategy_told_the_same_history_asks_the_same(
    start: Cell, k: int | Literal["all"], seed: int, told: int
) -> None:
    def fresh() -> AutoShrink:
        return AutoShrink(CellSpace(start), score=FREE, candidates=k, seed=seed)

    whole = _search(fresh(), _shuffled_value)
    resumed = fresh()
    for asked, choice in whole[:told]:
        again = [_evaluation(proposal.cell, _shuffled_value(proposal.cell)) for proposal in asked]
        assert resumed.tell(again) == choice, "tell alone, without ask before"
    assert whole[:told] + _search(resumed, _shuffled_value) == whole


@given(_starts(), st.integers(0, 2**32))
@settings(deadline=None)
def test_asking_changes_nothing(start: Cell, seed: int) -> None:
    curious, plain = (AutoShrink(CellSpace(start), score=FREE, candidates=3, seed=seed) for _ in range(2))
    while plain.ask():
        for _ in range(3):
            assert curious.ask() == plain.ask()
            assert curious.outlook() == plain.outlook()
        assert _tell(curious, _shuffled_value) == _tell(plain, _shuffled_value)
    assert curious.ask() == ()


def test_evaluations_of_other_cells_are_refused() -> None:
    strategy = AutoShrink(CellSpace(_complete(4)), score=FREE, candidates=3)
    with pytest.raises(ValueError, match="told other designs than were asked for"):
        strategy.tell([_evaluation(_complete(3), 0.5)])
    _tell(strategy, _edge_count)
    asked = [_evaluation(proposal.cell, 0.5) for proposal in strategy.ask()]
    for wrong in ([], asked[:-1], asked[::-1], [*asked, asked[0]]):
        with pytest.raises(ValueError, match="told other designs"):
            strategy.tell(wrong)
    strategy.tell(asked)


# The choice


def _told(strategy: AutoShrink, told: list[tuple[float | None, int]]) -> Choice:
    """Tell the three children of the chain of three nodes 0-1, 0-2, 1-2: performance and MACs of each."""
    asked = strategy.ask()
    pairs = zip(asked, told, strict=True)
    return strategy.tell([_evaluation(proposal.cell, *values) for proposal, values in pairs])


@pytest.mark.parametrize(
    ("told", "penalty", "index", "runner_up"),
    [
        ([(0.1, 5), (0.3, 5), (0.2, 5)], 0.0, 1, 2),
        ([(0.3, 5), (0.3, 4), (0.3, 6)], 0.0, 1, 0),
        ([(0.3, 5), (0.3, 5), (0.3, 5)], 0.0, 1, 0),
        ([(0.3, 5), (0.2, 5), (0.3, 5)], 0.0, 0, 2),
        ([(None, 1), (None, 2), (0.0, 9)], 0.0, 2, 0),
        ([(None, 3), (None, 1), (None, 2)], 0.0, 1, 2),
        ([(0.50, 10**6), (0.55, 10**7), (0.40, 10**6)], 0.1, 0, 1),
        ([(0.50, 10**6), (0.61, 10**7), (0.40, 10**6)], 0.1, 1, 0),
    ],
)
def test_the_best_of_a_step_by_hand(
    told: list[tuple[float | None, int]], penalty: float, index: int, runner_up: int
) -> None:
    """Children of the complete cell of three nodes: 02; 01, 12; 01, 02. Branches: 0, 0, 1."""
    strategy = AutoShrink(CellSpace(_complete(3)), score=Score(penalty), candidates="all")
    _tell(strategy, _edge_count)
    asked = strategy.ask()
    assert [proposal.cell.edges for proposal in asked] == [((0, 2),), ((0, 1), (1, 2)), ((0, 1), (0, 2))]
    assert [proposal.cell.branches for proposal in asked] == [0, 0, 1]
    # The third row is a tie of all: fewer branches, then the first of them.
    expected = Choice(0, 1) if len(set(told)) == 1 else Choice(index, runner_up)
    assert _told(strategy, told) == expected
    following = strategy.ask()
    assert {proposal.cell for proposal in following} == {
        child for _, child in asked[expected.index].cell.shrink_space()
    }


def test_a_cell_isomorphic_to_the_chosen_one_is_no_runner_up() -> None:
    twins = Cell("conv", ("input", "conv1x1", "conv1x1"), ((0, 1), (0, 2)))
    strategy = AutoShrink(CellSpace(twins), score=FREE, candidates="all")
    _tell(strategy, _edge_count)
    assert _told(strategy, [(0.5, 5), (0.5, 5)]) == Choice(0, None)


# Limits and stops


@given(_starts(), st.integers(0, 2**32), st.integers(1, 8), st.sampled_from([1, 2, 5]))
@settings(deadline=None)
def test_what_breaks_a_limit_is_proposed_only_when_nothing_else_is_left(
    start: Cell, seed: int, most_leaves: int, k: int
) -> None:
    def allowed(design: Design) -> bool:
        cell = cell_of(design)
        return len(cell.leaves) <= most_leaves and _shuffled_value(cell) < 0.7

    steps = _search(AutoShrink(CellSpace(start), score=FREE, candidates=k, seed=seed, allowed=allowed), _edge_count)
    for current, (asked, _) in zip(_path(steps)[:-1], steps[1:], strict=True):
        keeping = [child for _, child in current.shrink_space() if allowed(child)]
        assert len(asked) == min(k, len(keeping) or len(current.edges))
        assert not keeping or all(allowed(proposal.cell) for proposal in asked)
    assert _path(steps)[-1].edges == (), "no limit ends the search"


@given(_starts(), st.integers(0, 10))
@settings(deadline=None)
def test_a_search_stops_where_it_is_told_to_and_says_why(start: Cell, most: int) -> None:
    def stop(design: Design) -> str | None:
        return f"at most {most} edges" if (edges_of(design) or 0) <= most else None

    strategy = AutoShrink(CellSpace(start), score=FREE, candidates=4, stop=stop)
    path = _path(_search(strategy, _shuffled_value))
    assert all(len(cell.edges) > most for cell in path[:-1])
    assert len(path[-1].edges) <= most
    assert strategy.over() == f"at most {most} edges"
    assert strategy.outlook() == ()


@given(_starts(), st.integers(1, 12) | st.just("all"), st.booleans())
@settings(deadline=None)
def test_the_outlook_is_never_too_low(start: Cell, k: int | Literal["all"], careful: bool) -> None:
    strategy = AutoShrink(CellSpace(start), score=FREE, candidates=k)
    outlooks, counts = [strategy.outlook()], []
    while strategy.ask():
        counts.append(len(strategy.ask()))
        _tell(strategy, _edge_count if careful else _shuffled_value)
        outlooks.append(strategy.outlook())
    for step, outlook in enumerate(outlooks):
        ahead = counts[step:]
        assert len(outlook) >= len(ahead)
        assert all(bound >= count for bound, count in zip(outlook, ahead, strict=False))
    assert outlooks[-1] == ()


def test_the_outlook_of_the_complete_cell_is_exact() -> None:
    strategy = AutoShrink(CellSpace(_complete(8)), score=FREE, candidates=10)
    assert strategy.outlook() == (1, *([10] * 19), *range(9, 0, -1))
    assert sum(strategy.outlook()) == 236
    _tell(strategy, _edge_count)
    assert sum(strategy.outlook()) == 235


def test_evaluations_are_compared_by_cell_and_not_by_what_else_is_recorded() -> None:
    strategy = AutoShrink(CellSpace(_complete(3)), score=FREE)
    (proposal,) = strategy.ask()
    strategy.tell([replace(_evaluation(proposal.cell, 0.5), seed=99, fidelity="other", curve=(0.5,))])
    assert strategy.ask()[0].step == 1


# From the best so far


@given(start=_starts(), k=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_from_the_best_so_far_every_step_tries_new_children_of_the_best_that_has_any(
    start: Cell, k: int, seed: int
) -> None:
    start = Cell(start.kind, start.ops[:4], tuple(edge for edge in start.edges if max(edge) < 4))
    strategy = AutoShrink(CellSpace(start), score=FREE, candidates=k, seed=seed, walk="best")
    known: dict[str, float] = {}
    designs: dict[str, Cell] = {}
    while asked := strategy.ask():
        if known:
            (parent,) = {cell_of(one.parent) for one in asked if one.parent is not None}
            left = {
                key: [child for _, child in cell.shrink_space() if child.key not in known]
                for key, cell in designs.items()
            }
            assert known[parent.key] == max(known[key] for key, children in left.items() if children)
            assert len(asked) == min(k, len(left[parent.key]))
            assert {one.cell for one in asked} <= set(left[parent.key])
        strategy.tell([_evaluation(one.cell, _shuffled_value(one.cell)) for one in asked])
        for one in asked:
            known.setdefault(one.cell.key, _shuffled_value(one.cell))
            designs.setdefault(one.cell.key, one.cell)
    reached, left_over = {start.key: start}, [start]
    while left_over:
        children = [child for _, child in left_over.pop().shrink_space() if child.key not in reached]
        reached.update({child.key: child for child in children})
        left_over += children
    assert known.keys() == reached.keys(), "given time, nothing is left out"


def test_from_the_best_so_far_what_lost_least_comes_after_what_was_never_tried() -> None:
    """Six edges, K = 2: three steps try every edge once; then those come whose removal gained most by then."""
    start = _complete(4)
    gains = {edge: place / 10 for place, edge in enumerate(start.edges)}
    # Each cell is worse than the start, so that all steps go on from that until its children are known.
    strategy = AutoShrink(CellSpace(start), score=FREE, candidates=2, walk="best")
    strategy.tell([_evaluation(start, 9.0)])
    removed: list[Edge] = []
    for _ in range(3):
        asked = strategy.ask()
        assert {one.parent for one in asked} == {start}
        removed += [edge_of(one) for one in asked]
        strategy.tell([_evaluation(one.cell, 8.0 + gains[edge_of(one)]) for one in asked])
    assert sorted(removed) == list(start.edges)
    asked = strategy.ask()
    best = max(start.edges, key=gains.__getitem__)
    assert {one.parent for one in asked} == {child for edge, child in start.shrink_space() if edge == best}
    children = [edge for edge, _ in cell_of(asked[0].parent or start).shrink_space()]
    assert [edge_of(one) for one in asked] == sorted(children, key=gains.__getitem__, reverse=True)[:2]


@pytest.mark.parametrize("seed", range(5))
def test_exchanges_try_first_what_gained_elsewhere(seed: int) -> None:
    """Pointwise convolutions gain and lost edges lose: once both were tried, a convolution comes first while there is
    one to change."""
    start = Cell("conv", ("input", *["sepconv3x3"] * 4), tuple(combinations(range(5), 2)))
    space = CellSpace(start, frozenset({"edges", "ops"}), ("conv1x1",))
    settings = settings_from_json({"strategy": "exchange", "candidates": 3, "seed": seed, "patience": 9})
    strategy = Exchange(StrategyContext(settings, space, lambda _: Resources(1, 1, 1)))
    tried, proposed = set[str](), set[str]()
    while asked := strategy.ask():
        new = [one for one in asked if one.change is not None and not one.anew]
        if new and {"op conv1x1", "edge none"} <= tried:
            left = [
                change.sort for change, cell in space.moves(cell_of(new[0].parent or start)) if cell.key not in proposed
            ]
            assert [one.change and one.change.sort for one in new] == sorted(left, reverse=True)[:3]
        tried |= {one.change.sort for one in new if one.change is not None}
        proposed |= {one.design.key for one in asked}
        cells = [one.cell for one in asked]
        worth = [cell.ops.count("conv1x1") + len(cell.edges) / 10 for cell in cells]
        strategy.tell([_evaluation(cell, value) for cell, value in zip(cells, worth, strict=True)])
    assert tried == {"op conv1x1", "edge none"}

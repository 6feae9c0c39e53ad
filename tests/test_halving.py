"""Successive halving, who takes part in it, and AutoShrink's grace and rank: tables made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import pytest

from autoshrink.cell import Cell, Edge
from autoshrink.design import Design
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Score
from autoshrink.spaces import CellSpace
from autoshrink.strategies import AutoShrink, SuccessiveHalving, entrants, spread
from fakes import edge_of

FREE = Score(penalty=0.0)


def _chain(length: int) -> Cell:
    """One branch of so many operations."""
    ops = ("input", *["conv1x1"] * length)
    return Cell("conv", ops, tuple((node, node + 1) for node in range(length)))


def _fan(leaves: int) -> Cell:
    ops = ("input", *["conv1x1"] * leaves)
    return Cell("conv", ops, tuple((0, node) for node in range(1, leaves + 1)))


def _measured(cell: Design, performance: float | None, macs: int = 1000) -> Evaluation:
    reason = None if performance is not None else "diverged"
    return Evaluation(cell, Resources(macs, 1, 1), 0, "none", performance, reason)


CELLS = tuple(_chain(length) for length in range(1, 8))


def _told(halving: SuccessiveHalving, *performances: float | None) -> tuple[int, float, tuple[Design, ...]]:
    _, _, cells = halving.ask()
    halving.tell([_measured(cell, value) for cell, value in zip(cells, performances, strict=True)])
    return halving.ask()


# Successive halving


def test_one_of_three_stays_a_round() -> None:
    halving = SuccessiveHalving(CELLS, score=FREE, rounds=(0.5, 2, 4))
    assert halving.ask() == (0, 0.5, CELLS)
    assert halving.ask() == (0, 0.5, CELLS), "asking changes nothing"
    kept = (CELLS[4], CELLS[1], CELLS[6])
    assert _told(halving, 0.1, 0.8, 0.3, 0.2, 0.9, 0.4, 0.7) == (1, 2, kept), "seven leave ⌈7/3⌉, best first"
    # Judged anew: the first of round 0 is the last of round 1.
    assert _told(halving, 0.1, 0.2, 0.3) == (2, 0, ()), "one is left: over before the last round"


@pytest.mark.parametrize(("reduction", "sizes"), [(2, [7, 4, 2]), (3, [7, 3]), (4, [7, 2]), (7, [7])])
def test_how_many_take_part_in_each_round(reduction: int, sizes: list[int]) -> None:
    halving = SuccessiveHalving(CELLS, score=FREE, rounds=(1, 2, 3), reduction=reduction)
    found = []
    while (asked := halving.ask())[2]:
        found.append(len(asked[2]))
        halving.tell([_measured(cell, 0.1 * number) for number, cell in enumerate(asked[2])])
    assert found == sizes


def test_it_is_over_after_the_last_round_though_several_are_left() -> None:
    halving = SuccessiveHalving(CELLS, score=FREE, rounds=(1,), reduction=2)
    assert _told(halving, *[0.5] * 7) == (1, 0, ())


def test_the_score_decides_and_not_the_performance() -> None:
    halving = SuccessiveHalving(CELLS[:2], score=Score(penalty=0.1), rounds=(1, 2), reduction=2)
    halving.tell([_measured(CELLS[0], 0.55, 10_000), _measured(CELLS[1], 0.5, 1000)])
    assert halving.ask()[2] == ()
    three = SuccessiveHalving(CELLS[:3], score=Score(penalty=0.1), rounds=(1, 2), reduction=2)
    three.tell([_measured(CELLS[0], 0.55, 10_000), _measured(CELLS[1], 0.5, 1000), _measured(CELLS[2], 0.1)])
    assert three.ask()[2] == (CELLS[1], CELLS[0])


def test_failed_cells_go_first() -> None:
    halving = SuccessiveHalving(CELLS[:6], score=FREE, rounds=(1, 2, 3), reduction=2)
    assert _told(halving, None, 0.2, None, 0.1, None, None)[2] == (CELLS[1], CELLS[3]), "two of ⌈6/2⌉ are usable"
    assert _told(halving, None, None) == (2, 0, ())


def test_when_all_fail_it_is_over() -> None:
    halving = SuccessiveHalving(CELLS, score=FREE, rounds=(1, 2))
    assert _told(halving, *[None] * 7) == (1, 0, ())


def test_a_single_cell_is_trained_once_and_none_never() -> None:
    alone = SuccessiveHalving(CELLS[:1], score=FREE, rounds=(1, 2))
    assert alone.ask() == (0, 1, CELLS[:1])
    assert _told(alone, 0.1) == (1, 0, ())
    assert SuccessiveHalving((), score=FREE, rounds=(1, 2)).ask()[2] == ()


@pytest.mark.parametrize("told", [CELLS[1::-1], CELLS[:1], CELLS[:3], ()])
def test_told_other_cells_it_complains(told: Sequence[Cell]) -> None:
    halving = SuccessiveHalving(CELLS[:2], score=FREE, rounds=(1, 2))
    with pytest.raises(ValueError, match="told other designs than were asked for"):
        halving.tell([_measured(cell, 0.5) for cell in told])


# Who takes part


def _entrants(*evaluations: Evaluation, count: int) -> list[Design]:
    return list(entrants(evaluations, score=FREE, count=count))


def test_every_decade_gives_its_best() -> None:
    """Costs from 10 to 10,000: three parts, a decade each; the highest performances are all in the last."""
    found = _entrants(
        _measured(CELLS[0], 0.1, 10),
        _measured(CELLS[1], 0.2, 50),
        _measured(CELLS[2], 0.4, 200),
        _measured(CELLS[3], 0.3, 900),
        _measured(CELLS[4], 0.8, 9000),
        _measured(CELLS[5], 0.9, 10_000),
        count=3,
    )
    assert found == [CELLS[1], CELLS[2], CELLS[5]]


def test_a_part_without_cells_is_made_up_for_by_another_number_of_leaves() -> None:
    """The middle decade is empty; the cheapest one has a cell with two leaves, worse than all with one."""
    table = (
        _measured(CELLS[0], 0.5, 10),
        _measured(CELLS[1], 0.4, 20),
        _measured(_fan(2), 0.1, 30),
        _measured(CELLS[5], 0.9, 10_000),
    )
    assert _entrants(*table, count=3) == [CELLS[0], CELLS[5], _fan(2)]
    assert _entrants(*table, count=4) == [CELLS[0], CELLS[5], _fan(2), CELLS[1]]


def test_failed_ones_are_no_candidates() -> None:
    assert _entrants(_measured(CELLS[0], None), _measured(CELLS[1], 0.1), count=3) == [CELLS[1]]
    assert _entrants(_measured(CELLS[0], None), count=3) == []
    assert _entrants(count=3) == []


def test_isomorphic_cells_take_part_once_with_the_best_estimate() -> None:
    one = Cell("conv", ("input", "conv1x1", "sepconv3x3"), ((0, 1), (0, 2)))
    other = Cell("conv", ("input", "sepconv3x3", "conv1x1"), ((0, 1), (0, 2)))
    assert one.key == other.key
    assert one != other
    table = [_measured(one, 0.2), _measured(other, 0.3), _measured(CELLS[3], 0.25)]
    assert _entrants(*table, count=3) == [other, CELLS[3]]
    assert _entrants(*table, count=1) == [other]


def test_the_count_is_kept_and_the_order_does_not_matter() -> None:
    table = [_measured(cell, 0.1 * number, 10 * 3**number) for number, cell in enumerate(CELLS)]
    for count in range(1, 10):
        found = _entrants(*table, count=count)
        assert len(found) == len(set(found)) == min(count, 7)
        assert found == _entrants(*reversed(table), count=count)
    assert set(_entrants(*table, count=7)) == set(CELLS)


def test_equal_costs_are_one_part() -> None:
    table = [_measured(cell, 0.1 * number) for number, cell in enumerate(CELLS)]
    assert _entrants(*table, count=2) == [CELLS[6], CELLS[5]]


# AutoShrink's grace

START = Cell("conv", ("input", "conv1x1", "sepconv3x3"), ((0, 1), (0, 2), (1, 2)))
"""One leaf. Without (1, 2) it has two; without (0, 2) or (0, 1), one."""
LEAVES = {(0, 1): 1, (0, 2): 1, (1, 2): 2}


def _judged(cell: Cell, right: int, of: int = 100) -> Evaluation:
    """So many of the first samples are classified correctly."""
    correct = tuple(sample < right for sample in range(of))
    return replace(_measured(cell, right / of), correct=correct)


def _choose(grace: float, right: dict[tuple[int, int], int | None], rungs: dict[tuple[int, int], int]) -> object:
    strategy = AutoShrink(CellSpace(START), score=FREE, candidates="all", grace=grace)
    strategy.tell([_judged(START, 50)])
    asked = strategy.ask()
    evaluations = []
    for proposal in asked:
        assert len(proposal.cell.leaves) == LEAVES[edge_of(proposal)]
        hits = right[edge_of(proposal)]
        one = _measured(proposal.cell, None) if hits is None else _judged(proposal.cell, hits)
        evaluations.append(replace(one, rung=rungs.get(edge_of(proposal), 0)))
    return edge_of(asked[strategy.tell(evaluations).index])


@pytest.mark.parametrize(
    ("grace", "right", "rungs", "chosen"),
    [
        # Four samples differ, all one way: the standard error of the difference .04 is √(4 − 16/100)/100 = .0196.
        (0.0, {(0, 1): 60, (0, 2): 50, (1, 2): 56}, {}, (0, 1)),
        (1.0, {(0, 1): 60, (0, 2): 50, (1, 2): 56}, {}, (0, 1)),
        (2.0, {(0, 1): 60, (0, 2): 50, (1, 2): 56}, {}, (0, 1)),
        (2.1, {(0, 1): 60, (0, 2): 50, (1, 2): 56}, {}, (1, 2)),
        # No new leaf has no grace, however near.
        (2.1, {(0, 1): 60, (0, 2): 56, (1, 2): 20}, {}, (0, 1)),
        # The best itself has a new leaf.
        (1.0, {(0, 1): 40, (0, 2): 50, (1, 2): 60}, {}, (1, 2)),
        # Left behind on a lower rung, or failed: no grace.
        (9.0, {(0, 1): 60, (0, 2): 50, (1, 2): 59}, {(0, 1): 1}, (0, 1)),
        (9.0, {(0, 1): 60, (0, 2): 50, (1, 2): None}, {}, (0, 1)),
        # A higher rung wins over a higher performance.
        (0.0, {(0, 1): 60, (0, 2): 50, (1, 2): 40}, {(0, 2): 1}, (0, 2)),
        (9.0, {(0, 1): 60, (0, 2): 50, (1, 2): 48}, {(0, 2): 1, (1, 2): 1}, (1, 2)),
        # When all failed the search goes on, and grace has nothing to say.
        (9.0, {(0, 1): None, (0, 2): None, (1, 2): None}, {}, None),
    ],
)
def test_grace_by_hand(
    grace: float,
    right: dict[tuple[int, int], int | None],
    rungs: dict[tuple[int, int], int],
    chosen: tuple[int, int] | None,
) -> None:
    found = _choose(grace, right, rungs)
    assert found == chosen if chosen is not None else found in LEAVES


# AutoShrink's rank

COMPLETE = Cell("conv", ("input", "conv1x1", "sepconv3x3", "conv1x1"), tuple(combinations(range(4), 2)))


def _ranked(ranks: dict[tuple[int, int], float], candidates: int, seed: int = 0) -> list[tuple[int, int] | None]:
    edges: dict[Design, Edge] = {cell: edge for edge, cell in COMPLETE.shrink_space()}
    asked: list[Design] = []

    def rank(cell: Design) -> float:
        asked.append(cell)
        return ranks[edges[cell]]

    strategy = AutoShrink(CellSpace(COMPLETE), score=FREE, candidates=candidates, seed=seed, rank=rank)
    strategy.tell([_measured(COMPLETE, 0.5)])
    proposals = strategy.ask()
    strategy.ask()
    assert sorted(map(repr, asked)) == sorted(repr(cell) for cell in edges), "each cell of the space once"
    return [edge_of(proposal) for proposal in proposals]


def test_the_highest_ranks_are_proposed_best_first() -> None:
    ranks = {(0, 1): 3.0, (0, 2): 5.0, (0, 3): 1.0, (1, 2): 4.0, (1, 3): 6.0, (2, 3): 2.0}
    for seed in range(5):
        assert _ranked(ranks, 3, seed) == [(1, 3), (0, 2), (1, 2)]
    assert _ranked(ranks, 9) == [(1, 3), (0, 2), (1, 2), (0, 1), (2, 3), (0, 3)]


def test_equal_ranks_are_drawn_and_a_cell_without_a_rank_comes_last() -> None:
    ranks = dict.fromkeys(COMPLETE.edges, 1.0) | {(0, 1): float("-inf")}
    drawn = {tuple(_ranked(ranks, 2, seed)) for seed in range(20)}
    assert len(drawn) > 3
    assert all(_ranked(ranks, 6, seed)[-1] == (0, 1) for seed in range(5))


def test_what_checks_estimates_is_spread_over_their_order() -> None:
    evaluations = [_measured(cell, place / 10) for place, cell in enumerate(CELLS)] + [_measured(_fan(2), None)]
    # Of the seven by S, best first, two are trained anyway: of the five left the 1st, 3rd and 5th.
    taken = (CELLS[6], CELLS[3])
    assert spread(evaluations, taken, score=FREE, count=3) == (CELLS[5], CELLS[2], CELLS[0])
    assert spread(evaluations, taken, score=FREE, count=9) == (CELLS[5], CELLS[4], CELLS[2], CELLS[1], CELLS[0])
    assert spread(evaluations, CELLS, score=FREE, count=2) == ()
    assert spread(evaluations, (), score=FREE, count=0) == ()

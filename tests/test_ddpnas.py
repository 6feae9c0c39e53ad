"""DDPNAS: the distribution and how it is pruned, the published rule on an additive toy, guards, and generation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, islice, product
from random import Random
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.cell import Cell, cell_of
from autoshrink.change import Change
from autoshrink.config import resolve
from autoshrink.design import Design
from autoshrink.errors import InputError
from autoshrink.resources import Resources
from autoshrink.score import Evaluation
from autoshrink.spaces import CellSpace, Decision, NetworkSpace, Space
from autoshrink.spaces.families import families
from autoshrink.strategies import StrategyContext
from autoshrink.strategies.ddpnas import DDPNAS, likeliest
from autoshrink.strategies.distribution import Distribution, softmax
from autoshrink.testing.strategies import context

# --- the distribution ------------------------------------------------------------------------------------------------

SIZES = st.lists(st.integers(2, 5), min_size=1, max_size=6)


@given(sizes=SIZES, turns=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_every_option_is_scored_equally_often_and_by_turns(sizes: list[int], turns: int, seed: int) -> None:
    drawn = Distribution.uniform(sizes).drawn(turns, Random(seed))
    assert len(drawn) == turns * max(sizes)
    for place, size in enumerate(sizes):
        options = [one[place] for one in drawn]
        for first in range(0, len(options) - size + 1, size):
            assert sorted(options[first : first + size]) == list(range(size))


@given(turns=st.integers(1, 5), count=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_two_way_decisions_come_in_opposite_pairs(turns: int, count: int, seed: int) -> None:
    drawn = Distribution.uniform([2] * count).drawn(turns, Random(seed))
    assert len(drawn) == 2 * turns
    for one, other in zip(drawn[::2], drawn[1::2], strict=True):
        assert all(first + second == 1 for first, second in zip(one, other, strict=True))


@given(sizes=SIZES, seed=st.integers(0, 10**6), data=st.data())
def test_rows_sum_to_one_and_what_is_pruned_stays_at_zero(sizes: list[int], seed: int, data: st.DataObject) -> None:
    rng, theta = Random(seed), Distribution.uniform(sizes)
    pruned: set[tuple[int, int]] = set()
    while theta.open:
        drawn = theta.drawn(2, rng)
        theta = theta.learned(drawn, [rng.choice([-math.inf, rng.gauss(0, 9)]) for _ in drawn])
        place = data.draw(st.sampled_from(theta.open))
        option = data.draw(st.sampled_from(theta.alive(place)))
        theta = theta.without(place, [option])
        pruned.add((place, option))
        for place, row in enumerate(theta.rows):
            assert math.fsum(row) == pytest.approx(1)
            for option, share in enumerate(row):
                assert (share == 0) == ((place, option) in pruned)
    assert theta.entropy == 0


def test_the_update_by_hand() -> None:
    """E + ½θ of one decision: two turns whose softmaxes are (.8, .2) and (.2, .8), then three times (.8, .2)."""
    theta, four = Distribution.uniform([2]), math.log(4)
    even = theta.learned([(0,), (1,), (1,), (0,)], [four, 0, four, 0])
    assert even.rows[0] == pytest.approx((0.5, 0.5))
    once = theta.learned([(0,), (1,), (0,), (1,), (1,), (0,)], [four, 0, four, 0, 0, four])
    assert once.rows[0] == pytest.approx(((0.8 + 0.25) / 1.5, (0.2 + 0.25) / 1.5))
    assert once.learned([(1,), (0,)], [0, four]).rows[0][0] == pytest.approx((0.8 + 0.35) / 1.5)
    # What remains of the last order, where another decision has more options, counts nothing.
    assert theta.learned([(0,), (1,), (0,)], [four, 0, 99]).rows[0] == pytest.approx((0.7, 0.3))


def test_softmax_keeps_its_head() -> None:
    assert softmax((1000.0, 0.0, -math.inf)) == (1.0, 0.0, 0.0)
    assert softmax((-math.inf, -math.inf)) == (0.5, 0.5)


# --- the additive toy ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """An option of each decision."""

    options: tuple[int, ...]
    kind: str = "point"

    @property
    def key(self) -> str:
        return str(self.options)

    def to_json(self) -> dict[str, Any]:
        return {"format": "test.options/1", "options": list(self.options)}


@dataclass(frozen=True)
class Points(Space[Point]):
    """Lists of options; it costs what they add up to."""

    sizes: tuple[int, ...] = ()

    @property
    def decisions(self) -> tuple[Decision, ...]:
        return tuple(Decision(f"d{place}", tuple(map(str, range(size)))) for place, size in enumerate(self.sizes))

    def choices(self, design: Point) -> tuple[int, ...]:
        return design.options

    def chosen(self, choices: Sequence[int]) -> Point:
        return Point(tuple(choices))

    # DDPNAS knows a space by its decisions alone: that it never asks for these is part of what is tested.
    def moves(self, design: Point) -> tuple[tuple[Change, Point], ...]:
        raise NotImplementedError

    def random(self, rng: Random) -> Point:
        raise NotImplementedError

    def mutated(self, design: Point, rng: Random) -> Point:
        raise NotImplementedError


def costs(design: Design) -> Resources:
    assert isinstance(design, Point)
    return Resources(macs=1000 + sum(design.options), params=1, memory=1)


def points(*sizes: int, seed: int = 0, **ddpnas: Any) -> StrategyContext:
    made = resolve({"evaluator": "trained", "penalty": 0.0, "seed": seed, "ddpnas": ddpnas})
    return StrategyContext(made, Points(Point((0,) * len(sizes)), sizes), costs)


Worth = Callable[[Any], float | None]


def searched(strategy: DDPNAS, worth: Worth) -> Iterator[list[Any]]:
    """What is asked, step by step, each told what it is worth."""
    while asked := strategy.ask():
        yield [one.design for one in asked]
        told = []
        for one in asked:
            value = worth(one.design)
            cost = strategy._context.resources(one.design)
            told.append(Evaluation(one.design, cost, 0, "made up", value, None if value is not None else "diverged"))
        strategy.tell(told)


PUBLISHED = {"turns": 3, "share": 1.0, "standardised": False, "temperature": 0.01, "budgets": [1.0]}


def toy(seed: int, *, error: bool = False) -> tuple[float, int, list[float]]:
    """14 decisions of 8 options, each worth what it adds: that of what was settled, how many were drawn, entropies."""
    rng = Random(seed)
    gains = [[rng.random() for _ in range(8)] for _ in range(14)]

    def accuracy(point: Point) -> float:
        return fmean(gains[place][option] for place, option in enumerate(point.options))

    strategy, steps, entropies = DDPNAS(points(*[8] * 14, seed=seed, **PUBLISHED)), [], []
    for step in searched(strategy, lambda one: 1 - accuracy(one) if error else accuracy(one)):
        steps.append(step)
        entropies.append(strategy._theta.entropy)
    return accuracy(steps[-1][0]), sum(map(len, steps[1:-1])), entropies


def test_the_published_rule_on_an_additive_toy() -> None:
    """Random is .50, the best of 8 about .89. Told of errors instead of accuracies it has to fail."""
    found = [toy(seed) for seed in range(60)]
    assert {drawn for _, drawn, _ in found} == {105}
    assert fmean(accuracy for accuracy, _, _ in found) >= 0.70
    assert fmean(toy(seed, error=True)[0] for seed in range(60)) < 0.30
    # A single run's may rise, where the options that are left took turns at being best.
    means = [fmean(one) for one in zip(*(entropies for _, _, entropies in found), strict=True)]
    assert means == sorted(means, reverse=True)


def added(gains: Sequence[float], point: Point) -> float:
    """What the options taken are worth together."""
    return math.fsum(map(math.prod, zip(gains, point.options, strict=True)))


def test_of_two_options_a_quarter_is_settled_in_a_phase() -> None:
    """35 decisions as of a cell of 8 nodes: 11 phases of 8 pairs, and the entropy never rises."""
    shares = []
    for seed in range(10):
        rng = Random(seed)
        gains = [rng.gauss(0, 1) for _ in range(35)]
        strategy, steps, entropies = DDPNAS(points(*[2] * 35, seed=seed, budgets=[1.0])), [], []
        for step in searched(strategy, partial(added, gains)):
            steps.append(step)
            entropies.append(strategy._theta.entropy)
        assert [len(step) for step in steps] == [1, *[16] * 11, 1]
        assert entropies == sorted(entropies, reverse=True)
        right = sum(
            abs(gain) * ((gain > 0) == bool(one)) for gain, one in zip(gains, steps[-1][0].options, strict=True)
        )
        shares.append(right / sum(map(abs, gains)))
    assert fmean(shares) > 0.85, "of what all decisions are worth; drawn they are half right"


def test_options_of_every_number_are_settled() -> None:
    strategy = DDPNAS(points(2, 3, 5, 2, turns=2))
    expected = strategy.outlook()
    steps = list(searched(strategy, lambda one: float(sum(one.options))))
    assert steps[-1][0] == Point((1, 2, 4, 1))
    assert all(len(step) <= most for step, most in zip(steps, expected, strict=True))
    for phase in steps[1:-1]:
        for place, size in enumerate((2, 3, 5, 2)):
            if len(counts := Counter(one.options[place] for one in phase)) > 1:
                assert set(counts) == set(range(size))
                assert max(counts.values()) - min(counts.values()) <= 1, "the last order is cut short"


def test_failed_ones_are_worth_nothing_and_when_all_fail_it_ends() -> None:
    *_, last = searched(DDPNAS(points(2, 2, 2, 2)), lambda one: None if one.options[2] else 0.5)
    assert last[0].options[2] == 0
    *_, last = searched(DDPNAS(points(2, 2, 2, 2)), lambda _: None)
    assert last


# --- cells: guards and budgets ---------------------------------------------------------------------------------------


def cells(nodes: int = 5, allowed: Callable[[Design], bool] = lambda _: True, **ddpnas: Any) -> StrategyContext:
    made = context(nodes=nodes)
    changed = made.settings.changed({"ddpnas": ddpnas})
    space = CellSpace(cell_of(made.start), frozenset({"edges", "ops"}))
    return replace(made, settings=changed, space=space, allowed=allowed)


@pytest.mark.parametrize("seed", range(5))
def test_though_nothing_is_best_some_edge_is_left(seed: int) -> None:
    given = cells(turns=2)
    given = replace(given, settings=given.settings.changed({"seed": seed}))
    strategy = DDPNAS(given)
    *_, last = searched(strategy, lambda cell: -float(len(cell.edges)))
    assert all(len(cell.edges) > 0 for cell in last)
    # Every settled edge is there: what nothing reaches was not settled as present.
    theta, space = strategy._theta, given.space
    settled = [theta.alive(place)[0] for place in range(len(theta.rows))]
    assert space.choices(space.chosen(settled)) == tuple(settled)


@given(seed=st.integers(0, 10**6), limit=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_generated_networks_keep_the_limits_and_are_the_likeliest_that_do(seed: int, limit: int) -> None:
    """Against all designs of a space of four nodes, by Σ log θ."""
    made = cells(4, lambda design: len(cell_of(design).edges) <= limit, turns=1)
    made = replace(made, space=CellSpace(cell_of(made.start)), settings=made.settings.changed({"seed": seed}))
    strategy, rng = DDPNAS(made), Random(seed)
    *_, last = searched(strategy, lambda _: rng.random())
    assert all(0 < len(cell.edges) <= limit for cell in last)

    def likelihood(choices: Sequence[int]) -> float:
        return math.fsum(math.log(row[one]) for row, one in zip(strategy._last, choices, strict=True))

    every = {made.space.choices(made.space.chosen(one)) for one in product((0, 1), repeat=6)}
    best = max(likelihood(one) for one in every if 0 < sum(one) <= limit)
    found = strategy._best(math.inf)
    assert found is not None
    assert likelihood(made.space.choices(found)) == pytest.approx(best)


def test_budgets_give_networks_of_different_cost() -> None:
    given = cells(5, turns=4, budgets=[1.0, 0.5, 0.25])
    given = replace(
        given, resources=lambda design: Resources(macs=100 * len(cell_of(design).edges), params=1, memory=1)
    )
    *_, last = searched(DDPNAS(given), lambda cell: float(len(cell.edges)))
    edges = [len(cell.edges) for cell in last]
    assert len(edges) == 3
    assert edges[1] <= edges[0] / 2
    assert edges[2] <= edges[0] / 4


def test_a_tight_budget_is_met_though_the_likeliest_are_far_above_it() -> None:
    given = points(*[2] * 30, budgets=[1.0])
    strategy = DDPNAS(given)
    list(searched(strategy, lambda one: float(sum(one.options))))
    strategy._last = [[0.1, 0.9] if place % 2 else [0.4, 0.6] for place in range(30)]
    found = strategy._best(1005)
    # The doubtful go first, and then of the clear ones, which are all alike, the first.
    assert found == Point(tuple(int(place in {21, 23, 25, 27, 29}) for place in range(30)))
    assert strategy._best(999) is None


@given(losses=st.lists(st.lists(st.floats(0, 9), min_size=1, max_size=3), min_size=1, max_size=4))
def test_the_likeliest_come_first_and_all_come_once(losses: list[list[float]]) -> None:
    losses = [[value - min(row) for value in row] for row in losses]
    found = list(likeliest(losses))
    assert sorted(found) == sorted(product(*(range(len(row)) for row in losses)))
    totals = [math.fsum(row[one] for row, one in zip(losses, choices, strict=True)) for choices in found]
    assert all(later >= sooner - 1e-9 for sooner, later in zip(totals, islice(totals, 1, None), strict=False))


def test_a_space_without_decisions_is_refused() -> None:
    made = context()
    with pytest.raises(InputError, match="not of decisions that can be taken apart; --strategy autoshrink"):
        DDPNAS(replace(made, space=NetworkSpace(next(iter(families().values())))))


def test_a_space_in_which_nothing_is_to_be_decided_has_its_start() -> None:
    start = Cell("conv", ("input", "identity", "identity"), tuple(combinations(range(3), 2)))
    strategy = DDPNAS(replace(context(), space=CellSpace(start, frozenset({"ops"}))))
    assert strategy.outlook() == (1,)
    assert list(searched(strategy, lambda _: 0.5)) == [[start]]
    assert strategy.over() == "every decision is settled"

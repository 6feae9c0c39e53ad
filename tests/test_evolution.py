"""Regularised evolution: who is alive, who has a child, and when it is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoshrink.config import resolve
from autoshrink.design import Design
from autoshrink.errors import InputError
from autoshrink.score import Evaluation
from autoshrink.strategies import StrategyContext
from autoshrink.strategies.evolution import Evolution
from autoshrink.strategies.random_search import RandomSearch
from autoshrink.testing.strategies import _evaluation, context


def given(**changes: object) -> StrategyContext:
    made = context(nodes=5, candidates=2)
    return replace(made, settings=made.settings.changed(changes))


def told(strategy: Evolution) -> list[list[Evaluation]]:
    """Step by step what was measured."""
    steps = []
    while asked := strategy.ask():
        steps.append([_evaluation(one.design, failed=False) for one in asked])
        strategy.tell(steps[-1])
    return steps


def test_a_parent_is_among_the_youngest_and_the_oldest_have_no_children() -> None:
    strategy = Evolution(given(evolution={"population": 4, "sample": 2}))
    alive: list[Design] = []
    while asked := strategy.ask():
        if asked[0].step > 1:
            assert all(one.parent in alive[-4:] for one in asked)
            assert len(asked) <= 2
        if asked[0].step:
            alive += [one.design for one in asked]
        strategy.tell([_evaluation(one.design, failed=False) for one in asked])


def test_where_all_are_sampled_the_best_alive_has_the_child() -> None:
    made = given(evolution={"population": 4, "sample": 4}, candidates=1)
    strategy = Evolution(made)
    alive: list[Evaluation] = []
    while asked := strategy.ask():
        found = [_evaluation(one.design, failed=False) for one in asked]
        if asked[0].step > 1:
            best = max(map(made.score, alive[-4:]))
            assert made.score(_evaluation(asked[0].parent or asked[0].design, failed=False)) == best
        if asked[0].step:
            alive += found
        strategy.tell(found)
    assert len(alive) > 8


def test_it_measures_as_many_as_random_search() -> None:
    made = given(evolution={"population": 3, "sample": 2})
    assert sum(map(len, told(Evolution(made)))) == sum(RandomSearch(made).outlook())


def test_figures_of_one_step_are_not_enough() -> None:
    settings = resolve({"evaluator": "inherited", "strategy": "evolution"})
    with pytest.raises(InputError, match="evolution compares designs of different steps, which --evaluator inherited"):
        Evolution(replace(context(), settings=settings))

"""Optuna's samplers as a strategy: what they are told, what they keep, and what is said where Optuna is missing."""

from __future__ import annotations

import sys
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest

from autoshrink.cell import cell_of
from autoshrink.config import resolve
from autoshrink.design import Design, edges_of
from autoshrink.errors import InputError
from autoshrink.resources import Resources
from autoshrink.score import Evaluation
from autoshrink.spaces import NetworkSpace
from autoshrink.spaces.families import families
from autoshrink.strategies import StrategyContext
from autoshrink.strategies.optuna_search import OptunaSearch
from autoshrink.testing.strategies import context

pytest.importorskip("optuna")

WANTED = {(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)}


def given(sampler: str = "tpe", **changes: Any) -> StrategyContext:
    made = context(nodes=5, candidates=5)
    return replace(made, settings=made.settings.changed({"optuna": {"sampler": sampler}, "penalty": 0.0} | changes))


def measured(design: Design, *, failing: bool = False) -> Evaluation:
    """As near to some edges as can be; a cell costs its edges."""
    near = 1 - len(set(cell_of(design).edges) ^ WANTED) / 10
    cost = Resources(macs=1 + len(cell_of(design).edges), params=1, memory=1)
    return Evaluation(design, cost, 0, "made up", None if failing else near, "diverged" if failing else None)


def found(strategy: OptunaSearch, *, failing: bool = False) -> list[Evaluation]:
    steps: list[Evaluation] = []
    while asked := strategy.ask():
        told = [measured(one.design, failing=failing and one.index % 2 == 1) for one in asked]
        strategy.tell(told)
        steps += told
    return steps


def test_tpe_learns_what_is_worth_something() -> None:
    gains = []
    for seed in range(3):
        steps = found(OptunaSearch(given(seed=seed, candidates=8)))
        assert len(steps) == sum(OptunaSearch(given(seed=seed, candidates=8)).outlook())
        # Its first ten are drawn.
        worth = [one.performance or 0.0 for one in steps[1:]]
        gains.append(fmean(worth[-10:]) - fmean(worth[:10]))
    assert fmean(gains) > 0.1


def test_nsga2_goes_for_what_is_cheap_as_well() -> None:
    """Of cells no better than others the cheap ones are asked for in the end."""
    strategy = OptunaSearch(given("nsga2", optuna={"sampler": "nsga2", "population": 8}, candidates=8))
    sizes = []
    while asked := strategy.ask():
        sizes += [edges_of(one.design) or 0 for one in asked]
        strategy.tell([replace(measured(one.design), performance=0.5) for one in asked])
    assert fmean(sizes[-8:]) < fmean(sizes[1:9])


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_limits_are_kept_and_failures_are_survived(sampler: str) -> None:
    few = replace(given(sampler), allowed=lambda design: (edges_of(design) or 0) <= 4)
    assert all(len(cell_of(one.design).edges) <= 4 for one in found(OptunaSearch(few), failing=True)[1:])


def test_what_it_cannot_search_is_refused() -> None:
    with pytest.raises(InputError, match="optuna compares designs of different steps, which --evaluator inherited"):
        OptunaSearch(replace(context(), settings=resolve({"evaluator": "inherited"})))
    with pytest.raises(InputError, match="not of decisions"):
        OptunaSearch(replace(context(), space=NetworkSpace(next(iter(families().values())))))


def test_without_optuna_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"optuna, which is not installed: pip install 'autoshrink\[optuna\]'"):
        OptunaSearch(given())

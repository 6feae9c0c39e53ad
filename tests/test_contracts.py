"""The contracts that `autoshrink.testing` ships, for what is built in and for parts from a file; and a log that is the
same whatever runs the jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch

import autoshrink
from autoshrink.cell import Cell, cell_of
from autoshrink.change import ChangedOp
from autoshrink.cli import run
from autoshrink.config import resolve
from autoshrink.design import edges_of
from autoshrink.errors import InputError
from autoshrink.evaluation import Evaluator, Job, Workplace
from autoshrink.evaluators.inherited import InheritedEvaluator
from autoshrink.evaluators.measuring import Conditions
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.executors import execute
from autoshrink.registry import EVALUATORS, STRATEGIES, load_plugin
from autoshrink.score import Evaluation
from autoshrink.spaces import CellSpace
from autoshrink.store import read_record
from autoshrink.strategies import Choice, Proposal, Strategy, StrategyContext
from autoshrink.strategies.autoshrink import shrinking
from autoshrink.strategies.random_search import RandomSearch
from autoshrink.tasks import TASKS
from autoshrink.testing.evaluators import check_evaluator
from autoshrink.testing.executors import check_crashes, check_executor
from autoshrink.testing.strategies import check_strategy, context
from autoshrink.training.problem import Problem
from autoshrink.watching import Observer
from fakes import story

PLUGIN = Path(__file__).parent / "plugins" / "made_up_search.py"
TINY: dict[str, Any] = {
    "beside": (),
    "nodes": 3,
    "candidates": 2,
    "finalists": 2,
    "repeats": 1,
    "data": {"train_per_class": 12, "validation_per_class": 6},
    "recipe": {"epochs": 2, "batch": 8, "learning_rate": 0.03},
    "network": {"stem": 8, "widths": [8, 8]},
    "short_steps": 0,
    "inherit": {"start": 1.0, "tune": 1, "trial": 1, "statistics_batches": 1, "validation_share": 0.5},
    "playoff": {"cells": 2, "rounds": [1.0], "reduction": 2},
    "threads": 1,
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSHRINK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def _plugin() -> None:
    load_plugin(PLUGIN)


# Strategies


@pytest.mark.parametrize("candidates", [1, 4, "all"])
@pytest.mark.parametrize("name", [*STRATEGIES, "one-operation"])
@pytest.mark.usefixtures("_plugin")
def test_strategies_keep_theirs(name: str, candidates: int | str) -> None:
    if name == "optuna":
        pytest.importorskip("optuna")
    given = context(nodes=4 if name in ("ddpnas", "optuna") and candidates != 4 else 5)
    short = {"oneshot": {"rounds": 4, "designs": 8}}
    changed = replace(given, settings=given.settings.changed({"candidates": candidates} | short))
    if name == "one-operation":
        dearest = Cell("conv", ("input", *["conv3x3"] * 4), cell_of(given.start).edges)
        changed = replace(changed, space=CellSpace(dearest, frozenset({"edges", "ops"})))
    # Uphill for as long as it goes up.
    check_strategy(STRATEGIES[name], changed, foreseen=name not in ("exchange", "firefly"))


@pytest.mark.parametrize("candidates", [1, 4, "all"])
def test_autoshrink_from_the_best_so_far_keeps_them_too(candidates: int | str) -> None:
    given = context(nodes=4)
    changed = given.settings.changed({"candidates": candidates, "walk": "best"})
    check_strategy(STRATEGIES["autoshrink"], replace(given, settings=changed), foreseen=False)


def _wayward(way: str) -> type[Strategy]:
    """Random search that breaks its contract in some way."""

    class Wayward(RandomSearch):
        asked = 0

        def ask(self) -> Any:
            self.asked += 1
            proposals = super().ask()
            if way == "asks otherwise" and proposals and self.asked % 2:
                return proposals[::-1] if len(proposals) > 1 else ()
            return proposals

        def tell(self, evaluations: Any) -> Any:
            if way == "swallows strangers":
                evaluations = [replace(evaluations[0], design=one.design) for one in super().ask()]
            return super().tell(evaluations)

        def outlook(self) -> tuple[int, ...]:
            return (0,) if way == "expects too little" else super().outlook()

        def over(self) -> str:
            return "" if way == "is silent" else super().over()

        def obey(self, command: str, arguments: Any) -> None:
            if way != "obeys anything":
                super().obey(command, arguments)

    return Wayward


@pytest.mark.parametrize(
    ("way", "complaint"),
    [
        ("asks otherwise", "asked twice"),
        ("swallows strangers", "does not complain"),
        ("expects too little", "and expected"),
        ("is silent", "say why"),
        ("obeys anything", "refused by name"),
    ],
)
def test_a_strategy_that_breaks_its_contract_is_told(way: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_strategy(_wayward(way))


class Straying(RandomSearch):
    """Its last design is of a larger space."""

    def ask(self) -> tuple[Proposal, ...]:
        *some, last = super().ask() or [None]
        return () if last is None else (*some, replace(last, design=context(nodes=6).start))


class Limitless(RandomSearch):
    """It proposes nothing but the start."""

    def ask(self) -> tuple[Proposal, ...]:
        return tuple(replace(one, design=self._context.start) for one in super().ask())


class Shortsighted(RandomSearch):
    """It foresees no second step."""

    def outlook(self) -> tuple[int, ...]:
        return super().outlook()[:1]


class Forgetful(RandomSearch):
    """What it is told without having been asked confuses it."""

    confused, seen = False, -1

    def ask(self) -> tuple[Proposal, ...]:
        self.seen = self._step
        return super().ask()[::-1] if self.confused else super().ask()

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        unasked = self.seen != self._step
        chosen = super().tell(evaluations)
        self.confused |= unasked
        return chosen


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (Straying, "is no design of the space"),
        (Limitless, "nothing that keeps it"),
        (Shortsighted, "where it foresaw"),
        (Forgetful, "without being asked, it goes on otherwise"),
    ],
)
def test_so_is_one_that_strays_or_forgets(make: type[Strategy], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_strategy(make)


def test_random_search_measures_as_many_as_autoshrink_and_keeps_the_limits() -> None:
    start = cell_of(context().start)
    few = replace(context(), allowed=lambda design: (edges_of(design) or 0) <= 3)
    for given in (context(), few):
        random, shrunk = RandomSearch(given), shrinking(given)
        assert random.outlook() == shrunk.outlook()
    cells = set[Cell]()
    strategy = RandomSearch(few)
    for step in range(4):
        asked = strategy.ask()
        cells |= {one.cell for one in asked if step}
        evaluation = autoshrink.testing.strategies._evaluation
        strategy.tell([evaluation(one.cell, failed=False) for one in asked])
    assert all(len(cell.edges) <= 3 and set(cell.edges) < set(start.edges) for cell in cells)
    assert len(cells) > 6


# Evaluators


def _problem() -> Problem:
    return TASKS["image"].prepare(resolve(TINY), Observer()).problem(torch.device("cpu"))


def _start() -> Cell:
    return Cell("conv", ("input", "sepconv3x3", "conv1x1"), tuple(combinations(range(3), 2)))


def test_the_trained_evaluator_keeps_its_contract() -> None:
    conditions, problem = Conditions(threads=1, short_batch=8), _problem()
    jobs = [Job(cell, seed, epochs=epochs) for seed, epochs, cell in ((1, None, _start()), (2, 0.5, _start()))]
    check_evaluator(lambda: TrainedEvaluator(problem, conditions), jobs)


def test_the_inherited_evaluator_keeps_its_contract(tmp_path: Path) -> None:
    settings, problem = resolve(TINY), _problem()

    def made() -> Evaluator:
        return InheritedEvaluator(
            problem, settings.inherit, settings.score, weights=tmp_path, conditions=Conditions(1, None, 8)
        )

    check_evaluator(made, [Job(_start(), 1)])
    ((_, start),) = made().evaluate([Job(_start(), 1)])
    check_evaluator(made, [Job(cell, 2, start.cell, start.weights) for _, cell in start.cell.shrink_space()])


def test_an_evaluator_that_draws_lots_is_told() -> None:
    problem, seeds = _problem(), iter(range(100))

    class Drawing(TrainedEvaluator):
        def evaluate(self, jobs: Any, *, deadline: float | None = None) -> Any:
            for position, one in super().evaluate(jobs, deadline=deadline):
                yield position, replace(one, performance=1 / (2 + next(seeds)))

    with pytest.raises(AssertionError, match="measured again, it is something else"):
        check_evaluator(lambda: Drawing(problem, Conditions(threads=1)), [Job(_start(), 1, epochs=0.5)])


# Executors


@pytest.mark.parametrize("name", ["local", "processes:1", "processes:2"])
def test_executors_keep_their_contract(name: str) -> None:
    check_executor(partial(execute, name))


def test_a_killed_process_is_tried_again() -> None:
    check_crashes(partial(execute, "processes:2"))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("cloud", "executor 'cloud' is unknown; choose from local, processes"),
        ("local:2", "local takes no argument"),
        ("processes:none", "a number of processes is needed"),
        ("processes:0", "a number of processes is needed"),
    ],
)
def test_an_executor_that_cannot_be_is_refused_before_a_run_begins(
    name: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=complaint):
        execute(name, Workplace(lambda *_: None, lambda *_: None))
    assert run(["search", "--executor", name, "--run", str(tmp_path / "run")]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("evaluator", ["trained", "inherited"])
def test_the_log_is_the_same_whoever_runs_the_jobs(evaluator: str, tmp_path: Path) -> None:
    settings = TINY | {"evaluator": evaluator}
    for name in ("local", "processes:2"):
        autoshrink.search(settings, run=tmp_path / name, executor=name)
    assert story(tmp_path / "local") == story(tmp_path / "processes:2")


# From a file


def test_a_strategy_and_an_evaluator_from_a_file_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    options = [f"--set={name}={value}" for name, value in (("playoff.cells", 2), ("playoff.rounds", "[1.0]"))]
    search = "--nodes 3 --epochs 1 --batch 30 --stem 8 --widths 8,8 --train-per-class 12 --validation-per-class 6"
    named = ["--beside", "none", "--plugin", str(PLUGIN), "--strategy", "one-operation", "--evaluator", "made-up"]
    assert run(["search", *search.split(), *named, "--executor", "processes:1", *options, "--run", str(folder)]) == 0
    record = read_record(folder)
    assert record.finished
    assert record.stopped == "every node has been changed"
    changed = [one.change for one in record.candidates if one.step]
    assert changed
    assert all(isinstance(one, ChangedOp) for one in changed)
    assert all(one.edge is None for one in record.candidates)
    assert run(["report", "--plugin", str(PLUGIN), str(folder)]) == 0
    capsys.readouterr()
    assert run(["show", "--plugin", str(PLUGIN), str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"]["cell"]


@pytest.mark.usefixtures("_plugin")
def test_names_of_parts_are_checked_where_they_are_given() -> None:
    assert "made-up" in EVALUATORS
    for field in ("strategy", "evaluator", "filter"):
        with pytest.raises(InputError, match=f"setting {field}: there is no such {field}; choose from .* .got 'luck'"):
            resolve({field: "luck"})


def test_a_strategy_needs_a_context_and_nothing_else() -> None:
    def one_cell(given: StrategyContext) -> Strategy:
        return RandomSearch(replace(given, settings=given.settings.changed({"stop": {"edges": edges_of(given.start)}})))

    check_strategy(one_cell)

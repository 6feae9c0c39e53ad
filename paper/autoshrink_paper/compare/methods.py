"""The methods that are held against each other. Each gives a cell, what it measured, and what that cost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import autoshrink
from autoshrink.cell import Cell
from autoshrink.config import Overrides, merge, settings_from_json
from autoshrink.priors import complete_edges
from autoshrink.record import RunRecord
from autoshrink.score import Evaluation, Spent, pareto_front
from autoshrink.seeding import derive_seed
from autoshrink.store import has_run
from autoshrink.training.device import repeatable
from autoshrink_paper.compare.ground import FRONT, Ground, Training

PRIORS = ("er:0.3", "ws:4,0.5", "ba:2", "complete")
SEARCHES: dict[str, Overrides] = {"paper": {"evaluator": "trained"}, "inherited": {"evaluator": "inherited"}}
"""AutoShrink with one evaluator or another; `--variant` adds to them."""
METHODS = (*SEARCHES, "random", "asha", *PRIORS)
ONCE: Overrides = {"repeats": 0, "reselect": False, "beside": ()}
"""The highest recorded S is named, as published (or the winner of the playoff, where there is one): nothing is measured
again before."""
TRIES = 1000
"""Random cells in a row that are all known before the space counts as searched."""
IDLE = 100
"""Trials in a row of cells whose trainings are known before Optuna counts as done."""


@dataclass
class Outcome:
    """What a method came to.

    Attributes:
        named: the cell it reports.
        measured: what it measured, failures left out.
        spent: what that cost.
        evaluations: how many cells it measured, a cell measured twice counted twice.
        remarks: what a person should know.
        finalists: the cells to retrain, where the method says so itself.
    """

    named: Cell
    measured: list[Evaluation] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)
    evaluations: int = 0
    remarks: list[str] = field(default_factory=list)
    finalists: list[Cell] = field(default_factory=list)

    def front(self, ground: Ground) -> list[Cell]:
        """At most three cells of the Pareto front of what was measured, highest S first; or the named cell alone."""
        if self.finalists:
            return self.finalists[:FRONT]
        front = pareto_front(self.measured, ground.score.cost)
        ranked = sorted(front, key=ground.score.preference, reverse=True)
        return [one.cell for one in ranked[:FRONT]] or [self.named]

    def recorded(self, cell: Cell) -> float | None:
        """The performance that the method itself measured for a cell."""
        return next((one.performance for one in self.measured if one.cell.key == cell.key), None)


def autoshrink_search(ground: Ground, overrides: Overrides, folder: Path) -> Outcome:
    """AutoShrink with some settings changed, from wherever its run folder stands.

    Its cost counts a training that isomorphic candidates share once.
    """
    wanted = merge(merge(ground.settings.to_json(), ONCE), overrides)
    if has_run(folder):
        record = autoshrink.read_record(folder)
        _check_same(record, wanted, folder)
        record = record if record.finished else autoshrink.resume(folder)
    else:
        record = autoshrink.search(wanted, run=folder)
    best = record.best()
    assert best is not None, "a finished run has a best cell"
    return Outcome(
        best.cell,
        list(record.usable()),
        record.spent(),
        sum(one.same_as is None for one in record.candidates) + len(record.retrained),
        finalists=[one.cell for one in record.finalists()],
    )


def _check_same(record: RunRecord, wanted: Overrides, folder: Path) -> None:
    """Refuse a run folder that another comparison left."""
    found = record.settings.to_json()
    expected = settings_from_json(wanted).to_json()
    for settings in (found, expected):
        # Paths are made absolute, and torch's number of threads is written down, when a run begins.
        settings["data"].pop("spec")
        settings.pop("threads")
    if found != expected:
        names = [name for name, value in expected.items() if found.get(name) != value]
        raise SystemExit(f"{folder}: holds a run with other settings ({', '.join(names)}); take another --runs")


def random_search(ground: Ground, budget: int) -> Outcome:
    """Random cells, each trained by the full recipe, while the next one's training fits into the budget.

    Where not even the first fits, it gets as many epochs as do.
    """
    cells = random_cells(ground)
    first = cell = next(cells)
    outcome = Outcome(first)
    with repeatable(ground.settings.threads):
        while outcome.spent.training_macs + ground.epochs * ground.epoch_macs(cell) <= budget:
            _measure(outcome, ground, cell)
            following = next(cells, None)
            if following is None:
                outcome.remarks.append("no other cell was found")
                break
            cell = following
        if not outcome.evaluations:
            count = min(ground.epochs, budget // ground.epoch_macs(first))
            outcome.remarks.append(f"the budget is that of {count} epochs of one cell")
            if count:
                _measure(outcome, ground.shortened(count), first)
    return _named(outcome, ground)


def _measure(outcome: Outcome, ground: Ground, cell: Cell) -> None:
    _add(outcome, ground.evaluation(cell, list(ground.walk(cell))[-1]))
    outcome.evaluations += 1


def _add(outcome: Outcome, evaluation: Evaluation) -> None:
    outcome.spent += evaluation.spent
    if not evaluation.failed:
        outcome.measured.append(evaluation)


def _named(outcome: Outcome, ground: Ground) -> Outcome:
    if outcome.measured:
        outcome.named = max(outcome.measured, key=ground.score.preference).cell
    return outcome


def random_cells(ground: Ground) -> Iterator[Cell]:
    """Cells with the run's operations and each edge with a chance that is itself drawn, no two isomorphic."""
    start, rng = ground.start, random.Random(derive_seed(ground.settings.seed, "random cells"))
    known: set[str] = set()
    tries = 0
    while tries < TRIES:
        density = rng.random()
        edges = tuple(edge for edge in complete_edges(len(start.ops)) if rng.random() < density)
        cell = Cell(start.kind, start.ops, edges)
        tries += 1
        if cell.key not in known:
            known.add(cell.key)
            tries = 0
            yield cell


class Asha:
    """Optuna's TPE with successive halving over the edges, until the next epoch does not fit into the budget.

    After every epoch a trial reports S of its best epoch so far, by which trainings are judged everywhere here. All
    trainings of a seed start from the same seed, so a cell that is drawn again is the same training: its known epochs
    are reported again at no cost, and only those beyond them are paid for.
    """

    def __init__(self, ground: Ground, budget: int) -> None:
        optuna: Any = import_module("optuna")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._states = optuna.trial.TrialState
        self._study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=derive_seed(ground.settings.seed, "asha") % 2**32),
            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        )
        self._ground = ground
        self._budget = budget
        self._spent = 0
        self._trials = 0
        self._paid: dict[str, tuple[Cell, Training]] = {}

    def run(self) -> Outcome:
        """Search."""
        first, idle, going = None, 0, True
        with repeatable(self._ground.settings.threads):
            while going and idle < IDLE:
                trial, before = self._study.ask(), self._spent
                cell = self._cell(trial)
                first = first or cell
                self._trials += 1
                going = self._train(trial, cell)
                idle = 0 if self._spent > before else idle + 1
        assert first is not None, "there was a trial"
        outcome = Outcome(first, evaluations=len(self._paid), remarks=[f"{self._trials} trials"])
        for cell, training in self._paid.values():
            _add(outcome, self._ground.evaluation(cell, training))
        return _named(outcome, self._ground)

    def _cell(self, trial: Any) -> Cell:
        start = self._ground.start
        possible = complete_edges(len(start.ops))
        edges = tuple(edge for edge in possible if trial.suggest_categorical(f"{edge[0]}-{edge[1]}", [0, 1]))
        return Cell(start.kind, start.ops, edges)

    def _train(self, trial: Any, cell: Cell) -> bool:
        """One trial; false when the budget is used up."""
        ground, walk, epoch = self._ground, self._ground.walk(cell), 0
        while True:
            known = self._paid.get(cell.key, (cell, Training()))[1]
            if epoch >= len(known.spent) and self._spent + ground.epoch_macs(cell) > self._budget:
                return False
            training = next(walk)
            epoch += 1
            if epoch > len(known.spent):
                self._spent += training.macs - known.macs
                self._paid[cell.key] = (self._paid.get(cell.key, (cell, known))[0], training)
            if training.failed:
                self._study.tell(trial, state=self._states.FAIL)
                return True
            score = ground.score.of(max(training.curve), cell, ground.resources(cell))
            trial.report(score, epoch)
            if training.ended is not None:
                self._study.tell(trial, score)
                return True
            if trial.should_prune():
                self._study.tell(trial, state=self._states.PRUNED)
                return True

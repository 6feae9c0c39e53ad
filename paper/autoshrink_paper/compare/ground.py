"""What every method of the comparison stands on: one seed's task, trainings that are kept, the judgement at the end.

A training is kept in a file from epoch to epoch, so that a comparison killed at any time goes on, and a cell that two
methods come to is trained once. What it cost is counted for each of them all the same.
"""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock

from autoshrink.cell import Cell
from autoshrink.config import SearchSettings, TextSettings
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.files import write_text
from autoshrink.priors import start_cell
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Score, Spent
from autoshrink.seeding import derive_seed
from autoshrink.tasks import TASKS
from autoshrink.training.device import choose_device, repeatable
from autoshrink.training.loop import History, Learner, Pass, TrainingError, advance, conclude
from autoshrink.training.problem import Problem
from autoshrink.watching import Observer
from autoshrink_paper.compare.judge import Judge, make_judge

FRONT = 3
"""Cells of a method's front that are retrained at most."""


class Cache:
    """JSON values by key in one file, written whole; several processes may write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, Any] = self._read()

    def _read(self) -> dict[str, Any]:
        return json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}

    def get(self, key: str) -> Any:
        """The value, or None."""
        return self._values.get(key)

    def put(self, key: str, value: Any) -> None:
        """Keep a value."""
        with FileLock(self._path.with_name(f".{self._path.name}.lock")):
            self._values = self._read() | {key: value}
            write_text(self._path, json.dumps(self._values))


@dataclass(frozen=True)
class Training:
    """How far a training has come.

    Attributes:
        curve: performance after every epoch.
        spent: (samples seen, MACs) in all, after every epoch and, where it failed, in the end.
        ended: why it is over; None while it can go on.
        failed: whether it ended as a failure.
    """

    curve: tuple[float, ...] = ()
    spent: tuple[tuple[int, int], ...] = ()
    ended: str | None = None
    failed: bool = False

    @property
    def macs(self) -> int:
        """MACs of all passes so far."""
        return self.spent[-1][1] if self.spent else 0

    @property
    def samples(self) -> int:
        """Training samples seen so far."""
        return self.spent[-1][0] if self.spent else 0

    def until(self, epochs: int) -> Training:
        """As it stood after so many epochs."""
        over = epochs >= len(self.spent)
        return self if over else Training(self.curve[:epochs], self.spent[:epochs])


def epochs(problem: Problem, cell: Cell, seed: int, macs: int) -> Iterator[Training]:
    """Train from scratch and yield after every epoch, and after a failure; MACs as `TrainedEvaluator` counts them."""
    for training, _ in _epochs(problem, cell, seed, macs):
        yield training


def _epochs(problem: Problem, cell: Cell, seed: int, macs: int) -> Iterator[tuple[Training, Learner]]:
    learner, stops = problem.learner(problem.architecture(cell), seed), problem.stops
    history, training = History(), Training()

    def spent() -> tuple[tuple[int, int], ...]:
        return (*training.spent, (learner.seen, macs * (3 * learner.seen + learner.validated)))

    while training.ended is None:
        rules = Pass(stops, len(history.curve), learner.guess_loss)
        try:
            for batch in learner.epoch(len(history.curve)):
                if rules.add(batch):
                    break
            running_loss = rules.end()
            history = advance(history, learner.validate(), stops, running_loss)
            if history.ended or len(history.curve) == stops.epochs:
                history = conclude(history, stops, learner.guess_loss)
            training = Training(history.curve, spent(), history.ended)
        except TrainingError as error:
            training = Training(history.curve, spent(), str(error), failed=True)
        yield training, learner


class Ground:
    """One seed of a task: the data that this seed draws, the network and recipe, what cells cost, kept trainings.

    Args:
        settings: of the search; its seed decides the data and the operations.
        runs: folder of the kept trainings.
    """

    def __init__(self, settings: SearchSettings, runs: Path) -> None:
        self.settings = settings
        self.runs = runs
        runs.mkdir(parents=True, exist_ok=True)
        self._prepared = TASKS[settings.task].prepare(settings, Observer())
        self.problem = self._prepared.problem(choose_device(settings.device))
        self._counter = TrainedEvaluator(self.problem)
        self._kept = Cache(runs / "trained.json")
        self._retrained = Cache(runs / "retrained.json")

    @property
    def score(self) -> Score:
        """S."""
        return self.settings.score

    @cached_property
    def start(self) -> Cell:
        """The cell that the searches start from."""
        return self.prior("complete")

    def prior(self, spec: str) -> Cell:
        """A starting graph with the operations that a search with this seed draws (see `autoshrink.launch`)."""
        settings, rng = self.settings, random.Random(derive_seed(self.settings.seed, "start"))
        kind = TASKS[settings.task].cell_kind
        return start_cell(spec, kind=kind, nodes=settings.nodes, rng=rng, draw=settings.draw)

    def resources(self, cell: Cell) -> Resources:
        """What a cell costs."""
        return self._counter.resources(cell)

    @property
    def data(self) -> dict[str, Any]:
        """The run's `data` event."""
        return self._prepared.event

    @property
    def guessing(self) -> float:
        """Performance of a model that has learned nothing: chance, or −ln vocabulary."""
        text = isinstance(self.settings, TextSettings)
        return -math.log(self.data["vocabulary"]) if text else 1 / len(self.data["classes"])

    @property
    def perfect(self) -> float:
        """The highest performance there is."""
        return 0.0 if isinstance(self.settings, TextSettings) else 1.0

    @cached_property
    def _epoch_samples(self) -> int:
        return self.problem.learner(self.problem.architecture(self.start), 0).epoch_samples

    def epoch_macs(self, cell: Cell) -> int:
        """MACs of one epoch and its validation; early stops make it less."""
        return self.resources(cell).macs * (3 * self._epoch_samples + int(self.data["validation"]))

    @property
    def epochs(self) -> int:
        """Of the full recipe."""
        return self.problem.stops.epochs

    def shortened(self, count: int) -> Ground:
        """The same with fewer epochs."""
        return Ground(self.settings.changed({"recipe": {"epochs": count}}), self.runs)

    @property
    def _digest(self) -> str:
        """Of everything that decides a training beside cell and seed."""
        settings = self.settings.to_json()
        parts = {name: settings[name] for name in ("task", "data", "network", "recipe", "threads", "seed")}
        return sha256(json.dumps(parts | {"data seen": self.data["fingerprint"]}).encode()).hexdigest()[:16]

    def walk(self, cell: Cell) -> Iterator[Training]:
        """A training after every epoch of it; kept epochs first, then, from scratch, those that are missing."""
        place = f"{self._digest}/{self.settings.seed}/{cell.key}"
        found = self._kept.get(place)
        kept = Training() if found is None else training_from_json(found)
        for count in range(1, len(kept.spent) + 1):
            yield kept.until(count)
        if kept.ended is not None:
            return
        seed = derive_seed(self.settings.seed, "baseline")
        for training in epochs(self.problem, cell, seed, self.resources(cell).macs):
            if len(training.spent) > len(kept.spent):
                self._kept.put(place, asdict(training))
                yield training

    def evaluation(self, cell: Cell, training: Training) -> Evaluation:
        """What a training measured."""
        performance = None if training.failed or not training.curve else max(training.curve)
        return Evaluation(
            cell,
            self.resources(cell),
            derive_seed(self.settings.seed, "baseline"),
            self.problem.fidelity,
            performance,
            reason=None if performance is not None else training.ended or "no epoch was done",
            curve=training.curve,
            spent=Spent(training.samples, training.macs),
        )

    @cached_property
    def judge(self) -> Judge:
        """What the retrained cells are judged by."""
        return make_judge(self.settings, self.problem.device)

    def retrained(self, cell: Cell, seeds: int) -> dict[str, Any]:
        """A cell trained from scratch with fresh seeds, the same for every cell, and judged on fresh samples.

        The best epoch is that of the run's own validation samples. A training that fails counts as guessing.
        """
        performances = [self._retrain(cell, number) for number in range(seeds)]
        counted = [self.guessing if one is None else one for one in performances]
        resources = self.resources(cell)
        return {
            "cell": cell.to_json(),
            "edges": len(cell.edges),
            "resources": asdict(resources),
            "cost": self.score.cost(resources),
            "performances": performances,
            "performance": statistics.fmean(counted),
            "score": statistics.fmean(self.score.of(one, cell, resources) for one in counted),
        }

    def _retrain(self, cell: Cell, number: int) -> float | None:
        key = f"{self._digest}/{self.settings.seed}/{self.judge.name}/{number}/{cell.key}"
        kept = self._retrained.get(key)
        if kept is None:
            seed = derive_seed(self.settings.seed, "retrain", number)
            best, judged, training = -math.inf, None, Training()
            with repeatable(self.settings.threads):
                for training, learner in _epochs(self.problem, cell, seed, self.resources(cell).macs):
                    if not training.failed and training.curve[-1] > best:
                        best, judged = training.curve[-1], self.judge(learner, cell)
            performance = None if training.failed else judged
            kept = {"performance": performance, "ended": training.ended, "curve": training.curve}
            self._retrained.put(key, kept)
        found: float | None = kept["performance"]
        return found


def training_from_json(value: dict[str, Any]) -> Training:
    """What `dataclasses.asdict` and JSON made of a training."""
    spent = tuple((samples, macs) for samples, macs in value["spent"])
    return Training(tuple(value["curve"]), spent, value["ended"], value["failed"])

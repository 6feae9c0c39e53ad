"""A stand-in for training: a made-up performance from the cell and the seed alone, and a log compared without times."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoshrink.architecture import Architecture, network_of, proxy_architecture, recurrent_proxy
from autoshrink.cell import Cell, Edge, cell_of
from autoshrink.change import RemovedEdge
from autoshrink.config import SearchSettings, resolve
from autoshrink.cost import count
from autoshrink.design import Design, edges_of
from autoshrink.evaluation import Job
from autoshrink.priors import start_cell
from autoshrink.replaying import replay
from autoshrink.resources import Resources
from autoshrink.run import Loop
from autoshrink.score import Evaluation, Spent
from autoshrink.seeding import derive_seed
from autoshrink.store import Store, opening, read_events
from autoshrink.strategies import Proposal
from autoshrink.tasks import TASKS

SHAPE = (1, 8, 8)


class FakeEvaluator:
    """Performance rises with the edges, saturates, and carries noise from the seed; counts what it is asked for.

    Convolutional cells get an accuracy and recurrent ones a −ln perplexity.
    """

    joint = False

    def __init__(self, *, failing: frozenset[str] = frozenset(), grace: float = 0.0) -> None:
        self.grace = grace
        self.jobs: list[Job] = []
        self._failing = failing

    def resources(self, design: Design) -> Resources:
        cost = count(network_of(design, _around))
        return Resources(cost.macs, cost.params, cost.peak_activation_bytes, cost.cell_params)

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        for position, job in enumerate(jobs):
            self.jobs.append(job)
            yield position, self._measure(job)

    def _measure(self, job: Job) -> Evaluation:
        fidelity = "fake" if job.epochs is None else f"fake, {job.epochs:g} epochs"
        value = Evaluation(job.design, self.resources(job.design), job.seed, fidelity, 0.0, spent=Spent(10, 1000, 0.01))
        if job.design.key in self._failing:
            return replace(value, performance=None, reason="made to fail")
        rng = random.Random(derive_seed(job.seed, job.design.key))
        edges = edges_of(job.design)
        # What a network is worth lies in its key.
        share = random.Random(job.design.key).random() if edges is None else 1 - 0.8**edges
        truth = 0.5 + 0.4 * share
        correct = tuple(rng.random() < truth for _ in range(200))
        if job.design.kind == "recurrent":
            parts = tuple(truth - 5.0 + rng.uniform(-0.5, 0.5) for _ in range(20))
            return replace(value, performance=math.fsum(parts) / 20, parts=parts)
        return replace(value, performance=sum(correct) / 200, correct=correct)


def _around(cell: Cell) -> Architecture:
    if cell.kind == "conv":
        return proxy_architecture(cell, shape=SHAPE, stem=8, widths=(8, 8))
    return recurrent_proxy(cell, vocabulary=50, width=8)


class FakeRanking:
    """A rank from the cell alone; it counts what it is asked for, and costs something."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self._taken = 0

    def __call__(self, design: Design) -> float:
        self.cells.append(cell_of(design))
        return random.Random(derive_seed(0, design.key)).random()

    def take_spent(self) -> Spent:
        new, self._taken = len(self.cells) - self._taken, len(self.cells)
        return Spent(2 * new, 100 * new, 0.01)


def stand_in(settings: SearchSettings) -> FakeEvaluator:
    """An evaluator with the properties of that which the settings name."""
    grace = settings.inherit.grace if settings.evaluator == "inherited" else 0.0
    return FakeEvaluator(grace=grace)


def loop(store: Store, evaluator: FakeEvaluator | None = None) -> Loop:
    """The run loop with stand-ins for everything that the run's settings ask for."""
    settings = replay(store.events()).settings
    return Loop(
        store,
        evaluator or stand_in(settings),
        fresh=FakeEvaluator(),
        ranking=FakeRanking() if settings.filter == "zico" else None,
    )


def created(overrides: dict[str, Any]) -> tuple[SearchSettings, dict[str, Any]]:
    """Settings of a small run and the body of its first event."""
    settings = resolve({"nodes": 4, "candidates": 3, "finalists": 2, "repeats": 2, "evaluator": "trained"} | overrides)
    rng = random.Random(derive_seed(settings.seed, "start"))
    start = start_cell(
        settings.start, kind=TASKS[settings.task].cell_kind, nodes=settings.nodes, rng=rng, draw=settings.draw
    )
    return settings, {"settings": settings.to_json(), "environment": {"python": "3"}, "start": start.to_json()}


def new_store(folder: Path, **overrides: Any) -> Store:
    """A run folder whose search has not begun."""
    store = Store.create(folder, created(overrides)[1])
    store.append("opened", opening())
    return store


def story(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """A run's log without what may differ between two runs of one search: times, processes and sessions."""
    return [(event.kind, _timeless(event.body)) for event in read_events(folder) if event.kind != "opened"]


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key not in ("seconds", "command")}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def edge_of(proposal: Proposal) -> Edge:
    """The edge that a proposal lacks of its parent."""
    assert isinstance(proposal.change, RemovedEdge)
    return proposal.change.edge

"""The evaluator that trains every candidate from scratch, one after another (AutoShrink's own procedure)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import torch

from autoshrink.architecture import Architecture
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.evaluation import Job
from autoshrink.score import Evaluation, Resources, Spent
from autoshrink.training.device import repeatable
from autoshrink.training.loop import Clock, Course, DeadlineError, Learner, Stops, TrainingError, fit


class Problem(Protocol):
    """What candidates are trained on: a task's data and recipe, on a device.

    Attributes:
        device: where it runs.
        stops: when a training ends.
        fidelity: how much training a candidate gets, in words.
    """

    device: torch.device
    stops: Stops
    fidelity: str

    def architecture(self, cell: Cell) -> Architecture:
        """The proxy network around a cell."""
        ...

    def learner(self, architecture: Architecture, seed: int) -> Learner:
        """A freshly initialised network that is ready to learn."""
        ...


class TrainedEvaluator:
    """Trains each cell in the proxy network; performance is that of the best epoch on the validation samples.

    Args:
        problem: data and recipe.
        threads: CPU threads of a training; None leaves them alone.
        candidate_seconds: time for one candidate; None for no limit.
        on_epoch: called with the cell, the epoch from 1, and the validation performance.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        threads: int | None = None,
        candidate_seconds: float | None = None,
        on_epoch: Callable[[Cell, int, float], None] = lambda *_: None,
    ) -> None:
        self._problem = problem
        self._threads = threads
        self._candidate_seconds = candidate_seconds
        self._on_epoch = on_epoch
        self._resources: dict[Cell, Resources] = {}

    def resources(self, cell: Cell) -> Resources:
        """Counted from the architecture, once a cell."""
        if cell not in self._resources:
            cost = count(self._problem.architecture(cell))
            self._resources[cell] = Resources(cost.macs, cost.params, cost.peak_activation_bytes, cost.cell_params)
        return self._resources[cell]

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        """Train the jobs in order; see `autoshrink.evaluation.Evaluator`."""
        for position, job in enumerate(jobs):
            began = time.monotonic()
            limit = self._candidate_seconds
            clock = Clock(
                candidate=began + limit if limit is not None else Clock.candidate,
                search=deadline if deadline is not None else Clock.search,
            )
            try:
                with repeatable(self._threads):
                    evaluation = self._train_one(job, clock)
            except DeadlineError:
                return
            spent = replace(evaluation.spent, seconds=time.monotonic() - began)
            yield position, replace(evaluation, spent=spent)

    def _train_one(self, job: Job, clock: Clock) -> Evaluation:
        learner: Learner | None = None

        def on_epoch(course: Course) -> None:
            self._on_epoch(job.cell, len(course.curve), course.curve[-1])

        try:
            learner = self._problem.learner(self._problem.architecture(job.cell), job.seed)
            outcome: Course | str = fit(learner, self._problem.stops, clock=clock, on_epoch=on_epoch)
        except TrainingError as error:
            outcome = str(error)
        except (RuntimeError, MemoryError) as error:
            outcome = out_of_memory(error)
        if isinstance(outcome, str) and self._problem.device.type == "cuda":
            torch.cuda.empty_cache()
        return self._evaluation(job, outcome, learner)

    def _evaluation(self, job: Job, outcome: Course | str, learner: Learner | None) -> Evaluation:
        resources = self.resources(job.cell)
        seen, validated = (learner.seen, learner.validated) if learner else (0, 0)
        spent = Spent(seen, resources.macs * (3 * seen + validated))
        if isinstance(outcome, str):
            return Evaluation(
                job.cell,
                resources,
                job.seed,
                self._problem.fidelity,
                None,
                reason=outcome,
                ended="failed",
                spent=spent,
            )
        best = outcome.best
        assert best is not None, "a finished course has a best epoch"
        assert outcome.ended is not None, "and says why it ended"
        return Evaluation(
            job.cell,
            resources,
            job.seed,
            self._problem.fidelity,
            best.performance,
            ended=outcome.ended,
            curve=outcome.curve,
            correct=best.correct,
            parts=best.parts,
            spent=spent,
        )


def out_of_memory(error: RuntimeError | MemoryError) -> str:
    """What to say of an out-of-memory error; any other error is raised again.

    torch has an exception class for devices only; on the CPU its allocator raises a RuntimeError.
    """
    text = str(error)
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    signs = ("not enough memory", "can't allocate memory", "Storage size calculation overflowed")
    if known or any(sign in text for sign in signs):
        return f"out of memory: {text.splitlines()[0] if text else 'no room for a tensor'}"
    raise error

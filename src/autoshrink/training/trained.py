"""The evaluator that trains every candidate from scratch (AutoShrink's own procedure), one by one or together."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace

import torch

from autoshrink.cell import Cell
from autoshrink.evaluation import Job
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Spent
from autoshrink.training.costs import CellCosts
from autoshrink.training.device import repeatable
from autoshrink.training.loop import Clock, Course, DeadlineError, Learner, TrainingError, fit
from autoshrink.training.population import Outcome, Populations, fit_population
from autoshrink.training.problem import Problem


class TrainedEvaluator:
    """Trains each cell in the proxy network; performance is that of the best epoch on the validation samples.

    Args:
        problem: data and recipe.
        threads: CPU threads of a training; None leaves them alone.
        candidate_seconds: time for one candidate; None for no limit. Those trained together share the time.
        on_epoch: called with the cell, the epoch from 1, and the validation performance.
        population: how many candidates are trained as one program at most. Where they do not fit in memory together,
            half of them are.
    """

    relative = False
    grace = 0.0

    def __init__(
        self,
        problem: Problem,
        *,
        threads: int | None = None,
        candidate_seconds: float | None = None,
        on_epoch: Callable[[Cell, int, float], None] = lambda *_: None,
        population: int = 1,
    ) -> None:
        self._problem = problem
        self._threads = threads
        self._candidate_seconds = candidate_seconds
        self._on_epoch = on_epoch
        self._population = population
        self.joint = population > 1 and isinstance(problem, Populations)
        self._costs = CellCosts.of(problem)

    def resources(self, cell: Cell) -> Resources:
        """Counted from the architecture, once a cell."""
        return self._costs(cell)

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        """Train the jobs in order, as many together as may be; see `autoshrink.evaluation.Evaluator`."""
        waiting = self._parts(jobs)
        lost = [0.0] * len(jobs)
        try:
            while waiting:
                part = waiting.pop(0)
                if len(part) == 1:
                    evaluation = self._train_alone(jobs[part[0]], deadline)
                    yield part[0], _longer(evaluation, lost[part[0]])
                    continue
                left = yield from self._train_together(jobs, part, deadline, lost)
                half = (len(left) + 1) // 2
                waiting[:0] = [some for some in (left[:half], left[half:]) if some]
                if left:
                    self._clear_memory()
        except DeadlineError:
            return

    def _parts(self, jobs: Sequence[Job]) -> list[list[int]]:
        """Positions that are trained together, in the order in which they are."""
        problem = self._problem
        if self._population == 1 or not isinstance(problem, Populations):
            return [[position] for position in range(len(jobs))]
        architectures = [problem.architecture(job.cell) for job in jobs]
        groups = problem.groups(architectures, [job.seed for job in jobs])
        size = self._population
        return [group[start : start + size] for group in groups for start in range(0, len(group), size)]

    def _clock(self, deadline: float | None) -> Clock:
        limit = self._candidate_seconds
        return Clock(
            candidate=time.monotonic() + limit if limit is not None else Clock.candidate,
            search=deadline if deadline is not None else Clock.search,
        )

    def _train_alone(self, job: Job, deadline: float | None) -> Evaluation:
        began, clock = time.monotonic(), self._clock(deadline)
        learner: Learner | None = None

        def on_epoch(course: Course) -> None:
            self._on_epoch(job.cell, len(course.curve), course.curve[-1])

        with repeatable(self._threads):
            try:
                learner = self._problem.learner(self._problem.architecture(job.cell), job.seed)
                outcome: Outcome = fit(learner, self._problem.stops, clock=clock, on_epoch=on_epoch)
            except TrainingError as error:
                outcome = str(error)
            except (RuntimeError, MemoryError) as error:
                outcome = out_of_memory(error)
            if isinstance(outcome, str):
                self._clear_memory()
        seen, validated = (learner.seen, learner.validated) if learner else (0, 0)
        return _longer(self._evaluation(job, outcome, seen, validated), time.monotonic() - began)

    def _train_together(
        self, jobs: Sequence[Job], part: list[int], deadline: float | None, lost: list[float]
    ) -> Generator[tuple[int, Evaluation], None, list[int]]:
        """Yield as each ends; the positions that are left when there was no memory for all of them.

        Each one's seconds are its share of the wall time; `lost` gets those of the ones that are left.
        """
        running = list(part)
        share = 0.0
        try:
            courses = self._courses([jobs[position] for position in part], self._clock(deadline))
            while running:
                began = time.monotonic()
                try:
                    with repeatable(self._threads):
                        place, outcome, seen, validated = next(courses)
                finally:
                    share += (time.monotonic() - began) / len(running)
                position = part[place]
                running.remove(position)
                evaluation = self._evaluation(jobs[position], outcome, seen, validated)
                yield position, _longer(evaluation, lost[position] + share)
        except TrainingError:
            pass
        except (RuntimeError, MemoryError) as error:
            out_of_memory(error)
        for position in running:
            lost[position] += share
        return running

    def _courses(self, jobs: Sequence[Job], clock: Clock) -> Iterator[tuple[int, Outcome, int, int]]:
        def on_epoch(place: int, course: Course) -> None:
            self._on_epoch(jobs[place].cell, len(course.curve), course.curve[-1])

        assert isinstance(self._problem, Populations), "asked in _parts"
        architectures = [self._problem.architecture(job.cell) for job in jobs]
        population = self._problem.population(architectures, [job.seed for job in jobs])
        yield from fit_population(population, self._problem.stops, clock=clock, on_epoch=on_epoch)

    def _clear_memory(self) -> None:
        if self._problem.device.type == "cuda":
            torch.cuda.empty_cache()

    def _evaluation(self, job: Job, outcome: Outcome, seen: int, validated: int) -> Evaluation:
        resources = self.resources(job.cell)
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


def _longer(evaluation: Evaluation, seconds: float) -> Evaluation:
    """With so much more time spent."""
    return replace(evaluation, spent=replace(evaluation.spent, seconds=evaluation.spent.seconds + seconds))


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

"""The evaluator that trains every candidate from scratch (AutoShrink's own procedure), one by one or together."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Self

from autoshrink.design import Design
from autoshrink.evaluation import EvaluatorContext, Executor, Job, Workplace
from autoshrink.evaluators.measuring import (
    Conditions,
    OnEpoch,
    Specification,
    clear_memory,
    evaluation,
    fidelity,
    measure,
    out_of_memory,
    train,
)
from autoshrink.executors import execute
from autoshrink.executors.local import LocalExecutor
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Spent
from autoshrink.training.costs import DesignCosts
from autoshrink.training.device import repeatable
from autoshrink.training.loop import DeadlineError, History, TrainingError
from autoshrink.training.population import Outcome, Populations, fit_population
from autoshrink.training.problem import Problem
from autoshrink.training.sprint import limits


class TrainedEvaluator:
    """Trains each cell in the proxy network; performance is that of the best epoch on the validation samples, or that
    after a short training where the job says so.

    Args:
        problem: data and recipe.
        conditions: threads and limits.
        resources: what a design costs; None: counted in the problem's networks.
        executor: where jobs run; None: in this process.
        on_epoch: told of every epoch in this process.
        population: how many candidates are trained as one program at most, in this process, where the problem can do
            that. Where they do not fit in memory together, half of them are.
    """

    grace = 0.0

    def __init__(
        self,
        problem: Problem,
        conditions: Conditions | None = None,
        *,
        resources: Callable[[Design], Resources] | None = None,
        executor: Executor | None = None,
        on_epoch: OnEpoch = lambda *_: None,
        population: int = 1,
    ) -> None:
        self._problem = problem
        self._conditions = conditions or Conditions()
        self._costs = resources or DesignCosts(problem.architecture)
        here = partial(_train, problem, self._conditions, on_epoch)
        self._executor = executor or LocalExecutor(Workplace(here, here))
        self._on_epoch = on_epoch
        self._population = population if isinstance(problem, Populations) else 1
        self.joint = self._population > 1

    @classmethod
    def of(cls, context: EvaluatorContext) -> Self:
        """As a run's settings ask for it."""
        settings, conditions = context.settings, Conditions.of(context.settings)
        all_of_a_step = settings.nodes * (settings.nodes - 1) // 2
        at_once = all_of_a_step if settings.candidates == "all" else settings.candidates
        here = partial(_train, context.problem, conditions, context.on_epoch)
        elsewhere = partial(measure, Specification.of(context.record))
        return cls(
            context.problem,
            conditions,
            resources=context.resources,
            executor=execute(context.executor, Workplace(here, elsewhere, settings.threads or 1)),
            on_epoch=context.on_epoch,
            population=at_once if settings.population == "auto" else settings.population,
        )

    def resources(self, design: Design) -> Resources:
        """Counted from the architecture, once a design."""
        return self._costs(design)

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        """Train the jobs in order, as many together as may be; see `autoshrink.evaluation.Evaluator`."""
        waiting = self._parts(jobs)
        alone = [part[0] for part in waiting if len(part) == 1]
        waiting = [part for part in waiting if len(part) > 1]
        lost = [0.0] * len(jobs)
        try:
            while waiting:
                part = waiting.pop(0)
                left = yield from self._train_together(jobs, part, deadline, lost)
                half = (len(left) + 1) // 2
                alone += [some[0] for some in (left[:half], left[half:]) if len(some) == 1]
                waiting[:0] = [some for some in (left[:half], left[half:]) if len(some) > 1]
                if left:
                    clear_memory(self._problem)
        except DeadlineError:
            return
        alone.sort()
        for position, found in zip(
            alone, self._executor.run([jobs[position] for position in alone], deadline=deadline), strict=False
        ):
            job = jobs[position]
            resources = self._costs(job.design)
            if isinstance(found, str):
                yield position, evaluation(job, resources, fidelity(self._problem, job), found, Spent())
            else:
                yield position, _longer(replace(found, resources=resources), lost[position])

    def _parts(self, jobs: Sequence[Job]) -> list[list[int]]:
        """Positions that are trained together, in the order in which they are; short trainings are not."""
        problem, size = self._problem, self._population
        if size == 1 or not isinstance(problem, Populations) or any(job.epochs is not None for job in jobs):
            return [[position] for position in range(len(jobs))]
        architectures = [problem.architecture(job.design) for job in jobs]
        groups = problem.groups(architectures, [job.seed for job in jobs])
        return [group[start : start + size] for group in groups for start in range(0, len(group), size)]

    def _train_together(
        self, jobs: Sequence[Job], part: list[int], deadline: float | None, lost: list[float]
    ) -> Generator[tuple[int, Evaluation], None, list[int]]:
        """Yield as each ends; the positions that are left when there was no memory for all of them.

        Each one's seconds are its share of the wall time; `lost` gets those of the ones that are left.
        """
        running = list(part)
        share = 0.0
        try:
            courses = self._courses([jobs[position] for position in part], deadline)
            while running:
                began = time.monotonic()
                try:
                    with repeatable(self._conditions.threads):
                        place, outcome, seen, validated = next(courses)
                finally:
                    share += (time.monotonic() - began) / len(running)
                position = part[place]
                running.remove(position)
                resources = self._costs(jobs[position].design)
                spent = Spent(seen, resources.macs * (3 * seen + validated), lost[position] + share)
                yield position, evaluation(jobs[position], resources, self._problem.fidelity, outcome, spent)
        except TrainingError:
            pass
        except (RuntimeError, MemoryError) as error:
            out_of_memory(error)
        for position in running:
            lost[position] += share
        return running

    def _courses(self, jobs: Sequence[Job], deadline: float | None) -> Iterator[tuple[int, Outcome, int, int]]:
        def on_epoch(place: int, history: History) -> None:
            self._on_epoch(jobs[place].design, len(history.curve), history.curve[-1])

        assert isinstance(self._problem, Populations), "asked in _parts"
        architectures = [self._problem.architecture(job.design) for job in jobs]
        population = self._problem.population(architectures, [job.seed for job in jobs])
        clock = limits(deadline, self._conditions.candidate_seconds)
        yield from fit_population(population, self._problem.stops, clock=clock, on_epoch=on_epoch)


def _train(
    problem: Problem, conditions: Conditions, on_epoch: OnEpoch, job: Job, seconds: float | None
) -> Evaluation | None:
    return train(problem, job, conditions, seconds=seconds, on_epoch=on_epoch)


def _longer(found: Evaluation, seconds: float) -> Evaluation:
    """With so much more time spent."""
    return replace(found, spent=found.spent + Spent(seconds=seconds)) if seconds else found

"""Short trainings from scratch, by which cells of different sizes are compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from autoshrink.cell import Cell
from autoshrink.evaluation import Job
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Spent
from autoshrink.training.device import repeatable
from autoshrink.training.loop import DeadlineError, TrainingError
from autoshrink.training.problem import Problem, SearchLearner
from autoshrink.training.sprint import judged, limits, sprint
from autoshrink.training.trained import out_of_memory


class SprintTrainer:
    """Trains cells for a few epochs; see `autoshrink.evaluation.RoundTrainer`.

    Args:
        problem: data and recipe.
        resources: what a cell costs.
        batch: samples, or streams, of a training step; None for the recipe's.
        threads: CPU threads of a training; None leaves them alone.
        on_epoch: called with the cell, 1, and the validation performance after each training.

    Attributes:
        resources: as given.
    """

    def __init__(
        self,
        problem: Problem,
        resources: Callable[[Cell], Resources],
        *,
        batch: int | None,
        threads: int | None = None,
        on_epoch: Callable[[Cell, int, float], None] = lambda *_: None,
    ) -> None:
        self._problem = problem
        self.resources = resources
        self._batch = batch
        self._threads = threads
        self._on_epoch = on_epoch

    def train(
        self, jobs: Sequence[Job], *, epochs: float, deadline: float | None = None
    ) -> Iterator[tuple[int, Evaluation]]:
        """Yield (position, evaluation) of each job, trained from scratch for so many epochs."""
        for position, job in enumerate(jobs):
            try:
                with repeatable(self._threads):
                    evaluation = self._train(job, epochs, deadline)
            except DeadlineError:
                return
            yield position, evaluation

    def _train(self, job: Job, epochs: float, deadline: float | None) -> Evaluation:
        began, resources = time.monotonic(), self.resources(job.cell)
        learner: SearchLearner | None = None
        forward, reason, validation = 0, None, None
        try:
            learner = self._problem.learner(self._problem.architecture(job.cell), job.seed, batch=self._batch)
            forward = sprint(learner, epochs, limits(deadline, None))
            validation = judged(learner)
        except (TrainingError, RuntimeError, MemoryError) as error:
            reason = str(error) if isinstance(error, TrainingError) else out_of_memory(error)
        spent = Spent()
        if learner is not None:
            macs = resources.macs * (3 * learner.seen + learner.validated + forward)
            spent = Spent(learner.seen + forward, macs, time.monotonic() - began)
        fidelity = f"{epochs:g} short epoch{'s' * (epochs > 1)} from scratch"
        if validation is None:
            return Evaluation(job.cell, resources, job.seed, fidelity, None, reason=reason, ended="failed", spent=spent)
        self._on_epoch(job.cell, 1, validation.performance)
        return Evaluation(
            job.cell,
            resources,
            job.seed,
            fidelity,
            validation.performance,
            ended="all of a short training",
            curve=(validation.performance,),
            correct=validation.correct,
            parts=validation.parts,
            spent=replace(spent, seconds=time.monotonic() - began),
        )


class SprintEvaluator:
    """Short trainings of one length as an evaluator: finalists and starting cell with fresh seeds.

    Args:
        trainer: trains.
        epochs: of each training; may be a fraction.
    """

    relative = joint = False
    grace = 0.0

    def __init__(self, trainer: SprintTrainer, epochs: float) -> None:
        self._trainer = trainer
        self._epochs = epochs

    def resources(self, cell: Cell) -> Resources:
        """Counted from the architecture."""
        return self._trainer.resources(cell)

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        """Train the jobs in order; see `autoshrink.evaluation.Evaluator`."""
        return self._trainer.train(jobs, epochs=self._epochs, deadline=deadline)

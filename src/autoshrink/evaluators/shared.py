"""The evaluator of one-shot search: one network is trained, and every candidate is a choice among its weights.

Pham et al. (ENAS, 2018) and Bender et al. (Understanding and Simplifying One-Shot Architecture Search, 2018) share
weights so; here blocks of single edges are shared, which is exact (`autoshrink.networks.supernet`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from autoshrink.config import SharedSettings
from autoshrink.design import Design, edges_of
from autoshrink.errors import InputError, SearchError
from autoshrink.evaluation import EvaluatorContext, Job
from autoshrink.evaluators.measuring import Conditions, OnEpoch, attempted, clear_memory, evaluation, spent_by
from autoshrink.evaluators.weights import FOLDER, WeightFiles
from autoshrink.networks import Supernet
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Spent
from autoshrink.seeding import derive_seed
from autoshrink.spaces import Space, space_of
from autoshrink.strategies.base import drawn
from autoshrink.training.costs import DesignCosts
from autoshrink.training.device import repeatable
from autoshrink.training.loop import Clock, DeadlineError, History
from autoshrink.training.problem import Problem, SharedLearner, Supernets
from autoshrink.training.sprint import descent, judged, limits


class SharedEvaluator:
    """Candidates share the weights of one supernet.

    The first job that has no weights yet trains it: for some epochs, at a rate that falls to zero, each batch with a
    cell of its own, drawn from the space. What that costs is on the first job's account. Every job then chooses its
    cell, trains that for some epochs if the settings say so, has its BN statistics taken anew on training samples, and
    is judged on all validation samples.

    What a candidate trains stays in the supernet, for the jobs after it. So the jobs of a step are done in their order,
    in this process, and a step that was interrupted is done again, as a whole, from what the step before left: the
    weights of the name with which jobs come (`Job.weights`). The last job of a step that trained something has the name
    of what it leaves (`Evaluation.weights`); its file is there before. Each training begins with a fresh optimiser, so
    that weights are all there is to keep.

    Args:
        problem: data and recipe.
        settings: how much training there is.
        draw: a random design for a batch.
        seed: decides what the supernet begins with.
        weights: folder for the weights.
        conditions: threads, and the batch of short trainings.
        resources: what a design costs; None: counted in the problem's networks.
        on_epoch: told of every candidate.

    Attributes:
        draw: a random design, as every batch of the warm-up has one.

    Raises:
        InputError: the problem's networks cannot share weights.
    """

    joint = True
    grace = 0.0

    def __init__(
        self,
        problem: Problem,
        settings: SharedSettings,
        *,
        draw: Callable[[random.Random], Design],
        seed: int,
        weights: Path,
        conditions: Conditions | None = None,
        resources: Callable[[Design], Resources] | None = None,
        on_epoch: OnEpoch = lambda *_: None,
    ) -> None:
        if not isinstance(problem, Supernets):
            raise InputError("--evaluator shared: this task's networks share no weights; take --evaluator trained")
        self._problem, self._sharing = problem, problem
        self._settings = settings
        self.draw, self._seed = draw, seed
        self._files = WeightFiles(weights)
        self._conditions = conditions or Conditions()
        self._costs = resources or DesignCosts(problem.architecture)
        self._on_epoch = on_epoch
        self._supernet: Supernet | None = None
        self._name: str | None = None

    @classmethod
    def of(cls, context: EvaluatorContext) -> Self:
        """As a run's settings ask for it."""
        settings, record = context.settings, context.record
        space = space_of(settings, record.start, record.data)

        def allowed(design: Design) -> bool:
            # A network without a single operation has hardly a weight to train.
            return edges_of(design) != 0 and settings.limits.broken_by(context.resources(design)) is None

        return cls(
            context.problem,
            settings.shared,
            draw=lambda rng: drawn(partial(_anything, space, rng), allowed),
            seed=derive_seed(settings.seed, "supernet"),
            weights=context.folder / FOLDER,
            conditions=Conditions.of(settings),
            resources=context.resources,
            on_epoch=context.on_epoch,
        )

    def resources(self, design: Design) -> Resources:
        """Counted from the architecture, once a design."""
        return self._costs(design)

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        """All of a step's jobs, in their order; see `Evaluator`.

        Raises:
            SearchError: the supernet cannot be trained.
            RunError: there is no file with its weights.
            InputError: that is damaged, or an operation's weights cannot be shared.
        """
        clock, trained = limits(deadline, None), self._settings.tune > 0
        for place, job in enumerate(jobs):
            if clock.now() > clock.search:
                return
            before = Spent()
            try:
                with repeatable(self._conditions.threads):
                    if place == 0:
                        before = self._prepare(job, clock)
                        trained |= job.weights is None
                    supernet = self._known()
                    found = self._measured(supernet, job, clock)
            except DeadlineError:
                return
            found = replace(found, spent=before + found.spent)
            if trained and place == len(jobs) - 1:
                found = replace(found, weights=self._kept(supernet, job.weights))
            yield place, found

    def _known(self) -> Supernet:
        assert self._supernet is not None, "prepared by the first job of a step"
        return self._supernet

    def _prepare(self, job: Job, clock: Clock) -> Spent:
        """Have the weights with which a step's jobs come, or train some where there are none; what that cost."""
        if job.weights is not None and job.weights == self._name:
            return Spent()
        self._name = None
        self._supernet = self._sharing.supernet(self._problem.architecture(job.design), self._seed)
        if job.weights is None:
            return self._warm_up(self._supernet, job, clock)
        tensors, _ = self._files.read(job.weights)
        self._supernet.take(tensors)
        self._name = job.weights
        return Spent()

    def _warm_up(self, supernet: Supernet, job: Job, clock: Clock) -> Spent:
        began, rng = time.monotonic(), random.Random(derive_seed(self._seed, "draws"))
        total, cell = Spent(), self.draw(rng)
        learner = self._learner(supernet, cell, job.seed, self._conditions.short_batch)

        def work() -> None:
            nonlocal total, cell
            for batch in descent(learner, self._settings.warm_up, clock):
                total += Spent(batch.samples, 3 * batch.samples * self._costs(cell).macs)
                cell = self.draw(rng)
                if supernet.choose(self._problem.architecture(cell)):
                    learner.take_up()

        failure = attempted(work)
        if failure is not None:
            raise SearchError(
                f"--evaluator shared: the weights that all candidates share could not be trained: {failure}; lower the "
                "learning rate or the batch, or take --evaluator trained"
            )
        return total + Spent(seconds=time.monotonic() - began)

    def _learner(self, supernet: Supernet, design: Design, seed: int, batch: int | None = None) -> SharedLearner:
        """Of a design that is chosen, by batches of so many, or by the recipe's."""
        architecture = self._problem.architecture(design)
        supernet.choose(architecture)
        return self._sharing.learner_of(supernet, architecture, seed, batch=batch)

    def _measured(self, supernet: Supernet, job: Job, clock: Clock) -> Evaluation:
        began, tune, forward = time.monotonic(), self._settings.tune, 0
        learner = self._learner(supernet, job.design, job.seed, self._conditions.short_batch)
        judging = self._sharing.learner_of(supernet, self._problem.architecture(job.design), job.seed)
        before: dict[str, Tensor] = {}
        if tune:
            self._name = None
            before = {name: tensor.detach().clone() for name, tensor in supernet.named_parameters()}

        def work() -> History:
            nonlocal forward
            for _ in descent(learner, tune, clock) if tune else ():
                pass
            forward = judging.recalibrate_statistics(self._settings.statistics_batches)
            validation = judged(judging)
            self._on_epoch(job.design, 1, validation.performance)
            return History((), validation, "judged with shared weights")

        outcome = attempted(work)
        if isinstance(outcome, str):
            clear_memory(self._problem)
            # What one candidate has ruined is no other's loss.
            supernet.take(before)
        own = f", {tune:g} of its own" if tune else ""
        training = f"shared weights: {self._settings.warm_up:g} epochs of random cells{own}"
        resources = self._costs(job.design)
        spent = spent_by(learner, resources) + spent_by(judging, resources, forward)
        spent += Spent(seconds=time.monotonic() - began)
        return evaluation(job, resources, training, outcome, spent)

    def _kept(self, supernet: Supernet, before: str | None) -> str:
        """The name of a file with the weights as they are now; that of the step before stays until the log names this
        one."""
        self._name = self._files.keep(dict(supernet.named_parameters()))
        self._files.drop_others(before, self._name)
        return self._name


def _anything(space: Space[Any], rng: random.Random) -> Design:
    """A design of which every decision is drawn, each option as likely as any other."""
    design: Design = space.chosen([rng.randrange(len(one.options)) for one in space.decisions])
    return design

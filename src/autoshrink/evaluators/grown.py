"""The evaluator that grows: a candidate alone trains on from its parent's weights, several are compared by gradient."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch

from autoshrink.cell import cell_of
from autoshrink.config import FireflySettings
from autoshrink.design import Design
from autoshrink.errors import InputError
from autoshrink.evaluation import EvaluatorContext, Job
from autoshrink.evaluators.measuring import Conditions, OnEpoch, attempted, clear_memory, evaluation, spent_by, trained
from autoshrink.evaluators.weights import FOLDER, WeightFiles
from autoshrink.networks.growing import Growth, grow, growth_of
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Spent
from autoshrink.spaces.growing import grows_from, together
from autoshrink.training import checkpoint
from autoshrink.training.costs import DesignCosts
from autoshrink.training.device import repeatable
from autoshrink.training.loop import DeadlineError, History, TrainingError, Validation
from autoshrink.training.problem import Differentiable, Problem, SearchLearner
from autoshrink.training.sprint import CONSECUTIVE, limits

APART = 1e-3
"""Losses of a parent and of what has grown from it that differ by more, as a share, are not of one function."""


class GrownEvaluator:
    """A cell that stands alone in a step is trained for some epochs: from scratch where it has no parent, else from its
    parent's weights, which it has grown from (`autoshrink.networks.growing`). Its weights are kept.

    Several children of one parent are compared without training. Each computes what its parent does as long as what is
    new in it has no weight, so its figure is the parent's on all validation samples, and ε times what the training loss
    falls by to first order if that goes in its steepest direction. Many children are read off one network that has all
    that is new in them: a pass forward and back on a few batches, with BN's statistics as in use. What is spent is on
    the first child's account.

    Args:
        problem: data and recipe; its learners are `Differentiable`.
        settings: how much training there is, and how gains are taken.
        weights: folder for the weights.
        conditions: threads, batch, and the time for one training.
        resources: what a design costs; None: counted in the problem's networks.
        on_epoch: told of every training.
    """

    joint = True
    grace = 0.0

    def __init__(
        self,
        problem: Problem,
        settings: FireflySettings,
        *,
        weights: Path,
        conditions: Conditions | None = None,
        resources: Callable[[Design], Resources] | None = None,
        on_epoch: OnEpoch = lambda *_: None,
    ) -> None:
        self._problem = problem
        self._settings = settings
        self._weights = WeightFiles(weights)
        self._conditions = conditions or Conditions()
        self._costs = resources or DesignCosts(problem.architecture)
        self._on_epoch = on_epoch

    @classmethod
    def of(cls, context: EvaluatorContext) -> Self:
        """As a run's settings ask for it."""
        return cls(
            context.problem,
            context.settings.firefly,
            weights=context.folder / FOLDER,
            conditions=Conditions.of(context.settings),
            resources=context.resources,
            on_epoch=context.on_epoch,
        )

    def resources(self, design: Design) -> Resources:
        """Counted from the architecture, once a design."""
        return self._costs(design)

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        """One job is trained, several are compared; see `Evaluator`.

        Raises:
            InputError: a design is none that grows from its parent, or the task's learners cannot be differentiated.
        """
        for job in jobs:
            if job.parent is not None and not grows_from(cell_of(job.design), cell_of(job.parent)):
                raise InputError(
                    f"--evaluator grown: ({job.design}) does not grow from ({job.parent}); take --strategy firefly"
                )
        try:
            with repeatable(self._conditions.threads):
                alone = len(jobs) == 1 or any(job.parent is None for job in jobs)
                found = [self._trained(job, deadline) for job in jobs] if alone else self._compared(jobs, deadline)
        except DeadlineError:
            return
        yield from enumerate(found)

    # --- training --------------------------------------------------------------------------------------------------

    def _trained(self, job: Job, deadline: float | None) -> Evaluation:
        if job.parent is not None and job.weights is None:
            return self._failed(job, "its parent has no weights")

        def grown(learner: SearchLearner) -> int:
            passed = 0

            def settle() -> None:
                nonlocal passed
                passed += learner.recalibrate_statistics(CONSECUTIVE)

            if job.parent is not None:
                grow(learner.network, self._parent(job).network, settle)
            return passed

        clock = limits(deadline, self._conditions.candidate_seconds)
        sized = replace(job, epochs=min(self._settings.epochs, float(self._problem.stops.epochs)))
        found, learner = trained(
            self._problem, sized, self._conditions, clock=clock, on_epoch=self._on_epoch, begin=grown
        )
        found = replace(found, resources=self._costs(job.design))
        if job.parent is not None:
            found = replace(found, fidelity=f"grown, {found.fidelity.replace(' from scratch', '')}")
        return (
            found
            if found.failed or learner is None
            else replace(found, weights=self._weights.keep(learner.network.state_dict()))
        )

    def _parent(self, job: Job) -> SearchLearner:
        """A learner of the parent with its weights.

        Raises:
            RunError: there is no file with them.
            InputError: it is damaged.
        """
        assert job.parent is not None, "those without do not grow"
        assert job.weights is not None, "asked before"
        learner = self._learner(job.parent, job.seed)
        checkpoint.fill(learner.network, *self._weights.read(job.weights))
        return learner

    def _learner(self, design: Design, seed: int) -> SearchLearner:
        return self._problem.learner(self._problem.architecture(design), seed, batch=self._conditions.short_batch)

    def _failed(self, job: Job, reason: str, spent: Spent = Spent()) -> Evaluation:  # noqa: B008 - a frozen value
        return evaluation(job, self._costs(job.design), "first-order gain", reason, spent)

    # --- comparison ------------------------------------------------------------------------------------------------

    def _compared(self, jobs: Sequence[Job], deadline: float | None) -> list[Evaluation]:
        found: dict[int, Evaluation] = {}
        families: dict[tuple[Design | None, str | None], list[int]] = {}
        for place, job in enumerate(jobs):
            families.setdefault((job.parent, job.weights), []).append(place)
        for (_, weights), places in families.items():
            own = [jobs[place] for place in places]
            if weights is None:
                found |= {place: self._failed(jobs[place], "its parent has no weights") for place in places}
            else:
                found |= dict(zip(places, self._family(own, deadline), strict=True))
        return [found[place] for place in range(len(jobs))]

    def _family(self, jobs: Sequence[Job], deadline: float | None) -> list[Evaluation]:
        """All children of one parent."""
        began, job = time.monotonic(), jobs[0]
        parent = self._parent(job)
        if not isinstance(parent, Differentiable):
            raise InputError("--evaluator grown: learners of this task have no `losses`; take --evaluator trained")
        validation = parent.validate_share(1.0)
        with torch.no_grad():
            losses = [float(loss) for loss in parent.losses(self._settings.batches)]
        loss = sum(losses) / len(losses)
        spent = spent_by(parent, self._costs(job.design), self._samples(parent))
        cells = [cell_of(one.design) for one in jobs]
        found: dict[int, Evaluation] = {}
        for held, places in together(cells, cell_of(job.parent)):  # type: ignore[arg-type]
            if deadline is not None and time.monotonic() > deadline:
                raise DeadlineError
            gains, more = self._gains(held, [jobs[place] for place in places], parent, loss)
            spent += more
            for place, gain in zip(places, gains, strict=True):
                found[place] = self._figure(jobs[place], validation, gain)
        spent += Spent(seconds=time.monotonic() - began)
        return [replace(found[place], spent=spent if place == 0 else Spent()) for place in range(len(jobs))]

    def _figure(self, job: Job, parent: Validation, gain: float | str) -> Evaluation:
        if isinstance(gain, str):
            return self._failed(job, gain)
        figure = parent.performance + self._settings.step * gain
        if not math.isfinite(figure):
            return self._failed(job, f"its gain is {gain}")
        fidelity = f"first-order gain {gain:.4g}"
        history = History(
            (figure,), replace(parent, performance=figure, correct=None, parts=None), "weighed by gradient"
        )
        return evaluation(job, self._costs(job.design), fidelity, history, Spent())

    def _gains(
        self, held: Design, jobs: Sequence[Job], parent: SearchLearner, loss: float
    ) -> tuple[list[float | str], Spent]:
        """What each child gains to first order, or why that is not known, and what it cost."""
        learner = self._learner(held, jobs[0].seed)
        assert isinstance(learner, Differentiable), "as its parent is"
        passed = 0

        def settle() -> None:
            nonlocal passed
            passed += learner.recalibrate_statistics(CONSECUTIVE)

        def work() -> list[float]:
            nonlocal passed
            growth = growth_of(learner.network, parent.network, settle)
            found, gradients = self._gradients(learner, growth)
            passed += 3 * self._samples(learner)
            if not abs(found - loss) <= APART * max(1.0, abs(loss)):
                raise TrainingError(
                    f"grown, it computes something else: its loss is {found:.4g}, its parent's {loss:.4g}"
                )
            plans = [self._plan(one.design) for one in jobs]
            gains = [growth.gain(plan, gradients) for plan in plans]
            further = self._settings.points - 1
            if further:
                for place, plan in enumerate(plans):
                    directions = growth.directions(plan, gradients)
                    gains[place] = self._along(learner, growth, directions, gains[place])
                    passed += 3 * further * self._samples(learner)
            return gains

        outcome = attempted(work)
        spent = Spent(passed, passed * self._costs(held).macs)
        if isinstance(outcome, str):
            clear_memory(self._problem)
            return [outcome] * len(jobs), spent
        return list(outcome), spent

    def _gradients(self, learner: Any, growth: Growth) -> tuple[float, list[torch.Tensor]]:
        """The mean loss of the batches, and its gradient by the growth's parameters."""
        total, sums = 0.0, [torch.zeros_like(one) for one in growth.parameters]
        batches = 0
        for loss in learner.losses(self._settings.batches):
            for place, gradient in enumerate(torch.autograd.grad(loss, list(growth.parameters))):
                sums[place] += gradient
            total, batches = total + float(loss.detach()), batches + 1
        return total / batches, [one / batches for one in sums]

    def _along(self, learner: Any, growth: Growth, directions: Sequence[torch.Tensor], first: float) -> float:
        """The mean of −dL/dε at n points from 0 on, of which the first is known."""
        points = self._settings.points
        gains, part = [first], self._settings.step / points
        for _ in range(points - 1):
            growth.move(directions, part)
            _, gradients = self._gradients(learner, growth)
            pairs = zip(directions, gradients, strict=True)
            gains.append(-sum(float((direction * gradient).sum()) for direction, gradient in pairs))
        growth.move(directions, -part * (points - 1))
        return sum(gains) / len(gains)

    def _samples(self, learner: Any) -> int:
        """Training samples of the batches on which gains are taken."""
        whole: int = learner.epoch_samples
        return min(whole, self._settings.batches * (self._conditions.short_batch or 1))

    def _plan(self, design: Design) -> Any:
        return self._problem.architecture(design).plan()  # type: ignore[attr-defined]

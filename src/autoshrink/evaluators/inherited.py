"""The evaluator that trains the starting cell only: every child begins with its parent's weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Self

from torch import nn

from autoshrink.config import InheritSettings
from autoshrink.design import Design
from autoshrink.errors import RunError
from autoshrink.evaluation import EvaluatorContext, Job
from autoshrink.evaluators.measuring import (
    Conditions,
    OnEpoch,
    attempted,
    clear_memory,
    evaluation,
    spent_by,
    trained,
)
from autoshrink.evaluators.weights import FOLDER, WeightFiles
from autoshrink.networks import inherit, undo_normalisation
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Score, Spent, compare
from autoshrink.training import checkpoint
from autoshrink.training.costs import DesignCosts
from autoshrink.training.device import repeatable
from autoshrink.training.loop import DeadlineError, History, TrainingError
from autoshrink.training.problem import Problem, SearchLearner
from autoshrink.training.sprint import limits

CLEAR = 2.0
"""A difference of so many standard errors is clear: the comparison goes on without the worse one."""


@dataclass
class _Child:
    """A job under way: its learner, and what it has cost."""

    position: int
    job: Job
    learner: SearchLearner
    forward: int = 0
    seconds: float = 0.0


class InheritedEvaluator:
    """Children start as their parent with some weights gone, and are judged after little training or none.

    A cell without a parent is trained from scratch for a share of the recipe's epochs. A step then is one comparison:
    the parent trains for some batches, every child inherits from it, trains for a few itself if it has a new leaf (the
    same ones), has its BN statistics taken anew, and is judged on a share of the validation samples. The better half by
    S, without those that are clearly worse than the best (by more than two standard errors of the paired difference),
    is judged on twice as many, and so on. Whoever came furthest has its weights kept, and is told their name
    (`Evaluation.weights`), with which the jobs of its own children come.

    What stays is comparable within a step only. Weights are written before the step's evaluations are given away: an
    interrupted step is done again from its parent's, to the last bit. The children of a step are compared in this
    process, since who is judged further depends on all of them.

    Args:
        problem: data and recipe.
        settings: how much training there is.
        score: how children are compared.
        weights: folder for the weights.
        conditions: threads, batch, and the time for the training of the starting cell.
        resources: what a design costs; None: counted in the problem's networks.
        on_epoch: told of the starting cell's training.
    """

    joint = True

    def __init__(
        self,
        problem: Problem,
        settings: InheritSettings,
        score: Score,
        *,
        weights: Path,
        conditions: Conditions | None = None,
        resources: Callable[[Design], Resources] | None = None,
        on_epoch: OnEpoch = lambda *_: None,
    ) -> None:
        self._problem = problem
        self._settings = settings
        self.grace = settings.grace
        self._score = score
        self._weights = WeightFiles(weights)
        self._conditions = conditions or Conditions()
        self._costs = resources or DesignCosts(problem.architecture)
        self._on_epoch = on_epoch

    @classmethod
    def of(cls, context: EvaluatorContext) -> Self:
        """As a run's settings ask for it.

        Raises:
            RunError: the run was begun by a version that kept its weights otherwise, and its steps are not over.
        """
        settings, record = context.settings, context.record
        chosen = record.chosen()
        if chosen and record.stopped is None and not chosen[-1].evaluation.failed and not chosen[-1].evaluation.weights:
            raise RunError(
                f"{context.folder}: an earlier version began this search, and kept its weights in another file; "
                "finish it with that version, or start a new run"
            )
        start = settings.short_epochs(settings.inherit.start, record.data.get("train"))
        return cls(
            context.problem,
            settings.inherit.model_copy(update={"start": start / settings.recipe.epochs}),
            settings.score,
            weights=context.folder / FOLDER,
            conditions=Conditions.of(settings),
            resources=context.resources,
            on_epoch=context.on_epoch,
        )

    def weigh(self, score: Score) -> None:
        """Compare by another score from now on."""
        self._score = score

    def resources(self, design: Design) -> Resources:
        """Counted from the architecture, once a design."""
        return self._costs(design)

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        """All of a step's jobs: cells without a parent, and children, which are compared; see `Evaluator`."""
        try:
            with repeatable(self._conditions.threads):
                found = {place: self._start(job, deadline) for place, job in enumerate(jobs) if job.parent is None}
                found |= self._children({place: job for place, job in enumerate(jobs) if place not in found}, deadline)
        except DeadlineError:
            return
        yield from sorted(found.items())

    def _start(self, job: Job, deadline: float | None) -> Evaluation:
        job = replace(job, epochs=self._settings.start * self._problem.stops.epochs)
        clock = limits(deadline, self._conditions.candidate_seconds)
        found, learner = trained(self._problem, job, self._conditions, clock=clock, on_epoch=self._on_epoch)
        found = replace(found, resources=self._costs(job.design))
        if found.failed or learner is None:
            return found
        return replace(found, weights=self._weights.keep(learner.network.state_dict()))

    # --- a step ------------------------------------------------------------------------------------------------------

    def _children(self, jobs: dict[int, Job], deadline: float | None) -> dict[int, Evaluation]:
        parents: dict[tuple[Design | None, str | None], nn.Module | None] = {}
        tuning: dict[int, Spent] = {}
        found: dict[int, Evaluation] = {}
        live: list[_Child] = []
        for position, job in jobs.items():
            _check(deadline)
            if (job.parent, job.weights) not in parents:
                parents[job.parent, job.weights], tuning[position] = self._parent(job)
            born = self._born(position, job, parents[job.parent, job.weights])
            if isinstance(born, _Child):
                live.append(born)
            else:
                found[position] = born
        self._compare(live, found, deadline)
        # One of those that were measured furthest will be gone on with.
        furthest = max((one.rung for one in found.values() if not one.failed), default=0)
        for child in live:
            one = found[child.position]
            if not one.failed and one.rung == furthest:
                found[child.position] = replace(one, weights=self._weights.keep(child.learner.network.state_dict()))
        # A parent's training is on its first child's account.
        for position, spent in tuning.items():
            found[position] = replace(found[position], spent=found[position].spent + spent)
        return found

    def _compare(self, live: list[_Child], found: dict[int, Evaluation], deadline: float | None) -> None:
        """Evaluate in rounds, each on more of the validation samples and with the better half of the round before."""
        share, rung = self._settings.validation_share, 0
        while live:
            for child in live:
                _check(deadline)
                found[child.position] = self._judge(child, share, rung)
            live = [child for child in live if not found[child.position].failed]
            if share >= self._settings.largest_share or len(live) < 2:
                break
            live = self._best_of(live, found)
            share, rung = min(self._settings.largest_share, 2 * share), rung + 1
            for child in live:
                found[child.position] = replace(found[child.position], rung=rung)
            if len(live) < 2:
                break

    def _parent(self, job: Job) -> tuple[nn.Module | None, Spent]:
        """The network that a child inherits from, trained a little more, and what that cost.

        None where the parent failed, which has no weights then: its children begin afresh.

        Raises:
            RunError: there is no file with its weights.
            InputError: it is damaged.
        """
        assert job.parent is not None, "those without are no children"
        if job.weights is None:
            return None, Spent()
        began = time.monotonic()
        learner = self._learner(replace(job, design=job.parent))
        checkpoint.fill(learner.network, *self._weights.read(job.weights))
        learner.scale_learning_rate(self._settings.rate)
        sound = all(math.isfinite(batch.loss) for batch in islice(learner.epoch(0), self._settings.tune))
        spent = spent_by(learner, self._costs(job.parent)) + Spent(seconds=time.monotonic() - began)
        return learner.network if sound else None, spent

    def _learner(self, job: Job) -> SearchLearner:
        architecture = self._problem.architecture(job.design)
        return self._problem.learner(architecture, job.seed, batch=self._conditions.short_batch)

    def _born(self, position: int, job: Job, parent: nn.Module | None) -> _Child | Evaluation:
        """Inherit, train for some batches, take statistics; a child that cannot is evaluated already."""
        began, settings = time.monotonic(), self._settings
        child = _Child(position, job, self._learner(job))
        learner = child.learner

        def work() -> None:
            layers = () if parent is None else inherit(learner.network, parent)
            if layers:
                child.forward += learner.recalibrate_statistics(settings.statistics_batches)
                for layer in layers:
                    undo_normalisation(layer)
            learner.scale_learning_rate(settings.rate)
            for batch in islice(learner.epoch(0), settings.trial if _has_new_leaf(job) else 0):
                if not math.isfinite(batch.loss):
                    raise TrainingError(f"the training loss became {batch.loss} with inherited weights")
            child.forward += learner.recalibrate_statistics(settings.statistics_batches)

        failure = attempted(work)
        child.seconds = time.monotonic() - began
        if failure is None:
            return child
        clear_memory(self._problem)
        return evaluation(job, self._costs(job.design), "inherited weights", failure, self._spent(child))

    def _judge(self, child: _Child, share: float, rung: int) -> Evaluation:
        began = time.monotonic()
        validation = child.learner.validate_share(share)
        child.seconds += time.monotonic() - began
        fidelity = f"inherited, {child.learner.seen:,} training samples, {share:.0%} of validation"
        outcome: History | str = History((), validation, f"compared on {share:.0%} of the validation samples")
        if not math.isfinite(validation.loss):
            outcome = f"the validation loss became {validation.loss} with inherited weights"
        spent, rung = self._spent(child), 0 if isinstance(outcome, str) else rung
        return evaluation(child.job, self._costs(child.job.design), fidelity, outcome, spent, rung=rung)

    def _spent(self, child: _Child) -> Spent:
        spent = spent_by(child.learner, self._costs(child.job.design), child.forward)
        return spent + Spent(seconds=child.seconds)

    def _best_of(self, live: list[_Child], found: dict[int, Evaluation]) -> list[_Child]:
        """The better half by S, without those whose difference to the best is clear."""
        ranked = sorted(live, key=lambda child: self._score.preference(found[child.position]), reverse=True)
        best = found[ranked[0].position]
        half = ranked[: -(-len(ranked) // 2)]
        return [child for child in half if not self._clearly_worse(found[child.position], best)]

    def _clearly_worse(self, one: Evaluation, best: Evaluation) -> bool:
        error = compare(best, one).standard_error
        if one is best or error is None or best.performance is None:
            return False
        return self._score(best) - self._score(one) > CLEAR * self._score.slope(best.performance) * error


def _has_new_leaf(job: Job) -> bool:
    """Whether a cell has one that its parent had not."""
    ours, theirs = (set(getattr(design, "leaves", ())) for design in (job.design, job.parent))
    return job.parent is not None and not ours <= theirs


def _check(deadline: float | None) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise DeadlineError

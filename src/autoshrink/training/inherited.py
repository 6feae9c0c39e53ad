"""The evaluator that trains the starting cell only: every child begins with its parent's weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from autoshrink.cell import Cell
from autoshrink.config import InheritSettings
from autoshrink.errors import RunError
from autoshrink.evaluation import Job
from autoshrink.networks import inherit, undo_normalisation
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Score, Spent, compare
from autoshrink.training import checkpoint
from autoshrink.training.costs import CellCosts
from autoshrink.training.device import repeatable
from autoshrink.training.loop import DeadlineError, Learner, TrainingError
from autoshrink.training.problem import Problem, SearchLearner
from autoshrink.training.sprint import judged, limits, sprint
from autoshrink.training.trained import out_of_memory

WAY_OUT = "put it back, or start a new run"
CLEAR = 2.0
"""A difference of so many standard errors is clear: the comparison goes on without the worse one."""


@dataclass
class _Child:
    """A job under way: its learner, what it was last judged as, and what it has cost."""

    position: int
    job: Job
    learner: SearchLearner
    forward: int = 0
    evaluation: Evaluation | None = None
    seconds: float = 0.0


class InheritedEvaluator:
    """Children start as their parent with one edge's weights gone, and are judged after little training or none.

    The starting cell is trained for a share of the recipe's epochs. Each step then is one comparison: the parent trains
    for some batches, every child inherits from it, trains for a few itself if so asked (the same ones), has its BN
    statistics taken anew, and is judged on a share of the validation samples. The better half by S, without those that
    are clearly worse than the best (by more than two standard errors of the paired difference), is judged on twice as
    many, and so on. The winner, with the weights that it had then, is the parent of the next step.

    What stays is comparable within a step only (`relative`). The weights from which the next step begins are in one
    file, written before the step's evaluations are given away: an interrupted step is done again from there, to the
    last bit.

    Args:
        problem: data and recipe.
        settings: how much training there is.
        score: how children are compared.
        batch: samples, or streams, of a training step; None for the recipe's.
        weights: the file for the weights; its folder exists.
        threads: CPU threads; None leaves them alone.
        candidate_seconds: time for the training of the starting cell; None for no limit.
        on_epoch: called with the cell, the epoch from 1 and the validation performance while the starting cell trains.
    """

    relative = joint = True

    def __init__(
        self,
        problem: Problem,
        settings: InheritSettings,
        score: Score,
        *,
        weights: Path,
        batch: int | None = None,
        threads: int | None = None,
        candidate_seconds: float | None = None,
        on_epoch: Callable[[Cell, int, float], None] = lambda *_: None,
    ) -> None:
        self._problem = problem
        self._settings = settings
        self.grace = settings.grace
        self._score = score
        self._file = weights
        self._batch = batch
        self._threads = threads
        self._candidate_seconds = candidate_seconds
        self._on_epoch = on_epoch
        self._known: dict[Cell, dict[str, torch.Tensor] | None] | None = None
        self._costs = CellCosts.of(problem)

    def resources(self, cell: Cell) -> Resources:
        """Counted from the architecture, once a cell."""
        return self._costs(cell)

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        """All of a step's jobs, children of one parent, or the starting cell alone; see `Evaluator`."""
        parent = jobs[0].parent
        try:
            with repeatable(self._threads):
                found = [self._start(jobs[0], deadline)] if parent is None else self._children(jobs, parent, deadline)
        except DeadlineError:
            return
        yield from sorted(found, key=lambda one: one[0])

    # --- the starting cell -------------------------------------------------------------------------------------------

    def _start(self, job: Job, deadline: float | None) -> tuple[int, Evaluation]:
        began = time.monotonic()
        epochs = self._settings.start * self._problem.stops.epochs
        fidelity = f"{epochs:g} short epoch{'s' * (epochs > 1)} from scratch"
        learner = self._learner(job)
        try:
            forward = sprint(learner, epochs, limits(deadline, self._candidate_seconds))
            validation = judged(learner)
        except (TrainingError, RuntimeError, MemoryError) as error:
            reason = str(error) if isinstance(error, TrainingError) else out_of_memory(error)
            self._save({job.cell: None})
            return 0, self._failed(job, reason, fidelity, self._spent(job.cell, learner, 0, time.monotonic() - began))
        self._on_epoch(job.cell, 1, validation.performance)
        self._save({job.cell: _copied(learner.network)})
        return 0, Evaluation(
            job.cell,
            self.resources(job.cell),
            job.seed,
            fidelity,
            validation.performance,
            ended="all of a short training",
            curve=(validation.performance,),
            correct=validation.correct,
            parts=validation.parts,
            spent=self._spent(job.cell, learner, forward, time.monotonic() - began),
        )

    def _learner(self, job: Job) -> SearchLearner:
        return self._problem.learner(self._problem.architecture(job.cell), job.seed, batch=self._batch)

    # --- a step ------------------------------------------------------------------------------------------------------

    def _children(self, jobs: Sequence[Job], parent: Cell, deadline: float | None) -> list[tuple[int, Evaluation]]:
        began = time.monotonic()
        learner = self._parent(Job(parent, jobs[0].seed))
        given = None if learner is None else _copied(learner.network)
        spent = self._tuned(parent, learner, began)
        parent_network = None if learner is None or not spent[1] else learner.network
        found: dict[int, Evaluation] = {}
        live: list[_Child] = []
        for position, job in enumerate(jobs):
            _check(deadline)
            began = time.monotonic()
            child = self._born(position, job, parent_network)
            child.seconds = time.monotonic() - began
            if child.evaluation is None:
                live.append(child)
            else:
                found[position] = child.evaluation
        born, share, rung = live, self._settings.glance, 0
        while live:
            for child in live:
                _check(deadline)
                self._judge(child, share, rung)
            found |= {child.position: child.evaluation for child in live if child.evaluation is not None}
            live = [child for child in live if child.evaluation is not None and not child.evaluation.failed]
            if share >= self._settings.most or len(live) < 2:
                break
            live = self._best_of(live)
            share, rung = min(self._settings.most, 2 * share), rung + 1
            for child in live:
                assert child.evaluation is not None, "judged above"
                found[child.position] = child.evaluation = replace(child.evaluation, rung=rung)
            if len(live) < 2:
                break
        # One of these will be gone on with: those measured furthest, or, when all failed, one that has no weights.
        usable = {position: one.rung for position, one in found.items() if not one.failed}
        states: dict[Cell, dict[str, torch.Tensor] | None] = {parent: given}
        states |= {job.cell: None for job in jobs if not usable}
        furthest = max(usable.values(), default=0)
        for child in born:
            if usable.get(child.position) == furthest:
                states[child.job.cell] = _copied(child.learner.network)
        self._save(states)
        # The parent's training is on the first child's account.
        first = found[0]
        found[0] = replace(first, spent=first.spent + spent[0])
        return list(found.items())

    def _tuned(self, cell: Cell, learner: SearchLearner | None, began: float) -> tuple[Spent, bool]:
        """What it cost to train the parent on, and whether it still has weights that are numbers."""
        if learner is None:
            return Spent(), False
        learner.scale_learning_rate(self._settings.rate)
        sound = True
        for batch in islice(learner.epoch(0), self._settings.tune):
            sound = math.isfinite(batch.loss)
            if not sound:
                break
        return self._spent(cell, learner, 0, time.monotonic() - began), sound

    def _born(self, position: int, job: Job, parent: nn.Module | None) -> _Child:
        """Inherit, train for some batches, take statistics; a child that cannot has its evaluation already."""
        settings = self._settings
        learner = self._learner(job)
        child = _Child(position, job, learner)
        try:
            layers = () if parent is None else inherit(learner.network, parent)
            if layers:
                child.forward += learner.recalibrate_statistics(settings.settle)
                for layer in layers:
                    undo_normalisation(layer)
            learner.scale_learning_rate(settings.rate)
            for batch in islice(learner.epoch(0), settings.trial if _has_new_leaf(job) else 0):
                if not math.isfinite(batch.loss):
                    raise TrainingError(f"the training loss became {batch.loss} with inherited weights")
            child.forward += learner.recalibrate_statistics(settings.settle)
        except (TrainingError, RuntimeError, MemoryError) as error:
            reason = str(error) if isinstance(error, TrainingError) else out_of_memory(error)
            spent = self._spent(job.cell, learner, child.forward, 0.0)
            child.evaluation = self._failed(job, reason, "inherited weights", spent)
        return child

    def _judge(self, child: _Child, share: float, rung: int) -> None:
        began = time.monotonic()
        validation = child.learner.validate_share(share)
        child.seconds += time.monotonic() - began
        job, learner = child.job, child.learner
        spent = self._spent(job.cell, learner, child.forward, child.seconds)
        fidelity = f"inherited, {learner.seen:,} training samples, {share:.0%} of validation"
        if not math.isfinite(validation.loss):
            reason = f"the validation loss became {validation.loss} with inherited weights"
            child.evaluation = self._failed(job, reason, fidelity, spent)
            return
        child.evaluation = Evaluation(
            job.cell,
            self.resources(job.cell),
            job.seed,
            fidelity,
            validation.performance,
            ended=f"compared on {share:.0%} of the validation samples",
            correct=validation.correct,
            parts=validation.parts,
            spent=spent,
            rung=rung,
        )

    def _best_of(self, live: list[_Child]) -> list[_Child]:
        """The better half by S, without those whose difference to the best is clear."""
        evaluated = [(child, child.evaluation) for child in live if child.evaluation is not None]
        evaluated.sort(key=lambda pair: self._score.preference(pair[1]), reverse=True)
        best = evaluated[0][1]
        return [child for child, one in evaluated[: -(-len(evaluated) // 2)] if not self._clearly_worse(one, best)]

    def _clearly_worse(self, one: Evaluation, best: Evaluation) -> bool:
        error = compare(best, one).standard_error
        if one is best or error is None or best.performance is None:
            return False
        return self._score(best) - self._score(one) > CLEAR * self._score.slope(best.performance) * error

    def _spent(self, cell: Cell, learner: Learner, forward: int, seconds: float) -> Spent:
        """A sample whose statistics alone are taken costs one forward pass."""
        macs = self.resources(cell).macs * (3 * learner.seen + learner.validated + forward)
        return Spent(learner.seen + forward, macs, seconds)

    def _failed(self, job: Job, reason: str, fidelity: str, spent: Spent) -> Evaluation:
        resources = self.resources(job.cell)
        return Evaluation(job.cell, resources, job.seed, fidelity, None, reason=reason, ended="failed", spent=spent)

    # --- weights -----------------------------------------------------------------------------------------------------

    def _parent(self, job: Job) -> SearchLearner | None:
        """The winner of the step before, with its weights; None where it failed.

        A child that won though it failed (as all others did) has no weights: its own children begin afresh.

        Raises:
            RunError: there is no file with the winner's weights.
            InputError: it is damaged.
        """
        if self._known is None:
            self._known = self._load()
        if job.cell not in self._known:
            raise RunError(f"{self._file}: holds other cells' weights than this step begins with; {WAY_OUT}")
        state = self._known[job.cell]
        if state is None:
            return None
        learner = self._learner(job)
        checkpoint.fill(learner.network, state, self._file)
        return learner

    def _save(self, states: dict[Cell, dict[str, torch.Tensor] | None]) -> None:
        """Cells without weights are on the list too: that they failed is then known from a lost file."""
        self._known = states
        tensors = {
            f"{number}/{name}": tensor
            for number, state in enumerate(states.values())
            for name, tensor in (state or {}).items()
        }
        checkpoint.save(self._file, tensors, {"cells": [cell.to_json() for cell in states]})

    def _load(self) -> dict[Cell, dict[str, torch.Tensor] | None]:
        if not self._file.exists():
            raise RunError(f"{self._file}: gone, and with it the weights that the search goes on with; {WAY_OUT}")
        tensors, facts = checkpoint.load(self._file)
        with checkpoint.understood(self._file):
            cells = [Cell.from_json(value) for value in facts["cells"]]
        states: list[dict[str, torch.Tensor]] = [{} for _ in cells]
        for name, tensor in tensors.items():
            number, _, inner = name.partition("/")
            states[int(number)][inner] = tensor
        return {cell: state or None for cell, state in zip(cells, states, strict=True)}


def _copied(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _has_new_leaf(job: Job) -> bool:
    return job.parent is not None and not set(job.cell.leaves) <= set(job.parent.leaves)


def _check(deadline: float | None) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise DeadlineError

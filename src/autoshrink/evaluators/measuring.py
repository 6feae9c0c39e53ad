"""A job measured by training from scratch: a pure function of what is to be learned, and of the job."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, TypeVar

import torch

from autoshrink.config import SearchSettings, settings_from_json
from autoshrink.design import Design
from autoshrink.errors import DataError, InputError
from autoshrink.evaluation import Job
from autoshrink.record import RunRecord
from autoshrink.registry import TASKS, load_plugin, loaded_plugins
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Spent
from autoshrink.training.costs import DesignCosts
from autoshrink.training.device import choose_device, repeatable
from autoshrink.training.loop import Clock, DeadlineError, History, Learner, TrainingError, fit
from autoshrink.training.problem import Problem, SearchLearner
from autoshrink.training.sprint import judged, limits, sprint
from autoshrink.watching import Observer

Result = TypeVar("Result")
OnEpoch = Callable[[Design, int, float], None]
"""Told design, epoch from 1 and validation performance."""


@dataclass(frozen=True)
class Specification:
    """What candidates of a run are trained on, so that another process can make the same of it.

    Attributes:
        settings: JSON.
        fingerprint: of the data.
        plugins: files of plug-ins that have to be run first, each with its SHA-256.
    """

    settings: str
    fingerprint: str
    plugins: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, record: RunRecord) -> Self:
        """Of a run whose data are known."""
        plugins = tuple((str(path), digest) for path, digest in loaded_plugins().items())
        return cls(json.dumps(record.settings.to_json()), record.data.get("fingerprint", ""), plugins)


@dataclass(frozen=True)
class Conditions:
    """How candidates are trained, beside what their problem says.

    Attributes:
        threads: CPU threads; None leaves them alone.
        candidate_seconds: for a whole training; None for no limit.
        short_batch: samples, or streams, of a step of a short training; None for the recipe's.
    """

    threads: int | None = None
    candidate_seconds: float | None = None
    short_batch: int | None = None

    @classmethod
    def of(cls, settings: SearchSettings) -> Self:
        """What a run's settings say."""
        return cls(settings.threads, settings.stop.candidate_seconds, settings.sprint_batch)


def measure(specification: Specification, job: Job, seconds: float | None = None) -> Evaluation | None:
    """A job's evaluation, wherever this runs; None where it takes longer than so many seconds.

    The data are read once a process. Latency, which is of one machine, is not in the resources.

    Raises:
        DataError: the data here are not those of the specification, or cannot be used.
        InputError: a plug-in's file here is another than the run has.
    """
    settings, problem = _prepared(specification)
    return train(problem, job, Conditions.of(settings), seconds=seconds)


@lru_cache(maxsize=1)
def _prepared(specification: Specification) -> tuple[SearchSettings, Problem]:
    for path, digest in specification.plugins:
        load_plugin(path)
        if loaded_plugins()[Path(path)] != digest:
            raise InputError(f"--plugin {path}: it has changed since the search began; restore it")
    settings = settings_from_json(json.loads(specification.settings))
    prepared = TASKS[settings.task].prepare(settings, Observer())
    if prepared.event["fingerprint"] != specification.fingerprint:
        raise DataError(f"{settings.data.spec}: the data of this process are not those that the search began with")
    return settings, prepared.problem(choose_device(settings.device))


def train(
    problem: Problem,
    job: Job,
    conditions: Conditions | None = None,
    *,
    seconds: float | None = None,
    on_epoch: OnEpoch = lambda *_: None,
) -> Evaluation | None:
    """A network around the job's cell, trained from scratch and measured; None where the seconds ran out first."""
    conditions = conditions or Conditions()
    deadline = None if seconds is None else time.monotonic() + seconds
    clock = limits(deadline, conditions.candidate_seconds if job.epochs is None else None)
    try:
        with repeatable(conditions.threads):
            return trained(problem, job, conditions, clock=clock, on_epoch=on_epoch)[0]
    except DeadlineError:
        return None


def trained(
    problem: Problem,
    job: Job,
    conditions: Conditions,
    *,
    clock: Clock,
    on_epoch: OnEpoch,
    begin: Callable[[SearchLearner], int] = lambda _: 0,
) -> tuple[Evaluation, SearchLearner | None]:
    """The evaluation of a training, and what has learned; None where there is none.

    `begin` may change the weights before a short training; it says how many samples it passed forward.

    Raises:
        DeadlineError: the search's deadline passed.
    """
    began, learner, forward = time.monotonic(), None, 0

    def work() -> History:
        nonlocal learner, forward
        architecture = problem.architecture(job.design)
        if job.epochs is None:
            learner = problem.learner(architecture, job.seed)
            return fit(
                learner,
                problem.stops,
                clock=clock,
                on_epoch=lambda history: on_epoch(job.design, len(history.curve), history.curve[-1]),
            )
        learner = problem.learner(architecture, job.seed, batch=conditions.short_batch)
        forward = begin(learner)
        forward += sprint(learner, job.epochs, clock)
        validation = judged(learner)
        on_epoch(job.design, 1, validation.performance)
        return History((validation.performance,), validation, "all of a short training")

    outcome = attempted(work)
    if isinstance(outcome, str):
        clear_memory(problem)
    resources = DesignCosts(problem.architecture)(job.design)
    spent = Spent() if learner is None else spent_by(learner, resources, forward)
    spent += Spent(seconds=time.monotonic() - began)
    return evaluation(job, resources, fidelity(problem, job), outcome, spent), learner


def fidelity(problem: Problem, job: Job) -> str:
    """How much training a job is, in words."""
    if job.epochs is None:
        return problem.fidelity
    return f"{job.epochs:.3g} short epoch{'s' * (job.epochs > 1)} from scratch"


def attempted(work: Callable[[], Result]) -> Result | str:
    """What a piece of training gave, or why this network cannot be trained; other errors are bugs and go on."""
    try:
        return work()
    except TrainingError as error:
        return str(error)
    except (RuntimeError, MemoryError) as error:
        return out_of_memory(error)


def spent_by(learner: Learner, resources: Resources, forward: int = 0) -> Spent:
    """What a learner cost, without its time; a sample that was only passed forward costs one pass."""
    macs = resources.macs * (3 * learner.seen + learner.validated + forward)
    return Spent(learner.seen + forward, macs)


def evaluation(
    job: Job, resources: Resources, training: str, outcome: History | str, spent: Spent, **more: Any
) -> Evaluation:
    """Of a finished training, or of one that failed for a reason."""
    if isinstance(outcome, str):
        return Evaluation(
            job.design, resources, job.seed, training, None, reason=outcome, ended="failed", spent=spent, **more
        )
    best = outcome.best
    assert best is not None, "a finished history has a best epoch"
    assert outcome.ended is not None, "and says why it ended"
    return Evaluation(
        job.design,
        resources,
        job.seed,
        training,
        best.performance,
        ended=outcome.ended,
        curve=outcome.curve,
        correct=best.correct,
        parts=best.parts,
        spent=spent,
        **more,
    )


def clear_memory(problem: Problem) -> None:
    """Give back what a training that failed had on a GPU."""
    if problem.device.type == "cuda":
        torch.cuda.empty_cache()


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

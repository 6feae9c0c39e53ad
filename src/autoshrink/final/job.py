"""One training in its folder, whatever the task: from epoch to epoch, saved as it goes, ended as it must."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from autoshrink.architecture import Architecture
from autoshrink.config import TaskName
from autoshrink.errors import RunError
from autoshrink.final.folder import STATE_FILE
from autoshrink.final.watching import Epoch, TrainingResult, TrainingWatcher
from autoshrink.training import checkpoint
from autoshrink.training.device import repeatable
from autoshrink.training.distributed import Processes
from autoshrink.training.loop import Batch, Course, Learner, Position, Stops, TrainingError, UnderWay, fit

State = tuple[Mapping[str, Tensor], Mapping[str, Any]]
"""Tensors and facts of a state file."""


@dataclass(frozen=True)
class Terms:
    """How a job is run.

    Attributes:
        stops: when it ends.
        threads: of the CPU; None for torch's own choice.
        save_every: seconds between two saves within an epoch; infinite where an epoch cannot be gone on with.
        processes: who trains along; the first alone writes.
    """

    stops: Stops
    threads: int | None
    save_every: float = math.inf
    processes: Processes = field(default_factory=Processes)


class Job(ABC):
    """One training: where it lies, everything that decides it, and what is kept of it.

    Attributes:
        folder: where it lies.
        architecture: what is trained.
        learner: by whom.
        terms: how.
        spent: seconds so far, over all sessions.
        under_way: the epoch in whose middle it was last saved.
    """

    task: ClassVar[TaskName]
    folder: Path
    architecture: Architecture
    learner: Learner
    terms: Terms
    spent: float = 0.0
    under_way: UnderWay | None = None

    @abstractmethod
    def state(self, course: Course, position: Position | None) -> State:
        """Everything that the training can be gone on with; `position` is within the epoch after the course's last."""

    @abstractmethod
    def save_best(self, course: Course) -> None:
        """Keep the weights of the epoch that was just measured as the model."""

    @abstractmethod
    def write_curve(self, course: Course) -> None:
        """Keep the curve for people and scripts; made from the state, so that it can be made again."""

    @abstractmethod
    def result(self, course: Course) -> TrainingResult:
        """What the training left."""

    @property
    @abstractmethod
    def averaging(self) -> bool:
        """Whether averaging has begun in the course of the training."""

    @abstractmethod
    def learned(self, course: Course, position: Position, seconds: float) -> None:
        """An epoch is done: its position after the last step, and how long it took."""

    def keeps(self, curve: Sequence[float]) -> bool:
        """Whether the weights of a curve's last epoch are to be the model: where no other was better."""
        return curve[-1] == max(curve)

    def logging(self, course: Course) -> AbstractContextManager[None]:
        """Around the training."""
        del course
        return nullcontext()

    def out_of_memory(self) -> str:
        """What to do where the device has too little memory."""
        return "try a smaller --batch"

    def save(self, course: Course, position: Position | None = None) -> None:
        """Keep where the training stands, and its curve.

        Raises:
            RunError: it cannot be written; what was saved before is still there.
        """
        if not self.terms.processes.first:
            return
        checkpoint.save(self.folder / STATE_FILE, *self.state(course, position))
        if course.curve and position is None:
            self.write_curve(course)


def run(job: Job, watcher: TrainingWatcher, *, course: Course | None = None) -> TrainingResult:
    """Train to the end.

    Args:
        job: what to train.
        watcher: told about progress.
        course: an earlier part of the same training; None for a new one, which from here on can be gone on with, also
            when it is stopped within its first epoch.

    Raises:
        RunError: the training diverged, the device is out of memory, or the folder cannot be written.
    """
    fresh, course = course is None, course or Course()
    with job.logging(course):
        if fresh:
            job.save(course)
        watcher.on_start(job.architecture, job.learner.epoch_samples, len(course.curve))
        session = _Session(job, watcher, course)
        try:
            with repeatable(job.terms.threads):
                course = session.fit()
        except TrainingError as error:
            raise RunError(f"{error}{session.given_up()}; try a lower --lr") from error
        except torch.OutOfMemoryError as error:
            raise RunError(f"{_shortage(error)}{session.given_up()}; {job.out_of_memory()}") from error
        job.save(course)
    return job.result(course)


@contextmanager
def enough_memory() -> Iterator[None]:
    """Around what comes before the first step.

    Raises:
        RunError: data and network do not fit on the device.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(f"{_shortage(error)} before the first step; try --stream or another --device") from error


def _shortage(error: torch.OutOfMemoryError) -> str:
    return f"out of memory ({str(error).splitlines()[0].split('. ')[0]})"


class _Session:
    """One process's part in a training, between a start and an end or a kill."""

    def __init__(self, job: Job, watcher: TrainingWatcher, course: Course) -> None:
        self._job = job
        self._watcher = watcher
        self._course = course
        self._position = job.under_way.position if job.under_way else Position()
        self._began = self._saved = self._counted = time.monotonic()
        self._done = self._position.samples

    def fit(self) -> Course:
        job = self._job
        return fit(
            job.learner,
            job.terms.stops,
            course=self._course,
            under_way=job.under_way,
            on_batch=self._on_batch,
            on_step=self._on_step,
            on_epoch=self._on_epoch,
        )

    def given_up(self) -> str:
        """What is left after a failure; where nothing was learned, the folder is free for another try."""
        if self._course.curve:
            return f"; {self._job.folder} keeps the best epoch before"
        if self._job.terms.processes.first:
            (self._job.folder / STATE_FILE).unlink(missing_ok=True)
        return ""

    def _on_batch(self, batch: Batch) -> None:
        self._done += batch.samples
        self._watcher.on_batch(len(self._course.curve) + 1, self._done, self._job.learner.epoch_samples)

    def _on_step(self, position: Position) -> None:
        self._position = position
        if time.monotonic() - self._saved >= self._job.terms.save_every:
            self._count()
            self._job.save(self._course, position)
            self._saved = time.monotonic()

    def _count(self) -> None:
        now = time.monotonic()
        self._job.spent += now - self._counted
        self._counted = now

    def _on_epoch(self, now: Course) -> None:
        job, self._course = self._job, now
        seconds = time.monotonic() - self._began
        self._count()
        job.learned(now, self._position, seconds)
        best = max(now.curve)
        kept = job.keeps(now.curve)
        if kept and job.terms.processes.first:
            # Before the state: a process that is killed in between does the epoch again.
            job.save_best(now)
        job.save(now)
        self._began = self._saved = time.monotonic()
        self._done, self._position = 0, Position()
        epoch = Epoch(
            task=job.task,
            number=len(now.curve),
            epochs=job.terms.stops.epochs,
            performance=now.curve[-1],
            best=best,
            kept=kept,
            samples=job.learner.epoch_samples,
            seconds=seconds,
            averaging=job.averaging,
        )
        self._watcher.on_epoch(epoch)

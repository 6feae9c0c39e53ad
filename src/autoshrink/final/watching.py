"""What a final training tells, and what it leaves: values, the same for every task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoshrink.architecture import Architecture
from autoshrink.config import TaskName
from autoshrink.training.loop import Course


@dataclass(frozen=True)
class Epoch:
    """An epoch that is done.

    Attributes:
        task: which metric `performance` is in; `autoshrink.metrics` writes it.
        number: from 1.
        epochs: how many there are at most.
        performance: accuracy, or −ln validation perplexity.
        best: the highest so far.
        kept: whether its weights are the model now: those of the last epoch that was as good as the best.
        samples: training images or tokens of an epoch.
        seconds: it took, validation included.
        averaging: whether averaging has begun in the course of the training (NT-ASGD).
    """

    task: TaskName
    number: int
    epochs: int
    performance: float
    best: float
    kept: bool
    samples: int
    seconds: float
    averaging: bool


@dataclass(frozen=True)
class TrainingWatcher:
    """Who watches a training.

    Attributes:
        on_start: told the architecture, the images or tokens of an epoch, and the epochs done before.
        on_batch: told epoch (from 1), training samples done in it, and how many an epoch has.
        on_epoch: told of every finished epoch.
        remark: told what a person should know.
        on_reading: told how many images are read, and how many there are, before the start.
        on_data: told, in a line, what was understood of the data.
    """

    on_start: Callable[[Architecture, int, int], None] = lambda *_: None
    on_batch: Callable[[int, int, int], None] = lambda *_: None
    on_epoch: Callable[[Epoch], None] = lambda _: None
    remark: Callable[[str], None] = lambda _: None
    on_reading: Callable[[int, int], None] = lambda *_: None
    on_data: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class TrainingResult(ABC):
    """What a training left.

    Attributes:
        folder: where.
        architecture: what was trained.
        course: performance after every epoch, and why it ended.
        samples: training images or tokens of an epoch.
    """

    folder: Path
    architecture: Architecture
    course: Course
    samples: int

    @property
    def performance(self) -> float:
        """Of the best epoch: accuracy, or −ln validation perplexity."""
        return max(self.course.curve)

    @property
    def epoch(self) -> int:
        """The best epoch, from 1."""
        return len(self.course.curve) - self.course.curve[::-1].index(self.performance)

    @property
    def tested(self) -> bool:
        """Whether there are test images or a test text to measure the model on."""
        return True

    @property
    @abstractmethod
    def task(self) -> TaskName:
        """What was learned."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The result object of ``autoshrink train --json``."""

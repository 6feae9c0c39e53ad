"""What a search needs to know of a task: the cells it searches, its data, and how candidates are trained on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from autoshrink.architecture import Architecture
from autoshrink.cell import Cell
from autoshrink.config import SearchSettings
from autoshrink.score import ResourceName
from autoshrink.training.sprint import Heir
from autoshrink.training.trained import Problem
from autoshrink.training.zico import GradientSource
from autoshrink.watching import Observer


class TaskProblem(Problem, GradientSource, Protocol):
    """What candidates are trained on, for every evaluator there is.

    Attributes:
        together: whether a population trains faster than its members one by one, as far as has been measured
            (benchmarks/population.py).
        latency: nanoseconds of a network; None where the search does not ask.
    """

    together: bool
    latency: Callable[[Architecture], int] | None

    def architecture(self, cell: Cell) -> Architecture:
        """The proxy network around a cell."""
        ...

    def fitting(self, cells: Sequence[Cell], name: ResourceName, limit: int) -> list[str]:
        """Options with which the cheapest of some cells would keep a limit, each with its largest value that does."""
        ...

    def learner(self, architecture: Architecture, seed: int, *, batch: int | None = None) -> Heir:
        """A freshly initialised network that is ready to learn, and to inherit; `batch` is for the recipe's."""
        ...


@dataclass(frozen=True)
class Prepared:
    """A task's data, read and ready.

    Attributes:
        name: of the data set, for the run folder's name.
        event: the body of the run's `data` event.
        problem: what candidates are trained on, made on a device.
    """

    name: str
    event: dict[str, Any]
    problem: Callable[[torch.device], TaskProblem]


class Task(Protocol):
    """One of the tasks that `SearchSettings.task` names.

    Attributes:
        kind: of the cells that are searched.
        sizes: the options that make the smallest network smaller.
    """

    kind: str
    sizes: str

    def prepare(self, settings: SearchSettings, observer: Observer) -> Prepared:
        """Read the data; the observer is told what a person should know.

        Raises:
            DataError: they cannot be used.
        """
        ...

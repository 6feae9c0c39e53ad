"""What a search needs to know of a task: the cells it searches, its data, and how candidates are trained on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from autoshrink.architecture import Architecture
from autoshrink.config import SearchSettings
from autoshrink.training.problem import Problem
from autoshrink.watching import Observer


class TaskProblem(Problem, Protocol):
    """What candidates are trained on.

    Attributes:
        latency: nanoseconds of a network; None where the search does not ask.
    """

    latency: Callable[[Architecture], int] | None


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

"""What a search trains its candidates on, for every evaluator there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from autoshrink.architecture import Architecture
from autoshrink.cell import Cell
from autoshrink.score import ResourceName
from autoshrink.training.sprint import Heir
from autoshrink.training.trained import Problem
from autoshrink.training.zico import GradientSource


class TaskProblem(Problem, GradientSource, Protocol):
    """A task's data on a device, and the networks that learn from them.

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

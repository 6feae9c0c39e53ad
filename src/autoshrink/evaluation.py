"""What every evaluator promises: cells in, evaluations out. Knows no strategy and no store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from autoshrink.cell import Cell
from autoshrink.resources import Resources
from autoshrink.score import Evaluation, Spent


@dataclass(frozen=True)
class Job:
    """A cell to measure, with the seed of its initial weights and batches, and the cell that it was cut from."""

    cell: Cell
    seed: int
    parent: Cell | None = None


class Evaluator(Protocol):
    """Measures cells. All jobs of a step come at once, so that an evaluator may share work between them.

    Attributes:
        relative: its figures compare the candidates of one step with each other and nothing else. They are then never
            shared between steps, and the best cell is chosen among cells trained from scratch.
        joint: an evaluation depends, if only in its last digits, on what is evaluated together with it. A step that was
            interrupted is then asked for as a whole again.
        grace: how many standard errors a child with a new leaf may be behind the best and still be gone on with: 0
            where the evaluator is just to it.
    """

    relative: bool
    joint: bool
    grace: float

    def resources(self, cell: Cell) -> Resources:
        """What a cell costs, without training it."""
        ...

    def evaluate(self, jobs: Sequence[Job], *, deadline: float | None = None) -> Iterator[tuple[int, Evaluation]]:
        """Yield (position in `jobs`, evaluation) as each is done, in any order.

        A candidate that cannot be trained (NaN, divergence, no memory) is yielded as failed, with its reason.

        Args:
            jobs: no two isomorphic.
            deadline: `time.monotonic` value after which nothing more is yielded; what is in flight is dropped.
        """
        ...


class RoundTrainer(Protocol):
    """Trains cells from scratch for a while, for comparisons between cells of any size."""

    def train(
        self, jobs: Sequence[Job], *, epochs: float, deadline: float | None = None
    ) -> Iterator[tuple[int, Evaluation]]:
        """Yield (position in `jobs`, evaluation) of each, trained for so many epochs.

        Args:
            jobs: no two isomorphic.
            epochs: may be a fraction.
            deadline: as for `Evaluator.evaluate`.
        """
        ...


class Ranking(Protocol):
    """A score of cells that needs no training; higher is better. What it cost adds up until it is asked for."""

    def __call__(self, cell: Cell) -> float:
        """The score.

        Raises:
            ValueError: the cell has none.
        """
        ...

    def take_spent(self) -> Spent:
        """What was spent since this was last asked."""
        ...

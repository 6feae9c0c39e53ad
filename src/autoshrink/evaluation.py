"""What every evaluator promises: cells in, evaluations out. Knows no strategy and no store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from autoshrink.cell import Cell
from autoshrink.score import Evaluation, Resources


@dataclass(frozen=True)
class Job:
    """A cell to measure, with the seed of its initial weights and batches."""

    cell: Cell
    seed: int


class Evaluator(Protocol):
    """Measures cells. All jobs of a step come at once, so that an evaluator may share work between them."""

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

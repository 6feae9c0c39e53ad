"""What every strategy promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from autoshrink.cell import Cell, Edge
from autoshrink.score import Evaluation


@dataclass(frozen=True)
class Proposal:
    """A cell to measure: the `index`-th of `step`.

    `edge` is what was removed from `parent` to get it; both are None for a starting cell.
    """

    step: int
    index: int
    edge: Edge | None
    cell: Cell
    parent: Cell | None = None


@dataclass(frozen=True)
class Choice:
    """What a strategy made of a step: the index it went on with, and that of the best other cell, if there was one.

    Cells isomorphic to the chosen one are no others.
    """

    index: int
    runner_up: int | None


class Strategy(Protocol):
    """Asked and told in turn; deterministic from its seed and what it was told.

    `ask` has no effect: it gives the same proposals until `tell`. That is what makes a killed run resumable: told the
    recorded evaluations again, a new strategy stands where the old one stood.
    """

    def ask(self) -> tuple[Proposal, ...]:
        """The cells of the next step, to be measured together; empty when the search is over."""
        ...

    def tell(self, evaluations: Sequence[Evaluation]) -> Choice:
        """Learn the evaluations of the asked proposals, in their order, and go on to the next step."""
        ...

    def over(self) -> str:
        """Why `ask` proposes nothing, in words."""
        ...

    def outlook(self) -> tuple[int, ...]:
        """At most how many cells each following step will propose, the asked one first: for estimates of time."""
        ...

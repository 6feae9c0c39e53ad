"""How a run is watched: what the loop tells, and who listens. Watching never changes what happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from autoshrink.design import Design
from autoshrink.record import Candidate
from autoshrink.score import Comparison, Evaluation


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for whoever watches.

    Attributes:
        phase: ``search``, ``playoff``, ``fresh seeds`` or ``beside``.
        step: number of the step under way; 0 is the start.
        edges: edges of the cell that the step starts from; None where it is no cell.
        total_edges: edges of the starting cell; likewise.
        done: evaluations finished in this step (or repeat).
        expected: evaluations in this step (or repeat).
        latest: the candidate that was just finished, if any.
        best_score: highest S recorded so far within the limits; None before the first.
        best: the design that has it.
        seconds_left: estimate for the rest of the run; None before the first training.
    """

    phase: str
    step: int
    edges: int | None
    total_edges: int | None
    done: int
    expected: int
    latest: Evaluation | None
    best_score: float | None
    best: Design | None
    seconds_left: float | None


class Watcher:
    """Told what happens; does nothing by itself. Subclass what is of interest."""

    def began(self, what: str) -> None:
        """Of several searches in one run another one began, at a budget in words."""

    def progress(self, progress: Progress) -> None:
        """Something changed: an evaluation began or is done."""

    def decided(self, candidate: Candidate, score: float, comparison: Comparison | None) -> None:
        """A step is over; the search goes on with this candidate of score S."""


@dataclass(frozen=True)
class Observer:
    """Who watches a search.

    Attributes:
        watcher: told the loop's progress.
        on_run: told the run folder, once it is there.
        on_epoch: told design, epoch from 1 and validation accuracy.
        on_decoding: told how many images of how many are decoded.
        remark: told what a person should know.
        on_data: told, in a line, what was understood of the data.
    """

    watcher: Watcher = field(default_factory=Watcher)
    on_run: Callable[[Path], None] = lambda _: None
    on_epoch: Callable[[Design, int, float], None] = lambda *_: None
    on_decoding: Callable[[int, int], None] = lambda *_: None
    remark: Callable[[str], None] = lambda _: None
    on_data: Callable[[str], None] = lambda _: None

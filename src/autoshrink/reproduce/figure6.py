"""Figure 6: what trying more candidates in a step (K) costs, and what it brings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoshrink.architecture import proxy_architecture
from autoshrink.cell import Cell
from autoshrink.config import resolve
from autoshrink.cost import count
from autoshrink.errors import SearchError
from autoshrink.launch import resume, search
from autoshrink.priors import complete_edges
from autoshrink.quantity import counted
from autoshrink.record import RunRecord
from autoshrink.reproduce.published import FIGURE_6, Published
from autoshrink.reproduce.study import Outcome, Result, Work, difference
from autoshrink.seeding import derive_seed
from autoshrink.watching import Observer

CANDIDATES = (5, 10, 15)


@dataclass(frozen=True)
class SearchSize:
    """How large the searches are: nodes, pixels, training images a class, epochs a candidate, draws."""

    nodes: int
    pixels: int
    images: int
    epochs: int
    draws: int


LADDER = (
    SearchSize(5, 12, 20, 2, 2),
    SearchSize(6, 12, 50, 4, 2),
    SearchSize(8, 12, 50, 4, 2),
    SearchSize(8, 16, 100, 8, 3),
    SearchSize(8, 32, 500, 20, 3),
)
"""Sizes to choose from, by what they cost. The last is the paper's."""


class Figure6:
    """See `autoshrink.reproduce.study.Study`.

    Args:
        spec: images.
        size: of the searches.
        folder: where the runs lie; a search that was cut off goes on.
        seed: decides every draw.
        device: a name.
        threads: CPU threads; None for torch's choice.
    """

    name = "figure6"
    title = "Figure 6: K, the candidates of a step"
    unit = "accuracy of the cell found, %, fresh seeds"
    published: dict[str, Published] = FIGURE_6

    def __init__(
        self, spec: str, size: SearchSize, folder: Path, *, seed: int, device: str, threads: int | None
    ) -> None:
        self._spec, self._size, self._folder, self._seed = spec, size, folder, seed
        self._device, self._threads = device, threads
        self.rows = {f"K={k}": f"K = {k}" for k in CANDIDATES}
        self.differences = (
            f"size: {size.nodes} nodes, {size.pixels}×{size.pixels} pixels, {size.images} training images a class, "
            f"{size.epochs} epochs a candidate, {size.draws} draws (the paper: 8, 32×32, 500, about 20, one)",
            "accuracy is that of fresh seeds on validation images from the training split",
            "the paper gives K = 10 and 15 as 1.5 and 1.875 GPU hours and says that accuracy hardly changes; the "
            "figure's own points are not known to us",
        )

    def works(self) -> tuple[Work, ...]:
        """Every K once, then again."""
        return tuple(
            Work(f"K={k}", draw, expected(self._size, k)) for draw in range(self._size.draws) for k in CANDIDATES
        )

    def measure(self, work: Work) -> Outcome:
        """Search once, every candidate trained from scratch as in the paper."""
        began = time.monotonic()
        try:
            record = self._searched(work)
        except SearchError as error:
            return Outcome(work.row, work.draw, None, 0, 0, 0, time.monotonic() - began, str(error))
        best, spent = record.best(), record.spent()
        assert best is not None, "a search that ends well has a best cell"
        resources = best.recorded.resources
        trained = sum(one.same_as is None for one in record.candidates)
        return Outcome(
            work.row,
            work.draw,
            100 * best.performance,
            resources.macs,
            resources.params,
            spent.training_macs,
            record.active_seconds,
            f"{counted(trained, 'candidate')} trained, S {best.score:.4f}",
        )

    def _searched(self, work: Work) -> RunRecord:
        run = self._folder / f"{work.row}-{work.draw}"
        if (run / "run.sqlite").exists():
            return resume(run, observer=Observer())
        size = self._size
        asked: dict[str, Any] = {
            "data": {"spec": self._spec, "size": size.pixels, "train_per_class": size.images},
            "recipe": {"epochs": size.epochs},
            "evaluator": "trained",
            "nodes": size.nodes,
            "candidates": int(work.row.removeprefix("K=")),
            "seed": derive_seed(self._seed, "search", work.draw) % 2**31,
            "device": self._device,
            "threads": self._threads,
        }
        return search(resolve(asked), run=run, observer=Observer())

    def verdict(self, results: Sequence[Result]) -> tuple[str, ...]:
        """The paper's claim: from 10 to 15 candidates accuracy hardly changes."""
        by_row = {one.row: one for one in results}
        sentences = []
        for less, more in ((5, 10), (10, 15)):
            found = difference(by_row[f"K={more}"], by_row[f"K={less}"])
            if found is None:
                sentences.append(f"K = {less} to {more}: not measured")
                continue
            gap, error = found
            noise = "one draw each" if error is None else f"± {error:.2f}, standard error"
            sentences.append(f"K = {less} to {more}: accuracy {gap:+.2f} points ({noise})".replace("-", "−"))
        return tuple(sentences)


def expected(size: SearchSize, candidates: int) -> int:
    """About how many multiply-adds one search takes: half of the complete cell's for every candidate."""
    edges = size.nodes * (size.nodes - 1) // 2
    trainings = sum(min(candidates, left) for left in range(1, edges + 1))
    ops = ("input", *("conv1x1" if node % 2 else "sepconv3x3" for node in range(1, size.nodes)))
    whole = proxy_architecture(
        Cell("conv", ops, complete_edges(size.nodes)), shape=(3, size.pixels, size.pixels), classes=10
    )
    return 3 * count(whole).macs * 10 * size.images * size.epochs * trainings // 2

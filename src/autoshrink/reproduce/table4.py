"""Table 4: one wiring against another on CIFAR-10. Complete graph, random graphs, the searched cell, the paper's."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence

from autoshrink import zoo
from autoshrink.architecture import ConvArchitecture, proxy_architecture
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.priors import start_cell
from autoshrink.reproduce.images import ImageSize, ImageTrial
from autoshrink.reproduce.published import TABLE_4, Published
from autoshrink.reproduce.study import Outcome, Result, Work, direction
from autoshrink.seeding import derive_seed
from autoshrink.training.loop import TrainingError

LADDER = (
    ImageSize(12, 1_000, 4, 2, 1),
    ImageSize(16, 2_500, 8, 2, 1),
    ImageSize(16, 5_000, 15, 5, 1),
    ImageSize(16, 10_000, 20, 3, 1),
    ImageSize(16, 20_000, 30, 3, 1),
    ImageSize(32, 20_000, 30, 3, 1),
    ImageSize(32, 50_000, 40, 5, 1),
    ImageSize(32, 50_000, 100, 10, 4),
)
"""Sizes to choose from, by what they cost. The last is the paper's, as far as it says: T = 4 fits its MACs."""

PRIORS = {"ws": "ws:4,0.75", "er": "er:0.2", "ba": "ba:5"}
"""Generators of RandWire's best small networks (Xie et al. 2019); the paper's parameters are unpublished."""
NAMES = {
    "complete": "complete graph, N = 8",
    "ws": "WS(4, .75), N = 15",
    "er": "ER(.2), N = 15",
    "ba": "BA(5), N = 15",
    "shrink": "the paper's cell",
}


class Table4:
    """See `autoshrink.reproduce.study.Study`.

    Args:
        trial: data and recipe.
        cells: searched cells by name, to be compared with the rest.
        seed: decides every draw.
    """

    name = "table4"
    title = "Table 4: wirings compared on CIFAR-10"
    unit = "test accuracy, %"
    published: dict[str, Published] = TABLE_4

    def __init__(self, trial: ImageTrial, cells: Mapping[str, Cell], *, seed: int) -> None:
        self._trial, self._cells, self._seed = trial, dict(cells), seed
        self.rows = NAMES | {name: f"searched: {name}" for name in cells}
        self.differences = (
            f"size: {trial.size} (the paper: CIFAR-10 in full, T unstated; T = 4 fits its MACs)",
            "recipe: Adam with a half cosine, flips and crops, one for all rows (the paper's is unstated)",
            "random graphs: parameters are those of RandWire's best networks (the paper's are unpublished)",
            "the complete graph's operations are drawn anew in every draw; those of the paper's are unknown",
        )

    def works(self) -> tuple[Work, ...]:
        """Every row once, then again."""
        return tuple(
            Work(row, draw, self._trial.spent(self.architecture(row, draw)))
            for draw in range(self._trial.size.draws)
            for row in self.rows
        )

    def architecture(self, row: str, draw: int) -> ConvArchitecture:
        """The network of a row: the paper's Table 1 around its cell, every stage T cells deep."""
        proxy = proxy_architecture(self._cell(row, draw), shape=self._trial.shape, classes=self._trial.classes)
        stages = [stage.model_dump() | {"cells": self._trial.size.cells} for stage in proxy.stages]
        return ConvArchitecture.from_json(proxy.to_json() | {"stages": stages})

    def measure(self, work: Work) -> Outcome:
        """Train once, test once; draws of all rows share the seed."""
        architecture = self.architecture(work.row, work.draw)
        cost, began = count(architecture), time.monotonic()
        value, reason = None, ""
        try:
            value = self._trial.accuracy(architecture, derive_seed(self._seed, "training", work.draw))
        except TrainingError as error:
            reason = str(error)
        seconds = time.monotonic() - began
        return Outcome(work.row, work.draw, value, cost.macs, cost.params, work.macs, seconds, reason)

    def verdict(self, results: Sequence[Result]) -> tuple[str, ...]:
        """The paper's claims: the shrunk cell beats the complete graph and every random graph, at fewer MACs."""
        by_row = {one.row: one for one in results}
        return tuple(
            f"{direction(by_row[mine], by_row[other], higher=True, digits=2)}{_saving(by_row[mine], by_row[other])}"
            for mine in ("shrink", *self._cells)
            for other in ("complete", *PRIORS)
        )

    def _cell(self, row: str, draw: int) -> Cell:
        if row in self._cells:
            return self._cells[row]
        if row == "shrink":
            return _published_cell()
        nodes, spec = (8, "complete") if row == "complete" else (15, PRIORS[row])
        rng = random.Random(derive_seed(self._seed, "graph", row, draw))
        return start_cell(spec, kind="conv", nodes=nodes, rng=rng)


def costs(ladder: Sequence[ImageSize], cells: Mapping[str, Cell]) -> Callable[[tuple[int, int, int]], list[int]]:
    """About how many multiply-adds the whole table takes at each size, for images of (channels, height, width)."""

    def of(shape: tuple[int, int, int]) -> list[int]:
        found = []
        for size in ladder:
            each = {"complete": ("complete", 8), **{row: (spec, 15) for row, spec in PRIORS.items()}}
            drawn = [start_cell(spec, kind="conv", nodes=nodes, rng=random.Random(0)) for spec, nodes in each.values()]
            sized = (shape[0], size.pixels, size.pixels)
            macs = sum(
                count(proxy_architecture(cell, shape=sized)).macs * size.cells
                for cell in (*drawn, _published_cell(), *cells.values())
            )
            found.append(3 * macs * size.images * size.epochs * size.draws)
        return found

    return of


def _published_cell() -> Cell:
    cell = zoo.get("shrinkcnn-a").cell
    assert cell is not None, "ShrinkCNN-A has a cell"
    return cell


def _saving(first: Result, second: Result) -> str:
    if not first.macs or not second.macs:
        return ""
    return f", at {first.macs / second.macs:.2f} times its MACs"

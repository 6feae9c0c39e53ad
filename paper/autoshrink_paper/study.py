"""A published table as an experiment: which measurements it takes, at which size, and what they add up to."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from autoshrink.cell import Cell
from autoshrink.score import mean_and_deviation
from autoshrink_paper.published import Published

DATA = {"cifar10": "CIFAR-10", "ptb": "Penn Treebank"}
"""What the paper calls its data sets."""


@dataclass(frozen=True)
class Asked:
    """What a person wants rebuilt.

    Attributes:
        name: of a study, ``table4`` for example.
        data: a data set; empty for the published one.
        budget: seconds, for choosing the size.
        cells: searched cells by name, as further rows of Tables 3, 4 and 5.
        seed: decides every draw.
        device: ``auto``, ``cpu``, ``cuda`` …
        threads: CPU threads; None for torch's choice.
    """

    name: str
    data: str = ""
    budget: float = 600.0
    cells: Mapping[str, Cell] = field(default_factory=dict)
    seed: int = 0
    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True)
class Measurement:
    """One training, search or count of an experiment: a row of its table, a repetition from 0, and about how many
    multiply-adds it takes."""

    row: str
    draw: int
    macs: int


@dataclass(frozen=True)
class Outcome:
    """What one measurement gave: a value (accuracy in percent, or perplexity; None where it failed), what the network
    costs (multiply-adds of one image or token), what measuring took (multiply-adds, seconds), and why it failed."""

    row: str
    draw: int
    value: float | None
    macs: int
    params: int
    spent: int
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """A row of ours beside the paper's: the values of all draws that did not fail, and the means of what the networks
    cost, 0 where nothing was counted. `paper` is None for a row of ours alone."""

    row: str
    name: str
    paper: Published | None
    values: tuple[float, ...]
    macs: float
    params: float
    failed: int = 0

    @property
    def mean(self) -> float | None:
        """Of the draws."""
        return mean_and_deviation(self.values)[0] if self.values else None

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the draws; None for fewer than two."""
        return mean_and_deviation(self.values)[1] if self.values else None


class Study(ABC):
    """One published table or figure, at one size.

    Attributes:
        name: ``table4`` and so on.
        title: a line about it; ``{data}`` stands for the data set.
        unit: of the values: ``test accuracy, %``.
        published: what the paper has, by row.
        data: the published data set; empty where nothing is trained.
        cell_kind: of the searched cells that may be rows of it; None where they cannot.
        sizes: to choose from, by what they cost.
        rows: what is compared: names by key, in the paper's order.
        differences: sentences: where our conditions differ from the paper's.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str]
    published: ClassVar[Mapping[str, Published]]
    data: ClassVar[str] = ""
    cell_kind: ClassVar[str | None] = None
    sizes: ClassVar[Sequence[Any]] = ()
    rows: Mapping[str, str]
    differences: Sequence[str]

    def heading(self, data: str) -> str:
        """The title, with the data set that was taken."""
        return self.title.format(data=DATA.get(data, data))

    @abstractmethod
    def __init__(self, asked: Asked, size: Any, folder: Path) -> None:
        """Prepare the data.

        Args:
            asked: data, cells, seed, device and threads.
            size: one of `sizes`.
            folder: where a study may keep what its measurements leave.

        Raises:
            DataError: the data cannot be used.
        """

    @abstractmethod
    def measurements(self) -> Sequence[Measurement]:
        """All of them, in the order in which they are best done: every row once, then again."""

    @abstractmethod
    def measure(self, one: Measurement) -> Outcome:
        """Do one."""

    @abstractmethod
    def verdict(self, rows: Mapping[str, Row]) -> Sequence[str]:
        """Sentences: whether the paper's direction is seen."""

    def cost(self, size: Any) -> int:
        """About how many multiply-adds the whole study takes at a size; nobody asks one that has no `sizes`."""
        raise NotImplementedError(f"{type(self).__name__} has no sizes")

    def speed(self) -> float:
        """Training multiply-adds a second on this machine as it is now, measured for some seconds; as for `cost`."""
        raise NotImplementedError(f"{type(self).__name__} has no sizes")

    def results(self, outcomes: Iterable[Outcome]) -> dict[str, Row]:
        """The rows from what was measured so far."""
        found = {}
        outcomes = tuple(outcomes)
        for row, name in self.rows.items():
            mine = [one for one in outcomes if one.row == row]
            found[row] = Row(
                row=row,
                name=name,
                paper=self.published.get(row),
                values=tuple(one.value for one in mine if one.value is not None),
                macs=_mean([one.macs for one in mine]),
                params=_mean([one.params for one in mine]),
                failed=sum(one.value is None and one.spent > 0 for one in mine),
            )
        return found


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def largest(costs: Sequence[int], affordable: float) -> int:
    """The number of the last of some costs, ascending, that is affordable; 0 where none is."""
    return max((number for number, cost in enumerate(costs) if cost <= affordable), default=0)


def difference(first: Row, second: Row) -> tuple[float, float | None] | None:
    """Mean of first minus second, and the standard error of that from the draws (Welch); None where one has none."""
    if first.mean is None or second.mean is None:
        return None
    gap = first.mean - second.mean
    if first.deviation is None or second.deviation is None:
        return gap, None
    return gap, math.sqrt(sum(one.deviation**2 / len(one.values) for one in (first, second) if one.deviation))


def direction(first: Row, second: Row, *, higher: bool, digits: int) -> str:
    """One sentence: whether the first is better than the second, by how much, and whether that is more than noise."""
    found = difference(first, second)
    if found is None:
        return f"{first.name} against {second.name}: not measured"
    gap, error = found
    better = "better" if (gap > 0 if higher else gap < 0) else "worse"
    if error is None:
        return f"{first.name} is {better} than {second.name} by {abs(gap):.{digits}f}, one draw each: noise unknown"
    size = f"{abs(gap):.{digits}f} ± {error:.{digits}f} (standard error)"
    if abs(gap) > 2 * error:
        return f"{first.name} is {better} than {second.name} by {size}"
    return f"{first.name} and {second.name} differ by {size}, which is noise"

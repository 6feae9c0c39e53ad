"""A published table as an experiment: which trainings it takes, at which size, and what they add up to. Pure values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

from autoshrink.reproduce.published import Published
from autoshrink.score import mean_and_deviation


@dataclass(frozen=True)
class Work:
    """One measurement that an experiment takes.

    Attributes:
        row: of the table.
        draw: repetition, from 0: seed, and graph where that is random.
        macs: multiply-adds it will take, about.
    """

    row: str
    draw: int
    macs: int


@dataclass(frozen=True)
class Outcome:
    """What one measurement gave.

    Attributes:
        row: of the table.
        draw: repetition.
        value: accuracy in percent, or perplexity; None where it failed.
        macs: of one image or token; of a search, those of the cell that it found.
        params: of the network.
        spent: multiply-adds that it took.
        seconds: that it took.
        reason: why it failed, or what else there is to say.
    """

    row: str
    draw: int
    value: float | None
    macs: int
    params: int
    spent: int
    seconds: float
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """From such an object; TypeError where it is none."""
        return cls(**value)


@dataclass(frozen=True)
class Result:
    """A row of ours beside the paper's.

    Attributes:
        row: its key.
        name: what it is called.
        paper: what was published of it; None for a row of ours alone.
        values: the figures of all draws that did not fail.
        macs: mean of one image or token over the draws; 0 where nothing was counted.
        params: mean over the draws.
        failed: draws that failed.
    """

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


class Study(Protocol):
    """One published table or figure."""

    @property
    def name(self) -> str:
        """``table4`` and so on."""
        ...

    @property
    def title(self) -> str:
        """A line about it."""
        ...

    @property
    def unit(self) -> str:
        """Of the values: ``test accuracy, %``."""
        ...

    @property
    def rows(self) -> Mapping[str, str]:
        """What is compared: names by key, in the paper's order."""
        ...

    @property
    def published(self) -> Mapping[str, Published]:
        """What the paper has, by key."""
        ...

    @property
    def differences(self) -> tuple[str, ...]:
        """Sentences: where our conditions differ from the paper's."""
        ...

    def works(self) -> tuple[Work, ...]:
        """All measurements, in the order in which they are best done: every row once, then again."""
        ...

    def measure(self, work: Work) -> Outcome:
        """Do one."""
        ...

    def verdict(self, results: Sequence[Result]) -> tuple[str, ...]:
        """Sentences: whether the paper's direction is seen."""
        ...


def results(study: Study, outcomes: Sequence[Outcome]) -> tuple[Result, ...]:
    """The rows of a study from what was measured so far."""
    found = []
    for row, name in study.rows.items():
        mine = [one for one in outcomes if one.row == row]
        done = [one for one in mine if one.value is not None]
        found.append(
            Result(
                row=row,
                name=name,
                paper=study.published.get(row),
                values=tuple(one.value for one in done if one.value is not None),
                macs=_mean([one.macs for one in mine]),
                params=_mean([one.params for one in mine]),
                failed=sum(one.value is None and one.spent > 0 for one in mine),
            )
        )
    return tuple(found)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def largest_rung(costs: Sequence[int], speed: float, budget: float) -> int:
    """The last of some sizes, ascending, whose cost fits: the first where none does.

    Args:
        costs: multiply-adds of the whole experiment at each size.
        speed: multiply-adds a second, measured.
        budget: seconds.
    """
    fitting = [number for number, cost in enumerate(costs) if cost <= speed * budget]
    return fitting[-1] if fitting else 0


def difference(first: Result, second: Result) -> tuple[float, float | None] | None:
    """Mean of first minus second, and the standard error of that from the draws (Welch); None where one has none."""
    if first.mean is None or second.mean is None:
        return None
    gap = first.mean - second.mean
    if first.deviation is None or second.deviation is None:
        return gap, None
    variance = first.deviation**2 / len(first.values) + second.deviation**2 / len(second.values)
    return gap, math.sqrt(variance)


def direction(first: Result, second: Result, *, higher: bool, digits: int) -> str:
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

"""The arithmetic of a comparison: hypervolume, means with their errors, paired differences. Knows no networks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autoshrink.score import mean_and_deviation, undominated

Point = tuple[float, float]
"""Cost, and performance: higher is better."""


@dataclass(frozen=True)
class Figure:
    """A mean over seeds.

    Attributes:
        mean: over as many values as there are `seeds`.
        error: its standard error; None of one value.
        seeds: how many.
    """

    mean: float
    error: float | None
    seeds: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Figure | None:
        """Of the values that are known; None where none is."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        mean, deviation = mean_and_deviation(known)
        return cls(mean, None if deviation is None else deviation / math.sqrt(len(known)), len(known))


@dataclass(frozen=True)
class Paired:
    """First minus second, over the seeds that both have.

    Attributes:
        difference: its mean, and the standard error of that.
        wins: seeds in which the first has more.
    """

    difference: Figure
    wins: int

    @classmethod
    def of(cls, first: Mapping[int, float], second: Mapping[int, float]) -> Paired | None:
        """From values by seed; None where no seed has both."""
        gaps = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
        found = Figure.of(gaps)
        return None if found is None else cls(found, sum(gap > 0 for gap in gaps))


def hypervolume(points: Iterable[Point], reference: Point) -> float:
    """The area between a front and a reference point, in decades of cost × performance.

    What costs more than the reference, or performs worse, adds nothing. A cost below one counts as one, as in S.
    """
    cost, height = reference
    area = 0.0
    for one, performance in undominated(points, lambda point: point[0], lambda point: point[1]):
        decades = math.log10(cost / max(1.0, one))
        if decades > 0 and performance > height:
            area += decades * (performance - height)
            height = performance
    return area


Course = Sequence[tuple[float, float]]
"""(MACs spent, best S so far), as a search went on."""


def band(courses: Sequence[Course]) -> list[tuple[float, Figure]]:
    """The mean over searches of the best so far, wherever one has a new one, from where all of them have one."""
    begun = [course for course in courses if course]
    if not begun:
        return []
    begin = max(course[0][0] for course in begun)
    places = sorted({begin, *(at for course in begun for at, _ in course if at > begin)})
    found = ((place, Figure.of(_at(course, place) for course in begun)) for place in places)
    return [(place, figure) for place, figure in found if figure is not None]


def _at(course: Course, place: float) -> float:
    return [value for at, value in course if at <= place][-1]

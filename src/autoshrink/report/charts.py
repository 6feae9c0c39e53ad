"""Small pieces of a chart: scales, ticks, axes and marks as SVG text. Lengths are SVG user units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from autoshrink.drawing import joined, tag
from autoshrink.metrics import log_values, round_values


@dataclass(frozen=True)
class Scale:
    """Maps values from [low, high] to places from `start` to `end`, linearly or by logarithm.

    `start` may be larger than `end`: an axis that runs backwards.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float, *, log: bool = False) -> Scale:
        """A scale that shows all values with some air at both ends; any range when there are none.

        Values of a logarithmic scale are positive.
        """
        found = sorted(values) or [1.0]
        low, high = found[0], found[-1]
        if log:
            ratio = max((high / low) ** 0.06, 1.02)
            return cls(low / ratio, high * ratio, start, end, log=True)
        air = 0.06 * (high - low) or abs(high) * 0.05 or 1.0
        return cls(low - air, high + air, start, end)

    def __call__(self, value: float) -> float:
        """The place of a value."""
        part = (self._measure(value) - self._measure(self.low)) / (self._measure(self.high) - self._measure(self.low))
        return self.start + part * (self.end - self.start)

    def ticks(self, about: int = 5) -> tuple[float, ...]:
        """Round values inside the range, about so many."""
        return (log_values if self.log else round_values)(self.low, self.high, about)

    def _measure(self, value: float) -> float:
        return math.log10(value) if self.log else value


def in_view(values: Sequence[float], always: Sequence[float] = ()) -> list[float]:
    """What an axis spans: `always`, and the values without those far below the rest (ten times the middle half's span).

    One training that diverged would otherwise press all the others into a line.
    """
    found = sorted(values)
    if len(found) < 4:
        return [*found, *always]
    low, middle, high = (found[len(found) * part // 4] for part in (1, 2, 3))
    least = min(low - 10 * max(high - low, 0.01 * abs(middle)), *always, low)
    return [*(value for value in found if value >= least), *always]


def label(x: float, y: float, words: str, *, kind: str = "tick", anchor: str | None = None) -> Markup:
    """Text at its baseline; `kind` is its CSS class."""
    return tag("text", words, class_=kind, x=x, y=y, text_anchor=anchor)


def line(start: tuple[float, float], end: tuple[float, float], kind: str) -> Markup:
    """A straight line; `kind` is its CSS class."""
    return tag("line", class_=kind, x1=start[0], y1=start[1], x2=end[0], y2=end[1])


def polyline(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    """A line through points; nothing for fewer than two."""
    if len(points) < 2:
        return Markup()
    return tag("polyline", class_=kind, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))


def staircase(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points with the corners that make a front a staircase: along x first, then along y."""
    corners: list[tuple[float, float]] = list(points[:1])
    for x, y in points[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    return corners


def dot(
    x: float, y: float, kind: str, *, tip: str | None = None, radius: float = 3.0, key: str | None = None
) -> Markup:
    """A round mark; `tip` is shown when it is pointed at, `key` ties the same candidate's marks together."""
    inside = [tag("title", tip)] if tip else []
    return tag("circle", *inside, class_=kind, cx=x, cy=y, r=radius, data_key=key)


def mark(x: float, y: float, path: str, kind: str, *, tip: str, key: str | None = None) -> Markup:
    """A mark of another form: `path` begins at (x, y), see `CROSS`, `WEDGE` and `DIAMOND`."""
    return tag("path", tag("title", tip), class_=kind, d=f"M{x:.1f} {y:.1f}{path}", data_key=key)


CROSS = "m-3.5-3.5l7 7m0-7l-7 7"
"""For what failed."""
WEDGE = "l-4-6h8z"
"""A triangle whose point is at the place: what lies too far below to be drawn."""
DIAMOND = "m0-5.5l5.5 5.5l-5.5 5.5l-5.5-5.5z"
"""For what was measured again."""


def error_bar(x: float, low: float, high: float, kind: str = "error") -> Markup:
    """A vertical bar with caps between two places on the y axis."""
    return tag("path", class_=kind, d=f"M{x - 3:.1f} {low:.1f}h6m-3 0V{high:.1f}m-3 0h6")


@dataclass(frozen=True)
class Panel:
    """A rectangle with a scale on each axis."""

    x: Scale
    y: Scale

    def held(self, value: float) -> float:
        """The place of a value on the y axis; of one below the axis, its foot."""
        return self.y(max(value, self.y.low))

    def rules(self, ticks: Iterable[float], write: Callable[[float], str]) -> Markup:
        """Horizontal rules with their values at the left."""
        left, right = min(self.x.start, self.x.end), max(self.x.start, self.x.end)
        parts = []
        for tick in ticks:
            y = self.y(tick)
            parts.append(line((left, y), (right, y), "rule"))
            parts.append(label(left - 8, y + 3.5, write(tick), anchor="end"))
        return joined(parts)

    def foot(self, ticks: Iterable[float], write: Callable[[float], str]) -> Markup:
        """The x axis: a line, and values below it."""
        bottom = max(self.y.start, self.y.end)
        parts = [line((self.x.start, bottom), (self.x.end, bottom), "axis")]
        for tick in ticks:
            x = self.x(tick)
            parts.append(line((x, bottom), (x, bottom + 4), "axis"))
            parts.append(label(x, bottom + 17, write(tick), anchor="middle"))
        return joined(parts)

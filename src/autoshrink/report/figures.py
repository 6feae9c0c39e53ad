"""The report's charts: the trajectory of the search, and performance against cost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from autoshrink import formatting
from autoshrink.drawing import tag
from autoshrink.metrics import METRICS, Metric, step_metric
from autoshrink.record import Figures, RunRecord
from autoshrink.report import charts, marks
from autoshrink.report.charts import Panel, Scale
from autoshrink.report.marks import Point
from autoshrink.resources import Resources
from autoshrink.score import Evaluation

LOG_RANGE = 4.0
"""Ratio of dearest to cheapest candidate above which the cost axis is logarithmic."""


@dataclass(frozen=True)
class Box:
    """Where a panel stands: borders in SVG user units."""

    left: float
    top: float
    right: float
    bottom: float


def cost(record: RunRecord, resources: Resources) -> float:
    """The run's resource in the unit of its axis: a count, KiB or µs."""
    return record.settings.score.cost(resources) / record.settings.score.weighs.unit.axis[0]


def cost_axis(record: RunRecord) -> str:
    """The name of that axis."""
    return record.settings.score.weighs.axis


# --- the trajectory ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Track:
    """One panel of the trajectory: what it shows of an evaluation, and of the same cell measured again."""

    name: str
    quantity: str
    metric: Metric

    def of(self, record: RunRecord, evaluation: Evaluation) -> float | None:
        """Its place on the y axis; None where it has none."""
        if self.quantity == "cost":
            return cost(record, evaluation.resources)
        if evaluation.performance is None:
            return None
        value = evaluation.performance if self.quantity == "performance" else record.settings.score(evaluation)
        return value if math.isfinite(value) else None

    def again(self, figures: Figures) -> tuple[float, float | None] | None:
        """Mean and deviation over fresh seeds; None where nothing was measured or there is nothing to measure."""
        if self.quantity in ("cost", "zico") or not figures.repeats:
            return None
        if self.quantity == "performance":
            return figures.performance, figures.performance_sd
        return (figures.score, figures.score_sd) if math.isfinite(figures.score) else None

    def rules(self, panel: Panel) -> str:
        """Horizontal rules at round figures."""
        low, high = panel.y.low, panel.y.high
        if self.quantity == "performance":
            return panel.rules(self.metric.ticks(low, high), self.metric.tick)
        write = {"cost": formatting.round_quantity, "zico": _write_zico}.get(self.quantity, write_score)
        return panel.rules(panel.y.ticks(4), write)


def write_score(value: float) -> str:
    """A value of S on its axis."""
    return formatting.number(value, 2)


def _write_zico(value: float) -> str:
    """Round values of an unknown size: no digit more than it takes."""
    return f"{value:.4g}".replace("-", "−")


def tracks(record: RunRecord) -> tuple[_Track, ...]:
    """The panels, from the top: S, performance, what ZiCo said where it decided, cost."""
    metric = METRICS[record.settings.task]
    zico = _Track("S with scaled ZiCo as the performance, nothing trained", "zico", step_metric(record.settings))
    return (
        _Track("Score S", "score", metric),
        _Track(metric.axis, "performance", metric),
        *((zico,) if record.settings.evaluator == "zico" else ()),
        _Track(cost_axis(record), "cost", metric),
    )


def edges_scale(record: RunRecord, left: float, right: float) -> Scale:
    """The shared x axis: edges left, falling from left to right."""
    counts = [len(record.start.edges), *(len(one.cell.edges) for one in record.candidates)]
    air = 0.03 * (max(counts) - min(counts)) + 0.4
    return Scale(max(counts) + air, min(counts) - air, left, right)


def edge_ticks(record: RunRecord) -> tuple[float, ...]:
    """Whole numbers of edges, at most about ten."""
    counts = [len(record.start.edges), *(len(one.cell.edges) for one in record.candidates)]
    low, high = min(counts), max(counts)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500) if (high - low) / step <= 11)
    return tuple(float(value) for value in range(low + -low % step, high + 1, step))


def measured_again(record: RunRecord) -> list[Figures]:
    """Figures of every cell with fresh seeds, by the first candidate that had it."""
    first: dict[str, Evaluation] = {}
    for one in record.candidates:
        # Isomorphism keys cost time; a run without re-measurements asks for none.
        if record.remeasured and not one.evaluation.failed:
            first.setdefault(one.cell.key, one.evaluation)
    figures = [record.figures(first[key]) for key in record.remeasured if key in first]
    return [one for one in figures if one.repeats]


def track_marks(record: RunRecord, track: _Track, box: Box, again: list[Figures]) -> str:
    """One panel of the trajectory."""
    points = marks.points(record, quantity=track.quantity)
    placed = [(one, track.of(record, one.evaluation)) for one in points]
    known = [value for _, value in placed if value is not None] + _spans(track, again)
    y = Scale.around(charts.in_view(known, _always(record, track)), box.bottom, box.top)
    # Room for the word above the best, and for failed candidates at the bottom.
    room = (y.high - y.low) * 0.12
    y = Scale(y.low - (room if track.quantity != "cost" else 0.0), y.high + room, box.bottom, box.top)
    panel = Panel(edges_scale(record, box.left, box.right), y)
    parts = [track.rules(panel), charts.label(box.left, box.top - 10, track.name, kind="panel-name")]
    trail = [(one, value) for one, value in placed if one.trail]
    path = [(panel.x(len(one.evaluation.cell.edges)), panel.held(value)) for one, value in trail if value is not None]
    parts += [_mark(panel, one, value) for one, value in placed if not one.trail and "scratch" not in one.kind]
    parts.append(charts.polyline(path, "trail estimate" if "estimate" in _kinds(points) else "trail"))
    parts += [_mark(panel, one, value) for one, value in trail]
    parts += [_mark(panel, one, value) for one, value in placed if not one.trail and "scratch" in one.kind]
    parts += [_again_mark(panel, track, panel.x(len(one.cell.edges)), one) for one in again]
    parts += _landmarks(record, track, panel)
    return "".join(parts)


def _kinds(points: Iterable[Point]) -> set[str]:
    return {kind for one in points for kind in one.kind.split()}


def _mark(panel: Panel, one: Point, value: float | None) -> str:
    x = panel.x(len(one.evaluation.cell.edges))
    if value is None or one.evaluation.failed:
        y = max(panel.y.start, panel.y.end) - 5 if value is None else panel.y(value)
        return charts.cross(x, y, "failed", tip=one.tip, key=one.key)
    return _dot(panel, (x, value), one)


def _dot(panel: Panel, place: tuple[float, float], one: Point) -> str:
    """A candidate at its x and its value, or the sign that it lies below the axis."""
    x, value = place
    if value < panel.y.low:
        return charts.wedge(x, panel.y.start, one.kind, tip=one.tip, key=one.key)
    large = not {"chosen", "scratch"}.isdisjoint(one.kind.split())
    radius = 2.4 if not large else 2.8 if "estimate" in one.kind else 3.4
    return charts.dot(x, panel.y(value), one.kind, tip=one.tip, radius=radius, key=one.key)


def _spans(track: _Track, again: Iterable[Figures]) -> list[float]:
    """The ends of the error bars of what was measured again."""
    pairs = [pair for one in again if (pair := track.again(one))]
    return [mean + sign * (deviation or 0.0) for mean, deviation in pairs for sign in (-1, 1)]


def _always(record: RunRecord, track: _Track) -> list[float]:
    """What an axis never leaves out: the best and the starting cell, as recorded and as measured again."""
    found = [one for one in (record.best(), record.complete()) if one is not None]
    ringed = [one for name in ("best", "start") if (one := marks.landmark(record, name)) is not None]
    recorded = [value for one in ringed if (value := track.of(record, one)) is not None]
    return (recorded if track.quantity != "zico" else []) + _spans(track, found)


def _again_mark(panel: Panel, track: _Track, x: float, figures: Figures) -> str:
    """Mean and deviation over fresh seeds at an x, as far as the axis reaches."""
    pair = track.again(figures)
    if pair is None:
        return ""
    mean, deviation = pair
    tip = _again_tip(track.metric, figures)
    bar = ""
    if deviation is not None and mean + deviation > panel.y.low:
        bar = charts.error_bar(x, panel.held(mean - deviation), panel.y(mean + deviation))
    if mean < panel.y.low:
        return bar + charts.wedge(x, panel.y.start, "again", tip=tip, key=figures.cell.key)
    return bar + charts.diamond(x, panel.y(mean), "again", tip=tip)


def _again_tip(metric: Metric, figures: Figures) -> str:
    return (
        f"measured again: {formatting.count(len(figures.cell.edges), 'edge')}\n"
        f"{metric.name} {metric.measured(figures.performance, figures.performance_sd)} "
        f"(mean of {formatting.count(len(figures.repeats), 'fresh seed')})\nS {formatting.number(figures.score, 4)}"
    )


def _landmarks(record: RunRecord, track: _Track, panel: Panel) -> list[str]:
    """Rings around the recorded values of the best and the starting cell."""
    parts = []
    for name in ("start", "best"):
        place = _ringed(record, track, name)
        if place is None:
            continue
        x, y = panel.x(place[0]), panel.y(place[1])
        parts.append(charts.dot(x, y, f"ring {name}", radius=6.5))
        if track.quantity == "score":
            # The best is a summit and the start usually the foot of one: there the trail leaves room for a word.
            below = name == "start" and abs(y - panel.y.start) > 34
            parts.append(charts.label(x, y + 24 if below else y - 13, name, kind=f"name {name}", anchor="middle"))
    return parts


def _ringed(record: RunRecord, track: _Track, name: str) -> tuple[int, float] | None:
    """Edges and value of the best or the starting cell: as recorded, or with fresh seeds where that was no training."""
    if track.quantity == "zico":
        return None
    evaluation = marks.landmark(record, name)
    if evaluation is not None:
        value = track.of(record, evaluation)
        return None if value is None else (len(evaluation.cell.edges), value)
    figures = record.best() if name == "best" else record.complete()
    pair = None if figures is None else track.again(figures)
    return None if figures is None or pair is None else (len(figures.cell.edges), pair[0])


def trajectory_svg(record: RunRecord, *, width: float = 700.0, height: float = 158.0) -> str:
    """The panels under each other; `height` is one panel's."""
    again = measured_again(record)
    left, right, parts = 58.0, width - 12, []
    panels = tracks(record)
    for position, track in enumerate(panels):
        top = 34.0 + position * (height + 40)
        box = Box(left, top, right, top + height)
        parts.append(track_marks(record, track, box, again))
        panel = Panel(edges_scale(record, left, right), Scale(0, 1, box.bottom, box.top))
        parts.append(panel.foot(edge_ticks(record) if track is panels[-1] else (), lambda value: f"{value:g}"))
    bottom = 34.0 + len(panels) * (height + 40) - 40
    parts.append(charts.label(right, bottom + 38, "edges left →", kind="axis-name", anchor="end"))
    title = f"Trajectory of the search: S, {METRICS[record.settings.task].name} and cost"
    return chart_svg(record, "".join(parts), (width, bottom + 46), title)


def chart_svg(record: RunRecord, drawn: str, size: tuple[float, float], title: str) -> str:
    """An SVG element of the page around what is drawn; `size` is width and height."""
    summary = f"{title}; {formatting.count(len(record.candidates), 'candidate')}"
    return tag("svg", drawn, class_="chart", viewBox=f"0 0 {size[0]:g} {size[1]:g}", role="img", aria_label=summary)


# --- the front -----------------------------------------------------------------------------------------------------


def front_marks(record: RunRecord, box: Box) -> str:
    """Performance against cost: every usable candidate, the front, its finalists measured again, the limits."""
    points = [one for one in marks.points(record, quantity="performance") if not one.evaluation.failed]
    again = measured_again(record)
    panel = _front_panel(record, box, points, again)
    place = partial(_place, record, panel)
    front = [(panel.x(cost(record, one.recorded.resources)), panel.held(one.performance)) for one in record.front()]
    steps = charts.staircase(front) + ([(box.right, front[-1][1])] if front else [])
    track = tracks(record)[1]
    parts = [track.rules(panel), panel.foot(panel.x.ticks(4), formatting.round_quantity), _limit(record, panel)]
    for one in sorted(points, key=lambda one: (one.trail, "scratch" in one.kind)):
        at = (place(one.evaluation)[0], one.evaluation.performance or 0.0)
        parts.append(_dot(panel, at, one))
    parts.append(charts.polyline(steps, "front"))
    parts += [_again_mark(panel, track, panel.x(cost(record, one.recorded.resources)), one) for one in again]
    for name in ("start", "best"):
        ringed = marks.landmark(record, name)
        if ringed is not None:
            parts.append(charts.dot(*place(ringed), f"ring {name}", radius=6.5))
    return "".join(parts)


def _front_panel(record: RunRecord, box: Box, points: list[Point], again: list[Figures]) -> Panel:
    costs = [cost(record, one.evaluation.resources) for one in points]
    costs += [cost(record, one.recorded.resources) for one in again]
    limit = _limit_value(record)
    shown = costs if limit is None or not costs or not 0.5 * min(costs) < limit < 2 * max(costs) else [*costs, limit]
    log = min(shown, default=0) > 0 and max(shown) > LOG_RANGE * min(shown)
    track = tracks(record)[1]
    known = [one.evaluation.performance or 0.0 for one in points] + _spans(track, again)
    heights = charts.in_view(known, _always(record, track))
    x = Scale.around(shown, box.left, box.right, log=log)
    return Panel(x, Scale.around(heights, box.bottom, box.top))


def _place(record: RunRecord, panel: Panel, evaluation: Evaluation) -> tuple[float, float]:
    return panel.x(cost(record, evaluation.resources)), panel.held(evaluation.performance or 0.0)


def _limit_value(record: RunRecord) -> float | None:
    """The limit on the run's own resource, in the unit of its axis."""
    limit = record.settings.limits.given().get(record.settings.resource)
    return None if limit is None else limit / record.settings.score.weighs.unit.axis[0]


def _limit(record: RunRecord, panel: Panel) -> str:
    limit = _limit_value(record)
    if limit is None or not panel.x.low <= limit <= panel.x.high:
        return ""
    x = panel.x(limit)
    words_ = charts.label(x - 5, panel.y.end + 10, "limit", kind="name limit", anchor="end")
    return charts.line((x, panel.y.start), (x, panel.y.end), "limit-line") + words_


def front_svg(record: RunRecord, *, width: float = 470.0, height: float = 400.0) -> str:
    """The chart of performance against cost."""
    box, metric = Box(58.0, 34.0, width - 14, height - 54), METRICS[record.settings.task]
    points = [one for one in marks.points(record, quantity="performance") if not one.evaluation.failed]
    scale = ", logarithmic" if _front_panel(record, box, points, measured_again(record)).x.log else ""
    parts = [
        charts.label(box.left, box.top - 14, metric.axis, kind="panel-name"),
        front_marks(record, box),
        charts.label(box.right, height - 12, f"{cost_axis(record)}{scale}", kind="axis-name", anchor="end"),
    ]
    return chart_svg(record, "".join(parts), (width, height), f"{metric.name.capitalize()} against cost")

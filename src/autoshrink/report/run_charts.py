"""The charts of a run: the trajectory of the search, and performance against cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from markupsafe import Markup

from autoshrink.design import Design, edges_of
from autoshrink.drawing import joined, tag
from autoshrink.formatting import count, number, round_quantity
from autoshrink.metrics import Metric, metric_of, step_metric
from autoshrink.record import Candidate, Figures, Retrained, RunRecord
from autoshrink.report import charts
from autoshrink.report.charts import Panel, Scale
from autoshrink.report.steps import change_words, steps
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


def cost(record: RunRecord, evaluation: Evaluation) -> float:
    """The run's resource in the unit of its axis: a count, KiB or µs."""
    return record.settings.score.cost(evaluation.resources) / record.settings.score.weighs.unit.axis[0]


# --- marks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """One mark: of a candidate, or of a cell trained from scratch where the candidates are only estimates.

    Attributes:
        evaluation: what is marked.
        kind: its CSS classes.
        key: ties the marks of one candidate together.
        tip: what it says when it is pointed at.
        trail: whether the line of the search's decisions goes through it.
    """

    evaluation: Evaluation
    kind: str
    key: str
    tip: str
    trail: bool = False

    @property
    def classes(self) -> frozenset[str]:
        """The CSS classes, one by one."""
        return frozenset(self.kind.split())


def points(record: RunRecord, quantity: str) -> tuple[Point, ...]:
    """The marks of a panel.

    Costs are exact, and marked of every candidate. Where the steps only estimate, performances and scores are those of
    the playoff; estimates stand beside them in a lighter style, and what no training gave (``untrained``) has a panel
    of its own.
    """
    if not record.settings.estimates:
        return _candidates(record, "")
    if quantity in ("cost", "untrained"):
        return _candidates(record, " estimate")
    last = {one.evaluation.design.key: one for one in record.retrained}
    trained = tuple(_retrained(record, one) for one in last.values())
    return _candidates(record, " estimate") + trained if record.kind.trains else trained


def _candidates(record: RunRecord, style: str) -> tuple[Point, ...]:
    chosen = {(step.number, step.chosen.index): step.evidence() for step in steps(record)}
    # The starting cell of an inherited run was trained from scratch.
    first = " scratch" if style and record.kind.start_trained else style
    found = []
    for one in record.candidates:
        evidence = chosen.get((one.step, one.index))
        kind = _kind(record, one.evaluation, style if one.step else first, chosen=evidence is not None)
        tip = _tip(record, one) + (f"\nchosen: {evidence}" if evidence else "")
        found.append(Point(one.evaluation, kind, f"{one.step}.{one.index}", tip, trail=evidence is not None))
    return tuple(found)


def _kind(record: RunRecord, evaluation: Evaluation, style: str, *, chosen: bool) -> str:
    if chosen:
        return f"dot{style} chosen"
    return f"dot{style}" if record.settings.limits.broken_by(evaluation.resources) is None else f"dot{style} broken"


def _tip(record: RunRecord, one: Candidate) -> str:
    place = f"step {one.step}"
    if one.step == 0 and one.design.key in record.names:
        place += f", {record.names[one.design.key]}"
    if one.change is not None:
        place += f", {'without edge ' if one.edge else ''}{change_words(one)}"
    if one.evaluation.failed:
        return f"{place}\nfailed: {one.evaluation.reason}"
    return "\n".join((place, *_figures(record, one.evaluation, step_metric(record.settings))))


def _figures(record: RunRecord, evaluation: Evaluation, metric: Metric) -> tuple[str, str]:
    """Score and performance, or that there are none; costs."""
    score = record.settings.score
    shown = f"failed: {evaluation.reason}"
    if evaluation.performance is not None:
        shown = f"S {number(score(evaluation), 4)} · {metric.name} {metric.write(evaluation.performance, fine=True)}"
    edges = edges_of(evaluation.design)
    size = "" if edges is None else f" · {count(edges, 'edge')}"
    return shown, f"{score.weighed(evaluation.resources)}{size}"


def _retrained(record: RunRecord, one: Retrained) -> Point:
    place = f"playoff, round {one.round + 1}: {one.evaluation.fidelity}"
    tip = "\n".join((place, *_figures(record, one.evaluation, metric_of(record.settings))))
    kind = _kind(record, one.evaluation, " scratch", chosen=False)
    return Point(one.evaluation, kind, f"playoff.{one.round}.{one.index}", tip)


def landmark(record: RunRecord, name: str) -> Evaluation | None:
    """The training that the ring of the ``best`` or the ``start`` stands around; None where there is none."""
    found = record.best() if name == "best" else record.complete()
    if found is None:
        return None
    if record.from_scratch(found.recorded):
        return found.recorded
    again = [one.evaluation for one in record.retrained if one.evaluation.design.key == found.design.key]
    return again[-1] if again and not again[-1].failed else None


# --- the trajectory --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Track:
    """One panel of the trajectory: what it shows of an evaluation, and of the same cell measured again.

    Attributes:
        name: above the panel.
        quantity: ``score``, ``performance``, ``untrained`` (S of networks that nothing trained) or ``cost``.
        metric: how performance is shown.
    """

    name: str
    quantity: str
    metric: Metric

    def of(self, record: RunRecord, evaluation: Evaluation) -> float | None:
        """Its place on the y axis; None where it has none."""
        if self.quantity == "cost":
            return cost(record, evaluation)
        if evaluation.performance is None:
            return None
        value = evaluation.performance if self.quantity == "performance" else record.settings.score(evaluation)
        return value if math.isfinite(value) else None

    def again(self, figures: Figures) -> tuple[float, float | None] | None:
        """Mean and deviation over fresh seeds; None where nothing was measured or there is nothing to measure."""
        if self.quantity in ("cost", "untrained") or not figures.repeats:
            return None
        if self.quantity == "performance":
            return figures.performance, figures.performance_sd
        return (figures.score, figures.score_sd) if math.isfinite(figures.score) else None

    def rules(self, panel: Panel) -> Markup:
        """Horizontal rules at round figures."""
        if self.quantity == "performance":
            return panel.rules(self.metric.ticks(panel.y.low, panel.y.high), self.metric.tick)
        write: Callable[[float], str] = {"cost": round_quantity, "untrained": _short}.get(self.quantity, write_score)
        return panel.rules(panel.y.ticks(4), write)

    def spans(self, measured: Iterable[Figures]) -> list[float]:
        """The ends of the error bars of what was measured again."""
        pairs = [pair for one in measured if (pair := self.again(one))]
        return [mean + sign * (deviation or 0.0) for mean, deviation in pairs for sign in (-1, 1)]

    def always(self, record: RunRecord) -> list[float]:
        """What an axis never leaves out: the best and the starting cell, as recorded and as measured again."""
        ringed = [one for name in ("best", "start") if (one := landmark(record, name)) is not None]
        recorded = [value for one in ringed if (value := self.of(record, one)) is not None]
        found = [one for one in (record.best(), record.complete()) if one is not None]
        return (recorded if self.quantity != "untrained" else []) + self.spans(found)


def write_score(value: float) -> str:
    """A value of S on its axis."""
    return number(value, 2)


def _short(value: float) -> str:
    """Round values of an unknown size: no digit more than it takes."""
    return f"{value:.4g}".replace("-", "−")


def tracks(record: RunRecord) -> tuple[Track, ...]:
    """The panels, from the top: S, performance, what decided where nothing was trained, cost."""
    metric = metric_of(record.settings)
    scored = step_metric(record.settings)
    untrained = Track(f"S with {scored.name} as the performance, nothing trained", "untrained", scored)
    return (
        Track("Score S", "score", metric),
        Track(metric.axis, "performance", metric),
        *(() if record.kind.trains else (untrained,)),
        Track(record.settings.score.weighs.axis, "cost", metric),
    )


@dataclass(frozen=True)
class Way:
    """The shared x axis: how far the search has come.

    Attributes:
        title: ``edges left``, falling from left to right, or ``step``.
        low: the least of its numbers.
        high: the largest.
        steps: by a design's key the step that first measured it; None where designs stand at their edges.
    """

    title: str
    low: int
    high: int
    steps: dict[str, int] | None = None

    def of(self, design: Design) -> int:
        """A design's place."""
        if self.steps is None:
            return edges_of(design) or 0
        return self.steps.get(design.key, self.low)

    def scale(self, left: float, right: float) -> Scale:
        """Between two sides of the picture."""
        air = 0.03 * (self.high - self.low) + 0.4
        ends = (self.high + air, self.low - air) if self.steps is None else (self.low - air, self.high + air)
        return Scale(*ends, left, right)


def way(record: RunRecord) -> Way:
    """Edges left where edges are what goes, else steps."""
    counts = [edges_of(design) for design in (record.start, *(one.design for one in record.candidates))]
    known = [edges for edges in counts if edges is not None]
    if len(known) == len(counts) and all(one.edge is not None or one.change is None for one in record.candidates):
        return Way("edges left", min(known), max(known))
    steps = {one.design.key: one.step for one in reversed(record.candidates)}
    return Way("step", 0, max(steps.values(), default=0), steps)


def way_foot(record: RunRecord, box: Box, *, written: bool = True) -> Markup:
    """That axis below a panel; whole numbers, at most about ten."""
    axis = way(record)
    low, high = axis.low, axis.high
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500) if (high - low) / step <= 11)
    ticks = tuple(map(float, range(low + -low % step, high + 1, step))) if written else ()
    panel = Panel(axis.scale(box.left, box.right), Scale(0, 1, box.bottom, box.top))
    return panel.foot(ticks, lambda value: f"{value:g}")


def track_marks(record: RunRecord, track: Track, box: Box) -> Markup:
    """One panel of the trajectory."""
    marks, again, axis = points(record, track.quantity), record.measured_again(), way(record)
    placed = [(one, track.of(record, one.evaluation)) for one in marks]
    known = [value for _, value in placed if value is not None] + track.spans(again)
    y = Scale.around(charts.in_view(known, track.always(record)), box.bottom, box.top)
    # Room for the word above the best, and for failed candidates at the bottom.
    room = (y.high - y.low) * 0.12
    y = Scale(y.low - (room if track.quantity != "cost" else 0.0), y.high + room, box.bottom, box.top)
    panel = Panel(axis.scale(box.left, box.right), y)
    trail = [(one, value) for one, value in placed if one.trail]
    path = [(panel.x(axis.of(one.evaluation.design)), panel.held(value)) for one, value in trail if value is not None]
    style = "trail estimate" if any("estimate" in one.classes for one in marks) else "trail"
    scratch = [(one, value) for one, value in placed if not one.trail and "scratch" in one.classes]
    return joined(
        (
            track.rules(panel),
            charts.label(box.left, box.top - 10, track.name, kind="panel-name"),
            *(
                _mark(panel, axis, one, value)
                for one, value in placed
                if not one.trail and "scratch" not in one.classes
            ),
            charts.polyline(path, style),
            *(_mark(panel, axis, one, value) for one, value in trail + scratch),
            *(_again_mark(panel, track, panel.x(axis.of(one.design)), one) for one in again),
            *_landmarks(record, track, panel, axis),
        )
    )


def _mark(panel: Panel, axis: Way, one: Point, value: float | None) -> Markup:
    x = panel.x(axis.of(one.evaluation.design))
    if value is None or one.evaluation.failed:
        y = max(panel.y.start, panel.y.end) - 5 if value is None else panel.y(value)
        return charts.mark(x, y, charts.CROSS, "failed", tip=one.tip, key=one.key)
    return _dot(panel, x, value, one)


def _dot(panel: Panel, x: float, value: float, one: Point) -> Markup:
    """A candidate at its place, or the sign that it lies below the axis."""
    if value < panel.y.low:
        return charts.mark(x, panel.y.start, charts.WEDGE, one.kind, tip=one.tip, key=one.key)
    large = not one.classes.isdisjoint({"chosen", "scratch"})
    radius = 2.4 if not large else 2.8 if "estimate" in one.classes else 3.4
    return charts.dot(x, panel.y(value), one.kind, tip=one.tip, radius=radius, key=one.key)


def _again_mark(panel: Panel, track: Track, x: float, figures: Figures) -> Markup:
    """Mean and deviation over fresh seeds at an x, as far as the axis reaches."""
    pair = track.again(figures)
    if pair is None:
        return Markup()
    mean, deviation = pair
    edges = edges_of(figures.design)
    size = "" if edges is None else f": {count(edges, 'edge')}"
    tip = (
        f"measured again{size}\n"
        f"{track.metric.name} {track.metric.measured(figures.performance, figures.performance_sd)} "
        f"(mean of {count(len(figures.repeats), 'fresh seed')})\nS {number(figures.score, 4)}"
    )
    bar = Markup()
    if deviation is not None and mean + deviation > panel.y.low:
        bar = charts.error_bar(x, panel.held(mean - deviation), panel.y(mean + deviation))
    if mean < panel.y.low:
        return bar + charts.mark(x, panel.y.start, charts.WEDGE, "again", tip=tip, key=figures.design.key)
    return bar + charts.mark(x, panel.y(mean), charts.DIAMOND, "again", tip=tip)


def _landmarks(record: RunRecord, track: Track, panel: Panel, axis: Way) -> Iterable[Markup]:
    """Rings around the recorded values of the best and the starting cell."""
    for name in ("start", "best"):
        place = _ringed(record, track, name)
        if place is None:
            continue
        x, y = panel.x(axis.of(place[0])), panel.y(place[1])
        yield charts.dot(x, y, f"ring {name}", radius=6.5)
        if track.quantity == "score":
            # The best is a summit and the start usually the foot of one: there the trail leaves room for a word.
            below = name == "start" and abs(y - panel.y.start) > 34
            yield charts.label(x, y + 24 if below else y - 13, name, kind=f"name {name}", anchor="middle")


def _ringed(record: RunRecord, track: Track, name: str) -> tuple[Design, float] | None:
    """The best or the start, and its value: as recorded, or with fresh seeds where that was no training."""
    if track.quantity == "untrained":
        return None
    evaluation = landmark(record, name)
    if evaluation is not None:
        value = track.of(record, evaluation)
        return None if value is None else (evaluation.design, value)
    figures = record.best() if name == "best" else record.complete()
    pair = None if figures is None else track.again(figures)
    return None if figures is None or pair is None else (figures.design, pair[0])


def trajectory_svg(record: RunRecord, *, width: float = 700.0, height: float = 158.0) -> Markup:
    """The panels under each other; `height` is one panel's."""
    parts, panels = [], tracks(record)
    for position, track in enumerate(panels):
        top = 34.0 + position * (height + 40)
        box = Box(58.0, top, width - 12, top + height)
        parts += [track_marks(record, track, box), way_foot(record, box, written=track is panels[-1])]
    bottom = 34.0 + len(panels) * (height + 40) - 40
    parts.append(charts.label(width - 12, bottom + 38, f"{way(record).title} →", kind="axis-name", anchor="end"))
    title = f"Trajectory of the search: S, {metric_of(record.settings).name} and cost"
    return _chart(record, parts, (width, bottom + 46), title)


def _chart(record: RunRecord, parts: Iterable[Markup], size: tuple[float, float], title: str) -> Markup:
    """An SVG element of the page; `size` is width and height."""
    summary = f"{title}; {count(len(record.candidates), 'candidate')}"
    box = f"0 0 {size[0]:g} {size[1]:g}"
    return tag("svg", joined(parts), class_="chart", viewBox=box, role="img", aria_label=summary)


# --- the front -------------------------------------------------------------------------------------------------------


def front_marks(record: RunRecord, box: Box) -> Markup:
    """Performance against cost: every usable candidate, the front, its finalists measured again, the limits."""
    shown, again, track = _usable_points(record), record.measured_again(), tracks(record)[1]
    panel = _front_panel(record, box)
    front = [(panel.x(cost(record, one.recorded)), panel.held(one.performance)) for one in record.front()]
    corners = charts.staircase(front) + ([(box.right, front[-1][1])] if front else [])
    ringed = [(name, one) for name in ("start", "best") if (one := landmark(record, name)) is not None]
    return joined(
        (
            track.rules(panel),
            panel.foot(panel.x.ticks(4), round_quantity),
            _limit_line(record, panel),
            *(
                _dot(panel, panel.x(cost(record, one.evaluation)), one.evaluation.performance or 0.0, one)
                for one in sorted(shown, key=lambda one: (one.trail, "scratch" in one.kind))
            ),
            charts.polyline(corners, "front"),
            *(_again_mark(panel, track, panel.x(cost(record, one.recorded)), one) for one in again),
            *(
                charts.dot(panel.x(cost(record, one)), panel.held(one.performance or 0.0), f"ring {name}", radius=6.5)
                for name, one in ringed
            ),
        )
    )


def _usable_points(record: RunRecord) -> list[Point]:
    return [one for one in points(record, "performance") if not one.evaluation.failed]


def _front_panel(record: RunRecord, box: Box) -> Panel:
    shown, again, track = _usable_points(record), record.measured_again(), tracks(record)[1]
    costs = [cost(record, one) for one in (*(one.evaluation for one in shown), *(one.recorded for one in again))]
    limit = _limit(record)
    if limit is not None and costs and 0.5 * min(costs) < limit < 2 * max(costs):
        costs.append(limit)
    log = min(costs, default=0) > 0 and max(costs) > LOG_RANGE * min(costs)
    heights = [one.evaluation.performance or 0.0 for one in shown] + track.spans(again)
    y = Scale.around(charts.in_view(heights, track.always(record)), box.bottom, box.top)
    return Panel(Scale.around(costs, box.left, box.right, log=log), y)


def _limit(record: RunRecord) -> float | None:
    """The limit on the run's own resource, in the unit of its axis."""
    limit = record.settings.limits.given().get(record.settings.resource)
    return None if limit is None else limit / record.settings.score.weighs.unit.axis[0]


def _limit_line(record: RunRecord, panel: Panel) -> Markup:
    limit = _limit(record)
    if limit is None or not panel.x.low <= limit <= panel.x.high:
        return Markup()
    x = panel.x(limit)
    name = charts.label(x - 5, panel.y.end + 10, "limit", kind="name limit", anchor="end")
    return charts.line((x, panel.y.start), (x, panel.y.end), "limit-line") + name


def front_svg(record: RunRecord, *, width: float = 470.0, height: float = 400.0) -> Markup:
    """The chart of performance against cost."""
    box, metric = Box(58.0, 34.0, width - 14, height - 54), metric_of(record.settings)
    scale = ", logarithmic" if _front_panel(record, box).x.log else ""
    axis = f"{record.settings.score.weighs.axis}{scale}"
    parts = (
        charts.label(box.left, box.top - 14, metric.axis, kind="panel-name"),
        front_marks(record, box),
        charts.label(box.right, height - 12, axis, kind="axis-name", anchor="end"),
    )
    return _chart(record, parts, (width, height), f"{metric.name.capitalize()} against cost")

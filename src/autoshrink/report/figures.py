"""The report's charts: the trajectory of the search, and performance against cost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from autoshrink import words
from autoshrink.drawing import tag
from autoshrink.metrics import METRICS, Metric
from autoshrink.record import Candidate, Figures, RunRecord
from autoshrink.report import charts, story
from autoshrink.report.charts import Panel, Scale
from autoshrink.score import Evaluation, Resources

Tips = dict[tuple[int, int], str]

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
    """The run's resource in the unit of its axis: a count, or KiB."""
    return record.settings.score.cost(resources) / (1024 if record.settings.resource == "memory" else 1)


def cost_axis(record: RunRecord) -> str:
    """The name of that axis."""
    return words.RESOURCE[record.settings.resource] + (", KiB" if record.settings.resource == "memory" else "")


def _key(candidate: Candidate) -> str:
    return f"{candidate.step}.{candidate.index}"


def _classes(record: RunRecord, candidate: Candidate, chosen: set[str]) -> str:
    if _key(candidate) in chosen:
        return "dot chosen"
    broken = record.settings.limits.broken_by(candidate.evaluation.resources) is not None
    return "dot broken" if broken else "dot"


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
        value = record.settings.score(evaluation) if self.quantity == "score" else evaluation.performance
        return value if math.isfinite(value) else None

    def again(self, figures: Figures) -> tuple[float, float | None] | None:
        """Mean and deviation over fresh seeds; None where nothing was measured or there is nothing to measure."""
        if self.quantity == "cost" or not figures.repeats:
            return None
        if self.quantity == "performance":
            return figures.performance, figures.performance_sd
        return (figures.score, figures.score_sd) if math.isfinite(figures.score) else None

    def rules(self, panel: Panel) -> str:
        """Horizontal rules at round figures."""
        low, high = panel.y.low, panel.y.high
        if self.quantity == "performance":
            return panel.rules(self.metric.ticks(low, high), self.metric.tick)
        write = words.round_quantity if self.quantity == "cost" else write_score
        return panel.rules(panel.y.ticks(4), write)


def write_score(value: float) -> str:
    """A value of S on its axis."""
    return words.number(value, 2)


def tracks(record: RunRecord) -> tuple[_Track, ...]:
    """The three panels, from the top."""
    metric = METRICS[record.settings.task]
    return (
        _Track("Score S", "score", metric),
        _Track(metric.axis, "performance", metric),
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
    values = [track.of(record, one.evaluation) for one in record.candidates]
    chosen = record.chosen()
    joined = [(one, value) for one in chosen if (value := track.of(record, one.evaluation)) is not None]
    known = [value for value in values if value is not None] + _spans(track, again)
    y = Scale.around(charts.in_view(known, _always(record, track)), box.bottom, box.top)
    # Room for the word above the best, and for failed candidates at the bottom.
    room = (y.high - y.low) * 0.12
    y = Scale(y.low - (room if track.quantity != "cost" else 0.0), y.high + room, box.bottom, box.top)
    panel = Panel(edges_scale(record, box.left, box.right), y)
    keys = {_key(one) for one in chosen}
    parts = [track.rules(panel), charts.label(box.left, box.top - 10, track.name, kind="panel-name")]
    ordered = sorted(zip(record.candidates, values, strict=True), key=lambda pair: _key(pair[0]) in keys)
    tips = story.tips(record)
    marks = [_candidate_mark(record, panel, (one, value), keys, tips=tips) for one, value in ordered]
    split = len(marks) - len(keys)
    path = [(panel.x(len(one.cell.edges)), panel.held(value)) for one, value in joined]
    parts += [*marks[:split], charts.polyline(path, "trail"), *marks[split:]]
    parts += [_again_mark(panel, track, panel.x(len(one.cell.edges)), one) for one in again]
    parts += _landmarks(record, track, panel)
    return "".join(parts)


def _candidate_mark(
    record: RunRecord, panel: Panel, shown: tuple[Candidate, float | None], chosen: set[str], *, tips: Tips
) -> str:
    one, value = shown
    x, key, tip = panel.x(len(one.cell.edges)), _key(one), tips[one.step, one.index]
    if value is None or one.evaluation.failed:
        y = max(panel.y.start, panel.y.end) - 5 if value is None else panel.y(value)
        return charts.cross(x, y, "failed", tip=tip, key=key)
    return _dot(panel, (x, value), _classes(record, one, chosen), tip=tip, key=key)


def _dot(panel: Panel, place: tuple[float, float], kind: str, *, tip: str, key: str) -> str:
    """A candidate at its x and its value, or the sign that it lies below the axis."""
    x, value = place
    if value < panel.y.low:
        return charts.wedge(x, panel.y.start, kind, tip=tip, key=key)
    return charts.dot(x, panel.y(value), kind, tip=tip, radius=3.4 if "chosen" in kind else 2.4, key=key)


def _spans(track: _Track, again: Iterable[Figures]) -> list[float]:
    """The ends of the error bars of what was measured again."""
    pairs = [pair for one in again if (pair := track.again(one))]
    return [mean + sign * (deviation or 0.0) for mean, deviation in pairs for sign in (-1, 1)]


def _always(record: RunRecord, track: _Track) -> list[float]:
    """What an axis never leaves out: the best and the starting cell, as recorded and as measured again."""
    found = [one for one in (record.best(), record.complete()) if one is not None]
    recorded = [value for one in found if (value := track.of(record, one.recorded)) is not None]
    return recorded + _spans(track, found)


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
        f"measured again: {words.count(len(figures.cell.edges), 'edge')}\n"
        f"{metric.name} {metric.measured(figures.performance, figures.performance_sd)} "
        f"({story.measured_words(figures)})\nS {words.number(figures.score, 4)}"
    )


def _landmarks(record: RunRecord, track: _Track, panel: Panel) -> list[str]:
    """Rings around the recorded values of the best and the starting cell."""
    parts = []
    for figures, name in ((record.complete(), "start"), (record.best(), "best")):
        if figures is None or (value := track.of(record, figures.recorded)) is None:
            continue
        x, y = panel.x(len(figures.cell.edges)), panel.y(value)
        parts.append(charts.dot(x, y, f"ring {name}", radius=6.5))
        if track.quantity == "score":
            # The best is a summit and the start usually the foot of one: there the trail leaves room for a word.
            below = name == "start" and abs(y - panel.y.start) > 34
            parts.append(charts.label(x, y + 24 if below else y - 13, name, kind=f"name {name}", anchor="middle"))
    return parts


def trajectory_svg(record: RunRecord, *, width: float = 700.0, height: float = 158.0) -> str:
    """The three panels under each other; `height` is one panel's."""
    again = measured_again(record)
    left, right, parts = 58.0, width - 12, []
    for position, track in enumerate(tracks(record)):
        top = 34.0 + position * (height + 40)
        box = Box(left, top, right, top + height)
        parts.append(track_marks(record, track, box, again))
        panel = Panel(edges_scale(record, left, right), Scale(0, 1, box.bottom, box.top))
        parts.append(panel.foot(edge_ticks(record) if position == 2 else (), lambda value: f"{value:g}"))
    bottom = 34.0 + 3 * height + 80
    parts.append(charts.label(right, bottom + 38, "edges left →", kind="axis-name", anchor="end"))
    title = f"Trajectory of the search: S, {METRICS[record.settings.task].name} and cost"
    return chart_svg(record, "".join(parts), (width, bottom + 46), title)


def chart_svg(record: RunRecord, marks: str, size: tuple[float, float], title: str) -> str:
    """An SVG element of the page around some marks; `size` is width and height."""
    summary = f"{title}; {words.count(len(record.candidates), 'candidate')}"
    return tag("svg", marks, class_="chart", viewBox=f"0 0 {size[0]:g} {size[1]:g}", role="img", aria_label=summary)


# --- the front -----------------------------------------------------------------------------------------------------


def front_marks(record: RunRecord, box: Box) -> str:
    """Performance against cost: every usable candidate, the front, its finalists measured again, the limits."""
    usable = [one for one in record.candidates if not one.evaluation.failed]
    again = measured_again(record)
    panel = _front_panel(record, box, usable, again)
    place, tips = partial(_place, record, panel), story.tips(record)
    keys = {_key(one) for one in record.chosen()}
    front = [place(one) for one in record.front()]
    steps = charts.staircase(front) + ([(box.right, front[-1][1])] if front else [])
    track = tracks(record)[1]
    parts = [track.rules(panel), panel.foot(panel.x.ticks(4), words.round_quantity), _limit(record, panel)]
    for one in sorted(usable, key=lambda one: _key(one) in keys):
        at = (place(one.evaluation)[0], one.evaluation.performance or 0.0)
        parts.append(_dot(panel, at, _classes(record, one, keys), tip=tips[one.step, one.index], key=_key(one)))
    parts.append(charts.polyline(steps, "front"))
    parts += [_again_mark(panel, track, panel.x(cost(record, one.recorded.resources)), one) for one in again]
    for chosen, name in ((record.complete(), "start"), (record.best(), "best")):
        if chosen:
            parts.append(charts.dot(*place(chosen.recorded), f"ring {name}", radius=6.5))
    return "".join(parts)


def _front_panel(record: RunRecord, box: Box, usable: list[Candidate], again: list[Figures]) -> Panel:
    costs = [cost(record, one.evaluation.resources) for one in usable]
    limit = _limit_value(record)
    shown = costs if limit is None or not costs or not 0.5 * min(costs) < limit < 2 * max(costs) else [*costs, limit]
    log = bool(shown) and max(shown) / min(shown) > LOG_RANGE
    track = tracks(record)[1]
    known = [one.evaluation.performance or 0.0 for one in usable] + _spans(track, again)
    heights = charts.in_view(known, _always(record, track))
    x = Scale.around(shown, box.left, box.right, log=log)
    return Panel(x, Scale.around(heights, box.bottom, box.top))


def _place(record: RunRecord, panel: Panel, evaluation: Evaluation) -> tuple[float, float]:
    return panel.x(cost(record, evaluation.resources)), panel.held(evaluation.performance or 0.0)


def _limit_value(record: RunRecord) -> float | None:
    """The limit on the run's own resource, in the unit of its axis."""
    limit = getattr(record.settings.limits, f"max_{record.settings.resource}", None)
    if limit is None:
        return None
    return float(limit) / (1024 if record.settings.resource == "memory" else 1)


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
    scale = ", logarithmic" if _front_panel(record, box, _usable(record), []).x.log else ""
    parts = [
        charts.label(box.left, box.top - 14, metric.axis, kind="panel-name"),
        front_marks(record, box),
        charts.label(box.right, height - 12, f"{cost_axis(record)}{scale}", kind="axis-name", anchor="end"),
    ]
    return chart_svg(record, "".join(parts), (width, height), f"{metric.name.capitalize()} against cost")


def _usable(record: RunRecord) -> list[Candidate]:
    return [one for one in record.candidates if not one.evaluation.failed]

"""A run as one picture: for a README or a talk."""

from __future__ import annotations

from dataclasses import replace

from markupsafe import Markup

from autoshrink import drawing, findings
from autoshrink.cell import Cell
from autoshrink.drawing import joined, tag
from autoshrink.formatting import count
from autoshrink.metrics import metric_of
from autoshrink.record import RunRecord
from autoshrink.report import charts, run_charts
from autoshrink.report.page import cost_words
from autoshrink.report.run_charts import Box
from autoshrink.report.templates import asset

WIDTH, HEIGHT = 1200.0, 630.0


def summary_svg(record: RunRecord, *, name: str) -> str:
    """A picture of a run: the cells, the trajectory, the front and the headline figures.

    Args:
        record: the run, as replayed from its events.
        name: the run folder's name, as the person gave it.
    """
    headline = findings.headline(record)
    shown = name if len(name) <= 60 else "…" + name[-59:]
    return tag(
        "svg",
        tag("title", f"{name}: {headline}"),
        tag("style", asset("poster.css") + drawing.CELL_STYLE),
        tag("rect", class_="paper", x=0.5, y=0.5, width=WIDTH - 1, height=HEIGHT - 1, rx=14),
        _title(headline),
        charts.label(40, 88, f"{shown} · {findings.status(record)}{_measured(record)}", kind="sub"),
        _cells(record),
        _figures(record),
        _charts(record),
        xmlns="http://www.w3.org/2000/svg",
        class_="poster as-cell",
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
    )


def _title(headline: str) -> Markup:
    # About 62 characters of a wide system font fill the picture's width at the usual size.
    size = 29 * min(1.0, 62 / len(headline))
    return tag("text", headline, class_="title", x=40, y=60, style=f"font-size:{size:.1f}px")


def _measured(record: RunRecord) -> str:
    best = record.best()
    if best is None:
        return ""
    return f" · {findings.metric_for(record, best).name}: {findings.measured_words(record, best)}"


def _cells(record: RunRecord) -> Markup:
    best, complete = record.best(), record.complete()
    word = findings.start_word(record)
    parts = [_cell(record.start, (40.0, 120.0, 190.0), word, cost_words(record, complete))]
    if best and best.cell.key != record.start.key:
        parts.append(tag("path", class_="arrow", d="M246 330h34m-9-9l9 9-9 9"))
        parts.append(_cell(best.cell, (296.0, 120.0, 264.0), "best cell", cost_words(record, best)))
    return joined(parts)


def _cell(cell: Cell, place: tuple[float, float, float], name: str, cost: str) -> Markup:
    """A cell below its name; `place` is left, top and width."""
    left, top, width = place
    layout = drawing.arrange(cell)
    caption = count(len(cell.edges), "edge") + cost
    inside = drawing.cell_marks(cell, layout)
    box = f"0 0 {layout.width:.0f} {layout.height:.0f}"
    picture = tag("svg", inside, x=left, y=top + 40, width=width, height=434.0, viewBox=box)
    middle = left + width / 2
    heading = charts.label(middle, top + 8, name, kind="caption", anchor="middle")
    return heading + charts.label(middle, top + 27, caption, anchor="middle") + picture


def _figures(record: RunRecord) -> Markup:
    """Performance and two costs of the best cell with their change, above the charts."""
    found, parts = findings.headlines(record), []
    for position, one in enumerate((*found[:1], *found[2:4])):
        x = 636.0 + (0, 220, 380)[position]
        parts.append(charts.label(x, 128, one.title, kind="sub"))
        parts.append(charts.label(x, 157, one.shown + (f" ± {one.spread}" if one.spread else ""), kind="figure"))
        parts.append(charts.label(x, 178, one.change, kind="sub" if one.worse else "delta"))
    return joined(parts)


def _charts(record: RunRecord) -> Markup:
    if not record.candidates:
        return charts.label(636, 300, "Nothing has been measured yet.", kind="sub")
    score, front = Box(636.0, 232.0, 1164.0, 372.0), Box(636.0, 436.0, 1164.0, 564.0)
    track = replace(run_charts.tracks(record)[0], name="Score S against edges left →")
    title = f"{metric_of(record.settings).axis} against {record.settings.score.weighs.axis}"
    return joined(
        (
            run_charts.track_marks(record, track, score),
            run_charts.edges_foot(record, score),
            charts.label(front.left, front.top - 10, title, kind="panel-name"),
            run_charts.front_marks(record, front),
            _key(record),
        )
    )


def _key(record: RunRecord) -> Markup:
    """What the marks mean where some of them are estimates."""
    if not record.settings.relative:
        return Markup()
    marks = [("dot scratch", "trained from scratch, short"), ("again", "fresh seeds")]
    if record.settings.evaluator == "inherited":
        marks.append(("dot estimate chosen", "estimate with inherited weights"))
    parts, x = [], 636.0
    for kind, name in marks:
        again = kind == "again"
        mark = charts.mark(x + 5, 604, charts.DIAMOND, kind, tip=name) if again else charts.dot(x + 5, 604, kind)
        parts += [mark, charts.label(x + 16, 608.5, name)]
        x += 34 + 6.4 * len(name)
    return joined(parts)

"""A run as one picture: for a README or a talk."""

from __future__ import annotations

from dataclasses import replace

from autoshrink import drawing, formatting
from autoshrink.cell import Cell
from autoshrink.drawing import tag
from autoshrink.escaping import escape
from autoshrink.metrics import METRICS
from autoshrink.record import RunRecord
from autoshrink.report import charts, evidence, figures, gains, story
from autoshrink.report.charts import Panel, Scale
from autoshrink.report.figures import Box

WIDTH, HEIGHT = 1200.0, 630.0

STYLE = """
.poster{--paper:#fff;--ink:#1c2126;--soft:#55606a;--rule:#e2e5e8;--strong:#b9c0c6;--accent:#0b6b6b;--cut:#b3261e;
--dot:#8b96a0}
@media (prefers-color-scheme:dark){.poster{--paper:#15191d;--ink:#e8eaec;--soft:#a5aeb7;--rule:#2b3238;--strong:#4a545d;
--accent:#5cc7bd;--cut:#ff8a80;--dot:#6d7983}}
.poster text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--soft);font-size:13px}
.poster .paper{fill:var(--paper);stroke:var(--rule)}
.poster .title{font-size:29px;font-weight:600;fill:var(--ink);letter-spacing:-.4px}.poster .sub{font-size:15px}
.poster .figure{font-size:25px;font-weight:600;fill:var(--ink)}.poster .delta{font-size:14px;font-weight:600;
fill:var(--accent)}
.poster .panel-name,.poster .caption{font-weight:600;fill:var(--ink)}
.poster .name{font-weight:600;paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}
.poster .name.best{fill:var(--accent)}.poster .name.start{fill:var(--ink)}
.rule{stroke:var(--rule)}.axis{stroke:var(--strong)}.dot{fill:var(--dot);opacity:.5}
.dot.chosen,.dot.scratch{fill:var(--ink);opacity:1}.dot.broken{fill:none;stroke:var(--dot)}
.dot.estimate{fill:var(--dot);opacity:.3}.dot.estimate.chosen{opacity:.75}
.trail.estimate{stroke:var(--dot);stroke-width:1;stroke-dasharray:3 3}
.failed{fill:none;stroke:var(--cut);stroke-width:1.6}.trail{fill:none;stroke:var(--ink);stroke-width:1.5}
.front{fill:none;stroke:var(--accent);stroke-width:1.8}.again{fill:var(--paper);stroke:var(--accent);stroke-width:2}
.error{fill:none;stroke:var(--accent);stroke-width:1.6}.ring{fill:none;stroke-width:1.8;stroke:var(--ink)}
.ring.best{stroke:var(--accent)}.limit-line{stroke:var(--cut);stroke-dasharray:4 4}
.poster .name.limit{fill:var(--cut)}.arrow{fill:none;stroke:var(--strong);stroke-width:2.5;stroke-linecap:round;
stroke-linejoin:round}
"""


def summary_svg(record: RunRecord, *, name: str) -> str:
    """A picture of a run: the cells, the trajectory, the front and the headline figures.

    Args:
        record: the run, as replayed from its events.
        name: the run folder's name, as the person gave it.
    """
    headline = story.headline(record)
    return tag(
        "svg",
        tag("title", escape(f"{name}: {headline}")),
        tag("style", STYLE + drawing.CELL_STYLE),
        tag("rect", class_="paper", x=0.5, y=0.5, width=WIDTH - 1, height=HEIGHT - 1, rx=14),
        _title(headline),
        charts.label(
            40,
            88,
            f"{name if len(name) <= 60 else '…' + name[-59:]} · {story.status(record)}{_measured(record)}",
            kind="sub",
        ),
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


def _title(headline: str) -> str:
    # About 62 characters of a wide system font fill the picture's width at the usual size.
    size = 29 * min(1.0, 62 / len(headline))
    return tag("text", escape(headline), class_="title", x=40, y=60, style=f"font-size:{size:.1f}px")


def _measured(record: RunRecord) -> str:
    best = record.best()
    if best is None:
        return ""
    return f" · {evidence.metric_for(record, best).name}: {evidence.measured_words(record, best)}"


def _cells(record: RunRecord) -> str:
    best, complete = record.best(), record.complete()
    word = story.start_word(record)
    parts = [_cell(record.start, (40.0, 120.0, 190.0), word, story.cost_words(record, complete))]
    if best and best.cell.key != record.start.key:
        parts.append(tag("path", class_="arrow", d="M246 330h34m-9-9l9 9-9 9"))
        parts.append(_cell(best.cell, (296.0, 120.0, 264.0), "best cell", story.cost_words(record, best)))
    return "".join(parts)


def _cell(cell: Cell, place: tuple[float, float, float], name: str, cost: str) -> str:
    """A cell below its name; `place` is left, top and width."""
    left, top, width = place
    layout = drawing.arrange(cell)
    caption = formatting.count(len(cell.edges), "edge") + cost
    inside = drawing.cell_marks(cell, layout)
    box = f"0 0 {layout.width:.0f} {layout.height:.0f}"
    picture = tag("svg", inside, x=left, y=top + 40, width=width, height=434.0, viewBox=box)
    middle = left + width / 2
    heading = charts.label(middle, top + 8, name, kind="caption", anchor="middle")
    return heading + charts.label(middle, top + 27, caption, anchor="middle") + picture


def _figures(record: RunRecord) -> str:
    """Performance and two costs of the best cell with their change, above the charts."""
    found, parts = gains.headlines(record), []
    for position, one in enumerate((*found[:1], *found[2:4])):
        x = 636.0 + (0, 220, 380)[position]
        parts.append(charts.label(x, 128, one.title, kind="sub"))
        parts.append(charts.label(x, 157, one.shown + (f" ± {one.spread}" if one.spread else ""), kind="figure"))
        parts.append(charts.label(x, 178, one.change, kind="sub" if one.worse else "delta"))
    return "".join(parts)


def _charts(record: RunRecord) -> str:
    if not record.candidates:
        return charts.label(636, 300, "Nothing has been measured yet.", kind="sub")
    score = Box(636.0, 232.0, 1164.0, 372.0)
    front = Box(636.0, 436.0, 1164.0, 564.0)
    again, metric = figures.measured_again(record), METRICS[record.settings.task]
    track = replace(figures.tracks(record)[0], name="Score S against edges left →")
    axis = Panel(figures.edges_scale(record, score.left, score.right), Scale(0, 1, score.bottom, score.top))
    return "".join(
        [
            figures.track_marks(record, track, score, again),
            axis.foot(figures.edge_ticks(record), lambda value: f"{value:g}"),
            charts.label(
                front.left,
                front.top - 10,
                f"{metric.axis} against {figures.cost_axis(record)}",
                kind="panel-name",
            ),
            figures.front_marks(record, front),
            _key(record),
        ]
    )


def _key(record: RunRecord) -> str:
    """What the marks mean where some of them are estimates."""
    if not record.settings.relative:
        return ""
    marks = [("dot scratch", "trained from scratch, short"), ("again", "fresh seeds")]
    if record.settings.evaluator == "inherited":
        marks.append(("dot estimate chosen", "estimate with inherited weights"))
    parts, x = [], 636.0
    for kind, name in marks:
        mark = charts.diamond(x + 5, 604, kind, tip=name) if kind == "again" else charts.dot(x + 5, 604, kind)
        parts += [mark, charts.label(x + 16, 608.5, name)]
        x += 34 + 6.4 * len(name)
    return "".join(parts)

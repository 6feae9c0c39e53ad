"""What a notebook shows of a cell, an architecture or a run: pictures and tables that need nothing from anywhere.

The values' `_repr_html_` leads here (`autoshrink.design.Pictured`).
"""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

from autoshrink import findings, formatting
from autoshrink.architecture import Architecture
from autoshrink.cell import Cell
from autoshrink.cost import count
from autoshrink.design import Design, edges_of
from autoshrink.drawing import cells_svg, network_svg
from autoshrink.drawing.markup import joined, tag
from autoshrink.record import Figures, RunRecord
from autoshrink.registry import TASKS
from autoshrink.resources import RESOURCES
from autoshrink.tasks import Task, task_of


def html_of(value: object) -> str:
    """A value as HTML; all text in it is escaped.

    Args:
        value: a cell, an architecture or a run's record.

    Raises:
        TypeError: it is none of them.
    """
    if isinstance(value, RunRecord):
        return str(_run(value))
    if isinstance(value, Cell):
        edges = formatting.count(len(value.edges), "edge")
        return str(tag("div", _picture(task_of(value), value), tag("p", f"{value.kind} cell, {edges}")))
    if isinstance(value, Architecture):
        counted = count(value)
        rows = [("input", value.sizes), ("parameters", f"{counted.params:,}"), ("MACs", f"{counted.macs:,}")]
        return str(tag("div", _picture(task_of(value), value), _table((), rows)))
    raise TypeError(f"a {type(value).__name__} has no picture")


def _picture(task: Task, design: Design) -> Markup:
    """The cells of a design, or its parts, or what it is called."""
    drawn = task.drawn(design)
    if drawn.cells:
        return cells_svg(*drawn)
    parts = task.outline(design)
    return network_svg(parts) if parts else tag("p", str(design))


def _run(record: RunRecord) -> Markup:
    """What was found, in words; its picture; and its figures beside the start's."""
    best, start = record.best(), record.complete()
    parts = [tag("p", tag("strong", findings.headline(record)))]
    if best is not None:
        parts.append(_picture(TASKS[record.settings.task], best.design))
        rows = [_figures(record, findings.best_word(record, best), best)]
        if start is not None and not record.is_start(best.design):
            rows.insert(0, _figures(record, findings.start_word(record), start))
        parts.append(_table(("", *_heads(record, best)), rows))
    if not record.finished:
        parts.append(tag("p", findings.status(record)))
    return tag("div", *parts)


def _heads(record: RunRecord, best: Figures) -> tuple[str, ...]:
    size = () if edges_of(record.start) is None else ("edges",)
    weighs = RESOURCES[record.settings.resource]
    return (*size, findings.metric_for(record, best).name, weighs.short or weighs.title, "S")


def _figures(record: RunRecord, name: str, figures: Figures) -> tuple[str, ...]:
    metric, weighs = findings.metric_for(record, figures), RESOURCES[record.settings.resource]
    edges = edges_of(getattr(figures.design, "cell", None) or figures.design)
    return (
        name,
        *(() if edges_of(record.start) is None else (str(edges),)),
        metric.measured(figures.performance, figures.performance_sd, fine=True),
        weighs.unit.exact(figures.recorded.resources[weighs.name]),
        formatting.number(figures.score, 4),
    )


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Markup:
    head = joined(tag("th", one) for one in heads)
    body = joined(tag("tr", *(tag("td", one) for one in row)) for row in rows)
    return tag("table", tag("thead", tag("tr", head)) if head else "", tag("tbody", body))

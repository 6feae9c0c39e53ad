"""The film of the shrinking: one frame a decision, all in the layout of the starting cell.

Every edge, node and wire is drawn once, in the stage; a frame only names those that it shows. Without JavaScript and in
print the frames stand beside each other.
"""

from __future__ import annotations

from dataclasses import replace

from markupsafe import Markup

from autoshrink import drawing
from autoshrink.cell import Cell
from autoshrink.drawing import Layout, tag
from autoshrink.formatting import count
from autoshrink.record import RunRecord
from autoshrink.registry import TASKS
from autoshrink.report.steps import Step


def film(record: RunRecord, steps: tuple[Step, ...]) -> tuple[Markup, list[Markup]]:
    """The stage, and a small picture of every step's cell; nothing where not every step has one of as many nodes."""
    cells = [step.picture for step in steps if step.picture is not None]
    if not steps or len(cells) < len(steps) or len({len(cell.ops) for cell in cells}) > 1:
        return Markup(), []
    task = TASKS[record.settings.task]
    start, aggregate = task.picture(record.start), task.drawn(record.start).aggregate
    first = start if start is not None and len(start.ops) == len(cells[0].ops) else cells[0]
    whole = replace(first, edges=tuple(sorted(set(first.edges).union(*(cell.edges for cell in cells)))))
    layout = drawing.arrange(whole, outputs=whole.reachable)
    shown = list(zip(steps, cells, strict=True))
    return _stage(whole, layout, shown, aggregate), [_frame(whole, layout, step, cell) for step, cell in shown]


def _stage(whole: Cell, layout: Layout, shown: list[tuple[Step, Cell]], aggregate: str | None) -> Markup:
    parts = [
        tag("path", id=f"w{node}", class_="as-wire as-leaf", d=path, data_part="")
        for node, path in layout.outputs.items()
    ]
    if layout.shortcut:
        parts.append(tag("path", id="shortcut", class_="as-wire as-shortcut", d=layout.shortcut))
    parts += [drawing.edge_mark(layout, (i, j), id=f"e{i}-{j}", data_part="") for i, j in whole.edges]
    nodes = {(node, whole.ops[node]): whole for node in whole.reachable}
    nodes |= {(node, cell.ops[node]): cell for step, cell in shown for node in step.changed}
    parts += [
        drawing.node_mark(cell, layout, node, id=_node_id(whole, cell, node), data_part="")
        for (node, _), cell in nodes.items()
    ]
    parts.append(drawing.output_mark(whole, layout, aggregate, id="out"))
    title = tag("title", "The cell at one step of the search")
    return tag("svg", title, *parts, class_="as-cell", viewBox=_view_box(layout), role="img")


def _frame(whole: Cell, layout: Layout, step: Step, cell: Cell) -> Markup:
    names = [f"w{leaf}" for leaf in cell.leaves] + (["shortcut"] if layout.shortcut else [])
    names += [f"e{i}-{j}" for i, j in cell.edges] + [_node_id(whole, cell, node) for node in cell.reachable] + ["out"]
    return tag(
        "svg",
        tag("title", f"Step {step.number}: {count(len(cell.edges), 'edge')}"),
        *(tag("use", href=f"#e{i}-{j}", class_="cut") for i, j in step.removed),
        *(tag("use", href=f"#{name}") for name in names),
        class_="as-cell thumb",
        viewBox=_view_box(layout),
        role="img",
    )


def _node_id(whole: Cell, cell: Cell, node: int) -> str:
    """Of a node's mark: one for each operation that it ever has."""
    return f"n{node}" if cell.ops[node] == whole.ops[node] else f"n{node}-{cell.ops[node]}"


def _view_box(layout: Layout) -> str:
    return f"0 0 {layout.width:.0f} {layout.height:.0f}"

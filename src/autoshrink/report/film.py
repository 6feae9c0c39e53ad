"""The film of the shrinking: one frame a decision, all in the layout of the starting cell.

Every edge, node and wire is drawn once, in the stage; a frame only names those that it shows. Without JavaScript and in
print the frames stand beside each other.
"""

from __future__ import annotations

from autoshrink import drawing, formatting
from autoshrink.cell import Cell
from autoshrink.drawing import Layout, tag
from autoshrink.escaping import escape
from autoshrink.record import RunRecord
from autoshrink.report import story
from autoshrink.report.story import Step


def film_html(record: RunRecord) -> str:
    """Stage, controls and strip; nothing before the first decision."""
    steps = story.steps(record)
    if not steps:
        return ""
    edges = set(record.start.edges).union(*(step.chosen.cell.edges for step in steps))
    whole = Cell(record.start.kind, record.start.ops, tuple(sorted(edges)))
    layout = drawing.arrange(whole, outputs=whole.reachable)
    strip = "".join(_frame(record, layout, step) for step in steps)
    return (
        '<div class="film" data-film>'
        f'<div class="stage">{_stage(whole, layout)}<div class="panel">{_controls(len(steps))}'
        '<div class="caption" data-caption aria-live="polite"></div></div></div>'
        f'<ol class="strip" data-strip>{strip}</ol></div>'
    )


def _controls(frames: int) -> str:
    return (
        '<div class="controls"><button type="button" data-play>Play</button>'
        f'<input type="range" min="0" max="{frames - 1}" value="0" step="1" aria-label="Step of the search"'
        " data-slider>"
        '</div><p class="hint">Arrow keys move the slider by one step.</p>'
    )


def _view_box(layout: Layout) -> str:
    return f"0 0 {layout.width:.0f} {layout.height:.0f}"


def _stage(whole: Cell, layout: Layout) -> str:
    parts = [
        tag("path", id=f"w{node}", class_="as-wire as-leaf", d=path, data_part="")
        for node, path in layout.outputs.items()
    ]
    if layout.shortcut:
        parts.append(tag("path", id="shortcut", class_="as-wire as-shortcut", d=layout.shortcut))
    for i, j in whole.edges:
        parts.append(drawing.edge_mark(layout, (i, j), id=f"e{i}-{j}", data_part=""))
    parts += [drawing.node_mark(whole, layout, node, id=f"n{node}", data_part="") for node in whole.reachable]
    parts.append(drawing.output_mark(whole, layout, id="out"))
    return tag(
        "svg", "<title>The cell at one step of the search</title>", *parts,
        class_="as-cell", viewBox=_view_box(layout), role="img",
    )  # fmt: skip


def _frame(record: RunRecord, layout: Layout, step: Step) -> str:
    cell = step.chosen.cell
    names = [f"w{leaf}" for leaf in cell.leaves] + (["shortcut"] if layout.shortcut else [])
    names += [f"e{i}-{j}" for i, j in cell.edges] + [f"n{node}" for node in cell.reachable] + ["out"]
    cuts = "".join(tag("use", href=f"#e{i}-{j}", class_="cut") for i, j in step.removed)
    uses = "".join(tag("use", href=f"#{name}") for name in names)
    title = f"<title>Step {step.number}: {formatting.count(len(cell.edges), 'edge')}</title>"
    picture = tag("svg", title, cuts, uses, class_="as-cell thumb", viewBox=_view_box(layout), role="img")
    return f'<li class="frame" data-frame>{picture}<p class="short">{_short(step)}</p>{_caption(record, step)}</li>'


def removed_words(step: Step) -> str:
    """The edges that went in a step: the one removed, and those that nothing reached any more."""
    if not step.removed:
        return "nothing removed"
    return ", ".join(f"{i}→{j}" for i, j in step.removed)


def _short(step: Step) -> str:
    performance = step.chosen.evaluation.performance
    shown = "failed" if performance is None else step.metric.write(performance)
    return f"<b>{step.number}</b> {shown}"


def _caption(record: RunRecord, step: Step) -> str:
    evaluation, settings = step.chosen.evaluation, record.settings
    score = performance = "failed"
    if evaluation.performance is not None:
        score = formatting.number(settings.score(evaluation), 4)
        performance = step.metric.write(evaluation.performance, fine=True)
    rows = (
        ("edges left", str(len(step.chosen.cell.edges))),
        ("removed", removed_words(step)),
        ("S", score),
        (step.metric.name, performance),
        (
            settings.score.weighs.title,
            settings.score.weighs.unit.short(settings.score.cost(evaluation.resources)),
        ),
    )
    listed = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    verdict = "noise" if step.clear_lead is False else ""
    return (
        f'<div class="full"><h3>Step {step.number}</h3><dl>{listed}</dl>'
        f'<p class="evidence {verdict}">{escape(step.evidence())}</p></div>'
    )

"""What the page shows of a run, panel by panel: JSON, with the pictures that the report draws.

Nothing in it has a style of its own (``style="…"``), which the page's Content-Security-Policy would refuse: such
attributes are called ``data-style``, and the page sets what they say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from autoshrink import drawing, findings
from autoshrink.cell import Cell, Edge
from autoshrink.design import Design, edges_of, name_of
from autoshrink.drawing import tag
from autoshrink.errors import InputError
from autoshrink.escaping import shown
from autoshrink.formatting import count, number
from autoshrink.learned import tables
from autoshrink.live.masks import Mask, Masks, embedded
from autoshrink.live.wiring import Loss, Without, changes, current, losses
from autoshrink.metrics import metric_of, step_metric
from autoshrink.ops import names, operation
from autoshrink.record import Candidate, Forced, RunRecord
from autoshrink.registry import TASKS
from autoshrink.report.agreement import agreement_words, of_estimates
from autoshrink.report.charts import Scale, dot, label
from autoshrink.report.page import size_words
from autoshrink.report.run_charts import front_svg, points, trajectory_svg
from autoshrink.report.steps import Step, change_words, evidence_sentence, step_rivals, steps
from autoshrink.report.templates import Table
from autoshrink.spaces import space_of
from autoshrink.steering import Told

MOST_MARKS = 1200
"""Candidates that a chart of the page draws: all chosen ones, the last, and of the others evenly spread ones."""
_LAST = 200
_MOST_OPEN = 64
"""Of the moves that nobody has measured yet, as many as the map shows."""
_SHADES = 6


def panels(record: RunRecord, only: Collection[str] = ()) -> dict[str, Any]:
    """The panels of a run by name; see `PANELS`.

    Args:
        record: the run so far; of a search over a range of budgets the last budget is shown.
        only: the names of those that are wanted; none for all.

    Raises:
        InputError: there is no such panel.
    """
    unknown = sorted(set(only) - PANELS.keys())
    if unknown:
        raise InputError(f"panels are {', '.join(PANELS)}, not {', '.join(map(shown, unknown))}")
    own = record.latest
    return {name: PANELS[name](record if name == "state" else own) for name in only or PANELS}


# --- where it stands -------------------------------------------------------------------------------------------------


def _state(record: RunRecord) -> dict[str, Any]:
    own = record.latest
    settings = own.settings
    return {
        "headline": findings.headline(record),
        "status": findings.status(record),
        "tried": findings.count_words(record),
        "finished": record.finished,
        "stopped": record.stopped,
        "step": own.decisions[-1].step if own.decisions else None,
        "data": str(record.data.get("name", settings.data.spec or settings.task)),
        "strategy": settings.strategy,
        "evaluator": settings.evaluator,
        "metric": metric_of(settings).name,
        "resource": settings.score.weighs.title,
        "penalty": settings.penalty,
        "formula": findings.formula(own),
        "budget": findings.budget_words(own),
        "cells": isinstance(own.start, Cell),
        "noun": name_of(own.start),
        **_held(own),
    }


def _held(record: RunRecord) -> dict[str, Any]:
    """What people said, and what of it holds."""
    steering = record.steering
    held = steering.constraints
    preferred = {one.by.id: f"{one.preferred.step}.{one.preferred.index}" for one in record.forced()}
    return {
        "paused": steering.paused,
        "ending": steering.ending,
        "pinned": [list(edge) for edge in sorted(held.pinned)],
        "forbidden": [list(edge) for edge in sorted(held.forbidden)],
        "ops": dict(held.ops),
        "focus": None if held.centre is None else f"within {held.radius} of {held.centre}",
        "commands": [_told(one, preferred.get(one.id)) for one in record.commands],
    }


def _told(one: Told, preferred: str | None) -> dict[str, Any]:
    return {
        "id": one.id,
        "author": shown(one.author),
        "at": one.at,
        "step": one.step,
        "words": one.command.sentence,
        "refused": one.refused and shown(one.refused),
        "preferred": preferred,
    }


def _unforced(record: RunRecord) -> str | None:
    """What the search would have named if nobody had said anything, where that is another design."""
    best = record.best()
    other = record.unforced() if record.steering.constraints and best is not None else None
    if other is None or best is None or other.design.key == best.design.key:
        return None
    of = findings.called(record, other.design)
    return f"{of}, S {number(other.score, 4)}, where S of what is named is {number(best.score, 4)}"


def _honesty(record: RunRecord) -> dict[str, Any]:
    """What the figures on the page are worth, so far."""
    found = []
    if record.settings.estimates:
        said = [f"{one.where}: {agreement_words(one)}" for one in of_estimates(record)]
        ranked = "; ".join(said) if said else "not known yet: nothing was trained from scratch to compare with"
        found.append(f"How well estimates have ranked so far: {ranked}.")
    decided = steps(record)
    if len(decided) > 1:
        found.append(evidence_sentence(decided))
    if record.at_chance:
        found.append("No cell can be told from guessing.")
    unforced = _unforced(record)
    if unforced is not None:
        found.append(f"Forced by a person: without commands the search would name {unforced}.")
    return {"words": found}


# --- the cell --------------------------------------------------------------------------------------------------------


def _cell(record: RunRecord) -> dict[str, Any]:
    design = current(record)
    masks = _masks(record)
    own = None if masks is None else masks.of(design)
    if masks is None or own is None or not isinstance(design, Cell):
        return {"stage": None, "picture": _picture(record, design), "size": size_words(design, None, record)}
    known, without = losses(record), changes(record, design, masks.whole.edges)
    return {
        "stage": _stage(record, masks.whole),
        "kind": design.kind,
        "whole": {"edges": [list(edge) for edge in masks.whole.edges], "ops": list(masks.whole.ops)},
        "mask": _mask_json(own),
        "size": size_words(design, None, record),
        "edges": [_edge(edge, known.get(edge), without.get(edge), without, known) for edge in masks.whole.edges],
        "ops": {name: _op_words(design.kind, name) for name in names(design.kind)},
    }


def _masks(record: RunRecord) -> Masks | None:
    return Masks.over(record.start, [one.design for one in record.candidates])


def _mask_json(mask: Mask) -> dict[str, Any]:
    return {"bits": mask.bits, "ops": dict(mask.ops)}


def _stage(record: RunRecord, whole: Cell) -> Markup:
    """Every edge, node and wire that any cell of the run has, once; the page says which of them a cell has."""
    aggregate = TASKS[record.settings.task].drawn(record.start).aggregate
    outputs = whole.reachable
    layout = drawing.arrange(whole, outputs=outputs)
    return _unstyled(
        drawing.cell_svg(whole, layout=layout, outputs=outputs, standalone=False, aggregate=aggregate, title="The cell")
    )


def _op_words(kind: str, name: str) -> dict[str, str]:
    light, dark = operation(kind, name).colours
    return {"light": light, "dark": dark}


def _edge(
    edge: Edge, loss: Loss | None, change: Without | None, others: Mapping[Edge, Without], losses_: Mapping[Edge, Loss]
) -> dict[str, Any]:
    most = max((abs(one.macs) for one in others.values()), default=0)
    largest = max((abs(one.value) for one in losses_.values() if not one.noise), default=0.0)
    lines = [] if change is None else ["without it:" if change.there else "with it:", *change.words]
    lines.append(loss.words if loss else "removing it was never measured")
    if loss is not None:
        lines.append({True: "within noise", False: "more than noise"}[loss.noise] if loss.error is not None else "")
    return {
        "edge": list(edge),
        "loss": _shade(loss, largest),
        "width": 1 + round(5 * math.sqrt(abs(change.macs) / most)) if change is not None and most else 1,
        "words": [line for line in lines if line],
    }


def _shade(loss: Loss | None, largest: float) -> str:
    """The class by which an edge is coloured: what removing it was seen to cost."""
    if loss is None:
        return "unmeasured"
    if loss.noise:
        return "noise"
    strength = 1 + round(3 * abs(loss.value) / largest) if largest else 1
    return f"{'hurts' if loss.value > 0 else 'helps'}-{min(4, strength)}"


def _picture(record: RunRecord, design: Design) -> Markup:
    """A network, as a picture and as what its task says of it."""
    task = TASKS[record.settings.task]
    drawn = task.drawn(design)
    if drawn.cells:
        picture = drawing.cells_svg(*drawn, standalone=False)
    else:
        parts = task.outline(design)
        picture = drawing.network_svg(parts, standalone=False) if parts else Markup()
    about, rows = ("", []) if isinstance(design, Cell) else _described(record, design)
    table = _table(Table(rows[0], rows[1:])) if rows else Markup()
    return _unstyled(drawing.joined((picture, tag("p", about or str(design), class_="note"), table)))


def _described(record: RunRecord, design: Design) -> tuple[str, list[tuple[str, ...]]]:
    try:
        return TASKS[record.settings.task].described(design)  # type: ignore[arg-type]
    except (AttributeError, TypeError):
        # A point of somebody's table is no architecture.
        return "", []


def _unstyled(markup: Markup) -> Markup:
    """With ``data-style`` for ``style``: in text a quotation mark is escaped, so only attributes are meant."""
    return Markup(str(markup).replace(' style="', ' data-style="'))  # noqa: S704 - markup as it was


# --- charts ----------------------------------------------------------------------------------------------------------


def thinned(record: RunRecord, most: int = MOST_MARKS) -> RunRecord:
    """The record with no more candidates than a chart can show well; those that matter are kept."""
    if len(record.candidates) <= most:
        return record
    chosen = {(one.step, one.index) for one in record.decisions}
    chosen |= {(one.step, one.runner_up) for one in record.decisions if one.runner_up is not None}
    named = (*record.front(), *(one for one in (record.best(), record.complete()) if one is not None))
    kept_too = {id(one.recorded) for one in named}
    every = math.ceil(len(record.candidates) / most)
    last = len(record.candidates) - _LAST
    kept = tuple(
        one
        for place, one in enumerate(record.candidates)
        if place % every == 0
        or place >= last
        or one.step == 0
        or (one.step, one.index) in chosen
        or id(one.evaluation) in kept_too
    )
    return replace(record, candidates=kept)


def _shown(record: RunRecord, drawn: RunRecord) -> str:
    if len(drawn.candidates) == len(record.candidates):
        return ""
    return f"{len(drawn.candidates):,} of {len(record.candidates):,} candidates are drawn, all chosen ones among them."


def _front(record: RunRecord) -> dict[str, Any]:
    drawn = thinned(record)
    return {"html": _unstyled(front_svg(drawn)), "note": _shown(record, drawn)}


def _trajectory(record: RunRecord) -> dict[str, Any]:
    drawn, masks = thinned(record), _masks(record)
    forced = {one.step: _forced(one) for one in record.forced()}
    return {
        "html": _unstyled(trajectory_svg(drawn)),
        "note": _shown(record, drawn),
        "steps": [_decision(record, masks, one) | {"forced": forced.get(one.number)} for one in steps(record)],
    }


def _forced(one: Forced) -> str:
    """That the way to a step was a person's, and the machine's own."""
    preferred = f"{one.preferred.step}.{one.preferred.index}"
    return f"Forced by {shown(one.by.author)}: {one.reason}; without it the search would have gone on from {preferred}."


def _decision(record: RunRecord, masks: Masks | None, step: Step) -> dict[str, Any]:
    mask = None if masks is None else masks.of(step.chosen.design)
    return {
        "step": step.number,
        "candidate": f"{step.number}.{step.chosen.index}",
        "change": step.change if step.number else "the start",
        "evidence": step.evidence(),
        "clear": step.clear_lead,
        "size": size_words(step.chosen.design, None, record),
        "mask": mask and _mask_json(mask),
    }


def _map(record: RunRecord) -> dict[str, Any]:
    """Candidates by their masks, coloured by what they are worth; hollow what could be next and was not measured."""
    masks = _masks(record)
    if masks is None:
        return {"html": "", "note": f"No map: {name_of(record.start)}s of this search have no edges to compare."}
    drawn = thinned(record)
    known = {one.design for one in record.candidates}
    open_ = [design for design in _moves(record) if design not in known][:_MOST_OPEN]
    measured = [(one, mask) for one in points(drawn, "cost") if (mask := masks.of(one.evaluation.design))]
    unmeasured = [(design, mask) for design in open_ if (mask := masks.of(design))]
    places = embedded([mask for _, mask in (*measured, *unmeasured)])
    width, height = 470.0, 400.0
    x = Scale.around([place[0] for place in places], 20.0, width - 20)
    y = Scale.around([place[1] for place in places], height - 30, 34.0)
    shades = _shades([one.evaluation.performance for one, _ in measured])
    marks = [
        dot(x(place[0]), y(place[1]), "dot hollow", tip=f"{design}\nnot measured", radius=3.6)
        for (design, _), place in zip(unmeasured, places[len(measured) :], strict=True)
    ]
    marks += [
        dot(x(place[0]), y(place[1]), f"{one.kind} {shade}", tip=one.tip, radius=4.2 if one.trail else 3.2, key=one.key)
        for (one, _), place, shade in zip(measured, places, shades, strict=False)
    ]
    name = label(20.0, 20.0, f"Masks, coloured by {step_metric(record.settings).name}", kind="panel-name")
    frame = tag("rect", class_="frame-line", x=8, y=30, width=width - 16, height=height - 44)
    svg = tag(
        "svg", name, frame, *marks, class_="chart map", viewBox=f"0 0 {width:g} {height:g}", role="img",
        aria_label=f"Map of {count(len(measured), 'measured cell')}: alike ones stand together",
    )  # fmt: skip
    return {"html": _unstyled(svg), "note": _shown(record, drawn)}


def _moves(record: RunRecord) -> Iterable[Design]:
    """What a step from here on could measure, as far as commands let it."""
    if record.finished or record.stopped:
        return []
    try:
        space = space_of(record.settings, record.start, record.data)
        return [design for _, design in space.moves(current(record)) if record.keeps(design)]
    except InputError:
        return []


def _shades(values: Sequence[float | None]) -> list[str]:
    """A class for each value by its rank, lowest first; of what failed ``failed``."""
    known = sorted(value for value in values if value is not None)
    ranks = {value: place for place, value in enumerate(known)}
    top = max(1, len(known) - 1)
    return [
        "failed" if value is None else f"shade-{math.floor((_SHADES - 1) * ranks[value] / top + 0.5)}"
        for value in values
    ]


# --- tables ----------------------------------------------------------------------------------------------------------


def _blocks(record: RunRecord) -> dict[str, Any]:
    parts = []
    for one in tables(record):
        parts += [tag("h3", one.title), tag("p", one.note, class_="note")]
        parts.append(_table(Table.of(one.columns, words=tuple(one.columns)[:1])))
    return {"html": drawing.joined(parts)}


def _now(record: RunRecord) -> dict[str, Any]:
    """The candidates of the step under way, or of the last one."""
    if not record.candidates:
        return {"html": "", "title": "No candidate yet"}
    step = max(one.step for one in record.candidates)
    decided = {one.step: one.index for one in record.decisions}
    group, score = record.of_step(step), record.settings.score
    alone = replace(record, candidates=group, decisions=tuple(one for one in record.decisions if one.step == step))
    verdicts = {one.candidate.index: one.verdict for one in step_rivals(alone).get(step, ())}
    metric, weighs = step_metric(record.settings), record.settings.score.weighs
    ordered = sorted(group, key=lambda one: score.preference(one.evaluation), reverse=True)[:60]
    columns = {
        "candidate": [f"{one.step}.{one.index}" for one in ordered],
        "change": [_what(record, one) for one in ordered],
        metric.name: [
            "failed" if one.evaluation.performance is None else metric.write(one.evaluation.performance, fine=True)
            for one in ordered
        ],
        weighs.title: [weighs.unit.short(score.cost(one.evaluation.resources)) for one in ordered],
        "S": ["" if one.evaluation.failed else number(score(one.evaluation), 4) for one in ordered],
        "against the chosen": [verdicts.get(one.index, "chosen" if decided.get(step) == one.index else "")
                               for one in ordered],
    }  # fmt: skip
    words = ("candidate", "change", "against the chosen")
    title = f"Step {step}: {count(len(group), 'candidate')}" + ("" if step in decided else " so far")
    return {"title": title, "html": _table(Table.of(columns, words=words))}


def _what(record: RunRecord, one: Candidate) -> str:
    if one.change is not None:
        return ("without " if one.edge else "") + change_words(one)
    return record.names.get(one.design.key) or ("the start" if one.step == 0 else _called(one.design))


def _called(design: Design) -> str:
    edges = edges_of(design)
    return count(edges, "edge") if edges is not None else str(getattr(design, "sizes", "") or design)


def _table(found: Table) -> Markup:
    def row(kind: str, texts: Sequence[str]) -> Markup:
        cells = (
            tag(kind, shown(text, 10**4), class_="num" if place in found.numeric else None)
            for place, text in enumerate(texts)
        )
        return tag("tr", *cells)

    head = tag("thead", row("th", found.head))
    body = tag("tbody", *(row("td", texts) for texts in found.rows))
    return tag("div", tag("table", head, body), class_="scroll", tabindex=0)


PANELS: Mapping[str, Callable[[RunRecord], dict[str, Any]]] = {
    "state": _state,
    "honesty": _honesty,
    "cell": _cell,
    "now": _now,
    "blocks": _blocks,
    "front": _front,
    "map": _map,
    "trajectory": _trajectory,
}


# --- candidates ------------------------------------------------------------------------------------------------------


def candidates(record: RunRecord, after: int = 0) -> dict[str, Any]:
    """The candidates of a run from the one at a place on, in order of events: what the page compares and re-scores.

    S of each is ``gain`` − λ·``decades`` (`Score.terms`); both are null of one that has no score.
    """
    own = record.latest
    masks, score, limits = _masks(own), own.settings.score, own.settings.limits
    found = []
    for one in own.candidates[after:]:
        evaluation, mask = one.evaluation, None if masks is None else masks.of(one.design)
        gain = decades = None
        if evaluation.judged is not None:
            gain, decades = score.terms(evaluation.judged, evaluation.design, evaluation.resources)
            gain = gain if math.isfinite(gain) else None
        metric = step_metric(own.settings)
        found.append(
            {
                "candidate": f"{one.step}.{one.index}",
                "what": shown(_what(own, one), 200),
                "gain": gain,
                "decades": None if gain is None else decades,
                "cost": score.weighed(evaluation.resources),
                "performance": None if evaluation.performance is None else metric.write(evaluation.performance),
                "broken": limits.broken_by(evaluation.resources) is not None,
                "mask": mask and _mask_json(mask),
            }
        )
    whole = masks and {"edges": [list(edge) for edge in masks.whole.edges], "ops": list(masks.whole.ops)}
    return {"after": after, "all": len(own.candidates), "whole": whole, "candidates": found}


def what_if_penalty(record: RunRecord, penalty: float) -> dict[str, Any]:
    """S of every candidate as it would be with another λ; null of what has none.

    Raises:
        InputError: λ is negative, or no number.
    """
    if not (math.isfinite(penalty) and penalty >= 0):
        raise InputError(f"penalty: λ is a number from zero on, not {penalty}")
    own = record.latest
    score = replace(own.settings.score, penalty=penalty)
    values = {f"{one.step}.{one.index}": score(one.evaluation) for one in own.candidates}
    return {
        "penalty": penalty,
        "scores": {key: value if math.isfinite(value) else None for key, value in values.items()},
    }

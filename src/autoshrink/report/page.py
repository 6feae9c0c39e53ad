"""The report: one HTML page with everything inline. It asks the network for nothing and reads without JavaScript."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from autoshrink import drawing, findings
from autoshrink.config import leaves, resolve
from autoshrink.design import Design, edges_of, name_of
from autoshrink.formatting import count, duration, number, percent, quantity, signed
from autoshrink.learned import tables
from autoshrink.metrics import Metric, metric_of, step_metric
from autoshrink.ops.kinds import cell_kind
from autoshrink.record import CLEAR, Figures, Retrained, RunRecord
from autoshrink.registry import FILTERS, TASKS
from autoshrink.report import octaves
from autoshrink.report.agreement import agreements
from autoshrink.report.film import film
from autoshrink.report.run_charts import front_svg, trajectory_svg, way
from autoshrink.report.steps import Rival, change_words, evidence_sentence, step_rivals, steps
from autoshrink.report.templates import Table, asset, filled
from autoshrink.resources import RESOURCES
from autoshrink.score import Evaluation

ARXIV = "https://arxiv.org/abs/1911.09251"


def render(record: RunRecord, *, name: str) -> str:
    """The page of a run, finished or not.

    Args:
        record: the run, as replayed from its events.
        name: the run folder's name, as the person gave it.
    """
    if record.octaves:
        return _over_range(record, name)
    decided, settings = steps(record), record.settings
    later = [one for one in record.candidates if one.step > 0]
    stage, frames = film(record, decided) if decided else ("", [])
    return filled(
        "run.html.j2",
        name=name,
        record=record,
        relative=settings.estimates,
        style=asset("style.css") + drawing.CELL_STYLE,
        script=asset("run.js"),
        findings=findings,
        metric=metric_of(settings),
        estimate_metric=step_metric(settings),
        judge=decided[-1].judge if len(decided) > 1 else step_metric(settings),
        words=findings.evaluator_words(record),
        filter_name=findings.filter_name(record),
        lede=_lede(record),
        cells=_cells(record),
        beside=_beside(record),
        trajectory_svg=trajectory_svg,
        front_svg=front_svg,
        limits=[(RESOURCES[name], limit) for name, limit in settings.limits.given().items()],
        edges_only=bool(later) and all(one.edge is not None for one in later),
        moves=bool(later) and all(one.change is not None for one in later),
        steps=decided,
        film={"stage": stage, "frames": frames},
        evidence_sentence=evidence_sentence,
        change_words=change_words,
        edges=_edges,
        way=way(record),
        score=partial(_score, record),
        cost=partial(_cost, record),
        performance=_performance,
        rivals=_rivals(record),
        playoff=_playoff(record),
        then=partial(_then, record),
        agreements=agreements(record),
        learned=[
            *_commanded(record),
            *((one.title, one.note, Table.of(one.columns, words=tuple(one.columns)[:1])) for one in tables(record)),
        ],
        failures=_failures(record),
        facts=_facts(record),
        arxiv=ARXIV,
    )


def _commanded(record: RunRecord) -> list[tuple[str, str, Table]]:
    """What the search was told, and what that forced."""
    if not record.commands:
        return []
    note = " ".join(("Each counts from the step that it names.", *findings.forced(record)))
    columns = findings.commanded(record)
    return [("What it was told", note, Table.of(columns, words=("by", "command", "refused")))]


def _over_range(record: RunRecord, name: str) -> str:
    """The page of a search over a range of budgets."""
    return filled(
        "octaves.html.j2",
        name=name,
        record=record,
        style=asset("style.css") + drawing.CELL_STYLE,
        script=asset("run.js"),
        findings=findings,
        octaves=octaves,
        rows=findings.octave_rows(record),
        metric=metric_of(record.settings),
        resource=RESOURCES[record.settings.budget.ranged or ""],
        filter_name=findings.filter_name(record),
        figure=_cell_figure,
        design_file=design_file,
        facts=_facts(record),
    )


# --- what was found --------------------------------------------------------------------------------------------------


def _lede(record: RunRecord) -> str:
    best, complete, cost = record.best(), record.complete(), record.spent()
    sample = metric_of(record.settings).sample
    spent = f"{quantity(cost.samples)} training {sample}{'' if cost.samples == 1 else 's'}, "
    spent += f"{quantity(cost.training_macs)} MACs, {duration(cost.seconds)} of training"
    parts = findings.phases_words(record)
    spent += f" (MACs: {parts})" if parts else ""
    tried = findings.count_words(record)
    if best is None:
        reason = f" The search ended: {record.stopped}." if record.stopped else ""
        lacking = "" if record.usable() else ", none usable within the limits"
        return f"{tried}{lacking}: {spent}.{reason}"
    metric = findings.metric_for(record, best)
    of = f"{metric.name[0].upper()}{metric.name[1:]} on {metric.validation}: {findings.measured_words(record, best)}"
    if complete and complete.design.key != best.design.key:
        of += f"; the {findings.start_word(record)}: {findings.measured_words(record, complete)}"
        of += f". Against it {findings.gain(best, complete).score_words()}"
    if not record.settings.reselect:
        of += ". It is named by the highest S recorded in the search, as published, whatever the fresh seeds say"
    caution = "" if best.repeats else " The best of many noisy figures looks better than it is."
    return f"{of}.{caution} {tried}: {spent}."


def _cells(record: RunRecord) -> dict[str, object]:
    best, word = record.best(), findings.start_word(record)
    if best is None:
        return {
            "title": f"The starting {findings.noun(record)}",
            "flow": "",
            "shown": _cell_figure(record, record.start, word),
            "file": "",
        }
    same, complete, called = record.is_start(best.design), record.complete(), findings.best_word(record, best)
    reference = record.start if complete is None else complete.design
    title = f"The starting {findings.noun(record)}, which nothing beat" if same else f"The best {findings.noun(record)}"
    if record.role(best.design) is not None:
        title = f"{called[0].upper()}{called[1:]}, which nothing found beat"
    network = record.settings.to_json().get("network", {})
    joined = "add up" if network.get("aggregate") == "sum" else "average"
    cells, _, aggregate = TASKS[record.settings.task].drawn(best.design)
    flow = cell_kind(next(iter(cells.values())).kind, aggregate).flow.format(joined=joined) if cells else ""
    return {
        "title": title if record.finished else f"{title} so far",
        "flow": flow,
        "shown": _cell_figure(record, best.design, called, best),
        "start": None if same else _cell_figure(record, reference, word, complete),
        "file": design_file(best.design),
        "file_name": findings.best_file(best.design),
        "file_title": f"{name_of(best.design).capitalize()} file",
    }


def _beside(record: RunRecord) -> dict[str, object] | None:
    """What was measured at the cost of what the search found, or why nothing was; None where nobody asked."""
    rows, settings = findings.beside(record), record.settings
    if not rows:
        alone = findings.why_alone(record)
        return {"note": f"{alone[0].upper()}{alone[1:]}.", "table": Table((), ())} if alone else None
    metric, weighs = metric_of(settings), settings.score.weighs
    best = record.best()
    seeds = count(len(rows[0].figures.repeats), "fresh seed")
    note = (
        f"Each no dearer than what the search found in {weighs.title}, and trained with the same {seeds}; mean ± "
        "standard error. Where there are several of a kind, each was first trained once, and the best of them stands "
        "here. The highest S of all is named."
    )
    columns = {
        "": [row.what + (f", best of {row.of}" if row.role == "hand-made" and row.of > 1 else "") for row in rows],
        metric.name: [metric.measured(row.figures.performance, row.error, fine=True) for row in rows],
        weighs.title: [_cost(record, row.figures.recorded) for row in rows],
        "S": [_with_error(number(row.figures.score, 4), row.score_error) for row in rows],
        "S − found's": [
            "" if row.against is None else _with_error(signed(row.against.score, 4), row.against.score_error)
            for row in rows
        ],
        "named": ["best" if best is not None and row.figures.design.key == best.design.key else "" for row in rows],
    }
    return {"note": note, "table": Table.of(columns, words=("", "named"))}


def _with_error(text: str, error: float | None) -> str:
    return text if error is None else f"{text} ± {number(error, 4)}"


def _cell_figure(record: RunRecord, design: Design, name: str, figures: Figures | None = None) -> dict[str, object]:
    task = TASKS[record.settings.task]
    drawn = task.drawn(design)
    parts = () if drawn.cells else task.outline(design)
    layouts = {words: drawing.arrange(cell, outputs=drawn.outputs) for words, cell in drawn.cells.items()}
    return {
        "name": name,
        "size": size_words(design, figures, record),
        "width": f"{1.3 * max((layout.width for layout in layouts.values()), default=360):.0f}",
        "picture": drawing.cells_svg(*drawn, layouts=layouts, standalone=False)
        if layouts
        else drawing.network_svg(parts, standalone=False)
        if parts
        else "",
    }


def size_words(design: Design, figures: Figures | None, record: RunRecord) -> str:
    """``3 edges, 5.2M MACs``, or ``3×32×32, 5.2M MACs``; of one that failed the cost is left out."""
    edges = edges_of(design)
    words = str(getattr(design, "sizes", "")) if edges is None else count(edges, "edge")
    return (words + cost_words(record, figures)).removeprefix(", ")


def cost_words(record: RunRecord, figures: Figures | None) -> str:
    """``, 5.2M MACs``: what a cell costs in the run's own resource, as the end of a caption; nothing if it failed."""
    return f", {record.settings.score.weighed(figures.recorded.resources)}" if figures else ""


def design_file(design: Design) -> str:
    """The text of a cell's or an architecture's file, one line a field."""
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in design.to_json().items())
    return f"{{\n{lines}\n}}"


# --- the figures of an evaluation ------------------------------------------------------------------------------------


def _score(record: RunRecord, one: Evaluation) -> str:
    return "failed" if one.failed else number(record.settings.score(one), 4)


def _cost(record: RunRecord, one: Evaluation) -> str:
    score = record.settings.score
    return score.weighs.unit.short(score.cost(one.resources))


def _performance(one: Evaluation, metric: Metric, *, fine: bool = True) -> str:
    return "failed" if one.performance is None else metric.write(one.performance, fine=fine)


# --- the candidates of every step ------------------------------------------------------------------------------------


def _rivals(record: RunRecord) -> dict[str, object] | None:
    """Every candidate of every decided step, a table each; nothing before the first step."""
    found = step_rivals(record)
    if not found:
        return None
    note = (
        f"Difference: S minus that of the chosen, on the same {metric_of(record.settings).validation}, ± its standard "
        f"error; clear: more than {CLEAR:g} standard errors. {findings.evaluator_words(record).compared}"
    )
    if record.ranks:
        chosen_by = FILTERS[record.settings.filter]
        note += f" {chosen_by.name}: {chosen_by.about}, by which the candidates were chosen before any training."
    candidates = count(sum(map(len, found.values())), "candidate")
    return {
        "count": f"{candidates} in {count(len(found), 'step')}",
        "note": note,
        "steps": [(f"Step {step}: {_verdicts(one)}", _rival_table(record, one)) for step, one in found.items()],
    }


def _verdicts(rivals: tuple[Rival, ...]) -> str:
    verdicts = [one.verdict for one in rivals if not one.chosen]
    first = rivals[0].candidate
    parts = [("without " if first.edge else "") + change_words(first)] if first.change else []
    names = ("clear", "noise", "same cell", "error unknown", "failed")
    return ", ".join(parts + [f"{verdicts.count(name)} {name}" for name in names if name in verdicts])


def _rival_table(record: RunRecord, rivals: tuple[Rival, ...]) -> Table:
    """One step's table, without the columns that say nothing in it."""
    metric, shown = step_metric(record.settings), [one.candidate.evaluation for one in rivals]
    raced = any(one.rung for one in shown)
    columns = {
        "removed": [change_words(one.candidate) for one in rivals],
        "edges": [_edges(one.design) for one in shown],
        "survived": [str(one.rung) if raced else "" for one in shown],
        f"on {metric.piece.partition(' ')[0]}s": [f"{one.samples:,}" if one.samples else "" for one in rivals],
        metric.name: [_performance(one, metric) for one in shown],
        record.settings.score.weighs.title: [_cost(record, one) for one in shown],
        "S": ["" if one.failed else _score(record, one) for one in shown],
        "difference in S": [_lead(one) for one in rivals],
        "": [_verdict(one) for one in rivals],
        findings.filter_name(record) or "rank": [_rank(one) for one in rivals],
    }
    return Table.of({head: texts for head, texts in columns.items() if any(texts)}, words=("removed", ""))


def _edges(design: Design) -> str:
    edges = edges_of(design)
    return "" if edges is None else str(edges)


def _lead(one: Rival) -> str:
    if one.lead is None:
        return ""
    return signed(one.lead, 4) + ("" if one.error is None else f" ± {number(one.error, 4)}")


def _verdict(one: Rival) -> str:
    same = one.candidate.same_as
    return one.verdict + (f"; isomorphic to candidate {same[1]} of step {same[0]}" if same else "")


def _rank(one: Rival) -> str:
    if one.rank is None:
        return ""
    return "none" if math.isnan(one.rank) else number(one.rank, 4)


# --- the playoff, and what failed ------------------------------------------------------------------------------------


def _playoff(record: RunRecord) -> dict[str, object]:
    """The cells trained from scratch to choose the best, by round, the better ones first."""
    preference = record.settings.score.preference
    ordered = sorted(record.retrained, key=lambda one: preference(one.evaluation), reverse=True)
    cells = count(len({one.evaluation.design.key for one in ordered}), "cell")
    return {"cells": cells, "ordered": sorted(ordered, key=lambda one: one.round)}


def _then(record: RunRecord, one: Retrained) -> str:
    key = one.evaluation.design.key
    if one.evaluation.failed:
        return "failed"
    if any(other.round == one.round + 1 and other.evaluation.design.key == key for other in record.retrained):
        return "trained longer"
    return "fresh seeds" if key in record.remeasured else ""


def _failures(record: RunRecord) -> list[tuple[object, str, Evaluation]]:
    """Step, what was done, and the evaluation."""
    found = [(one.step, change_words(one) or "starting cell", one.evaluation) for one in record.candidates]
    later = [("playoff", one.evaluation) for one in record.retrained]
    later += [("fresh seed", one) for repeats in record.remeasured.values() for one in repeats]
    later += [("beside", one.evaluation) for one in record.beside]
    listed = [*found, *((when, findings.called(record, one.design), one) for when, one in later)]
    return [one for one in listed if one[2].failed]


# --- behind the figures ----------------------------------------------------------------------------------------------


def _facts(record: RunRecord) -> dict[str, object]:
    """Data, cost, environment, settings and how to repeat the run."""
    environment, settings = dict(record.environment), record.settings
    command = environment.pop("command", None)
    if "threads" in environment and settings.threads is not None:
        # Those that the trainings had, whatever torch would take.
        environment["threads"] = settings.threads
    usual = dict(
        leaves(resolve({"task": settings.task, "mode": settings.mode, "data": {"spec": settings.data.spec}}).to_json())
    )
    now = dict(leaves(settings.to_json()))
    changed = [(name, _text(value), _text(usual.get(name))) for name, value in now.items() if value != usual.get(name)]
    same = [(name, _text(value)) for name, value in now.items() if value == usual.get(name)]
    return {
        "data": _data(record),
        "notes": _listed(record.data.get("notes")),
        "skipped": _listed(record.data.get("skipped")),
        "environment": [(name, _text(value)) for name, value in environment.items()],
        "command": command and str(command),
        "settings_json": json.dumps(settings.to_json(), indent=1),
        "changed": Table(("setting", "value", "default"), changed),
        "same": Table(("setting", "value"), same),
    }


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(one)}" for key, one in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _listed(values: Any) -> Sequence[str]:
    if isinstance(values, Mapping):
        values = [f"{key}: {_text(value)}" for key, value in values.items()]
    return [_text(value) for value in values] if isinstance(values, list | tuple) else ()


_DATA = (
    "name", "classes", "level", "input", "train", "sentences", "validation", "validation_sentences", "vocabulary",
    "unknown_share", "mean", "std", "fingerprint",
)  # fmt: skip
"""What the page says of the data, as far as the task's own `data` event has it."""


def _data(record: RunRecord) -> list[tuple[str, str]]:
    data, sample = record.data, metric_of(record.settings).sample
    found = {name: _text(data[name]) for name in _DATA if name in data}
    found |= {name: count(data[name], sample) for name in ("train", "validation") if name in data}
    if "unknown_share" in data:
        found["unknown_share"] = f"{percent(data['unknown_share'])} of the validation tokens are <unk>"
    classes = data.get("classes")
    if isinstance(classes, list | tuple):
        # A thousand class names would drown the rest.
        found["classes"] = f"{len(classes)}: {', '.join(map(str, classes[:20]))}{' …' if len(classes) > 20 else ''}"
    return [(name.replace("_", " "), value) for name, value in found.items()]

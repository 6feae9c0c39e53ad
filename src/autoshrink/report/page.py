"""The report: one HTML page with everything inline. It asks the network for nothing and reads without JavaScript."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autoshrink import drawing, findings
from autoshrink.cell import Cell
from autoshrink.config import leaves, resolve
from autoshrink.formatting import count, duration, moment, number, percent, quantity, signed
from autoshrink.metrics import Metric, metric_of, step_metric
from autoshrink.ops.kinds import cell_kind
from autoshrink.record import CLEAR, Figures, Retrained, RunRecord
from autoshrink.report.agreement import agreements
from autoshrink.report.film import film
from autoshrink.report.run_charts import front_svg, trajectory_svg
from autoshrink.report.steps import Rival, Step, change_words, evidence_sentence, step_rivals, steps
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
    decided = steps(record)
    stage, frames = film(record, decided) if decided else ("", [])
    return filled(
        "run.html.j2",
        name=name,
        record=record,
        relative=record.settings.relative,
        style=asset("style.css") + drawing.CELL_STYLE,
        script=asset("run.js"),
        status=findings.status(record),
        headline=findings.headline(record),
        headlines=findings.headlines(record),
        start_short=findings.start_word(record).removesuffix(" graph").removesuffix("ing cell"),
        lede=_lede(record),
        cells=_cells(record),
        search=_search(record),
        steps=[_step(record, step) for step in decided],
        film={"stage": stage, "frames": frames},
        decisions=_decisions(record, decided),
        rivals=_rivals(record),
        tables=(_playoff(record), _agreements(record), _failures(record)),
        facts=_facts(record),
        formula_source=findings.formula_source(record),
        arxiv=ARXIV,
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
    if complete and complete.cell.key != best.cell.key:
        of += f"; the {findings.start_word(record)}: {findings.measured_words(record, complete)}"
        of += f". Against it {findings.gain(best, complete).score_words()}"
    if not record.settings.reselect:
        of += ". It is named by the highest S recorded in the search, as published, whatever the fresh seeds say"
    caution = "" if best.repeats else " The best of many noisy figures looks better than it is."
    return f"{of}.{caution} {tried}: {spent}."


def _cells(record: RunRecord) -> dict[str, object]:
    best, word = record.best(), findings.start_word(record)
    if best is None:
        return {"title": "The starting cell", "shown": _cell_figure(record, record.start, word), "file": ""}
    same = best.cell.key == record.start.key
    title = "The starting cell, which nothing beat" if same else "The best cell"
    network = record.settings.to_json().get("network", {})
    joined = "add up" if network.get("aggregate") == "sum" else "average"
    return {
        "title": title if record.finished else f"{title} so far",
        "flow": cell_kind(record.start.kind).flow.format(joined=joined),
        "shown": _cell_figure(record, best.cell, word if same else "best cell", best),
        "start": None if same else _cell_figure(record, record.start, word, record.complete()),
        "file": cell_file(best.cell),
    }


def _cell_figure(record: RunRecord, cell: Cell, name: str, figures: Figures | None = None) -> dict[str, object]:
    layout = drawing.arrange(cell)
    return {
        "name": name,
        "edges": count(len(cell.edges), "edge"),
        "cost": cost_words(record, figures),
        "width": f"{1.3 * layout.width:.0f}",
        "picture": drawing.cell_svg(cell, layout=layout, standalone=False),
    }


def cost_words(record: RunRecord, figures: Figures | None) -> str:
    """``, 5.2M MACs``: what a cell costs in the run's own resource, as the end of a caption; nothing if it failed."""
    return f", {record.settings.score.weighed(figures.recorded.resources)}" if figures else ""


def cell_file(cell: Cell) -> str:
    """The cell file's text, one line a field."""
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in cell.to_json().items())
    return f"{{\n{lines}\n}}"


# --- the search ------------------------------------------------------------------------------------------------------


def _search(record: RunRecord) -> dict[str, object]:
    if not record.candidates:
        return {"words": findings.evaluator_words(record)}
    settings, words = record.settings, findings.evaluator_words(record)
    other = any(one.change is not None and one.edge is None for one in record.candidates)
    note = (
        f"{findings.formula(record)}. Each step {'makes one change' if other else 'removes one edge'} and keeps the "
        "candidate with the highest S; the further right, the fewer edges are left."
    )
    if settings.relative:
        note += (
            f" {words.note} The best is chosen among cells trained from scratch; those that went further in the "
            "playoff were trained longer."
        )
    limits = ((RESOURCES[name], limit) for name, limit in settings.limits.given().items())
    return {
        "words": words,
        "note": note,
        "trajectory": trajectory_svg(record),
        "against": f"{metric_of(settings).name.capitalize()} against {settings.score.weighs.title}",
        "front": front_svg(record),
        "limits": [f"{resource.title} at most {resource.unit.short(limit)}" for resource, limit in limits],
    }


def _edges(shown: Iterable[Evaluation]) -> list[str]:
    return [str(len(one.cell.edges)) for one in shown]


def _scores(record: RunRecord, shown: Iterable[Evaluation], failed: str = "failed") -> list[str]:
    return [failed if one.failed else number(record.settings.score(one), 4) for one in shown]


def _costs(record: RunRecord, shown: Iterable[Evaluation]) -> list[str]:
    score = record.settings.score
    return [score.weighs.unit.short(score.cost(one.resources)) for one in shown]


def _performances(metric: Metric, shown: Iterable[Evaluation]) -> list[str]:
    return ["failed" if one.performance is None else metric.write(one.performance, fine=True) for one in shown]


def _step(record: RunRecord, step: Step) -> dict[str, object]:
    shown, performance = [step.chosen.evaluation], step.chosen.evaluation.performance
    return {
        "number": step.number,
        "short": "failed" if performance is None else step.metric.write(performance),
        "caption": (
            ("edges left", *_edges(shown)),
            ("changed" if step.changed or step.added else "removed", step.change),
            ("S", *_scores(record, shown)),
            (step.metric.name, *_performances(step.metric, shown)),
            (record.settings.score.weighs.title, *_costs(record, shown)),
        ),
        "noise": step.clear_lead is False,
        "evidence": step.evidence(),
    }


def _decisions(record: RunRecord, decided: tuple[Step, ...]) -> dict[str, object]:
    """Every decision with its evidence, and how much of it is more than noise."""
    metric, settings = step_metric(record.settings), record.settings
    # A score of untrained networks has a name of its own; an estimate is of the usual figure.
    delta = f"Δ {metric.name if settings.evaluator == 'zico' else metric_of(settings).name}"
    estimated = "of the estimates, " if settings.evaluator == "inherited" else ""
    unit = f"in {metric.difference_unit}, " if metric.difference_unit else ""
    shown = [one.chosen.evaluation for one in decided]
    columns = {
        "step": [str(one.number) for one in decided],
        "removed": [one.change if one.number else "" for one in decided],
        "edges": _edges(shown),
        "S": _scores(record, shown),
        metric.name: _performances(metric, shown),
        settings.score.weighs.title: _costs(record, shown),
        "runner-up without": [change_words(one.runner_up) for one in decided],
        "lead in S": ["" if one.lead is None else number(one.lead, 4) for one in decided],
        delta: [_difference(one) for one in decided],
        "": [{True: "beyond noise", False: "within noise", None: ""}[one.clear_lead] for one in decided],
    }
    return {
        "note": evidence_sentence(decided),
        "count": count(len(decided), "decision"),
        "table": Table.of(columns, words=("removed", "runner-up without", "")),
        "delta": f"{delta}: {estimated}chosen minus runner-up on the same {metric.validation}, {unit}± its standard "
        "error.",
    }


def _difference(step: Step) -> str:
    if step.pair is None:
        return ""
    unknown = " ± ?" if step.standard_error is None else ""
    return step.metric.shift(*step.pair, step.standard_error, fine=True) + unknown


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
        note += " ZiCo: S with scaled ZiCo as the performance, by which the candidates were chosen before any training."
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
        "edges": _edges(shown),
        "survived": [str(one.rung) if raced else "" for one in shown],
        f"on {metric.piece.partition(' ')[0]}s": [f"{one.samples:,}" if one.samples else "" for one in rivals],
        metric.name: _performances(metric, shown),
        record.settings.score.weighs.title: _costs(record, shown),
        "S": _scores(record, shown, failed=""),
        "difference in S": [_lead(one) for one in rivals],
        "": [_verdict(one) for one in rivals],
        "ZiCo": [_rank(one) for one in rivals],
    }
    return Table.of({head: texts for head, texts in columns.items() if any(texts)}, words=("removed", ""))


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


# --- tables with a section of their own: title, note, table; without rows there is no section ------------------------


def _playoff(record: RunRecord) -> tuple[str, str, Table]:
    """The cells trained from scratch to choose the best, by round."""
    score, metric = record.settings.score, metric_of(record.settings)
    ordered = sorted(record.retrained, key=lambda one: score.preference(one.evaluation), reverse=True)
    ordered.sort(key=lambda one: one.round)
    shown = [one.evaluation for one in ordered]
    note = (
        f"{count(len({one.cell.key for one in shown}), 'cell')} of all sizes, trained from scratch for a short time "
        f"and paired; about one of {record.settings.playoff.reduction} stays after a round. These are the only figures "
        "before the fresh seeds that compare cells of different sizes; they are of one seed."
    )
    columns = {
        "round": [str(one.round + 1) for one in ordered],
        "training": [one.fidelity for one in shown],
        "edges": _edges(shown),
        metric.name: _performances(metric, shown),
        score.weighs.title: _costs(record, shown),
        "S": _scores(record, shown, failed=""),
        "then": [_then(record, one) for one in ordered],
    }
    return "The playoff", note, Table.of(columns, words=("training", "then"))


def _then(record: RunRecord, one: Retrained) -> str:
    key = one.evaluation.cell.key
    if one.evaluation.failed:
        return "failed"
    if any(other.round == one.round + 1 and other.evaluation.cell.key == key for other in record.retrained):
        return "trained longer"
    return "fresh seeds" if key in record.remeasured else ""


def _agreements(record: RunRecord) -> tuple[str, str, Table]:
    """How what was known without training ranked cells that were then trained."""
    found = agreements(record)
    note = (
        "Spearman's rank correlation, 1 for the same order and 0 for none, with trainings from scratch of this run. It "
        "is measured here, and never assumed; of so few cells it is a rough figure. Parameters and MACs stand "
        "beside it: they order cells for nothing."
    )
    if record.settings.filter == "zico":
        note += " Only cells that the filter let through could be trained."
    columns = {
        "trained from scratch": [one.where for one in found],
        "ordered by": [one.predictor for one in found],
        "cells": [f"n = {one.cells}" for one in found],
        f"ρ with {metric_of(record.settings).symbol}": [
            "" if one.performance is None else signed(one.performance, 2) for one in found
        ],
        "ρ with S": ["" if one.score is None else signed(one.score, 2) for one in found],
    }
    title = "Did the estimates rank as training does?"
    return title, note, Table.of(columns, words=("trained from scratch", "ordered by"))


def _failures(record: RunRecord) -> tuple[str, str, Table]:
    """Candidates that failed, with their reasons."""
    found = [(str(one.step), change_words(one) or "starting cell", one.evaluation) for one in record.candidates]
    later = [("playoff", one.evaluation) for one in record.retrained]
    later += [("fresh seed", one) for repeats in record.remeasured.values() for one in repeats]
    found += [(when, count(len(one.cell.edges), "edge"), one) for when, one in later]
    rows = [(when, what, str(one.seed), one.reason or "") for when, what, one in found if one.failed]
    name = metric_of(record.settings).name
    note = f"{count(len(rows), 'evaluation')} failed. A failed candidate has no {name} and never wins."
    return "Failed", note, Table(("step", "removed", "seed", "reason"), rows)


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
        "cost": _spent(record),
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


def _spent(record: RunRecord) -> Iterable[tuple[str, str]]:
    spent, sample = record.spent(), metric_of(record.settings).sample
    shared = sum(one.same_as is not None for one in record.candidates)
    rows = {
        "candidates": f"{len(record.candidates):,}, of which {shared:,} share the training of an isomorphic one",
        "playoff": f"{count(len(record.retrained), 'training')} from scratch" if record.retrained else "",
        "ZiCo filter": f"{count(len(record.ranks), 'cell')} scored" if record.ranks else "",
        "measured again": count(sum(map(len, record.remeasured.values())), "training"),
        f"{sample}s": f"{count(spent.samples, f'training {sample}')} seen",
        "MACs": f"{quantity(spent.training_macs)} in all passes",
        "of these": findings.phases_words(record),
        "training": duration(spent.seconds),
        "open": f"{duration(record.active_seconds)} in {count(record.sessions, 'session')}",
        "first event": moment(record.created_at),
        "last event": moment(record.updated_at),
        "end": record.stopped or "not reached",
    }
    return [(name, value) for name, value in rows.items() if value]

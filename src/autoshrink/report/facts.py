"""The tables at the end of the report: decisions, failures, settings, data, environment, cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from autoshrink import formatting
from autoshrink.config import SearchSettings, resolve
from autoshrink.escaping import escape, escape_lines
from autoshrink.metrics import METRICS, step_metric
from autoshrink.record import RunRecord
from autoshrink.report import evidence, proof, story
from autoshrink.report.film import removed_words
from autoshrink.report.markup import definitions, table
from autoshrink.report.story import Step

# --- decisions -----------------------------------------------------------------------------------------------------


def decisions(record: RunRecord) -> str:
    """Every decision with its evidence, and how much of it is more than noise."""
    steps = story.steps(record)
    if not steps:
        return ""
    name, metric = record.settings.score.weighs.title, step_metric(record.settings)
    usual = METRICS[record.settings.task]
    # A score of untrained networks has a name of its own; an estimate is of the usual figure.
    delta = f"Δ {metric.name if record.settings.evaluator == 'zico' else usual.name}"
    estimated = "of the estimates, " if record.settings.evaluator == "inherited" else ""
    unit = f"in {metric.difference_unit}, " if metric.difference_unit else ""
    head = ("step", "removed", "edges", "S", metric.name, name, "runner-up without", "lead in S", delta, "")
    rows = [_decision(record, step) for step in steps]
    shown = table(head, rows, numeric=frozenset({0, 2, 3, 4, 5, 7, 8}))
    return (
        f'<section class="long"><h2>The decisions</h2><p class="note">{escape(story.evidence_sentence(steps))}</p>'
        f"<details><summary>All {formatting.count(len(steps), 'decision')}</summary>{shown}"
        f'<p class="note">{delta}: {estimated}chosen minus runner-up on the same {metric.validation}, '
        f"{unit}± its standard error.</p></details>{proof.candidates(record)}</section>"
    )


def _decision(record: RunRecord, step: Step) -> tuple[str, ...]:
    evaluation, settings = step.chosen.evaluation, record.settings
    score = performance = "failed"
    if evaluation.performance is not None:
        score = formatting.number(settings.score(evaluation), 4)
        performance = step.metric.write(evaluation.performance, fine=True)
    other = step.runner_up
    difference = ""
    if step.pair is not None:
        unknown = " ± ?" if step.standard_error is None else ""
        difference = step.metric.shift(*step.pair, step.standard_error, fine=True) + unknown
    return (
        str(step.number),
        removed_words(step) if step.number else "",
        str(len(step.chosen.cell.edges)),
        score,
        performance,
        settings.score.weighs.unit.short(settings.score.cost(evaluation.resources)),
        f"{other.edge[0]}→{other.edge[1]}" if other and other.edge else "",
        "" if step.lead is None else formatting.number(step.lead, 4),
        difference,
        {True: "beyond noise", False: "within noise", None: ""}[step.clear_lead],
    )


def failures(record: RunRecord) -> str:
    """Candidates that failed, with their reasons."""
    rows = [
        (
            str(one.step),
            f"{one.edge[0]}→{one.edge[1]}" if one.edge else "starting cell",
            str(one.evaluation.seed),
            one.evaluation.reason or "",
        )
        for one in record.candidates
        if one.evaluation.failed
    ]
    again = [one for repeats in record.remeasured.values() for one in repeats if one.failed]
    short = [one.evaluation for one in record.retrained if one.evaluation.failed]
    rows += [
        ("playoff", formatting.count(len(one.cell.edges), "edge"), str(one.seed), one.reason or "") for one in short
    ]
    rows += [
        ("fresh seed", formatting.count(len(one.cell.edges), "edge"), str(one.seed), one.reason or "") for one in again
    ]
    if not rows:
        return ""
    return (
        f'<section class="long"><h2>Failed</h2><p class="note">{formatting.count(len(rows), "evaluation")} failed. '
        f"A failed candidate has no {METRICS[record.settings.task].name} and never wins.</p>"
        + table(("step", "removed", "seed", "reason"), rows)
        + "</section>"
    )


# --- background ----------------------------------------------------------------------------------------------------


def background(record: RunRecord) -> str:
    """Data, cost, environment, settings and how to repeat the run."""
    return (
        '<section class="long"><h2>Behind the figures</h2><div class="facts">'
        f"<div><h3>Data</h3>{_data(record)}</div><div><h3>Cost</h3>{definitions(_cost(record))}</div>"
        f"<div><h3>Environment</h3>{definitions(_environment(record))}</div>"
        f"<div><h3>Repeat it</h3>{_repeat(record)}</div></div>"
        f"<details><summary>Settings</summary>{_settings(record.settings)}</details></section>"
    )


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


_DATA = (
    "name", "level", "input", "train", "sentences", "validation", "validation_sentences", "vocabulary",
    "unknown_share", "mean", "std", "fingerprint",
)  # fmt: skip
"""What the page says of the data, as far as the task's own `data` event has it."""


def _data(record: RunRecord) -> str:
    data = record.data
    if not data:
        return '<p class="note">The data have not been read yet.</p>'
    sample = METRICS[record.settings.task].sample
    shown = {name: _text(data[name]) for name in _DATA if name in data}
    shown |= {name: formatting.count(data[name], sample) for name in ("train", "validation") if name in data}
    if "unknown_share" in data:
        shown["unknown_share"] = f"{formatting.percent(data['unknown_share'])} of the validation tokens are <unk>"
    rows = [(name.replace("_", " "), value) for name, value in shown.items()]
    classes = data.get("classes")
    if isinstance(classes, list | tuple):
        # A thousand class names would drown the rest.
        listed = ", ".join(map(str, classes[:20])) + (" …" if len(classes) > 20 else "")
        rows.insert(1, ("classes", f"{len(classes)}: {listed}"))
    elif classes is not None:
        rows.insert(1, ("classes", _text(classes)))
    return definitions(rows) + _listing("Notes", data.get("notes")) + _listing("Skipped", data.get("skipped"))


def _listing(title: str, values: object) -> str:
    if isinstance(values, Mapping):
        values = [f"{key}: {_text(value)}" for key, value in values.items()]
    if not isinstance(values, list | tuple) or not values:
        return ""
    items = "".join(f"<li>{escape(_text(value))}</li>" for value in values)
    return f"<details><summary>{title} ({len(values)})</summary><ul>{items}</ul></details>"


def _cost(record: RunRecord) -> list[tuple[str, str]]:
    spent, sample = record.spent(), METRICS[record.settings.task].sample
    again = sum(len(repeats) for repeats in record.remeasured.values())
    shared = sum(one.same_as is not None for one in record.candidates)
    return [
        ("candidates", f"{len(record.candidates):,}, of which {shared:,} share the training of an isomorphic one"),
        *(
            [("playoff", formatting.count(len(record.retrained), "training") + " from scratch")]
            if record.retrained
            else []
        ),
        *([("ZiCo filter", f"{formatting.count(len(record.ranks), 'cell')} scored")] if record.ranks else []),
        ("measured again", formatting.count(again, "training")),
        (f"{sample}s", f"{formatting.count(spent.samples, f'training {sample}')} seen"),
        ("MACs", f"{formatting.quantity(spent.training_macs)} in all passes"),
        *([("of these", parts)] if (parts := evidence.phases_words(record)) else []),
        ("training", formatting.duration(spent.seconds)),
        ("open", f"{formatting.duration(record.active_seconds)} in {formatting.count(record.sessions, 'session')}"),
        ("first event", formatting.moment(record.created_at)),
        ("last event", formatting.moment(record.updated_at)),
        ("end", record.stopped or "not reached"),
    ]


def _environment(record: RunRecord) -> list[tuple[str, str]]:
    """Of the threads those that the trainings had, whatever torch would take."""
    known = dict(record.environment)
    if "threads" in known and record.settings.threads is not None:
        known["threads"] = record.settings.threads
    return [(name, _text(value)) for name, value in known.items() if name != "command"]


def _repeat(record: RunRecord) -> str:
    command = record.environment.get("command")
    if command:
        return f"<pre>{escape(str(command))}</pre>"
    shown = json.dumps(record.settings.to_json(), indent=1)
    return (
        '<p class="note">The command line is not recorded; these settings decide what the search does.</p>'
        f"<details><summary>Settings as JSON</summary><pre>{escape_lines(shown)}</pre></details>"
    )


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}{key}.") if isinstance(inner, Mapping) else {f"{prefix}{key}": inner}
    return flat


def _settings(settings: SearchSettings) -> str:
    """Settings that differ from the defaults of the same task, mode and data first, then all the others."""
    same_run = {"task": settings.task, "mode": settings.mode, "data": {"spec": settings.data.spec}}
    usual = _flat(resolve(same_run).to_json())
    now = _flat(settings.to_json())
    changed = [(name, _text(value), _text(usual.get(name))) for name, value in now.items() if value != usual.get(name)]
    same = [(name, _text(value)) for name, value in now.items() if value == usual.get(name)]
    first = table(("setting", "value", "default"), changed) if changed else '<p class="note">All are defaults.</p>'
    return f"{first}<h3>At their defaults</h3>{table(('setting', 'value'), same)}"

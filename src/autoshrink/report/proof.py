"""The tables that show what decisions stand on: every candidate of every step, the playoff, and rank correlations."""

from __future__ import annotations

import math

from autoshrink import formatting
from autoshrink.escaping import escape
from autoshrink.metrics import METRICS, step_metric
from autoshrink.record import CLEAR, Retrained, RunRecord
from autoshrink.report import evidence
from autoshrink.report.evidence import Agreement, Rival
from autoshrink.report.markup import table

# --- the candidates of every step ------------------------------------------------------------------------------------


def candidates(record: RunRecord) -> str:
    """Every candidate of every decided step, a table each, all of it folded away; nothing before the first step."""
    steps = evidence.rivals(record)
    if not steps:
        return ""
    shown = "".join(
        f"<details><summary>Step {step}: {_summary(rivals)}</summary>{_step(record, rivals)}</details>"
        for step, rivals in steps.items()
    )
    metric = step_metric(record.settings)
    note = (
        f"Difference: S minus that of the chosen, on the same {metric.validation}, ± its standard error; clear: more "
        f"than {CLEAR:g} standard errors. {_EVIDENCE_NOTE[record.settings.evaluator]}"
    )
    if record.ranks:
        note += " ZiCo: S with scaled ZiCo as the performance, by which the candidates were chosen before any training."
    count = formatting.count(sum(map(len, steps.values())), "candidate")
    return (
        f'<details class="steps"><summary>Every candidate: {count} in {formatting.count(len(steps), "step")}</summary>'
        f'<p class="note">{escape(note)}</p>{shown}</details>'
    )


_EVIDENCE_NOTE = {
    "trained": "",
    "inherited": (
        "The better half of a step, without those that were clearly worse, was compared again on more samples "
        "(survived: how many such comparisons). A removal that makes a new leaf is taken before the best where it is "
        "not clearly behind."
    ),
    "zico": "Scaled ZiCo has no standard error.",
}
"""By evaluator."""


def _summary(rivals: tuple[Rival, ...]) -> str:
    verdicts = [one.verdict for one in rivals if not one.chosen]
    edge = rivals[0].candidate.edge
    parts = [f"without {_edge(edge)}"] if edge else []
    parts += [
        f"{verdicts.count(verdict)} {verdict}"
        for verdict in ("clear", "noise", "same cell", "error unknown", "failed")
        if verdict in verdicts
    ]
    return escape(", ".join(parts))


def _edge(edge: tuple[int, int] | None) -> str:
    return f"{edge[0]}→{edge[1]}" if edge else ""


def _step(record: RunRecord, rivals: tuple[Rival, ...]) -> str:
    """One step's table, without the columns that say nothing in it."""
    metric = step_metric(record.settings)
    name = record.settings.score.weighs.title
    columns = {
        "removed": [_edge(one.candidate.edge) for one in rivals],
        "edges": [str(len(one.candidate.cell.edges)) for one in rivals],
        "survived": [str(one.candidate.evaluation.rung) for one in rivals],
        f"on {metric.piece.partition(' ')[0]}s": [f"{one.samples:,}" if one.samples else "" for one in rivals],
        metric.name: [_performance(record, one) for one in rivals],
        name: [_cost(record, one) for one in rivals],
        "S": [_score(record, one) for one in rivals],
        "difference in S": [_lead(one) for one in rivals],
        "": [_verdict(one) for one in rivals],
        "ZiCo": [_rank(one) for one in rivals],
    }
    if not any(one.candidate.evaluation.rung for one in rivals):
        del columns["survived"]
    kept = {head: texts for head, texts in columns.items() if any(texts)}
    words_ = frozenset(place for place, head in enumerate(kept) if head not in ("removed", ""))
    return table(kept, zip(*kept.values(), strict=True), numeric=words_)


def _performance(record: RunRecord, one: Rival) -> str:
    performance = one.candidate.evaluation.performance
    return "failed" if performance is None else step_metric(record.settings).write(performance, fine=True)


def _cost(record: RunRecord, one: Rival) -> str:
    settings = record.settings
    return settings.score.weighs.unit.short(settings.score.cost(one.candidate.evaluation.resources))


def _score(record: RunRecord, one: Rival) -> str:
    evaluation = one.candidate.evaluation
    return "" if evaluation.failed else formatting.number(record.settings.score(evaluation), 4)


def _lead(one: Rival) -> str:
    if one.lead is None:
        return ""
    return formatting.signed(one.lead, 4) + ("" if one.error is None else f" ± {formatting.number(one.error, 4)}")


def _verdict(one: Rival) -> str:
    same = one.candidate.same_as
    return one.verdict + (f"; isomorphic to candidate {same[1]} of step {same[0]}" if same else "")


def _rank(one: Rival) -> str:
    if one.rank is None:
        return ""
    return "none" if math.isnan(one.rank) else formatting.number(one.rank, 4)


# --- the playoff -----------------------------------------------------------------------------------------------------


def playoff(record: RunRecord) -> str:
    """The cells trained from scratch to choose the best, by round; nothing where there was no playoff."""
    if not record.retrained:
        return ""
    settings, metric = record.settings, METRICS[record.settings.task]
    score = settings.score
    ordered = sorted(record.retrained, key=lambda one: score.preference(one.evaluation), reverse=True)
    ordered.sort(key=lambda one: one.round)
    head = ("round", "training", "edges", metric.name, settings.score.weighs.title, "S", "then")
    rows = [_round_row(record, one) for one in ordered]
    cells = len({one.evaluation.cell.key for one in record.retrained})
    note = (
        f"{formatting.count(cells, 'cell')} of all sizes, trained from scratch for a short time and paired; about one "
        f"of {settings.playoff.reduction} stays after a round. These are the only figures before the fresh seeds that "
        "compare cells of different sizes; they are of one seed."
    )
    shown = table(head, rows, numeric=frozenset({0, 2, 3, 4, 5}))
    return f'<section class="long"><h2>The playoff</h2><p class="note">{escape(note)}</p>{shown}</section>'


def _round_row(record: RunRecord, one: Retrained) -> tuple[str, ...]:
    evaluation, settings = one.evaluation, record.settings
    performance = evaluation.performance
    key = evaluation.cell.key
    later = {other.evaluation.cell.key for other in record.retrained if other.round == one.round + 1}
    then = ""
    if evaluation.failed:
        then = "failed"
    elif key in later:
        then = "trained longer"
    elif key in record.remeasured:
        then = "fresh seeds"
    return (
        str(one.round + 1),
        evaluation.fidelity,
        str(len(evaluation.cell.edges)),
        "failed" if performance is None else METRICS[settings.task].write(performance, fine=True),
        settings.score.weighs.unit.short(settings.score.cost(evaluation.resources)),
        "" if performance is None else formatting.number(settings.score(evaluation), 4),
        then,
    )


# --- rank correlations -----------------------------------------------------------------------------------------------


def agreement(record: RunRecord) -> str:
    """How what was known without training ranked cells that were then trained; nothing where there is too little."""
    found = evidence.agreements(record)
    if not found:
        return ""
    metric = METRICS[record.settings.task]
    head = ("trained from scratch", "ordered by", "cells", f"ρ with {metric.symbol}", "ρ with S")
    rows = [_agreement_row(one) for one in found]
    note = (
        "Spearman's rank correlation, 1 for the same order and 0 for none, with trainings from scratch of this run. It "
        "is measured here, and never assumed; of so few cells it is a rough figure. Parameters and MACs stand "
        "beside it: they order cells for nothing."
    )
    if record.settings.filter == "zico":
        note += " Only cells that the filter let through could be trained."
    shown = table(head, rows, numeric=frozenset({2, 3, 4}))
    return (
        '<section class="long"><h2>Did the estimates rank as training does?</h2>'
        f'<p class="note">{escape(note)}</p>{shown}</section>'
    )


def _agreement_row(one: Agreement) -> tuple[str, ...]:
    return (
        one.where,
        one.predictor,
        f"n = {one.cells}",
        "" if one.performance is None else formatting.signed(one.performance, 2),
        "" if one.score is None else formatting.signed(one.score, 2),
    )

"""What the report says, worked out from the record before anything is drawn: figures, steps and their evidence."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autoshrink import formatting
from autoshrink.cell import Cell, Edge
from autoshrink.metrics import METRICS, Metric, step_metric
from autoshrink.record import CLEAR, Candidate, Decision, Figures, RunRecord
from autoshrink.report import evidence
from autoshrink.report.gains import gain
from autoshrink.score import FormulaName


@dataclass(frozen=True)
class Step:
    """One decision with its evidence.

    Attributes:
        number: the step; 0 is the starting cell.
        chosen: what the search went on with.
        removed: the edges that the cell before had and this one lacks: the one removed, and those left unreachable.
        runner_up: the second best candidate, if there was one.
        difference: performance of the chosen minus the runner-up's; None without a runner-up.
        standard_error: of `difference`, paired on the validation samples; None when unknown.
        lead: S of the chosen minus S of the runner-up; None where one of them has none.
        lead_error: standard error of `lead`. Costs are exact, so it is that of `difference` times dS/dPerf.
        metric: how performance is shown.
    """

    number: int
    chosen: Candidate
    removed: tuple[Edge, ...]
    runner_up: Candidate | None
    difference: float | None
    standard_error: float | None
    lead: float | None
    lead_error: float | None
    metric: Metric

    @property
    def clear_lead(self) -> bool | None:
        """Whether the lead in S is larger than two standard errors; None when there is no saying."""
        return _exceeds(self.lead, self.lead_error)

    @property
    def clear_difference(self) -> bool | None:
        """Whether the difference in performance is larger than two standard errors; None when there is no saying."""
        return _exceeds(self.difference, self.standard_error)

    @property
    def pair(self) -> tuple[float, float] | None:
        """Performances of the chosen and the runner-up; None without a runner-up."""
        performance = self.chosen.evaluation.performance
        if performance is None or self.difference is None:
            return None
        return performance, performance - self.difference

    def evidence(self) -> str:
        """The comparison with the runner-up in words."""
        if self.lead is None or self.pair is None:
            return "no runner-up" if self.number else "the starting cell"
        lead = f"S ahead of the runner-up by {formatting.number(self.lead, 4)}"
        found = self.metric.difference(*self.pair, self.standard_error, fine=True)
        verdict = {True: ": beyond noise", False: ": within noise", None: ", standard error unknown"}[self.clear_lead]
        return f"{lead}; {self.metric.name} {found}{verdict}"


def _exceeds(value: float | None, error: float | None) -> bool | None:
    return None if value is None or error is None else abs(value) > CLEAR * error


def steps(record: RunRecord) -> tuple[Step, ...]:
    """Every decision of a run, in order."""
    by_place = {(one.step, one.index): one for one in record.candidates}
    before: Cell | None = None
    result = []
    for decision in record.decisions:
        chosen = by_place[decision.step, decision.index]
        runner_up = None if decision.runner_up is None else by_place.get((decision.step, decision.runner_up))
        result.append(_step(record, decision, chosen, runner_up, before=before))
        before = chosen.cell
    return tuple(result)


def _step(
    record: RunRecord, decision: Decision, chosen: Candidate, runner_up: Candidate | None, *, before: Cell | None
) -> Step:
    score, comparison, performance = record.settings.score, decision.comparison, chosen.evaluation.performance
    lead = error = None
    if comparison is not None and runner_up is not None and performance is not None:
        gap = score(chosen.evaluation) - score(runner_up.evaluation)
        lead = gap if math.isfinite(gap) else None
        if comparison.standard_error is not None:
            error = comparison.standard_error * score.slope(performance)
    return Step(
        number=decision.step,
        chosen=chosen,
        removed=tuple(edge for edge in before.edges if edge not in chosen.cell.edges) if before else (),
        runner_up=runner_up,
        difference=comparison.difference if comparison else None,
        standard_error=comparison.standard_error if comparison else None,
        lead=lead,
        lead_error=error,
        metric=step_metric(record.settings),
    )


def evidence_sentence(all_steps: tuple[Step, ...]) -> str:
    """How many decisions stand on more than noise, said plainly."""
    compared = [step for step in all_steps if step.lead is not None]
    known = [step for step in compared if step.clear_lead is not None]
    if not compared:
        return "No decision had a runner-up to compare with."
    counted = formatting.count(len(compared), "decision")
    if not known:
        return f"{counted} had a runner-up; their standard errors are unknown, and so is how many are more than noise."
    clear = sum(bool(step.clear_lead) for step in known)
    alone = sum(bool(step.clear_difference) for step in known)
    metric = known[0].metric
    return (
        f"{clear} of {formatting.count(len(known), 'decision')} with a runner-up led it in S by more than 2 standard "
        f"errors; the others might have gone another way on other {metric.validation}. In {metric.name} alone, "
        f"{alone} of {len(known)} differences were larger than 2 standard errors. The standard error counts the "
        f"{metric.validation}, not the noise of training{_inherited_caution(metric)}."
    )


def _inherited_caution(metric: Metric) -> str:
    if metric in METRICS.values():
        return ""
    return ", nor how far an estimate with inherited weights is from a training from scratch"


def estimates_note(record: RunRecord) -> str:
    """What a step's figures are where they are estimates; nothing where each candidate was trained."""
    return {
        "trained": "",
        "inherited": (
            "The figures of the steps are estimates: each child has its parent's weights, and is judged on a share of "
            "the validation samples. They compare the candidates of one step, and say little across steps."
        ),
        "zico": (
            "The steps compare scaled ZiCo, a score of untrained networks. It is no "
            f"{METRICS[record.settings.task].name}, and how well it ranks is measured below."
        ),
    }[record.settings.evaluator]


def start_word(record: RunRecord) -> str:
    """What to call the starting cell: the complete graph if it is."""
    nodes = len(record.start.ops)
    return "complete graph" if len(record.start.edges) == nodes * (nodes - 1) // 2 else "starting cell"


def headline(record: RunRecord) -> str:
    """What was found, in one sentence; only what was measured alike is compared."""
    best, complete = record.best(), record.complete()
    if best is None:
        return _nothing_yet(record)
    if best.cell.key == record.start.key:
        return _nothing_better(record, best)
    found, metric = _edges_left(record, best), evidence.metric_for(record, best)
    if not best.from_scratch:
        return f"{found}, chosen by estimates alone: nothing was trained from scratch"
    if complete is None:
        return f"{found}: {metric.name} {metric.write(best.performance)}; the {start_word(record)} {_unlike(record)}"
    return _compared(record, best, complete)


def _edges_left(record: RunRecord, best: Figures) -> str:
    return f"{len(best.cell.edges)} of {formatting.count(len(record.start.edges), 'edge')}"


def _compared(record: RunRecord, best: Figures, complete: Figures) -> str:
    """The best cell against the starting cell, which was measured alike and is another one."""
    start, found, metric = start_word(record), _edges_left(record, best), METRICS[record.settings.task]
    compared = f"{_cheaper(record, best, complete)}, {_gained(metric, best, complete)}"
    if best.score > complete.score:
        return f"{found}: {compared}"
    if record.settings.limits.broken_by(complete.recorded.resources) is not None:
        return f"{found}, the best within the limits: {compared}, and no higher S than the {start}, which breaks them"
    return f"Nothing better than the {start} was found: {found} have {compared}, and no higher S"


def _nothing_better(record: RunRecord, best: Figures) -> str:
    start, others = start_word(record), other_cells(record)
    if not record.finished:
        return f"Nothing better than the {start} so far"
    if others:
        return f"The search found nothing better than the {start}"
    ended = "time ran out" if record.settings.stop.seconds is not None else record.stopped
    if not best.from_scratch:
        return f"Nothing was trained from scratch: {ended}"
    return f"Nothing but the {start} was {'trained from scratch' if record.settings.relative else 'measured'}: {ended}"


def other_cells(record: RunRecord) -> int:
    """How many cells but the starting one were trained from scratch without failing."""
    found = [one.evaluation for one in record.retrained]
    found += [one for repeats in record.remeasured.values() for one in repeats]
    if not record.settings.relative:
        found += [one.evaluation for one in record.candidates]
    return len({one.cell.key for one in found if not one.failed} - {record.start.key})


def _unlike(record: RunRecord) -> str:
    """Why the starting cell stands not beside the best one."""
    start = record.starting()
    return "failed" if start is not None and start.failed else "was not measured alike, so they are not compared"


def _cheaper(record: RunRecord, best: Figures, start: Figures) -> str:
    resource = record.settings.score.weighs
    countable, title = resource.unit.countable, resource.title
    old, new = (record.settings.score.cost(one.recorded.resources) for one in (start, best))
    if old == new:
        return f"{'as many' if countable else 'the same'} {title}"
    less = "fewer" if countable else "less"
    return f"{formatting.change(new, old).lstrip('−+±')} {less if new < old else 'more'} {title}"


def _nothing_yet(record: RunRecord) -> str:
    if record.at_chance:
        return _chance_words(record)
    if record.finished:
        return "No candidate could be used"
    return "Estimates only so far: no cell was trained from scratch" if record.usable() else "No usable cell yet"


def _chance_words(record: RunRecord) -> str:
    """That nothing was learned, with the figures that say so."""
    metric, chance = METRICS[record.settings.task], record.chance
    assert chance is not None, "something is at chance"
    found = [one.performance for one in record.rivals()]
    return (
        f"Nothing was learned: no cell can be told from guessing ({metric.name} {metric.write(max(found))} at best, "
        f"guessing {metric.measured(chance.performance, chance.error or None)})"
    )


def _gained(metric: Metric, best: Figures, start: Figures) -> str:
    difference = gain(best, start)
    caution = " (one seed)" if difference.error is None else ""
    return metric.gained(best.performance, start.performance, difference.error) + caution


_FORMULA: dict[FormulaName, tuple[str, str]] = {
    "paper": ("{performance}", "{resource} / 10⁶"),
    "released-text": ("¼·(200 − perplexity)", "|E|·n² / 10⁶"),
}
_SOURCE: dict[FormulaName, str] = {"paper": "Eq. 5", "released-text": "as the released search of recurrent cells"}


def cost_words(record: RunRecord, measured: Figures | None) -> str:
    """``, 5.2M MACs``: what a cell costs in the run's own resource, as the end of a caption; nothing if it failed."""
    return f", {record.settings.score.weighed(measured.recorded.resources)}" if measured else ""


def formula(record: RunRecord) -> str:
    """How this run's S is made, with its λ."""
    settings = record.settings
    name = settings.score.weighs.unit.name
    unit = f" in {name}" if name else ""
    gain, cost = (
        part.format(performance=METRICS[settings.task].symbol, resource=settings.score.weighs.title + unit)
        for part in _FORMULA[settings.formula]
    )
    penalty = "" if settings.penalty == 1 else f"{settings.penalty:g}·"
    return f"S = {gain} − {penalty}log₁₀({cost})"


def formula_source(record: RunRecord) -> str:
    """Where that formula comes from, in symbols."""
    gain, cost = (part.format(performance="Perf", resource="Res") for part in _FORMULA[record.settings.formula])
    return f"{_SOURCE[record.settings.formula]}, S = {gain} − λ·log₁₀({cost})"


def status(record: RunRecord) -> str:
    """Where the run stands, in words."""
    if record.finished:
        return "finished"
    if record.stopped and record.settings.relative and not record.remeasured:
        return "unfinished: the steps are done, the playoff is not over"
    if record.stopped:
        return "unfinished: the search ended, the best cells are being measured again"
    if not record.decisions:
        return "unfinished: nothing decided yet"
    return f"unfinished: {formatting.count(record.decisions[-1].step, 'step')} so far"


def tips(record: RunRecord) -> dict[tuple[int, int], str]:
    """What every candidate's mark says when it is pointed at, by step and index."""
    evidence = {(step.number, step.chosen.index): step.evidence() for step in steps(record)}
    return {
        (one.step, one.index): _tip(record, one) + _chosen_words(evidence.get((one.step, one.index)))
        for one in record.candidates
    }


def _chosen_words(evidence: str | None) -> str:
    return f"\nchosen: {evidence}" if evidence else ""


def _tip(record: RunRecord, candidate: Candidate) -> str:
    evaluation, settings = candidate.evaluation, record.settings
    place = f"step {candidate.step}"
    if candidate.edge is not None:
        place += f", without edge {candidate.edge[0]}→{candidate.edge[1]}"
    if evaluation.performance is None:
        return f"{place}\nfailed: {evaluation.reason}"
    metric = step_metric(settings)
    return (
        f"{place}\nS {formatting.number(settings.score(evaluation), 4)} · "
        f"{metric.name} {metric.write(evaluation.performance, fine=True)}"
        f"\n{settings.score.weighed(evaluation.resources)} · "
        f"{formatting.count(len(candidate.cell.edges), 'edge')}"
    )

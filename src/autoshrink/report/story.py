"""What the report says, worked out from the record before anything is drawn: points, steps and their evidence."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autoshrink import words
from autoshrink.cell import Cell, Edge
from autoshrink.record import Candidate, Decision, Figures, RunRecord

CLEAR = 2.0
"""Standard errors above which a lead is called larger than the noise."""


@dataclass(frozen=True)
class Step:
    """One decision with its evidence.

    Attributes:
        number: the step; 0 is the starting cell.
        chosen: what the search went on with.
        removed: the edges that the cell before had and this one lacks: the one removed, and those left unreachable.
        runner_up: the second best candidate, if there was one.
        difference: accuracy of the chosen minus the runner-up's, a share; None without a runner-up.
        standard_error: of `difference`, paired on the validation images; None when unknown.
        lead: S of the chosen minus S of the runner-up. Costs are exact, so its standard error is that of `difference`.
    """

    number: int
    chosen: Candidate
    removed: tuple[Edge, ...]
    runner_up: Candidate | None
    difference: float | None
    standard_error: float | None
    lead: float | None

    @property
    def clear_lead(self) -> bool | None:
        """Whether the lead in S is larger than two standard errors; None when there is no saying."""
        return _exceeds(self.lead, self.standard_error)

    @property
    def clear_difference(self) -> bool | None:
        """Whether the difference in accuracy is larger than two standard errors; None when there is no saying."""
        return _exceeds(self.difference, self.standard_error)

    def evidence(self) -> str:
        """The comparison with the runner-up in words."""
        if self.lead is None or self.difference is None:
            return "no runner-up" if self.number else "the starting cell"
        lead = f"S ahead of the runner-up by {words.number(self.lead, 4)}"
        if self.standard_error is None:
            return f"{lead}; accuracy {words.points(self.difference, 2)}, standard error unknown"
        verdict = "beyond noise" if self.clear_lead else "within noise"
        error = f"{100 * self.standard_error:.2f}"
        return f"{lead}; accuracy {words.points(self.difference, 2)} ± {error}: {verdict}"


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
    score, comparison = record.settings.score, decision.comparison
    lead = None
    if runner_up is not None and not (runner_up.evaluation.failed or chosen.evaluation.failed):
        lead = score(chosen.evaluation) - score(runner_up.evaluation)
    return Step(
        number=decision.step,
        chosen=chosen,
        removed=tuple(edge for edge in before.edges if edge not in chosen.cell.edges) if before else (),
        runner_up=runner_up,
        difference=comparison.difference if comparison else None,
        standard_error=comparison.standard_error if comparison else None,
        lead=lead if comparison else None,
    )


def evidence_sentence(all_steps: tuple[Step, ...]) -> str:
    """How many decisions stand on more than noise, said plainly."""
    compared = [step for step in all_steps if step.lead is not None]
    known = [step for step in compared if step.clear_lead is not None]
    if not compared:
        return "No decision had a runner-up to compare with."
    if not known:
        return f"{words.count(len(compared), 'decision')} had a runner-up; their standard errors are unknown."
    clear = sum(bool(step.clear_lead) for step in known)
    accuracy = sum(bool(step.clear_difference) for step in known)
    return (
        f"{clear} of {words.count(len(known), 'decision')} with a runner-up led it in S by more than 2 standard "
        "errors; the others might have gone another way on other validation images. In accuracy alone, "
        f"{accuracy} of {len(known)} differences were larger than 2 standard errors. The standard error counts the "
        "validation images, not the noise of training."
    )


@dataclass(frozen=True)
class Gain:
    """The best cell against the starting cell.

    Attributes:
        accuracy: difference of the means, a share.
        accuracy_error: its standard error over fresh seeds; None unless both were measured at least twice.
        score: difference of S.
    """

    accuracy: float
    accuracy_error: float | None
    score: float

    @property
    def within_noise(self) -> bool:
        """Whether the difference in accuracy may be noise, or nothing is known about that."""
        return self.accuracy_error is None or abs(self.accuracy) <= CLEAR * self.accuracy_error


def gain(best: Figures, complete: Figures) -> Gain:
    """The best cell minus the starting cell."""
    error = None
    if best.performance_sd is not None and complete.performance_sd is not None:
        error = math.hypot(
            best.performance_sd / math.sqrt(len(best.repeats)),
            complete.performance_sd / math.sqrt(len(complete.repeats)),
        )
    return Gain(best.performance - complete.performance, error, best.score - complete.score)


def start_word(record: RunRecord) -> str:
    """What to call the starting cell: the complete graph if it is."""
    nodes = len(record.start.ops)
    return "complete graph" if len(record.start.edges) == nodes * (nodes - 1) // 2 else "starting cell"


def headline(record: RunRecord) -> str:
    """What was found, in one sentence."""
    best, complete = record.best(), record.complete()
    if best is None:
        return "No usable cell yet" if not record.finished else "No candidate could be used"
    found = f"{len(best.cell.edges)} of {words.count(len(record.start.edges), 'edge')}"
    if complete is None:
        return f"{found}: {words.percent(best.performance)} accuracy; the {start_word(record)} failed"
    if best.cell.key == complete.cell.key:
        return f"Nothing smaller beat the {start_word(record)}"
    name = record.settings.resource
    old, new = (record.settings.score.cost(one.recorded.resources) for one in (complete, best))
    cheaper = f"{words.change(new, old).lstrip('−+±')} {'less' if new < old else 'more'}"
    if name != "memory":
        cheaper = cheaper.replace("less", "fewer")
    return f"{found}: {cheaper} {words.RESOURCE[name]}, {_accuracy_words(gain(best, complete))}"


def _accuracy_words(difference: Gain) -> str:
    if difference.accuracy_error is not None and difference.within_noise:
        return "accuracy the same within noise"
    direction = "more" if difference.accuracy >= 0 else "less"
    caution = " (one seed)" if difference.accuracy_error is None else ""
    return f"{abs(100 * difference.accuracy):.1f} points {direction} accuracy{caution}"


def measured_words(figures: Figures) -> str:
    """How a cell's accuracy was measured."""
    if not figures.repeats:
        return "recorded in the search, one seed"
    seeds = words.count(len(figures.repeats), "fresh seed")
    return f"mean of {seeds}" if len(figures.repeats) > 1 else f"one measurement with {seeds}"


def accuracy_words(figures: Figures) -> str:
    """Accuracy with its spread."""
    mean = words.percent(figures.performance)
    return (
        mean if figures.performance_sd is None else f"{mean}{words.THIN}±{words.THIN}{100 * figures.performance_sd:.1f}"
    )


def status(record: RunRecord) -> str:
    """Where the run stands, in words."""
    if record.finished:
        return "finished"
    if record.stopped:
        return "unfinished: the search ended, the best cells are being measured again"
    if not record.decisions:
        return "unfinished: nothing decided yet"
    return f"unfinished: {words.count(record.decisions[-1].step, 'step')} so far"


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
    cost = settings.score.cost(evaluation.resources)
    name = words.RESOURCE[settings.resource]
    return (
        f"{place}\nS {words.number(settings.score(evaluation), 4)} · "
        f"accuracy {words.percent(evaluation.performance, 2)}"
        f"\n{words.resource(cost, settings.resource)} {name} · {words.count(len(candidate.cell.edges), 'edge')}"
    )

"""The steps of a search with their evidence: what changed, and by how much the chosen candidate led the others."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from autoshrink.cell import Cell, Edge
from autoshrink.design import Design
from autoshrink.formatting import count, number
from autoshrink.metrics import Metric, judge_of, step_metric
from autoshrink.record import CLEAR, Candidate, Decision, RunRecord
from autoshrink.registry import TASKS
from autoshrink.score import Comparison, Evaluation, Score, compare


@dataclass(frozen=True)
class Step:
    """One decision with its evidence.

    Attributes:
        number: the step; 0 is the starting cell.
        chosen: what the search went on with.
        picture: the cell that shows it; None where there is none.
        removed: the edges that the cell before had and this one lacks, those left unreachable among them.
        added: the edges that this cell has and the one before had not.
        changed: the nodes that have another operation than before.
        runner_up: the second best candidate, if there was one.
        difference: what was judged of the chosen minus the runner-up's; None without a runner-up.
        standard_error: of `difference`, paired on the validation samples; None when unknown.
        lead: S of the chosen minus S of the runner-up; None where one of them has none.
        lead_error: standard error of `lead`. Costs are exact, so it is that of `difference` times dS/dPerf.
        metric: how performance is shown.
        judge: how what was judged, and a difference in it, is shown.
    """

    number: int
    chosen: Candidate
    picture: Cell | None
    removed: tuple[Edge, ...]
    added: tuple[Edge, ...]
    changed: tuple[int, ...]
    runner_up: Candidate | None
    difference: float | None
    standard_error: float | None
    lead: float | None
    lead_error: float | None
    metric: Metric
    judge: Metric

    @property
    def clear_lead(self) -> bool | None:
        """Whether the lead in S is larger than two standard errors; None when there is no saying."""
        return _exceeds(self.lead, self.lead_error)

    @property
    def clear_difference(self) -> bool | None:
        """Whether the difference of what was judged exceeds two standard errors; None when there is no saying."""
        return _exceeds(self.difference, self.standard_error)

    @property
    def pair(self) -> tuple[float, float] | None:
        """What was judged of the chosen and the runner-up; None without a runner-up."""
        judged = self.chosen.evaluation.judged
        if judged is None or self.difference is None:
            return None
        return judged, judged - self.difference

    @property
    def change(self) -> str:
        """What differs from the cell before: ``0→3, 1→3``, ``2: conv1x1``, ``+1→2``; or that nothing does."""
        parts = [f"{i}→{j}" for i, j in self.removed]
        parts += [f"{node}: {self.picture.ops[node]}" for node in self.changed] if self.picture else []
        parts += [f"+{i}→{j}" for i, j in self.added]
        return ", ".join(parts) or self._otherwise

    @property
    def _otherwise(self) -> str:
        if self.chosen.change is not None:
            return self.chosen.change.label
        return "nothing removed" if self.picture else "kept"

    def evidence(self) -> str:
        """The comparison with the runner-up in words."""
        if self.lead is None or self.pair is None:
            return "no runner-up" if self.number else "the start"
        lead = f"S ahead of the runner-up by {number(self.lead, 4)}"
        found = self.judge.difference(*self.pair, self.standard_error, fine=True)
        verdict = {True: ": beyond noise", False: ": within noise", None: ", standard error unknown"}[self.clear_lead]
        return f"{lead}; {self.judge.name} {found}{verdict}"


def _exceeds(value: float | None, error: float | None) -> bool | None:
    return None if value is None or error is None else abs(value) > CLEAR * error


def steps(record: RunRecord) -> tuple[Step, ...]:
    """Every decision of a run, in order."""
    by_place = {(one.step, one.index): one for one in record.candidates}
    before: Design | None = None
    found = []
    for decision in record.decisions:
        chosen = by_place[decision.step, decision.index]
        runner_up = None if decision.runner_up is None else by_place.get((decision.step, decision.runner_up))
        found.append(_step(record, decision, chosen, runner_up, before or chosen.design))
        before = chosen.design
    return tuple(found)


def _step(
    record: RunRecord, decision: Decision, chosen: Candidate, runner_up: Candidate | None, before: Design
) -> Step:
    score, comparison = record.settings.score, decision.comparison
    lead = error = None
    if comparison is not None and runner_up is not None and not chosen.evaluation.failed:
        lead, error = _ahead(score, chosen.evaluation, score(runner_up.evaluation), comparison)
    task = TASKS[record.settings.task]
    cell, parent = task.picture(chosen.design), task.picture(before)
    if cell is None or parent is None or len(cell.ops) != len(parent.ops):
        # Nothing of the one can be found again in the other.
        parent = cell
    return Step(
        number=decision.step,
        chosen=chosen,
        picture=cell,
        removed=tuple(edge for edge in parent.edges if edge not in cell.edges) if cell and parent else (),
        added=tuple(edge for edge in cell.edges if edge not in parent.edges) if cell and parent else (),
        changed=tuple(node for node in cell.reachable if cell.ops[node] != parent.ops[node]) if cell and parent else (),
        runner_up=runner_up,
        difference=comparison.difference if comparison else None,
        standard_error=comparison.standard_error if comparison else None,
        lead=lead,
        lead_error=error,
        metric=step_metric(record.settings),
        judge=judge_of(record.settings, chosen.evaluation),
    )


def _ahead(score: Score, one: Evaluation, other: float, found: Comparison) -> tuple[float | None, float | None]:
    """S of an evaluation minus another, and the standard error of that, from a comparison of what was judged."""
    gap = score(one) - other
    error = None if found.standard_error is None else found.standard_error * score.slope(one.judged or 0.0)
    return gap if math.isfinite(gap) else None, error


def change_words(candidate: Candidate | None) -> str:
    """What was done to the parent: ``0→3`` for an edge that went, ``2: conv1x1``; nothing where it was no move."""
    if candidate is None or candidate.change is None:
        return ""
    return f"{candidate.edge[0]}→{candidate.edge[1]}" if candidate.edge else candidate.change.label


def evidence_sentence(all_steps: tuple[Step, ...]) -> str:
    """How many decisions stand on more than noise, said plainly."""
    compared = [step for step in all_steps if step.lead is not None]
    known = [step for step in compared if step.clear_lead is not None]
    if not compared:
        return "No decision had a runner-up to compare with."
    if not known:
        counted = count(len(compared), "decision")
        return f"{counted} had a runner-up; their standard errors are unknown, and so is how many are more than noise."
    clear = sum(bool(step.clear_lead) for step in known)
    alone = sum(bool(step.clear_difference) for step in known)
    metric = known[0].judge
    caution = (
        "" if metric.trained else ", nor how far an estimate with inherited weights is from a training from scratch"
    )
    return (
        f"{clear} of {count(len(known), 'decision')} with a runner-up led it in S by more than 2 standard errors; the "
        f"others might have gone another way on other {metric.validation}. In {metric.name} alone, {alone} of "
        f"{len(known)} differences were larger than 2 standard errors. The standard error counts the "
        f"{metric.validation}, not the noise of training{caution}."
    )


# --- all candidates of a step ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rival:
    """A candidate beside the one that its step went on with.

    Attributes:
        candidate: what was measured.
        chosen: whether the search went on with it.
        same: whether it is another candidate, isomorphic to that one.
        samples: validation samples (images, or pieces of text) that it was compared on; None where unknown.
        lead: its S minus that of the chosen, on the samples that both were judged on; None where there is no saying.
        error: standard error of `lead`; None where unknown.
        rank: what the filter gave it; None where there is no filter, NaN where it could not.
    """

    candidate: Candidate
    chosen: bool
    same: bool
    samples: int | None
    lead: float | None
    error: float | None
    rank: float | None

    @property
    def verdict(self) -> str:
        """Whether the difference to the chosen is more than noise."""
        if self.chosen:
            return "chosen"
        if self.same:
            return "same cell"
        if self.candidate.evaluation.failed:
            return "failed"
        return {True: "clear", False: "noise", None: "error unknown"}[_exceeds(self.lead, self.error)]


def step_rivals(record: RunRecord) -> dict[int, tuple[Rival, ...]]:
    """Of every decided step its candidates: the chosen, then those measured furthest, of these the highest S first."""
    score = record.settings.score

    def place(one: Rival) -> tuple[bool, bool, int, tuple[float, int, int]]:
        evaluation = one.candidate.evaluation
        return one.chosen, not evaluation.failed, evaluation.rung, score.preference(evaluation)

    found = {}
    for decision in record.decisions:
        group = record.of_step(decision.step)
        chosen = next((one for one in group if one.index == decision.index), None)
        if chosen is not None and decision.step:
            listed = [_rival(record, one, chosen) for one in group]
            found[decision.step] = tuple(sorted(listed, key=place, reverse=True))
    return found


def _rival(record: RunRecord, one: Candidate, chosen: Candidate) -> Rival:
    evaluation, score = one.evaluation, record.settings.score
    outcomes = evaluation.outcomes
    lead = error = None
    against = None if one is chosen else _compared(evaluation, chosen.evaluation)
    if against is not None and evaluation.judged is not None:
        other = score.of(evaluation.judged - against.difference, chosen.design, chosen.evaluation.resources)
        lead, error = _ahead(score, evaluation, other, against)
    rank = record.ranks.get(one.design.key) if record.ranks else None
    origin = chosen.same_as or (chosen.step, chosen.index)
    same = one is not chosen and origin in ((one.step, one.index), one.same_as)
    return Rival(one, one is chosen, same, None if outcomes is None else len(outcomes), lead, error, rank)


def _compared(one: Evaluation, chosen: Evaluation) -> Comparison | None:
    """Paired, on the samples that both were judged on; None where one failed or the samples are not the same.

    A candidate that was left behind was judged on the first of the images that the chosen was judged on.
    """
    if one.performance is None or chosen.performance is None:
        return None
    if one.rung < chosen.rung and one.correct is not None and chosen.correct is not None:
        seen, parts = chosen.correct[: len(one.correct)], chosen.parts and chosen.parts[: len(one.correct)]
        return compare(one, replace(chosen, correct=seen, parts=parts, performance=float(np.mean(seen))))
    found = compare(one, chosen)
    return None if one.rung != chosen.rung and found.standard_error is None else found

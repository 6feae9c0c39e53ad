"""What a run's figures rest on: which are estimates, what each candidate lost by, and whether estimates ranked well."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from autoshrink import formatting
from autoshrink.metrics import METRICS, Metric, step_metric
from autoshrink.ranking import spearman
from autoshrink.record import CLEAR, Candidate, Figures, RunRecord
from autoshrink.score import Comparison, Evaluation, Spent, compare

FEWEST = 3
"""Cells that a rank correlation takes at least."""


# --- estimates and trainings from scratch --------------------------------------------------------------------------


def metric_for(record: RunRecord, figures: Figures) -> Metric:
    """What the performance among the figures is."""
    return METRICS[record.settings.task] if figures.from_scratch else step_metric(record.settings)


def last_of_playoff(record: RunRecord) -> dict[str, Evaluation]:
    """Each cell's evaluation in the last round that it took part in, by key."""
    return {one.evaluation.cell.key: one.evaluation for one in record.retrained}


def estimated(record: RunRecord) -> tuple[Candidate, ...]:
    """The candidates whose figures are estimates; the starting cell of an inherited run was trained."""
    settings = record.settings
    if not settings.relative:
        return ()
    return tuple(one for one in record.candidates if one.step or settings.evaluator == "zico")


def trained_cells(record: RunRecord) -> int:
    """How many different cells were trained from scratch."""
    keys = {one.evaluation.cell.key for one in record.retrained} | set(record.remeasured)
    if record.settings.evaluator != "zico":
        first = record.of_step(0) if record.settings.relative else record.candidates
        keys |= {one.cell.key for one in first}
    return len(keys)


def count_words(record: RunRecord) -> str:
    """How many candidates there were, and what was done with them."""
    settings = record.settings
    if not settings.relative:
        return f"{formatting.count(len(record.candidates), 'cell')} measured"
    how = {"inherited": "estimated with inherited weights", "zico": "scored by ZiCo without training"}
    found = formatting.count(len(estimated(record)), "candidate")
    were = "was" if len(estimated(record)) == 1 else "were"
    trained = trained_cells(record)
    return (
        f"{found} {were} {how[settings.evaluator]}; {formatting.count(trained, 'cell')} "
        f"{'was' if trained == 1 else 'were'} trained from scratch"
    )


def measured_words(record: RunRecord, figures: Figures) -> str:
    """How a cell's performance was measured."""
    if figures.repeats:
        seeds = formatting.count(len(figures.repeats), "fresh seed")
        found = f"mean of {seeds}" if len(figures.repeats) > 1 else f"one measurement with {seeds}"
        # What is trained less than the recipe says is not left unsaid.
        return f"{found}, {figures.repeats[0].fidelity}" if record.settings.relative else found
    if not record.settings.relative:
        return "recorded in the search, one seed"
    if figures.from_scratch:
        return f"one seed, {figures.recorded.fidelity}"
    return {"inherited": "an estimate with inherited weights", "zico": "no training at all"}[record.settings.evaluator]


def phases(record: RunRecord) -> dict[str, Spent]:
    """What each part of the run cost, in its order; only those that cost something. A shared training counts once."""
    search, playoff, fresh = Spent(), Spent(), Spent()
    for one in record.candidates:
        search += one.evaluation.spent if one.same_as is None else Spent()
    for retrained in record.retrained:
        playoff += retrained.evaluation.spent
    for repeats in record.remeasured.values():
        for evaluation in repeats:
            fresh += evaluation.spent
    found = {"search": search, "ZiCo filter": record.screening, "playoff": playoff, "fresh seeds": fresh}
    return {name: spent for name, spent in found.items() if spent.training_macs}


def phases_words(record: RunRecord) -> str:
    """``search 1.2G, playoff 300M, fresh seeds 2.1G``: the training MACs; nothing where there is one part only."""
    found = phases(record)
    shown = ", ".join(f"{name} {formatting.quantity(spent.training_macs)}" for name, spent in found.items())
    return shown if len(found) > 1 else ""


# --- a step's candidates ---------------------------------------------------------------------------------------------


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
        if self.lead is None or self.error is None:
            return "error unknown"
        return "clear" if abs(self.lead) > CLEAR * self.error else "noise"


def rivals(record: RunRecord) -> dict[int, tuple[Rival, ...]]:
    """Of every decided step its candidates: the chosen, then those measured furthest, of these the highest S first."""
    score = record.settings.score
    by_step: dict[int, list[Candidate]] = {}
    for one in record.candidates:
        by_step.setdefault(one.step, []).append(one)

    def place(one: Rival) -> tuple[bool, bool, int, tuple[float, int, int]]:
        evaluation = one.candidate.evaluation
        return one.chosen, not evaluation.failed, evaluation.rung, score.preference(evaluation)

    found = {}
    for decision in record.decisions:
        group = by_step.get(decision.step, [])
        chosen = next((one for one in group if one.index == decision.index), None)
        if chosen is not None and decision.step:
            listed = [_rival(record, one, chosen) for one in group]
            found[decision.step] = tuple(sorted(listed, key=place, reverse=True))
    return found


def _rival(record: RunRecord, one: Candidate, chosen: Candidate) -> Rival:
    evaluation, score = one.evaluation, record.settings.score
    outcomes = evaluation.correct if evaluation.correct is not None else evaluation.parts
    lead = error = None
    against = None if one is chosen else compared(evaluation, chosen.evaluation)
    if against is not None and evaluation.performance is not None:
        other = score.of(evaluation.performance - against.difference, chosen.cell, chosen.evaluation.resources)
        gap = score(evaluation) - other
        lead = gap if math.isfinite(gap) else None
        if against.standard_error is not None:
            error = against.standard_error * score.slope(evaluation.performance)
    rank = record.ranks.get(one.cell.key) if record.ranks else None
    origin = chosen.same_as or (chosen.step, chosen.index)
    same = one is not chosen and origin in ((one.step, one.index), one.same_as)
    return Rival(one, one is chosen, same, None if outcomes is None else len(outcomes), lead, error, rank)


def compared(one: Evaluation, chosen: Evaluation) -> Comparison | None:
    """Paired, on the samples that both were judged on; None where one failed or the samples are not the same.

    A candidate that was left behind was judged on the first of the images that the chosen was judged on.
    """
    if one.performance is None or chosen.performance is None:
        return None
    if one.rung < chosen.rung and one.correct is not None and chosen.correct is not None:
        seen = chosen.correct[: len(one.correct)]
        return compare(one, replace(chosen, correct=seen, performance=float(np.mean(seen))))
    found = compare(one, chosen)
    return None if one.rung != chosen.rung and found.standard_error is None else found


# --- whether estimates ranked as training does -----------------------------------------------------------------------


@dataclass(frozen=True)
class Agreement:
    """Spearman's ρ between something known without training, or an estimate, and trainings from scratch.

    Attributes:
        where: which trainings.
        predictor: what is held against them.
        cells: how many cells have both.
        performance: ρ with the performance; None where the predictor says nothing about it.
        score: ρ with S.
    """

    where: str
    predictor: str
    cells: int
    performance: float | None
    score: float | None


Trained = dict[str, tuple[float, float, Evaluation]]
"""By a cell's key: performance and S when trained from scratch, and one such evaluation."""
Predicted = Mapping[str, tuple[float | None, float]]
"""By a cell's key: what orders cells by performance, and what by S."""


def agreements(record: RunRecord) -> tuple[Agreement, ...]:
    """Every rank correlation that the run has cells for, at least three each; never over trainings of unlike length."""
    predicted = _predicted(record)
    found = []
    for where, trained in _trained(record).items() if predicted else ():
        known = [key for values in predicted.values() for key in trained if key in values]
        free = _costs({key: trained[key] for key in known})
        for predictor, values in (predicted | free).items():
            found += _agreement(where, predictor, values, trained)
    return tuple(found)


def _agreement(where: str, predictor: str, values: Predicted, trained: Trained) -> list[Agreement]:
    keys = [key for key in trained if key in values]
    if len(keys) < FEWEST:
        return []
    by_performance = [value for key in keys if (value := values[key][0]) is not None]
    truth = [trained[key] for key in keys]
    performance = spearman(by_performance, [one[0] for one in truth]) if len(by_performance) == len(keys) else None
    score = spearman([values[key][1] for key in keys], [one[1] for one in truth])
    return [Agreement(where, predictor, len(keys), performance, score)]


def _trained(record: RunRecord) -> dict[str, Trained]:
    """Trainings from scratch, those of one length together."""
    score = record.settings.score
    groups: dict[str, Trained] = {}

    def note(group: str, evaluation: Evaluation) -> None:
        if evaluation.performance is not None:
            value = (evaluation.performance, score(evaluation), evaluation)
            groups.setdefault(group, {}).setdefault(evaluation.cell.key, value)

    if not record.settings.relative:
        for one in record.candidates:
            note("candidates of the steps", one.evaluation)
    for retrained in record.retrained:
        note(f"playoff, round {retrained.round + 1}", retrained.evaluation)
    for key, repeats in record.remeasured.items():
        usable = [one for one in repeats if not one.failed]
        if usable:
            figures = record.figures(usable[0])
            groups.setdefault("fresh seeds", {})[key] = (figures.performance, figures.score, usable[0])
    return groups


def _predicted(record: RunRecord) -> dict[str, Predicted]:
    """What was known of cells before they were trained from scratch."""
    found: dict[str, Predicted] = {}
    estimates = _best_estimates(record)
    if record.settings.evaluator == "inherited" and estimates:
        found["estimate with inherited weights"] = estimates
    zico = _zico(record)
    if record.settings.evaluator == "zico":
        zico = estimates | zico
    if zico:
        found["ZiCo"] = zico
    return found


def _best_estimates(record: RunRecord) -> dict[str, tuple[float | None, float]]:
    """Of each cell the estimate with the highest S: the one that recommended it to the playoff."""
    score, found = record.settings.score, dict[str, tuple[float | None, float]]()
    for one in estimated(record):
        if not one.evaluation.failed:
            value = score(one.evaluation)
            if one.cell.key not in found or value > found[one.cell.key][1]:
                found[one.cell.key] = one.evaluation.performance, value
    return found


def _zico(record: RunRecord) -> dict[str, tuple[float | None, float]]:
    """The filter's ranks, which are S with scaled ZiCo as the performance, and the scaled ZiCo in them."""
    known = {key: rank for key, rank in record.ranks.items() if not math.isnan(rank)}
    if not known:
        return {}
    score = record.settings.score
    evaluations = [one.evaluation for one in record.candidates] + [one.evaluation for one in record.retrained]
    found: dict[str, tuple[float | None, float]] = {}
    for one in evaluations:
        rank = known.get(one.cell.key)
        if rank is not None and one.cell.key not in found:
            scaled = rank - score.of(0.0, one.cell, one.resources) if score.formula == "paper" else None
            found[one.cell.key] = scaled, rank
    return found


def _costs(trained: Trained) -> dict[str, Predicted]:
    """Parameters and MACs, which cost nothing to know."""
    return {
        name: {key: (float(value := getattr(one[2].resources, field)), float(value)) for key, one in trained.items()}
        for name, field in (("parameters", "params"), ("MACs", "macs"))
    }

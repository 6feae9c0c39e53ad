"""Whether what was known without training ranked cells as trainings from scratch then did: Spearman's ρ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from autoshrink.findings import estimated, filter_name
from autoshrink.formatting import signed
from autoshrink.ranking import spearman, spearman_interval
from autoshrink.record import RunRecord
from autoshrink.score import Evaluation

FEWEST = 5
"""Cells below which a rank correlation says nothing: of four, one order in 24 is perfect by chance."""
Interval = tuple[float, float]


@dataclass(frozen=True)
class Agreement:
    """Spearman's ρ between something known without training, or an estimate, and trainings from scratch.

    Attributes:
        where: which trainings.
        predictor: what is held against them.
        cells: how many cells have both.
        performance: ρ with the performance; None where the predictor says nothing about it, or of too few cells.
        score: ρ with S; None of too few cells.
        performance_interval: of ρ, by a bootstrap over cells (`autoshrink.ranking.spearman_interval`).
        score_interval: likewise.
    """

    where: str
    predictor: str
    cells: int
    performance: float | None = None
    score: float | None = None
    performance_interval: Interval | None = None
    score_interval: Interval | None = None

    @property
    def enough(self) -> bool:
        """Whether there are cells enough for a number."""
        return self.cells >= FEWEST


Trained = dict[str, tuple[float, float, Evaluation]]
"""By a cell's key: performance and S when trained from scratch, and one such evaluation."""
Predicted = Mapping[str, tuple[float | None, float]]
"""By a cell's key: what orders cells by performance, and what by S."""


def agreements(record: RunRecord) -> tuple[Agreement, ...]:
    """Every rank correlation that the run has two cells for, without a figure below `FEWEST`; never over trainings of
    unlike length."""
    return tuple(_agreements(record))


def of_estimates(record: RunRecord) -> tuple[Agreement, ...]:
    """Those of the estimates by which the steps chose."""
    own = record.kind.words.predictor
    return tuple(one for one in agreements(record) if one.predictor == own) if record.settings.estimates else ()


def agreement_words(one: Agreement) -> str:
    """``ρ = +0.60 (−0.31 … +1.00, n = 6)``, or that there are too few."""
    if not one.enough or one.score is None or one.score_interval is None:
        return f"{one.cells} cells have both figures, fewer than the {FEWEST} that a rank correlation takes"
    low, high = (signed(value, 2) for value in one.score_interval)
    return f"ρ of S = {signed(one.score, 2)} (95 % interval {low} … {high}, n = {one.cells})"


def _agreements(record: RunRecord) -> Iterator[Agreement]:
    predicted = _predicted(record)
    for where, trained in _trained(record).items() if predicted else ():
        known = {key: trained[key] for values in predicted.values() for key in trained if key in values}
        free: dict[str, Predicted] = {
            title: {key: (float(one[2].resources[name]), float(one[2].resources[name])) for key, one in known.items()}
            for title, name in (("parameters", "params"), ("MACs", "macs"))
        }
        for predictor, values in (predicted | free).items():
            keys = [key for key in trained if key in values]
            if len(keys) < FEWEST:
                if len(keys) > 1:
                    yield Agreement(where, predictor, len(keys))
                continue
            by_performance = [value for key in keys if (value := values[key][0]) is not None]
            complete = len(by_performance) == len(keys)
            performances = (by_performance, [trained[key][0] for key in keys]) if complete else None
            scores = [values[key][1] for key in keys], [trained[key][1] for key in keys]
            yield Agreement(
                where,
                predictor,
                len(keys),
                performances and spearman(*performances),
                spearman(*scores),
                performances and spearman_interval(*performances),
                spearman_interval(*scores),
            )


def _trained(record: RunRecord) -> dict[str, Trained]:
    """Trainings from scratch, those of one length together."""
    score = record.settings.score
    groups: dict[str, Trained] = {}
    listed = (
        [] if record.settings.estimates else [("candidates of the steps", one.evaluation) for one in record.candidates]
    )
    listed += [(f"playoff, round {one.round + 1}", one.evaluation) for one in record.retrained]
    for group, evaluation in listed:
        if evaluation.performance is not None:
            value = (evaluation.performance, score(evaluation), evaluation)
            groups.setdefault(group, {}).setdefault(evaluation.design.key, value)
    for key, repeats in record.remeasured.items():
        usable = [one for one in repeats if not one.failed]
        if usable:
            figures = record.figures(usable[0])
            groups.setdefault("fresh seeds", {})[key] = (figures.performance, figures.score, usable[0])
    return groups


def _predicted(record: RunRecord) -> dict[str, Predicted]:
    """What was known of cells before they were trained from scratch."""
    found: dict[str, Predicted] = {}
    named = ((record.kind.words.predictor, _highest_estimates(record)), (filter_name(record), _ranks(record)))
    for name, values in named:
        if values:
            found[name] = {**found.get(name, {}), **values}
    return found


def _highest_estimates(record: RunRecord) -> dict[str, tuple[float | None, float]]:
    """Of each cell the estimate with the highest S: the one that recommended it to the playoff."""
    score, found = record.settings.score, dict[str, tuple[float | None, float]]()
    for one in estimated(record):
        if not one.evaluation.failed:
            value = score(one.evaluation)
            if one.design.key not in found or value > found[one.design.key][1]:
                found[one.design.key] = one.evaluation.performance, value
    return found


def _ranks(record: RunRecord) -> dict[str, tuple[float | None, float]]:
    """The filter's ranks, which are S with its score as the performance, and the score in them."""
    if not record.ranks:
        return {}
    score = record.settings.score
    found: dict[str, tuple[float | None, float]] = {}
    evaluations = [one.evaluation for one in record.candidates] + [one.evaluation for one in record.retrained]
    for one in evaluations:
        cell = one.design
        rank = record.ranks.get(cell.key, math.nan)
        if not math.isnan(rank) and cell.key not in found:
            scaled = rank - score.of(0.0, cell, one.resources) if score.formula == "paper" else None
            found[cell.key] = scaled, rank
    return found

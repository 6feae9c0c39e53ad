"""The best cell against the starting cell: what was gained, and the figures that the report opens with."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from autoshrink import formatting
from autoshrink.metrics import Metric, metric_of, shown_resources
from autoshrink.record import CLEAR, Figures, RunRecord
from autoshrink.report import evidence
from autoshrink.resources import RESOURCES


@dataclass(frozen=True)
class Gain:
    """The best cell against the starting cell.

    Attributes:
        performance: difference of the means.
        error: its standard error over fresh seeds; None unless both were measured at least twice.
        score: difference of S.
        score_error: its standard error over fresh seeds; None as for `error`.
    """

    performance: float
    error: float | None
    score: float
    score_error: float | None = None

    @property
    def clear(self) -> bool | None:
        """Whether the difference in S is more than two standard errors; None where there is no saying."""
        return None if self.score_error is None else abs(self.score) > CLEAR * self.score_error

    def score_words(self) -> str:
        """The difference in S, and whether it is noise: ``S +0.0123 ± 0.0040, more than noise``."""
        verdict = {True: "more than noise", False: "within noise", None: "one seed, which may be noise"}[self.clear]
        error = "" if self.score_error is None else f" ± {formatting.number(self.score_error, 4)}"
        return f"S {formatting.signed(self.score, 4)}{error}, {verdict}"


def gain(best: Figures, start: Figures) -> Gain:
    """The best cell minus the starting cell, both measured alike."""
    count = len(best.repeats)
    error = _error((best.performance_sd, start.performance_sd), count)
    score_error = _error((best.score_sd, start.score_sd), count)
    return Gain(best.performance - start.performance, error, best.score - start.score, score_error)


def _error(deviations: tuple[float | None, float | None], count: int) -> float | None:
    """Standard error of the difference of two means over so many trainings each, from their standard deviations."""
    first, second = deviations
    return None if first is None or second is None else math.hypot(first, second) / math.sqrt(count)


@dataclass(frozen=True)
class Headline:
    """One figure of the best cell, and the starting cell's where that is another one.

    Attributes:
        title: what it is.
        value: the figure itself.
        shown: the figure as text.
        spread: its standard deviation over fresh seeds as text, or nothing.
        change: how it differs from the starting cell's, or nothing.
        reference: the starting cell's figure as text, or nothing.
        worse: whether that difference is one for the worse.
    """

    title: str
    value: float
    shown: str
    spread: str = ""
    change: str = ""
    reference: str = ""
    worse: bool = False


def headlines(record: RunRecord) -> tuple[Headline, ...]:
    """Performance, S and costs of the best cell; nothing before there is one."""
    best, start = record.best(), record.complete()
    if best is None:
        return ()
    other = None if start is None or start.cell.key == best.cell.key else start
    costs = (cost_headline(name, best, other) for name in shown_resources(record.settings))
    return (
        performance_headline(evidence.metric_for(record, best), best, other),
        score_headline(best, other),
        *(one for one in costs if one is not None),
    )


def _is_worse(change: str, better: float) -> bool:
    """Whether a change that makes something better by so much is one for the worse, and not too small to be shown."""
    return better < 0 and not change.startswith("±")


def performance_headline(metric: Metric, best: Figures, other: Figures | None) -> Headline:
    """Performance in the metric's terms, against the starting cell's if `other` is given."""
    mean, spread = best.performance, best.performance_sd
    found = Headline(
        metric.name,
        metric.value(mean),
        metric.write(mean),
        "" if spread is None else metric.error(spread, mean),
    )
    if other is None:
        return found
    difference = gain(best, other)
    change = f"{metric.shift(mean, other.performance)} {metric.difference_unit}".rstrip()
    error = "" if difference.error is None else f" (s.e.{formatting.THIN}{metric.error(difference.error, mean)})"
    return replace(
        found,
        change=change + error,
        reference=metric.measured(other.performance, other.performance_sd),
        worse=_is_worse(change, difference.performance),
    )


def score_headline(best: Figures, other: Figures | None) -> Headline:
    """S, against the starting cell's."""
    found = Headline("score S", best.score, formatting.number(best.score, 3))
    if other is None or not math.isfinite(best.score - other.score):
        return found
    change = formatting.signed(best.score - other.score, 3)
    reference = formatting.number(other.score, 3)
    return replace(found, change=change, reference=reference, worse=_is_worse(change, best.score - other.score))


def cost_headline(name: str, best: Figures, other: Figures | None) -> Headline | None:
    """A resource, against the starting cell's; None where the log does not say it."""
    resource, new = RESOURCES[name], best.recorded.resources[name]
    old = 0 if other is None else other.recorded.resources[name]
    if new == 0:
        return None
    title = resource.title + (f" per {metric_of(best.cell).sample}" if resource.per_sample else "")
    found = Headline(title, new, resource.unit.short(new))
    if old == 0:
        return found
    change = formatting.change(new, old)
    return replace(found, change=change, reference=resource.unit.short(old), worse=_is_worse(change, old - new))

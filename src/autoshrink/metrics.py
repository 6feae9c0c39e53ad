"""What a performance is called and how people read it: accuracy for images, perplexity for text.

Inside the program performance is one number, higher is better: accuracy in [0, 1], or −ln perplexity in nats. Whatever
is shown goes through here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from autoshrink import formatting
from autoshrink.config import SearchSettings
from autoshrink.design import Design
from autoshrink.registry import EVALUATORS, TASKS
from autoshrink.score import OVERFLOW_NATS, Evaluation
from autoshrink.tasks import task_of


@dataclass(frozen=True)
class EpochFigures:
    """What an epoch of a final training gave.

    Attributes:
        performance: on the validation samples, higher is better.
        loss: mean over them, nats.
        training_loss: mean over the epoch's training samples, as they were varied and with smoothed labels, nats; None
            where it was not noted.
        learning_rate: of the epoch's last step; likewise.
    """

    performance: float
    loss: float
    training_loss: float | None = None
    learning_rate: float | None = None


@dataclass(frozen=True)
class Metric:
    """How one task's performance is shown. `fine` asks for one more digit than usual.

    The figure that people read is the performance itself, in percent where `percent` says so. Others override what
    differs (`Perplexity`).

    Attributes:
        name: ``accuracy`` or ``perplexity``.
        sample: what is counted when training is: ``image`` or ``token``.
        validation: what it is measured on.
        piece: what a comparison of two candidates pairs: an ``image``, or a ``piece of text`` (a chunk of a stream).
        resources: the costs that tables show, the most telling first.
        symbol: the performance as it stands in a formula; the name where nothing is said.
        axis: the title of an axis on which up is better.
        digits: after the figure's point.
        percent: whether the figure is a share, written in percent, and differences in points.
        trained: whether it is of a network that was trained from scratch.
    """

    name: str
    sample: str
    validation: str
    piece: str
    resources: tuple[str, ...]
    symbol: str = ""
    axis: str = ""
    digits: int = 4
    percent: bool = False
    trained: bool = True

    def __post_init__(self) -> None:
        for name, default in (("symbol", self.name), ("axis", f"Validation {self.name}")):
            object.__setattr__(self, name, getattr(self, name) or default)

    def estimated(self) -> Self:
        """Of a candidate that had most of its weights from the cell it was cut from."""
        axis = f"Estimated {self.axis[0].lower()}{self.axis[1:]}"
        symbol = self.symbol.replace(self.name, f"estimated {self.name}")
        return replace(self, name=f"estimated {self.name}", symbol=symbol, axis=axis, trained=False)

    def untrained(self, name: str) -> Metric:
        """Of a score that takes the performance's place and is none, since nothing was trained."""
        axis = f"{name[0].upper()}{name[1:]}, nothing trained"
        return Metric(name, self.sample, self.validation, self.piece, self.resources, axis=axis, trained=False)

    def value(self, performance: float) -> float:
        """The figure itself: a share, or a perplexity."""
        return performance

    def write(self, performance: float, *, fine: bool = False) -> str:
        """The figure with its unit: ``97.2 %``, ``231.4``."""
        return self._number(performance, fine=fine) + self._unit

    def measured(self, performance: float, deviation: float | None, *, fine: bool = False) -> str:
        """The figure with the standard deviation of the performance: ``97.2 ± 0.7 %``, ``231.4 ± 3.1``."""
        if deviation is None:
            return self.write(performance, fine=fine)
        spread = self.error(deviation, performance, fine=fine)
        figure = self._number(performance, fine=fine)
        return f"{figure}{formatting.THIN}±{formatting.THIN}{spread}{self._unit}"

    def error(self, error: float, performance: float, *, fine: bool = False) -> str:
        """A standard error of performance, at a performance, in the figure's unit and without it."""
        del performance  # the same everywhere
        return formatting.number(self._scale * error, self.digits + fine)

    def shift(self, performance: float, other: float, error: float | None = None, *, fine: bool = False) -> str:
        """The first's figure minus the second's, perhaps with its standard error, no unit: ``+0.4``, ``−7.1 ± 0.9``."""
        shown = formatting.signed(self._scale * (performance - other), self.digits + fine)
        return shown + self._spread(performance, error, fine=fine)

    def difference(self, performance: float, other: float, error: float | None = None, *, fine: bool = False) -> str:
        """How the first differs from the second: ``+0.4 points``, ``−7.1 (−3 %)``."""
        return f"{self.shift(performance, other, error, fine=fine)} {self.difference_unit}".rstrip()

    def gained(self, performance: float, other: float, error: float | None = None) -> str:
        """The same in words, perhaps with its standard error: ``0.4 ± 0.2 points more accuracy``, ``3 % lower …``."""
        gap = formatting.number(self._scale * abs(performance - other), self.digits) + self._spread(performance, error)
        return f"{f'{gap} {self.difference_unit}'.rstrip()} {'more' if performance >= other else 'less'} {self.name}"

    def ticks(self, low: float, high: float, about: int = 4) -> tuple[float, ...]:
        """Performances within [low, high] whose figures are round, about so many, ascending."""
        return round_values(low, high, about)

    def tick(self, performance: float) -> str:
        """What an axis says at one of them: as few digits as it takes."""
        return f"{self._scale * performance:.4g}".replace("-", "−") + self._unit

    @property
    def difference_unit(self) -> str:
        """Of what `shift` says."""
        return "points" if self.percent else ""

    @property
    def _scale(self) -> float:
        return 100.0 if self.percent else 1.0

    @property
    def _unit(self) -> str:
        return f"{formatting.THIN}%" if self.percent else ""

    def _number(self, performance: float, *, fine: bool) -> str:
        return formatting.number(self._scale * performance, self.digits + fine)

    def _spread(self, performance: float, error: float | None, *, fine: bool = False) -> str:
        return "" if error is None else f" ± {self.error(error, performance, fine=fine)}"


class Perplexity(Metric):
    """exp of the mean negative log-likelihood of a validation token: how many tokens the model is torn between."""

    def value(self, performance: float) -> float:
        """The perplexity; infinite where it is no float."""
        return _exp(-performance)

    def _number(self, performance: float, *, fine: bool) -> str:
        value = self.value(performance)
        return formatting.number(value, _places(value) + fine)

    def error(self, error: float, performance: float, *, fine: bool = False) -> str:
        """Times the perplexity: a deviation of σ nats is one of perplexity · σ, to first order."""
        value = self.value(performance)
        # Where two runs agree exactly and the perplexity is infinite, their product has no value.
        return formatting.number(value * error if error else 0.0, _places(value) + fine)

    def shift(self, performance: float, other: float, error: float | None = None, *, fine: bool = False) -> str:
        """Perplexities subtracted."""
        new, old = self.value(performance), self.value(other)
        gap = 0.0 if performance == other else new - old
        if math.isnan(gap):
            return "unknown"
        return formatting.signed(gap, _places(new) + fine) + self._spread(performance, error, fine=fine)

    def difference(self, performance: float, other: float, error: float | None = None, *, fine: bool = False) -> str:
        """Perplexities subtracted, and what that is of the second."""
        shown = self.shift(performance, other, error, fine=fine)
        return f"{shown} ({formatting.change(_exp(other - performance), 1.0)})"

    def gained(self, performance: float, other: float, error: float | None = None) -> str:
        """Percent lower or higher."""
        change = abs(100 * (_exp(other - performance) - 1))
        direction = "lower" if performance >= other else "higher"
        spread = "" if error is None else f" ± {formatting.number(100 * error * _exp(other - performance), 1)}"
        return f"{formatting.number(change, 1)}{spread}{formatting.THIN}% {direction} {self.name}"

    def ticks(self, low: float, high: float, about: int = 4) -> tuple[float, ...]:
        """Performances of round perplexities: evenly spread where the axis is short, powers of ten where it is long."""
        # Beyond e^600 no figure is read from an axis, and ten times as much is no float.
        least, most = self.value(min(high, OVERFLOW_NATS)), self.value(max(low, 100 - OVERFLOW_NATS))
        spread = log_values if most > 8 * least else round_values
        return tuple(sorted(-math.log(value) for value in spread(least, most, about) if value >= 1))

    def tick(self, performance: float) -> str:
        """The perplexity, as few digits as it takes."""
        value = self.value(performance)
        short = formatting.round_quantity(value) if value > 9999.5 else f"{value:.4g}"
        return f"{value:.3g}" if value > 1e12 else short


def _exp(nats: float) -> float:
    return math.exp(nats) if nats <= OVERFLOW_NATS else math.inf


def _places(value: float) -> int:
    return 1 if value >= 100 else 2 if value >= 10 else 3


def round_values(low: float, high: float, about: int) -> tuple[float, ...]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high], about so many; none where high is not above."""
    if not high > low:
        return ()
    power = 10.0 ** math.floor(math.log10((high - low) / max(1, about)))
    numbers, step = range(0), power
    for factor in (1, 2, 5, 10):
        step = factor * power
        numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
        if len(numbers) <= about + 1:
            break
    return tuple(round(number * step, 12) for number in numbers)


def log_values(low: float, high: float, about: int) -> tuple[float, ...]:
    """Round values within [low, high], both positive, spread evenly by factor: about so many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside: list[float] = []
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        values = [factor * 10.0**power for power in powers for factor in factors]
        inside = [value for value in values if low <= value <= high]
        if len(inside) >= min(about, 3):
            break
    return tuple(inside[:: math.ceil(len(inside) / (about + 2)) or 1])


ACCURACY = Metric(
    name="accuracy",
    sample="image",
    validation="validation images",
    piece="image",
    resources=("macs", "params", "memory"),
    digits=1,
    percent=True,
)
"""Share of validation images classified correctly."""

PROBABILITY = replace(
    ACCURACY,
    name="probability",
    symbol="probability of the right class",
    axis="Validation probability of the right class",
)
"""Mean probability of the validation images' own classes: the accuracy of a guess drawn by them, with less noise."""

PERPLEXITY = Perplexity(
    name="perplexity",
    sample="token",
    validation="validation text",
    piece="piece of text",
    resources=("cell_params", "params", "macs", "memory"),
    symbol="−ln perplexity",
    axis="Validation perplexity (lower is better)",
)


def step_metric(settings: SearchSettings) -> Metric:
    """What the figures of a step's candidates are: the task's metric, an estimate of it, or no performance at all."""
    return EVALUATORS[settings.evaluator].shown(metric_of(settings))


def judge_of(settings: SearchSettings, evaluation: Evaluation) -> Metric:
    """What a candidate of a step was judged by: the step's metric, or the probability of the right class."""
    if evaluation.judged == evaluation.performance:
        return step_metric(settings)
    return EVALUATORS[settings.evaluator].shown(PROBABILITY)


def metric_of(thing: SearchSettings | Design) -> Metric:
    """What a search measures by; of a design alone, what those of its kind are measured by."""
    return TASKS[thing.task].metric if isinstance(thing, SearchSettings) else task_of(thing.kind).metric


def shown_resources(settings: SearchSettings) -> tuple[str, ...]:
    """The costs that a run's tables show: those of its task, the one that its score weighs, and what is limited."""
    usual = metric_of(settings).resources
    first = () if settings.resource in usual else (settings.resource,)
    return tuple(dict.fromkeys((*first, *(name for name in settings.limits.given() if name not in usual), *usual)))

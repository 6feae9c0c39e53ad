"""What a performance is called and how people read it: accuracy for images, perplexity for text.

Inside the program performance is one number, higher is better: accuracy in [0, 1], or −ln perplexity in nats. Whatever
is shown goes through here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

from autoshrink import formatting
from autoshrink.cell import Cell
from autoshrink.config import SearchSettings, TaskName
from autoshrink.score import OVERFLOW_NATS, ResourceName


class Metric(ABC):
    """How one task's performance is shown. `fine` asks for one more digit than usual."""

    name: ClassVar[str]
    """``accuracy`` or ``perplexity``."""
    symbol: ClassVar[str]
    """The performance as it stands in a formula."""
    rises: ClassVar[bool]
    """Whether a better performance is a larger figure."""
    sample: ClassVar[str]
    """What is counted when training is: ``image`` or ``token``."""
    validation: ClassVar[str]
    """What it is measured on."""
    piece: ClassVar[str]
    """What a comparison of two candidates pairs: an ``image``, or a ``piece of text`` (a chunk of a stream)."""
    task: ClassVar[TaskName]
    """The task that is measured by it."""
    kind: ClassVar[str]
    """Of the cells that it measures."""
    resources: ClassVar[tuple[ResourceName, ...]]
    """The costs that tables show, the most telling first."""
    difference_unit: ClassVar[str] = ""
    """Of what `shift` says."""

    @abstractmethod
    def value(self, performance: float) -> float:
        """The figure itself: a share, or a perplexity."""

    @abstractmethod
    def write(self, performance: float, *, fine: bool = False) -> str:
        """The figure with its unit: ``97.2 %``, ``231.4``."""

    @abstractmethod
    def measured(self, performance: float, deviation: float | None, *, fine: bool = False) -> str:
        """The figure with the standard deviation of the performance: ``97.2 ± 0.7 %``, ``231.4 ± 3.1``."""

    @abstractmethod
    def error(self, error: float, performance: float, *, fine: bool = False) -> str:
        """A standard error of performance, at a performance, in the figure's unit and without it."""

    @abstractmethod
    def shift(self, performance: float, other: float, error: float | None = None, *, fine: bool = False) -> str:
        """The first's figure minus the second's, perhaps with its standard error, no unit: ``+0.4``, ``−7.1 ± 0.9``."""

    @abstractmethod
    def difference(self, performance: float, other: float, error: float | None = None, *, fine: bool = False) -> str:
        """How the first differs from the second: ``+0.4 points``, ``−7.1 (−3 %)``."""

    @abstractmethod
    def gained(self, performance: float, other: float, error: float | None = None) -> str:
        """The same in words, perhaps with its standard error: ``0.4 ± 0.2 points more accuracy``, ``3 % lower …``."""

    @abstractmethod
    def ticks(self, low: float, high: float, about: int = 4) -> tuple[float, ...]:
        """Performances within [low, high] whose figures are round, about so many, ascending."""

    @abstractmethod
    def tick(self, performance: float) -> str:
        """What an axis says at one of them."""

    @property
    def axis(self) -> str:
        """The title of an axis on which up is better."""
        return f"Validation {self.name}" + ("" if self.rises else " (lower is better)")


class Accuracy(Metric):
    """Share of validation images classified correctly."""

    name = symbol = "accuracy"
    rises = True
    sample = "image"
    validation = "validation images"
    piece = "image"
    task = "image"
    kind = "conv"
    resources = ("macs", "params", "memory")
    difference_unit = "points"

    def value(self, performance: float) -> float:
        """The share itself."""
        return performance

    def write(self, performance: float, *, fine: bool = False) -> str:
        """Percent."""
        return formatting.percent(performance, 1 + fine)

    def measured(self, performance: float, deviation: float | None, *, fine: bool = False) -> str:
        """Percent with its deviation."""
        if deviation is None:
            return self.write(performance, fine=fine)
        shown = self.error(deviation, performance, fine=fine)
        return f"{100 * performance:.{1 + fine}f}{formatting.THIN}±{formatting.THIN}{shown}{formatting.THIN}%"

    def error(self, error: float, performance: float, *, fine: bool = False) -> str:  # noqa: ARG002
        """Percentage points, the same at every accuracy."""
        return f"{100 * error:.{1 + fine}f}"

    def shift(self, performance: float, other: float, error: float | None = None, *, fine: bool = False) -> str:
        """Percentage points."""
        shown = "" if error is None else f" ± {self.error(error, performance, fine=fine)}"
        return formatting.signed(100 * (performance - other), 1 + fine) + shown

    def difference(self, performance: float, other: float, error: float | None = None, *, fine: bool = False) -> str:
        """Percentage points, and the word."""
        return f"{self.shift(performance, other, error, fine=fine)} {self.difference_unit}"

    def gained(self, performance: float, other: float, error: float | None = None) -> str:
        """Points more or less."""
        spread = "" if error is None else f" ± {self.error(error, performance)}"
        points = f"{abs(100 * (performance - other)):.1f}{spread} {self.difference_unit}"
        return f"{points} {'more' if performance >= other else 'less'} {self.name}"

    def ticks(self, low: float, high: float, about: int = 4) -> tuple[float, ...]:
        """Round shares."""
        return round_values(low, high, about)

    def tick(self, performance: float) -> str:
        """Percent, as few digits as it takes."""
        return f"{100 * performance:.4g}{formatting.THIN}%"


class Perplexity(Metric):
    """exp of the mean negative log-likelihood of a validation token: how many tokens the model is torn between."""

    name = "perplexity"
    symbol = "−ln perplexity"
    rises = False
    sample = "token"
    validation = "validation text"
    piece = "piece of text"
    task = "text"
    kind = "recurrent"
    resources = ("cell_params", "params", "macs", "memory")

    def value(self, performance: float) -> float:
        """The perplexity; infinite where it is no float."""
        return _exp(-performance)

    def write(self, performance: float, *, fine: bool = False) -> str:
        """Four significant digits."""
        value = self.value(performance)
        return formatting.number(value, _places(value) + fine)

    def measured(self, performance: float, deviation: float | None, *, fine: bool = False) -> str:
        """The perplexity of the mean log-likelihood; a deviation of σ nats is one of perplexity · σ, to first order."""
        shown = self.write(performance, fine=fine)
        if deviation is None:
            return shown
        return f"{shown}{formatting.THIN}±{formatting.THIN}{self.error(deviation, performance, fine=fine)}"

    def error(self, error: float, performance: float, *, fine: bool = False) -> str:
        """Times the perplexity, to first order."""
        value = self.value(performance)
        # Where two runs agree exactly and the perplexity is infinite, their product has no value.
        return formatting.number(value * error if error else 0.0, _places(value) + fine)

    def shift(self, performance: float, other: float, error: float | None = None, *, fine: bool = False) -> str:
        """Perplexities subtracted."""
        new, old = self.value(performance), self.value(other)
        gap = 0.0 if performance == other else new - old
        if math.isnan(gap):
            return "unknown"
        shown = "" if error is None else f" ± {self.error(error, performance, fine=fine)}"
        return formatting.signed(gap, _places(new) + fine) + shown

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
        return (
            f"{value:.3g}" if value > 1e12 else formatting.round_quantity(value) if value > 9999.5 else f"{value:.4g}"
        )


class EstimatedAccuracy(Accuracy):
    """Accuracy of a candidate that had most of its weights from the cell it was cut from."""

    name = symbol = "estimated accuracy"

    @property
    def axis(self) -> str:
        """The title of an axis on which up is better."""
        return "Estimated validation accuracy"


class EstimatedPerplexity(Perplexity):
    """Perplexity of a candidate that had most of its weights from the cell it was cut from."""

    name = "estimated perplexity"
    symbol = "−ln estimated perplexity"

    @property
    def axis(self) -> str:
        """The title of an axis on which up is better."""
        return "Estimated validation perplexity (lower is better)"


class ScaledZico(Metric):
    """ZiCo in units of performance, which makes it no performance: nothing was trained."""

    name = symbol = "scaled ZiCo"
    rises = True
    difference_unit = ""

    def value(self, performance: float) -> float:
        """The figure itself."""
        return performance

    def write(self, performance: float, *, fine: bool = False) -> str:
        """Four digits after the point."""
        return formatting.number(performance, 4 + fine)

    def measured(self, performance: float, deviation: float | None, *, fine: bool = False) -> str:
        """The figure, and its deviation where there is one."""
        shown = self.write(performance, fine=fine)
        if deviation is None:
            return shown
        return f"{shown}{formatting.THIN}±{formatting.THIN}{self.error(deviation, performance, fine=fine)}"

    def error(self, error: float, performance: float, *, fine: bool = False) -> str:  # noqa: ARG002
        """The same at every figure."""
        return formatting.number(error, 4 + fine)

    def shift(self, performance: float, other: float, error: float | None = None, *, fine: bool = False) -> str:
        """Subtracted."""
        shown = "" if error is None else f" ± {self.error(error, performance, fine=fine)}"
        return formatting.signed(performance - other, 4 + fine) + shown

    def difference(self, performance: float, other: float, error: float | None = None, *, fine: bool = False) -> str:
        """Subtracted; it has no unit."""
        return self.shift(performance, other, error, fine=fine)

    def gained(self, performance: float, other: float, error: float | None = None) -> str:
        """More or less."""
        gap = formatting.number(abs(performance - other), 4) + (
            "" if error is None else f" ± {self.error(error, performance)}"
        )
        return f"{gap} {'more' if performance >= other else 'less'} {self.name}"

    def ticks(self, low: float, high: float, about: int = 4) -> tuple[float, ...]:
        """Round figures."""
        return round_values(low, high, about)

    def tick(self, performance: float) -> str:
        """As few digits as it takes."""
        return f"{performance:.4g}".replace("-", "−")

    @property
    def axis(self) -> str:
        """The title of an axis on which up is better."""
        return "Scaled ZiCo, nothing trained"


class ImageZico(ScaledZico):
    """Scaled ZiCo of convolutional cells."""

    sample, validation, piece = Accuracy.sample, Accuracy.validation, Accuracy.piece
    task, kind, resources = Accuracy.task, Accuracy.kind, Accuracy.resources


class TextZico(ScaledZico):
    """Scaled ZiCo of recurrent cells."""

    sample, validation, piece = Perplexity.sample, Perplexity.validation, Perplexity.piece
    task, kind, resources = Perplexity.task, Perplexity.kind, Perplexity.resources


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


ACCURACY, PERPLEXITY = Accuracy(), Perplexity()
METRICS: dict[str, Metric] = {metric.task: metric for metric in (ACCURACY, PERPLEXITY)}
"""By the task's name."""


_STEPS: dict[str, dict[str, Metric]] = {
    "trained": METRICS,
    "inherited": {metric.task: metric for metric in (EstimatedAccuracy(), EstimatedPerplexity())},
    "zico": {metric.task: metric for metric in (ImageZico(), TextZico())},
}
"""By evaluator, then task."""


def step_metric(settings: SearchSettings) -> Metric:
    """What the figures of a step's candidates are: the task's metric, an estimate of it, or no performance at all."""
    return _STEPS[settings.evaluator][settings.task]


def metric_of(cell: Cell) -> Metric:
    """What cells of this kind are measured by."""
    return next(metric for metric in METRICS.values() if metric.kind == cell.kind)


def shown_resources(settings: SearchSettings) -> tuple[ResourceName, ...]:
    """The costs that a run's tables show: those of its task, the one that its score weighs, and what is limited."""
    usual = METRICS[settings.task].resources
    timed: tuple[ResourceName, ...] = ("latency",) if settings.times else ()
    return tuple(dict.fromkeys((*timed, *usual) if settings.resource in usual else (settings.resource, *timed, *usual)))

"""The course of a classifier's training as one picture: accuracy, losses and learning rate, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from autoshrink.drawing import joined, tag
from autoshrink.formatting import THIN, percent, round_quantity
from autoshrink.report import charts
from autoshrink.report.charts import Panel, Scale
from autoshrink.report.templates import asset

WIDTH, HEIGHT = 760.0, 560.0
LEFT, RIGHT = 70.0, 724.0
MANY_DOTS = 60
"""With more epochs the lines stand alone."""


@dataclass(frozen=True)
class EpochFigures:
    """What an epoch gave.

    Attributes:
        accuracy: on the validation images, in [0, 1].
        loss: mean over the validation images, nats.
        training_loss: mean over the epoch's training images, as they were varied and with smoothed labels, nats.
        learning_rate: of the epoch's last step.
    """

    accuracy: float
    loss: float
    training_loss: float
    learning_rate: float


@dataclass(frozen=True)
class _Line:
    """Values of every epoch, under a name; `kind` is a CSS class."""

    name: str
    kind: str
    values: Sequence[float]


def curve_svg(figures: Sequence[EpochFigures], *, kept: int) -> str:
    """The picture of one training of at least one epoch, as a file of its own; `kept` is the model's epoch, from 1."""
    accuracies, best = [one.accuracy for one in figures], kept - 1
    title = f"Validation accuracy {percent(accuracies[best], 2)} after epoch {best + 1} of {len(figures)}"
    x = Scale(1, max(2, len(figures)), LEFT, RIGHT)
    losses = (
        _Line("validation", "one", [one.loss for one in figures]),
        _Line("training", "two", [one.training_loss for one in figures]),
    )
    rates = (_Line("", "plain", [one.learning_rate for one in figures]),)
    accuracy = (_Line("", "one", accuracies),)
    return tag(
        "svg",
        tag("title", title),
        tag("style", asset("curves.css")),
        tag("rect", class_="paper", x=0.5, y=0.5, width=WIDTH - 1, height=HEIGHT - 1, rx=12),
        charts.label(28, 42, title, kind="title"),
        _panel("Validation accuracy", accuracy, x, (96.0, 250.0), write=_tick, most=1.0),
        _crown(figures, best, x, (96.0, 250.0)),
        _panel("Mean loss, nats", losses, x, (298.0, 412.0), write=_short),
        _panel("Learning rate", rates, x, (460.0, 510.0), write=_short, least=0.0, about=2),
        Panel(x, Scale(0, 1, 510.0, 460.0)).foot(_epochs(len(figures)), lambda value: f"{value:g}"),
        charts.label((LEFT + RIGHT) / 2, 546, "epoch", anchor="middle"),
        xmlns="http://www.w3.org/2000/svg",
        class_="curves",
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
    )


def _panel(
    name: str,
    lines: Sequence[_Line],
    x: Scale,
    span: tuple[float, float],
    *,
    write: Callable[[float], str],
    least: float | None = None,
    most: float | None = None,
    about: int = 4,
) -> Markup:
    panel = Panel(x, _scale(lines, span, least, most))
    parts = [
        charts.label(LEFT, span[0] - 14, name, kind="panel-name"),
        panel.rules(panel.y.ticks(about), write),
        *(_drawn(line, panel) for line in lines),
    ]
    return joined([*parts, _key(lines, span[0] - 14) if len(lines) > 1 else ""])


def _scale(lines: Sequence[_Line], span: tuple[float, float], least: float | None, most: float | None) -> Scale:
    top, bottom = span
    values = [value for line in lines for value in line.values if math.isfinite(value)]
    around = Scale.around(values if least is None else [*values, least], bottom, top)
    low = around.low if least is None else max(least, around.low)
    high = around.high if most is None else min(most, around.high)
    return Scale(low, high if high > low else low + 1.0, bottom, top)


def _drawn(line: _Line, panel: Panel) -> Markup:
    shown = [(epoch, value) for epoch, value in enumerate(line.values, start=1) if math.isfinite(value)]
    points = [(panel.x(epoch), panel.y(value)) for epoch, value in shown]
    marked = points if len(points) <= MANY_DOTS else []
    dots = (charts.dot(x, y, f"mark {line.kind}", radius=2.0) for x, y in marked)
    return charts.polyline(points, f"line {line.kind}") + joined(dots)


def _crown(figures: Sequence[EpochFigures], best: int, x: Scale, span: tuple[float, float]) -> Markup:
    """A ring around the epoch whose weights are kept."""
    accuracies = [one.accuracy for one in figures]
    y = _scale((_Line("", "one", accuracies),), span, None, 1.0)
    return charts.dot(x(best + 1), y(accuracies[best]), "best", tip=f"epoch {best + 1}", radius=4.5)


def _key(lines: Sequence[_Line], y: float) -> Markup:
    """The lines' names at the right above their panel."""
    parts, right = [], RIGHT
    for line in reversed(lines):
        parts.append(charts.label(right, y, line.name, kind=f"name {line.kind}", anchor="end"))
        right -= 7.4 * len(line.name) + 18
    return joined(parts)


def _epochs(count: int) -> tuple[float, ...]:
    ticks = tuple(value for value in Scale(1, max(2, count), LEFT, RIGHT).ticks(8) if value == int(value))
    return ticks if count > 1 else (1.0,)


def _tick(share: float) -> str:
    return f"{100 * share:.4g}{THIN}%"


def _short(value: float) -> str:
    return round_quantity(value) if value >= 1e-3 or value == 0 else f"{value:.0e}".replace("e-0", "e−")

"""The course of a classifier's training as one picture: accuracy, losses and learning rate, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from autoshrink.drawing import joined, tag
from autoshrink.formatting import THIN, percent, round_quantity
from autoshrink.metrics import EpochFigures
from autoshrink.report import charts
from autoshrink.report.charts import Panel, Scale
from autoshrink.report.templates import asset

WIDTH, HEIGHT = 760.0, 560.0
LEFT, RIGHT = 70.0, 724.0
MANY_DOTS = 60
"""With more epochs the lines stand alone."""


@dataclass(frozen=True)
class _Chart:
    """One panel: its lines by CSS class, how its axis is written, and what that axis spans at least and at most."""

    name: str
    top: float
    bottom: float
    lines: Mapping[str, Sequence[float]]
    write: Callable[[float], str]
    least: float | None = None
    most: float | None = None
    ticks: int = 4

    def panel(self, x: Scale) -> Panel:
        """With the scale of its values."""
        values = [value for line in self.lines.values() for value in line if math.isfinite(value)]
        around = Scale.around(values if self.least is None else [*values, self.least], self.bottom, self.top)
        low = around.low if self.least is None else max(self.least, around.low)
        high = around.high if self.most is None else min(self.most, around.high)
        return Panel(x, Scale(low, high if high > low else low + 1.0, self.bottom, self.top))

    def drawn(self, x: Scale) -> Markup:
        """Its name, rules and lines; of few epochs a dot each."""
        panel = self.panel(x)
        parts = [
            charts.label(LEFT, self.top - 14, self.name, kind="panel-name"),
            panel.rules(panel.y.ticks(self.ticks), self.write),
        ]
        for kind, values in self.lines.items():
            shown = [(epoch, value) for epoch, value in enumerate(values, start=1) if math.isfinite(value)]
            points = [(panel.x(epoch), panel.y(value)) for epoch, value in shown]
            parts.append(charts.polyline(points, f"line {kind}"))
            if len(points) <= MANY_DOTS:
                parts += [charts.dot(*place, f"mark {kind}", radius=2.0) for place in points]
        return joined(parts)


def curve_svg(figures: Sequence[EpochFigures], *, kept: int) -> str:
    """The picture of one training of at least one epoch, as a file of its own; `kept` is the model's epoch, from 1."""
    accuracies = [one.performance for one in figures]
    title = f"Validation accuracy {percent(accuracies[kept - 1], 2)} after epoch {kept} of {len(figures)}"
    x = Scale(1, max(2, len(figures)), LEFT, RIGHT)
    accuracy = _Chart("Validation accuracy", 96.0, 250.0, {"one": accuracies}, _share, most=1.0)
    losses = {"one": [one.loss for one in figures], "two": [_known(one.training_loss) for one in figures]}
    rates = {"plain": [_known(one.learning_rate) for one in figures]}
    crown = accuracy.panel(x)
    epochs = tuple(value for value in x.ticks(8) if value == int(value)) if len(figures) > 1 else (1.0,)
    return tag(
        "svg",
        tag("title", title),
        tag("style", asset("curves.css")),
        tag("rect", class_="paper", x=0.5, y=0.5, width=WIDTH - 1, height=HEIGHT - 1, rx=12),
        charts.label(28, 42, title, kind="title"),
        accuracy.drawn(x),
        # A ring around the epoch whose weights are kept.
        charts.dot(crown.x(kept), crown.y(accuracies[kept - 1]), "best", tip=f"epoch {kept}", radius=4.5),
        _Chart("Mean loss, nats", 298.0, 412.0, losses, _short).drawn(x),
        charts.label(RIGHT, 284, "training", kind="name two", anchor="end"),
        charts.label(RIGHT - 77.2, 284, "validation", kind="name one", anchor="end"),
        _Chart("Learning rate", 460.0, 510.0, rates, _short, least=0.0, ticks=2).drawn(x),
        Panel(x, Scale(0, 1, 510.0, 460.0)).foot(epochs, lambda value: f"{value:g}"),
        charts.label((LEFT + RIGHT) / 2, 546, "epoch", anchor="middle"),
        xmlns="http://www.w3.org/2000/svg",
        class_="curves",
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
    )


def _share(value: float) -> str:
    return f"{100 * value:.4g}{THIN}%"


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _short(value: float) -> str:
    return round_quantity(value) if value >= 1e-3 or value == 0 else f"{value:.0e}".replace("e-0", "e−")

"""The course of a classifier's training as one picture: accuracy, losses and learning rate, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoshrink import formatting
from autoshrink.drawing import tag
from autoshrink.escaping import escape
from autoshrink.metrics import METRICS
from autoshrink.report import charts
from autoshrink.report.charts import Panel, Scale

WIDTH, HEIGHT = 760.0, 560.0
LEFT, RIGHT = 70.0, 724.0
MANY_DOTS = 60
"""With more epochs the lines stand alone."""

STYLE = """
.curves{--paper:#fff;--ink:#1c2126;--soft:#55606a;--rule:#e2e5e8;--strong:#b9c0c6;--accent:#0b6b6b;--dot:#8b96a0}
@media (prefers-color-scheme:dark){.curves{--paper:#15191d;--ink:#e8eaec;--soft:#a5aeb7;--rule:#2b3238;--strong:#4a545d;
--accent:#5cc7bd;--dot:#6d7983}}
.curves text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--soft);font-size:13px}
.curves .paper{fill:var(--paper);stroke:var(--rule)}.curves .title{font-size:21px;font-weight:600;fill:var(--ink)}
.curves .panel-name{font-weight:600;fill:var(--ink)}.curves .name{font-weight:600;paint-order:stroke;
stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}.curves .name.one{fill:var(--accent)}
.curves .name.two{fill:var(--soft)}.curves .name.plain{fill:var(--ink)}
.rule{stroke:var(--rule)}.axis{stroke:var(--strong)}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round}.line.one{stroke:var(--accent)}.line.two{stroke:var(--dot)}
.line.plain{stroke:var(--ink)}.mark.one{fill:var(--accent)}.mark.two{fill:var(--dot)}.mark.plain{fill:var(--ink)}
.best{fill:var(--paper);stroke:var(--accent);stroke-width:2}
"""


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
    title = (
        f"Validation accuracy {METRICS['image'].write(accuracies[best], fine=True)} after epoch {best + 1} "
        f"of {len(figures)}"
    )
    x = Scale(1, max(2, len(figures)), LEFT, RIGHT)
    losses = (
        _Line("validation", "one", [one.loss for one in figures]),
        _Line("training", "two", [one.training_loss for one in figures]),
    )
    rates = (_Line("", "plain", [one.learning_rate for one in figures]),)
    accuracy = (_Line("", "one", accuracies),)
    return tag(
        "svg",
        tag("title", escape(title)),
        tag("style", STYLE),
        tag("rect", class_="paper", x=0.5, y=0.5, width=WIDTH - 1, height=HEIGHT - 1, rx=12),
        charts.label(28, 42, title, kind="title"),
        _panel("Validation accuracy", accuracy, x, (96.0, 250.0), write=METRICS["image"].tick, most=1.0),
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
) -> str:
    panel = Panel(x, _scale(lines, span, least, most))
    parts = [
        charts.label(LEFT, span[0] - 14, name, kind="panel-name"),
        panel.rules(panel.y.ticks(about), write),
        *(_drawn(line, panel) for line in lines),
    ]
    return "".join([*parts, _key(lines, span[0] - 14) if len(lines) > 1 else ""])


def _scale(lines: Sequence[_Line], span: tuple[float, float], least: float | None, most: float | None) -> Scale:
    top, bottom = span
    values = [value for line in lines for value in line.values if math.isfinite(value)]
    around = Scale.around(values if least is None else [*values, least], bottom, top)
    low = around.low if least is None else max(least, around.low)
    high = around.high if most is None else min(most, around.high)
    return Scale(low, high if high > low else low + 1.0, bottom, top)


def _drawn(line: _Line, panel: Panel) -> str:
    shown = [(epoch, value) for epoch, value in enumerate(line.values, start=1) if math.isfinite(value)]
    points = [(panel.x(epoch), panel.y(value)) for epoch, value in shown]
    dots = ""
    if len(points) <= MANY_DOTS:
        dots = "".join(charts.dot(x, y, f"mark {line.kind}", radius=2.0) for x, y in points)
    return charts.polyline(points, f"line {line.kind}") + dots


def _crown(figures: Sequence[EpochFigures], best: int, x: Scale, span: tuple[float, float]) -> str:
    """A ring around the epoch whose weights are kept."""
    accuracies = [one.accuracy for one in figures]
    y = _scale((_Line("", "one", accuracies),), span, None, 1.0)
    return charts.dot(x(best + 1), y(accuracies[best]), "best", tip=f"epoch {best + 1}", radius=4.5)


def _key(lines: Sequence[_Line], y: float) -> str:
    """The lines' names at the right above their panel."""
    parts, right = [], RIGHT
    for line in reversed(lines):
        parts.append(charts.label(right, y, line.name, kind=f"name {line.kind}", anchor="end"))
        right -= 7.4 * len(line.name) + 18
    return "".join(parts)


def _epochs(count: int) -> tuple[float, ...]:
    ticks = tuple(value for value in Scale(1, max(2, count), LEFT, RIGHT).ticks(8) if value == int(value))
    return ticks if count > 1 else (1.0,)


def _short(value: float) -> str:
    return formatting.round_quantity(value) if value >= 1e-3 or value == 0 else f"{value:.0e}".replace("e-0", "e−")

"""The page of a search over a range of budgets: the best at each, beside the hand-made networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from autoshrink import findings
from autoshrink.drawing import joined, tag
from autoshrink.formatting import count, duration, percent, quantity
from autoshrink.metrics import Metric, metric_of
from autoshrink.record import Figures, RunRecord
from autoshrink.report import charts
from autoshrink.report.charts import Panel, Scale
from autoshrink.report.steps import steps
from autoshrink.report.templates import Table
from autoshrink.resources import RESOURCES

WIDTH, HEIGHT = 760.0, 420.0
"""Of the chart, in SVG user units."""
ASIDE = 11.0
"""By so much hand-made networks stand to the left of what was found, so that error bars can be told apart."""


@dataclass(frozen=True)
class Mark:
    """A network in the chart.

    Attributes:
        amount: what it takes of the budget's resource.
        figures: its performance.
        name: of a hand-made one; None of the best at its budget.
        budget: that budget's name.
    """

    amount: float
    figures: Figures
    name: str | None
    budget: str

    @property
    def span(self) -> tuple[float, float]:
        """The ends of its error bar: ± the standard deviation over fresh seeds."""
        deviation = self.figures.performance_sd or 0.0
        return self.figures.performance - deviation, self.figures.performance + deviation

    def tip(self, metric: Metric, title: str) -> str:
        """What it says when it is pointed at."""
        figures = self.figures
        seeds = f"mean of {count(len(figures.repeats), 'fresh seed')}" if figures.repeats else "one seed, in the search"
        measured = metric.measured(figures.performance, figures.performance_sd, fine=True)
        whose = f"{self.name}, hand-made" if self.name else f"the best, {figures.design}"
        return f"{self.budget}: {whose}\n{metric.name} {measured} ({seeds})\n{quantity(self.amount)} {title}"


def _amount(record: RunRecord, figures: Figures, name: str) -> float:
    """What it takes of the budget; a predicted latency is not in the log, and nearly the budget."""
    return figures.recorded.resources[name] or record.settings.budget.given()[name]


def marks(record: RunRecord) -> tuple[Mark, ...]:
    """The best at every budget that is done, and all hand-made networks that were measured there, those first."""
    name, found = record.settings.budget.ranged or "", []
    for octave, best, _ in findings.octave_rows(record):
        budget = findings.budget_name(octave)
        for start in octave.starts():
            figures = octave.figures(start)
            called = octave.names.get(start.design.key, "")
            found.append(Mark(_amount(octave, figures, name), figures, called, budget))
        found.append(Mark(_amount(octave, best, name), best, None, budget))
    return tuple(found)


def front_svg(record: RunRecord, **place: float) -> Markup:
    """Performance against the budget, on a logarithmic axis; `place` says where in another picture it stands."""
    metric, resource = metric_of(record.settings), RESOURCES[record.settings.budget.ranged or ""]
    shown = marks(record)
    best = [one for one in shown if one.name is None]
    budgets = [float(one.given()[resource.name]) for one in record.settings.budget.octaves()]
    always = [end for one in best for end in one.span]
    heights = charts.in_view([one.figures.performance for one in shown], always)
    left, top, right, bottom = 58.0, 34.0, WIDTH - 20, HEIGHT - 54
    panel = Panel(
        Scale.around(budgets, left + 2 * ASIDE, right, log=True),
        Scale.around(heights, bottom, top),
    )
    wide = Panel(Scale(panel.x.low, panel.x.high, left, right, log=True), panel.y)
    line = [(panel.x(one.amount), panel.y(one.figures.performance)) for one in best]
    parts = (
        charts.label(left, top - 14, metric.axis, kind="panel-name"),
        wide.rules(metric.ticks(panel.y.low, panel.y.high), metric.tick),
        _foot(panel, budgets, [resource.unit.named(int(value)) for value in budgets]),
        *(mark for one in shown if one.name is not None for mark in _hand_made(panel, one, metric, resource.title)),
        charts.polyline(line, "front"),
        *(mark for one in best for mark in _best(panel, one, metric, resource.title)),
        charts.label(right, HEIGHT - 12, f"budget, {resource.title}, logarithmic", kind="axis-name", anchor="end"),
    )
    box = f"0 0 {WIDTH:g} {HEIGHT:g}"
    title = f"{metric.name.capitalize()} against {resource.title}, {count(len(best), 'budget')}"
    return tag("svg", joined(parts), class_="chart", viewBox=box, role="img", aria_label=title, **place)


def _foot(panel: Panel, budgets: list[float], names: list[str]) -> Markup:
    bottom = max(panel.y.start, panel.y.end)
    parts = [charts.line((panel.x.start - 2 * ASIDE, bottom), (panel.x.end, bottom), "axis")]
    for value, name in zip(budgets, names, strict=True):
        parts.append(charts.line((panel.x(value), bottom), (panel.x(value), bottom + 4), "axis"))
        parts.append(charts.label(panel.x(value), bottom + 17, name, anchor="middle"))
    return joined(parts)


def _hand_made(panel: Panel, one: Mark, metric: Metric, title: str) -> Iterator[Markup]:
    x, value, tip = panel.x(one.amount) - ASIDE, one.figures.performance, one.tip(metric, title)
    if value < panel.y.low:
        yield charts.mark(x, panel.y.start, charts.WEDGE, "dot", tip=tip)
        return
    if one.figures.repeats:
        low, high = one.span
        yield charts.error_bar(x, panel.held(low), panel.y(high), "error start")
    yield charts.dot(x, panel.y(value), "dot chosen" if one.figures.repeats else "dot", tip=tip)


def _best(panel: Panel, one: Mark, metric: Metric, title: str) -> Iterator[Markup]:
    x, (low, high) = panel.x(one.amount), one.span
    if one.figures.repeats:
        yield charts.error_bar(x, panel.held(low), panel.y(high))
    yield charts.mark(x, panel.y(one.figures.performance), charts.DIAMOND, "again", tip=one.tip(metric, title))


# --- tables ----------------------------------------------------------------------------------------------------------


def octave_table(record: RunRecord) -> Table:
    """A row a budget: the best, the best hand-made network, and how they compare."""
    metric, rows = metric_of(record.settings), findings.octave_rows(record)
    verdicts = findings.octave_verdicts(rows)
    costs = [RESOURCES[name] for name in metric.resources[:3]]
    columns = {
        "budget": [findings.budget_name(octave) for octave, *_ in rows],
        metric.name: [metric.measured(best.performance, best.performance_sd, fine=True) for _, best, _ in rows],
        **{one.title: [one.unit.exact(best.recorded.resources[one.name]) for _, best, _ in rows] for one in costs},
        "best hand-made": [
            "" if start is None else octave.names.get(start.design.key, "") for octave, _, start in rows
        ],
        f"its {metric.name}": [
            "" if start is None else metric.measured(start.performance, start.performance_sd, fine=True)
            for *_, start in rows
        ],
        "difference": [gap for gap, _ in verdicts],
        "": [verdict for _, verdict in verdicts],
    }
    return Table.of(columns, words=("budget", "best hand-made", ""))


def start_table(octave: RunRecord) -> Table:
    """What a budget's search began with: hand-made networks, and what was found at a smaller budget."""
    metric, first = metric_of(octave.settings), [one for one in octave.of_step(0) if one.same_as is None]
    first.sort(key=lambda one: octave.settings.score.preference(one.evaluation), reverse=True)
    again = {one.design.key: one for one in octave.measured_again()}
    columns = {
        "began with": [octave.names.get(one.design.key, "found at a smaller budget") for one in first],
        "network": [str(one.design) for one in first],
        f"{metric.name}, one seed": [
            "failed" if one.evaluation.performance is None else metric.write(one.evaluation.performance, fine=True)
            for one in first
        ],
        "fresh seeds": [
            "" if (found := again.get(one.design.key)) is None
            else metric.measured(found.performance, found.performance_sd, fine=True)
            for one in first
        ],
    }  # fmt: skip
    return Table.of(columns, words=("began with", "network"))


def step_table(octave: RunRecord) -> Table:
    """What each step of a budget's search went on with."""
    metric, found = metric_of(octave.settings), steps(octave)
    columns = {
        "step": [str(one.number) for one in found],
        "change": ["" if not one.number else one.change for one in found],
        "network": [str(one.chosen.design) for one in found],
        metric.name: [
            "failed" if (value := one.chosen.evaluation.performance) is None else metric.write(value, fine=True)
            for one in found
        ],
    }
    return Table.of(columns, words=("change", "network"))


def lede(record: RunRecord) -> str:
    """How the figures were measured, and what that took."""
    rows, spent, metric = findings.octave_rows(record), record.spent(), metric_of(record.settings)
    if not rows:
        return f"{findings.count_words(record)}; no budget is done."
    best = [one for _, one, _ in rows]
    how = findings.measured_words(rows[0][0], best[0])
    shares = [octave.spent().training_macs / max(1, spent.training_macs) for octave in record.octaves]
    parts = ", ".join(
        f"{findings.budget_name(octave)} {percent(share, 0)}"
        for octave, share in zip(record.octaves, shares, strict=True)
    )
    return (
        f"{metric.name[0].upper()}{metric.name[1:]} on {metric.validation}: {how}. {findings.count_words(record)}: "
        f"{quantity(spent.samples)} training {metric.sample}s, {quantity(spent.training_macs)} MACs ({parts}), "
        f"{duration(spent.seconds)} of training."
    )

"""A comparison as people read it: one table, for page and terminal, and one HTML page with everything inline."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from autoshrink.comparing.comparison import REFERENCES, Comparison, Outcome, Row
from autoshrink.comparing.figures import Figure, band
from autoshrink.drawing import joined, tag
from autoshrink.formatting import count, number, quantity, round_quantity, signed
from autoshrink.metrics import Metric, metric_of
from autoshrink.report import charts
from autoshrink.report.charts import Panel, Scale
from autoshrink.report.templates import Table, asset, filled

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8b5a2b")
"""Okabe and Ito's, told apart by the colour-blind, and one more."""
DASHES = ("", "6 3", "2 3")
"""Beyond the last colour they come again, each dashed otherwise."""
WIDTH, HEIGHT = 1040.0, 460.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 1010.0, 30.0, 410.0
WORDS = ("strategy",)
"""Columns of words; the others are figures."""


def tables(comparison: Comparison) -> list[dict[str, list[str]]]:
    """The table in two that a page has room for: what was found, and what that took."""
    whole = columns(comparison)
    heads = list(whole)
    middle = heads.index("hypervolume") if "hypervolume" in heads else len(heads)
    parts = (heads[1:middle], heads[middle:])
    return [{head: whole[head] for head in ("strategy", *part)} for part in parts if part]


def columns(comparison: Comparison) -> dict[str, list[str]]:
    """The table by its heads; ± are standard errors over seeds."""
    metric, weighs, rows = metric_of(comparison.settings), comparison.settings.score.weighs, comparison.rows
    first = comparison.rows[0].name

    def each(of: str, digits: int) -> list[str]:
        return [_shown(row.figure(lambda one: getattr(one, of)), digits) for row in rows]

    paired = [comparison.against_first(row) for row in rows]
    found = {
        "strategy": [row.name for row in rows],
        "S": [_shown(row.figure(lambda one: one.named.score), 4) for row in rows],
        f"S − {first}'s": ["" if one is None else _shown(one.difference, 4, sign=True) for one in paired],
        "better": ["" if one is None else f"{one.wins} of {one.difference.seeds}" for one in paired],
        metric.name: [_performance(row, metric) for row in rows],
        weighs.title: [_amount(row, "cost", weighs.unit.short) for row in rows],
        "hypervolume": each("hypervolume", 3),
        "density": each("density", 1),
        "training MACs": [_searched(row, "training_macs") for row in rows],
        "evaluations": [_searched(row, "evaluations") for row in rows],
        "ρ": ["" if (one := row.figure(lambda each: each.spearman)) is None else signed(one.mean, 2) for row in rows],
        "retraining": [_searched(row, "retraining_macs") for row in rows],
        "failed": [str(len(row.failures)) if row.failures else "" for row in rows],
    }
    return {head: texts for head, texts in found.items() if any(texts)}


def _shown(figure: Figure | None, digits: int, *, sign: bool = False) -> str:
    if figure is None:
        return ""
    mean = signed(figure.mean, digits) if sign else number(figure.mean, digits)
    return mean if figure.error is None else f"{mean} ± {number(figure.error, digits)}"


def _performance(row: Row, metric: Metric) -> str:
    figure = row.figure(lambda one: one.named.performance)
    return "" if figure is None else metric.measured(figure.mean, figure.error, fine=True)


def _amount(row: Row, of: str, write: object) -> str:
    figure = row.figure(lambda one: getattr(one.named, of))
    return "" if figure is None or not callable(write) else str(write(figure.mean))


def _searched(row: Row, of: str) -> str:
    """Of a search; nothing of what was not searched for, but its training."""
    if row.name in REFERENCES and of != "retraining_macs":
        return ""
    figure = row.retraining_macs if of == "retraining_macs" else row.figure(lambda one: getattr(one, of))
    return "" if figure is None else quantity(figure.mean)


def notes(comparison: Comparison) -> tuple[str, ...]:
    """What a reader of the table has to know, a sentence or two each."""
    seeds = count(comparison.seeds, "seed")
    chance = "performance above guessing"
    start = comparison.rows[0].name
    found = [
        f"Every strategy had {quantity(comparison.budget)} training MACs in each of {seeds}, and may have ended before "
        "they were spent. A seed draws the samples anew; all strategies of a seed have the same.",
        f"S, {metric_of(comparison.settings).name} and hypervolume are of what was found, trained again by the whole "
        f"recipe with {count(comparison.retrained, 'fresh seed')} and judged on {comparison.judged_on or 'nothing'}; ± "
        "are standard errors over seeds. Differences are paired by seed; within two standard errors they are noise.",
        f"Hypervolume: decades of cost below what {start} starts from × {chance}. Density: {chance} for a million "
        "parameters. ρ: Spearman's, of a search's own estimates of S with its trainings from scratch.",
    ]
    return tuple(found)


def failures(comparison: Comparison) -> tuple[str, ...]:
    """Which searches failed, and why; of one reason only the first."""
    found: dict[str, str] = {}
    for row in comparison.rows:
        for seed, reason in row.failures.items():
            found.setdefault(f"{row.name}: {reason}", f"{row.name}, seed {seed}: {reason}")
    return tuple(found.values())


def headline(comparison: Comparison) -> str:
    """Who came out first, and whether that is more than noise."""
    searched = [row for row in comparison.rows if row.outcomes and row.name not in REFERENCES]
    ranked = sorted(searched, key=lambda row: -sum(row.scores().values()) / len(row.outcomes))
    if len(ranked) < 2:
        return f"{ranked[0].name}: the only strategy that found anything"
    best, second = ranked[:2]
    paired = {seed: score - second.scores()[seed] for seed, score in best.scores().items() if seed in second.outcomes}
    gap = Figure.of(paired.values())
    if gap is not None and gap.mean == 0:
        return f"{best.name} and {second.name} have the same S, and no strategy a higher one"
    said = f"{best.name} has the highest S, before {second.name}"
    if gap is None or gap.error is None:
        return f"{said}; of so few seeds nobody knows whether that is noise"
    clear = "more than two standard errors" if gap.mean > 2 * gap.error else "within two standard errors"
    return f"{said} by {number(gap.mean, 4)} ± {number(gap.error, 4)}: {clear}"


def page(comparison: Comparison, *, name: str) -> str:
    """The page; `name` is the folder's."""
    return filled(
        "comparison.html.j2",
        name=name,
        style=asset("style.css"),
        script=asset("run.js"),
        headline=headline(comparison),
        notes=notes(comparison),
        failures=failures(comparison),
        tables=[Table.of(one, words=WORDS) for one in tables(comparison)],
        seeds=Table.of(_by_seed(comparison), words=WORDS),
        curves=curves_svg(comparison),
        legend=[(row.name, *_look(place)) for place, row in enumerate(comparison.rows) if _courses(row)],
        comparison=comparison,
    )


def _by_seed(comparison: Comparison) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"strategy": [row.name for row in comparison.rows]}
    for seed in range(comparison.seeds):
        found[f"seed {seed}"] = [
            number(row.outcomes[seed].named.score, 4) if seed in row.outcomes else "failed" if row.failures else ""
            for row in comparison.rows
        ]
    return found


def _look(place: int) -> tuple[str, str]:
    return COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]


def _courses(row: Row) -> list[Sequence[tuple[float, float]]]:
    return [one.course for one in row.outcomes.values() if one.course]


def curves_svg(comparison: Comparison) -> Markup:
    """Best S so far against the training MACs spent, a line a strategy with a band of ± one standard error; what was
    named, judged alike, as a diamond where its search ended."""
    drawn = [(place, row, band(_courses(row))) for place, row in enumerate(comparison.rows) if _courses(row)]
    if not drawn:
        return Markup()
    ends = [(row, Figure.of(row.scores().values())) for _, row, _ in drawn]
    values = [end for _, _, found in drawn for _, figure in found for end in _span(figure)]
    values += [end for _, figure in ends if figure is not None for end in _span(figure)]
    spent = [place for _, _, found in drawn for place, _ in found]
    spent += [one.training_macs for _, row, _ in drawn for one in row.outcomes.values()]
    panel = Panel(Scale.around(spent, LEFT, RIGHT, log=True), Scale.around(charts.in_view(values), BOTTOM, TOP))
    parts = [
        panel.rules(panel.y.ticks(6), lambda value: f"{value:.4g}".replace("-", "−")),
        panel.foot(panel.x.ticks(8), round_quantity),
        charts.label((LEFT + RIGHT) / 2, BOTTOM + 40, "training MACs spent", anchor="middle"),
        charts.label(LEFT - 40, TOP - 12, "best S so far", kind="panel-name"),
    ]
    for place, row, found in drawn:
        colour, dash = _look(place)
        parts.append(_line(panel, row, found, colour, dash))
    return tag(
        "svg",
        tag("title", "Best S so far against training MACs"),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        class_="chart",
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
        role="img",
    )


def _span(figure: Figure) -> tuple[float, float]:
    error = figure.error or 0.0
    return figure.mean - error, figure.mean + error


def _line(panel: Panel, row: Row, found: Sequence[tuple[float, Figure]], colour: str, dash: str) -> Markup:
    last = max(one.training_macs for one in row.outcomes.values())
    whole = [*found, (float(last), found[-1][1])]
    middle, low, high = (
        charts.staircase([(panel.x(at), panel.held(value)) for at, value in points])
        for points in (
            [(at, figure.mean) for at, figure in whole],
            [(at, _span(figure)[0]) for at, figure in whole],
            [(at, _span(figure)[1]) for at, figure in whole],
        )
    )
    outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*high, *reversed(low)])
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in middle)
    parts = [
        tag("polygon", points=outline, fill=colour, fill_opacity="0.13"),
        tag("polyline", points=line, fill="none", stroke=colour, stroke_width="1.8", stroke_dasharray=dash or None),
        _end(panel, row, colour),
    ]
    return joined(parts)


def _end(panel: Panel, row: Row, colour: str) -> Markup:
    """The judged S where the search ended, with its error."""
    score, spent = Figure.of(row.scores().values()), row.figure(_macs)
    if score is None or spent is None:
        return Markup()
    x, (low, high) = panel.x(spent.mean), map(panel.held, _span(score))
    y = panel.held(score.mean)
    tip = f"{row.name}: S {_shown(score, 4)}, judged, after {quantity(spent.mean)} training MACs"
    return tag(
        "g",
        tag("path", d=f"M{x - 3:.1f} {low:.1f}h6m-3 0V{high:.1f}m-3 0h6", fill="none", stroke=colour),
        tag("path", tag("title", tip), d=f"M{x:.1f} {y:.1f}{charts.DIAMOND}", fill=colour),
    )


def _macs(one: Outcome) -> float:
    return one.training_macs

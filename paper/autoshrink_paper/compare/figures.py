"""The arithmetic of the comparison: fronts, hypervolume, means with their errors, the summary and its table.

Knows nothing of cells, data or training: performances (higher is better), costs, and JSON of what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHARES = (0.25, 0.5, 1.0)
"""Of the complete graph's cost: where the fronts' performances are read."""
BASE = "paper"
"""The method that the others are held against, seed by seed."""
OURS = "inherited"
"""The method whose hypervolume is held against the others'."""


@dataclass(frozen=True)
class Point:
    """A cell: its performance, higher is better, and what it costs."""

    performance: float
    cost: float


def pareto(points: Iterable[Point]) -> tuple[Point, ...]:
    """The points that no other beats in performance without costing more, cheapest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.performance)):
        if not front or point.performance > front[-1].performance:
            front.append(point)
    return tuple(front)


def hypervolume(points: Iterable[Point], reference: Point, perfect: float) -> float:
    """The area between a front and the reference point, in decades of cost.

    One axis is log10(reference cost / cost); the other is the performance above the reference's as a share of what a
    perfect model has above it. A point that costs more than the reference, or performs worse, adds nothing. A cost
    below one counts as one, as it does in S.
    """
    area = height = 0.0
    for point in pareto(points):
        decades = math.log10(reference.cost / max(1.0, point.cost))
        share = (point.performance - reference.performance) / (perfect - reference.performance)
        if decades > 0 and share > height:
            area += decades * (share - height)
            height = share
    return area


def best_within(points: Iterable[Point], cost: float) -> float | None:
    """The best performance that is to be had at a cost; None where every point costs more."""
    return max((point.performance for point in points if point.cost <= cost), default=None)


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and its standard error; that of a single value is unknown."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def paired(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, Any] | None:
    """First minus second over the seeds that both have: mean, standard error, and whether the first is not worse.

    Not worse: the mean difference is at least minus one standard error. Where that is unknown, so is the verdict.
    """
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    mean, error = mean_and_error([first[seed] - second[seed] for seed in shared])
    verdict = None if error is None else mean >= -error
    return {"seeds": len(shared), "mean": mean, "error": error, "not_worse": verdict}


def summarise(seeds: Mapping[str, Any]) -> dict[str, Any]:
    """A row for each method from what was written for each seed."""
    names = dict.fromkeys(name for seed in seeds.values() for name in seed["methods"])
    return {name: _row(name, seeds) for name in names}


def _row(name: str, seeds: Mapping[str, Any]) -> dict[str, Any]:
    scores, volumes, macs = (_column(seeds, name, field) for field in ("score", "hypervolume", "training_macs"))
    base_macs, ours = _column(seeds, BASE, "training_macs"), _column(seeds, OURS, "hypervolume")
    ratios = [macs[seed] / base_macs[seed] for seed in macs if base_macs.get(seed)]
    against = sorted(volumes.keys() & ours.keys())
    within = {
        f"{share:g}": _of([one["within"][f"{share:g}"] for one in _all(seeds, name).values()]) for share in SHARES
    }
    return {
        "score": _of(list(scores.values())),
        "performance": _of(list(_column(seeds, name, "performance").values())),
        "cost": _of(list(_column(seeds, name, "cost").values())),
        "score_minus_paper": paired(scores, _column(seeds, BASE, "score")),
        "training_macs": _of(list(macs.values())),
        "samples": _of(list(_column(seeds, name, "samples").values())),
        "macs_ratio_to_paper": _of(ratios),
        "hypervolume": _of(list(volumes.values())),
        "hypervolume_minus_paper": paired(volumes, _column(seeds, BASE, "hypervolume")),
        "inherited_has_more_hypervolume": {
            "seeds": len(against),
            "wins": sum(ours[seed] > volumes[seed] for seed in against),
        },
        "within": within,
    }


def _all(seeds: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {seed: one["methods"][name] for seed, one in seeds.items() if name in one["methods"]}


def _column(seeds: Mapping[str, Any], name: str, field: str) -> dict[str, float]:
    """One figure of a method, by seed: of its named cell, or of the method itself."""
    rows = _all(seeds, name)
    return {seed: row["named"][field] if field in row["named"] else row[field] for seed, row in rows.items()}


def _of(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    if not known:
        return {"seeds": 0, "mean": None, "error": None}
    mean, error = mean_and_error(known)
    return {"seeds": len(known), "mean": mean, "error": error}


def markdown(summary: Mapping[str, Any], resource: str) -> str:
    """The summary as two tables."""
    lines = [
        "| method | seeds | S, named cell | S − paper's | not worse | training MACs | of paper's | samples seen |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for name, row in summary.items():
        gap = None if name == BASE else row["score_minus_paper"]
        verdict = {True: "yes", False: "no", None: "–"}[gap and gap["not_worse"]]
        ratio = row["macs_ratio_to_paper"]["mean"]
        lines.append(
            f"| {name} | {row['score']['seeds']} | {_shown(row['score'])} | {_shown(gap, '+')} | {verdict} | "
            f"{_shown(row['training_macs'], kind='.3g')} | {'–' if ratio is None else f'{ratio:.3g}'} | "
            f"{row['samples']['mean']:,.0f} |"
        )
    heads = " | ".join(f"≤ {100 * share:g} % of {resource}" for share in SHARES)
    lines += [
        "",
        f"| method | performance, named cell | {resource}, named cell | hypervolume | {OURS} has more | {heads} |",
        "| --- | ---: | ---: | ---: | ---: |" + " ---: |" * len(SHARES),
    ]
    for name, row in summary.items():
        wins = row["inherited_has_more_hypervolume"]
        won = f"{wins['wins']} of {wins['seeds']}" if wins["seeds"] and name != OURS else "–"
        within = " | ".join(_of_some(one, row["score"]["seeds"]) for one in row["within"].values())
        lines.append(
            f"| {name} | {_shown(row['performance'])} | {row['cost']['mean']:,.0f} | {_shown(row['hypervolume'])} | "
            f"{won} | {within} |"
        )
    return "\n".join(lines)


def _of_some(figure: Mapping[str, Any], seeds: int) -> str:
    """With the number of seeds in which there is such a cell, where it is not all of them."""
    count = figure["seeds"]
    return _shown(figure) + (f" ({count} of {seeds} seeds)" if 0 < count < seeds else "")


def _shown(figure: Mapping[str, Any] | None, sign: str = "", kind: str = ".4f") -> str:
    if figure is None or figure["mean"] is None:
        return "–"
    error = "" if figure["error"] is None else f" ± {figure['error']:{kind}}"
    return f"{figure['mean']:{sign}{kind}}{error}"

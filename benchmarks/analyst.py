"""What steering a one-shot search is worth: a scripted analyst against nobody, and against one who is blind.

    python benchmarks/analyst.py [--seeds 5] [--table nasbench201.csv.gz --validation cifar10_val_short] [--json]

The analyst removes the quarter of the blocks that are left with the lowest fitness, after every third round
(`autoshrink.strategies.analyst.Cutting`); the blind one a quarter at random. Counted are different networks measured
until one is good enough; after thirty rounds it never was. Medians over the seeds.

Planted: 35 blocks, whose effects on accuracy add up, from 10 % of the worst design to 95 % of the best; some measured
with a noise of one point, as a thousand validation images have. Half of the blocks, or a quarter of them, are worth
having. Good enough is 95 % of the best accuracy, 90.25 %.

In a table of NAS-Bench-201 most cells are not far from the best, so the bar is higher: 95 % of the way from the median
cell to the best one.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from autoshrink.config import resolve
from autoshrink.design import Design
from autoshrink.resources import Resources
from autoshrink.score import Evaluation
from autoshrink.strategies import StrategyContext
from autoshrink.strategies.analyst import Analyst, Cutting, steer
from autoshrink.strategies.oneshot import OneShot
from autoshrink.testing.planted import Additive, PlantedSpace

BLOCKS = 35
WORST, BEST = 0.10, 0.95
REACHED = 0.95
ROUNDS = 30
Measure = Callable[[Design], Evaluation]


def searched(strategy: OneShot, measure: Measure, good: Callable[[Design], bool], analyst: Analyst | None) -> float:
    """How many networks are measured until one is good; ∞ where none ever is."""
    known: set[str] = set()
    step = 0
    while asked := strategy.ask():
        told = []
        for proposal in asked:
            if step and proposal.design.key not in known:
                known.add(proposal.design.key)
                if good(proposal.design):
                    return len(known)
            told.append(measure(proposal.design))
        strategy.tell(told)
        if analyst is not None:
            steer(strategy, analyst, step)
        step += 1
    return math.inf


def planted(seed: int, worthwhile: int, noise: float) -> Additive:
    """Effects of so many blocks that are worth having, and of others that are not, in accuracy."""
    rng = Random(seed)
    raw = [abs(rng.gauss(0, 1)) * (1 if place < worthwhile else -1) for place in range(BLOCKS)]
    scale = (BEST - WORST) / sum(map(abs, raw))
    base = WORST - scale * sum(one for one in raw if one < 0)
    effects = [(0.0, scale * one) for one in raw]
    effects[0] = (base, base + effects[0][1])
    return Additive(tuple(effects), noise, seed)


def settings(seed: int) -> Any:
    """Of a search as long as it takes, by accuracy alone."""
    return resolve({"seed": seed, "penalty": 0.0, "evaluator": "trained", "oneshot": {"rounds": ROUNDS}})


def planted_search(seed: int, worthwhile: int, noise: float, analyst: Analyst | None) -> float:
    """In 35 blocks."""
    objective = planted(seed, worthwhile, noise)
    strategy = OneShot(StrategyContext(settings(seed), PlantedSpace.switches(BLOCKS), lambda _: Resources(1, 1, 1)))
    return searched(strategy, objective, lambda one: objective.worth(one) >= REACHED * BEST, analyst)


def table_search(seed: int, options: argparse.Namespace, table: Any, analyst: Analyst | None) -> float:
    """In NAS-Bench-201."""
    from nasbench201_table import TableEvaluator, TableSpace  # noqa: PLC0415 - registers a task

    evaluator = TableEvaluator(table, options.validation)
    values = table.values[options.validation]
    middle, best = statistics.median(values.values()), max(values.values())
    bar = middle + REACHED * (best - middle)
    strategy = OneShot(StrategyContext(settings(seed), TableSpace(), evaluator.resources))
    return searched(strategy, evaluator.measured, lambda one: values.get(one, 0.0) >= bar, analyst)


def rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One for each objective and analyst."""
    objectives: list[tuple[str, Callable[[int, Analyst | None], float]]] = []
    for name, worthwhile in (("half", 17), ("a quarter", 9)):
        for noise in (0.0, 0.01):
            said = f"planted, {name} worth having{', noise of a point' if noise else ''}"
            objectives.append((said, lambda seed, who, w=worthwhile, n=noise: planted_search(seed, w, n, who)))  # type: ignore[misc]
    if options.table is not None:
        from nasbench201_table import Table  # noqa: PLC0415

        table = Table(options.table, [options.validation])
        objectives.append(("NAS-Bench-201", lambda seed, who: table_search(seed, options, table, who)))
    for name, search in objectives:
        alone = [search(seed, None) for seed in range(options.seeds)]
        cut = [search(seed, Cutting()) for seed in range(options.seeds)]
        blind = [search(seed, Cutting(blind=seed)) for seed in range(options.seeds)]
        medians = [statistics.median(found) for found in (alone, cut, blind)]
        yield {
            "objective": name,
            "seeds": options.seeds,
            **{
                who: {"median": _finite(middle), "each": [_finite(one) for one in found]}
                for who, middle, found in zip(("alone", "analyst", "blind"), medians, (alone, cut, blind), strict=True)
            },
            "saved": None if math.isinf(max(medians[:2])) else 1 - medians[1] / medians[0],
        }


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value


def table_of(found: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| objective | nobody | analyst | fewer | blind analyst |", "| --- | ---: | ---: | ---: | ---: |"]
    for row in found:
        counts = [
            "never" if row[who]["median"] is None else f"{row[who]['median']:.0f}"
            for who in ("alone", "analyst", "blind")
        ]
        saved = "–" if row["saved"] is None else f"{row['saved']:.0%}"
        lines.append(f"| {row['objective']} | {counts[0]} | {counts[1]} | {saved} | {counts[2]} |")
    return "\n".join(lines)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--table", type=Path, default=None)
    parser.add_argument("--validation", default="cifar10_val_short")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = list(rows(options))
    print(json.dumps({"rows": found}) if options.json else table_of(found))


if __name__ == "__main__":
    main()

"""Whether one supernet ranks cells of about equal cost as trainings of each from scratch do.

    AUTOSHRINK_DATA=path/to/data python benchmarks/one_shot.py --data digits cifar10 -o docs/benchmarks/one-shot.json

Cells are drawn as the supernet of a search draws them; of those whose MACs are within a tenth of the median's so many
are taken. The supernet is warmed up as in a search with ``--evaluator shared``, and judges each on all validation
images. Then each is trained from scratch, with two seeds unless others are asked for, and judged on the same images.
What the trainings of one seed say of those of another is the most that any estimate could.

Prints, for each data set, Spearman's ρ of the shared figures with the means of the trainings, with a 95 % bootstrap
interval over cells, the same of one seed with another and of MACs, and what both ways cost.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from autoshrink.cell import Cell
from autoshrink.config import resolve
from autoshrink.evaluation import EvaluatorContext, Job
from autoshrink.evaluators.measuring import Conditions
from autoshrink.evaluators.shared import SharedEvaluator
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.files import write_bytes
from autoshrink.priors import start_cell
from autoshrink.ranking import spearman, spearman_interval
from autoshrink.record import RunRecord
from autoshrink.score import Evaluation
from autoshrink.tasks import TASKS
from autoshrink.training.costs import DesignCosts
from autoshrink.watching import Observer

NEAR = 0.1
"""MACs of the cells are within this share of the median's."""
POOL = 300
"""Cells drawn to choose from."""
SMALL: dict[str, dict[str, Any]] = {
    "digits": {"recipe": {"epochs": 4}, "network": {"stem": 8, "widths": [8, 16]}},
    "cifar10": {
        "data": {"train_per_class": 100, "validation_per_class": 100, "size": 12},
        "recipe": {"epochs": 8, "batch": 32, "learning_rate": 0.004, "floor_epoch": None, "augment": False},
        "network": {"stem": 8, "widths": [8, 16]},
    },
}
"""Settings that a core does in a few minutes."""


def cells(space_draw: Callable[[random.Random], Any], costs: DesignCosts, count: int, seed: int) -> list[Cell]:
    """So many different cells of about the same MACs, or fewer where there are no more."""
    rng, found = random.Random(seed), dict[str, Cell]()
    for _ in range(POOL):
        cell = space_draw(rng)
        found.setdefault(cell.key, cell)
    middle = statistics.median(costs(one).macs for one in found.values())
    return [one for one in found.values() if abs(costs(one).macs / middle - 1) <= NEAR][:count]


def measured(name: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both figures of every cell on one data set, and how they agree."""
    asked = SMALL.get(name, {})
    asked = asked | {"data": asked.get("data", {}) | {"spec": name}}
    settings = resolve(
        asked
        | {"evaluator": "shared", "nodes": options.nodes, "shared": {"warm_up": options.warm_up}}
        | {"seed": options.seed, "threads": options.threads, "short_steps": 0, "device": "cpu"}
    )
    prepared = TASKS[settings.task].prepare(settings, Observer())
    settings, problem = prepared.settings or settings, prepared.problem(torch.device("cpu"))
    rng = random.Random(options.seed)
    start = start_cell("complete", kind="conv", nodes=options.nodes, rng=rng, draw="balanced", ops=None)
    costs, conditions = DesignCosts(problem.architecture), Conditions.of(settings)
    record = RunRecord(settings, {}, start, 0.0, 0.0, data=prepared.event)
    shared = SharedEvaluator.of(EvaluatorContext(record, problem, costs, folder))
    trained = TrainedEvaluator(problem, conditions, resources=costs)
    drawn = cells(shared.draw, costs, options.cells, options.seed)
    # The first job bears the warm-up.
    estimates = _in_order(shared.evaluate([Job(one, options.seed) for one in (start, *drawn)]), f"{name}, shared")
    seeds = [
        _in_order(trained.evaluate([Job(one, 100 + seed) for one in drawn]), f"{name}, from scratch, seed {seed}")
        for seed in range(options.repeats)
    ]
    values = [one.performance or 0.0 for one in estimates[1:]]
    again = [[one.performance or 0.0 for one in each] for each in seeds]
    truth = [statistics.fmean(each) for each in zip(*again, strict=True)]
    macs = [float(costs(one).macs) for one in drawn]
    return {
        "data": name,
        "cells": [
            {"cell": str(one), "macs": int(cost), "shared": value, "from_scratch": list(each)}
            for one, cost, value, each in zip(drawn, macs, values, zip(*again, strict=True), strict=True)
        ],
        "shared": _agreement(values, truth),
        "macs": _agreement(macs, truth),
        "one seed with another": _agreement(again[0], again[1]) if len(again) > 1 else None,
        "training_macs": {
            "shared": sum(one.spent.training_macs for one in estimates),
            "from scratch": sum(one.spent.training_macs for each in seeds for one in each),
        },
        "settings": settings.to_json(),
    }


def _in_order(found: Iterator[tuple[int, Evaluation]], said: str) -> list[Evaluation]:
    evaluations: dict[int, Evaluation] = {}
    for place, one in found:
        evaluations[place] = one
        print(f"{said}: {one.performance} ({one.spent.seconds:.0f} s)", file=sys.stderr, flush=True)
    return [evaluations[place] for place in sorted(evaluations)]


def _agreement(x: list[float], y: list[float]) -> dict[str, Any]:
    low, high = spearman_interval(x, y)
    return {"spearman": spearman(x, y), "low": low, "high": high, "cells": len(x)}


def main() -> None:
    """Train, judge, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits"])
    parser.add_argument("--cells", type=int, default=16)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--warm-up", type=float, default=5.0)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output")
    options = parser.parse_args()
    rows = []
    for name in options.data:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measured(name, options, Path(folder)))
        for what in ("shared", "macs", "one seed with another"):
            one = rows[-1][what]
            if one is not None:
                line = f"{name}: {what}: ρ = {one['spearman']:.2f} ({one['low']:.2f} … {one['high']:.2f})"
                print(line, file=sys.stderr)
    text = json.dumps({"torch": torch.__version__, "options": vars(options), "rows": rows}, indent=1)
    if options.output:
        write_bytes(Path(options.output), text.encode())
    print(text)


if __name__ == "__main__":
    main()

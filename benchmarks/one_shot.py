"""Whether one supernet ranks cells of about equal cost as trainings of each from scratch do.

    AUTOSHRINK_DATA=path/to/data python benchmarks/one_shot.py --data digits cifar10 --warm-up 5 20 \
      -o docs/benchmarks/one-shot.json

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


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of every cell on one data set, and how they agree."""
    asked = SMALL.get(name, {})
    settings = resolve(
        asked
        | {"data": asked.get("data", {}) | {"spec": name}, "evaluator": "shared", "nodes": options.nodes}
        | {"seed": options.seed, "threads": options.threads, "short_steps": 0, "device": "cpu"}
    )
    prepared = TASKS[settings.task].prepare(settings, Observer())
    settings, problem = prepared.settings or settings, prepared.problem(torch.device("cpu"))
    start = start_cell("complete", kind="conv", nodes=options.nodes, rng=random.Random(options.seed))
    costs = DesignCosts(problem.architecture)
    drawn: list[Cell] = []
    ways, spent = dict[str, list[float]](), dict[str, int]()
    for epochs in options.warm_up:
        changed = settings.changed({"shared": {"warm_up": epochs}})
        record = RunRecord(changed, {}, start, 0.0, 0.0, data=prepared.event)
        with tempfile.TemporaryDirectory() as folder:
            shared = SharedEvaluator.of(EvaluatorContext(record, problem, costs, Path(folder)))
            drawn = drawn or cells(shared.draw, costs, options.cells, options.seed)
            # The first job bears the warm-up.
            jobs = [Job(one, options.seed) for one in (start, *drawn)]
            way = f"shared, {epochs:g} epochs"
            found = _in_order(shared.evaluate(jobs), f"{name}, {way}")
        ways[way], spent[way] = _figures(found[1:]), sum(one.spent.training_macs for one in found)
    trained = TrainedEvaluator(problem, Conditions.of(settings), resources=costs)
    seeds = [
        _in_order(trained.evaluate([Job(one, 100 + seed) for one in drawn]), f"{name}, from scratch, seed {seed}")
        for seed in range(options.repeats)
    ]
    truth = [statistics.fmean(each) for each in zip(*map(_figures, seeds), strict=True)]
    ways["MACs"] = [float(costs(one).macs) for one in drawn]
    agreement = {way: _agreement(values, truth) for way, values in ways.items()}
    if len(seeds) > 1:
        agreement["one seed with another"] = _agreement(_figures(seeds[0]), _figures(seeds[1]))
    return {
        "data": name,
        "cells": [str(one) for one in drawn],
        "ways": ways | {f"from scratch, seed {seed}": _figures(found) for seed, found in enumerate(seeds)},
        "agreement": agreement,
        "training_macs": spent | {"from scratch": sum(one.spent.training_macs for each in seeds for one in each)},
        "settings": settings.to_json(),
    }


def _figures(found: list[Evaluation]) -> list[float]:
    return [one.performance or 0.0 for one in found]


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
    parser.add_argument("--warm-up", type=float, nargs="+", default=[5.0])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output")
    options = parser.parse_args()
    rows = []
    for name in options.data:
        rows.append(measured(name, options))
        for way, one in rows[-1]["agreement"].items():
            line = (
                f"{name}: {way}: ρ = {one['spearman']:.2f} ({one['low']:.2f} … {one['high']:.2f}), n = {one['cells']}"
            )
            print(line, file=sys.stderr)
    text = json.dumps({"torch": torch.__version__, "options": vars(options), "rows": rows}, indent=1)
    if options.output:
        write_bytes(Path(options.output), text.encode())
    print(text)


if __name__ == "__main__":
    main()

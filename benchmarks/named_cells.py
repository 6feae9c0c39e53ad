"""The cell that a strategy finds beside random cells of as many MACs, and a chain, and what the search cost.

    python benchmarks/named_cells.py --strategy ddpnas --run FOLDER [--data digits] [--among space] [--cells 20] \\
        [--settings '{"nodes": 6}']

Searches, or goes on with FOLDER where it was stopped; draws random cells whose MACs are within `--within` of those of
the best cell that the search found: of its space, or Erdős–Rényi graphs of as many nodes with operations drawn as the
start's were (``--among er``); and trains them and that cell alike: by the search's whole recipe, with one seed that no
search saw. Prints JSON: the cell's performance, the random ones', how many of them it beats; peak activation memory of
the cell, and of a chain of the same operations whose network is scaled to the same MACs, in bytes; and the MACs of
training that the search took up to its playoff's end, as a share of those of AutoShrink's procedure (the most that it
may take: every candidate trained from scratch at the start's cost).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from pathlib import Path

import autoshrink
from autoshrink.cell import Cell, cell_of
from autoshrink.config import SearchSettings
from autoshrink.design import Design
from autoshrink.errors import AutoshrinkError, InputError
from autoshrink.evaluation import Job
from autoshrink.evaluators.measuring import Conditions
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.priors import start_cell
from autoshrink.record import RunRecord
from autoshrink.seeding import derive_seed
from autoshrink.spaces import space_of
from autoshrink.spaces.cells import in_a_row
from autoshrink.store import has_run
from autoshrink.tasks import TASKS
from autoshrink.training.device import choose_device
from autoshrink.watching import Observer

DRAWS = 100_000
"""Cells that are drawn at most until enough are of the cost."""


def main() -> None:
    """Search, train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--strategy", default="ddpnas")
    parser.add_argument("--among", choices=("space", "er"), default="space", help="which random cells")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--settings", type=json.loads, default={}, help="of the search, as JSON")
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--within", type=float, default=0.1)
    options = parser.parse_args()
    try:
        if has_run(options.run):
            record = autoshrink.resume(options.run)
        else:
            data = {"spec": options.data} | options.settings.pop("data", {})
            record = autoshrink.search(
                {"data": data, "strategy": options.strategy, **options.settings}, run=options.run
            )
        print(json.dumps(compared(record, options)))
    except AutoshrinkError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def compared(record: RunRecord, options: argparse.Namespace) -> dict[str, object]:
    """The found cell and random ones of its cost, trained alike; fewer where not so many were found."""
    settings, best, cells = record.settings, record.found(), options.cells
    if best is None:
        raise InputError("the search found no cell")
    problem = TASKS[settings.task].prepare(settings, Observer()).problem(choose_device(settings.device))
    evaluator = TrainedEvaluator(problem, Conditions(settings.threads))
    space, rng = space_of(settings, record.start, record.data), random.Random(derive_seed(settings.seed, "cells"))
    macs, found = best.recorded.resources.macs, dict[str, Design]()
    for _ in range(DRAWS):
        one = space.random(rng) if options.among == "space" else erdos_renyi(settings, rng)
        if one.key != best.design.key and abs(evaluator.resources(one).macs / macs - 1) <= options.within:
            found.setdefault(one.key, one)
        if len(found) == cells:
            break
    seed = derive_seed(settings.seed, "named cell", "beside")
    trained = dict(evaluator.evaluate([Job(one, seed) for one in (best.design, *found.values())]))
    own, *others = (trained[place] for place in range(len(trained)))
    performances = sorted(one.performance for one in others if one.performance is not None)
    if own.performance is None or len(performances) < 2:
        raise InputError(f"of {len(trained)} cells too few could be trained")
    # AutoShrink's candidates: of every number of edges at most K.
    most = settings.candidates
    widths = [left if most == "all" else min(most, left) for left in space.outlook(record.start)]
    whole = own.spent.training_macs / own.resources.macs * evaluator.resources(record.start).macs
    return {
        "strategy": settings.strategy,
        "among": options.among,
        "cell": best.design.to_json(),
        "macs": macs,
        "performance": own.performance,
        "random": {
            "cells": len(performances),
            "median": statistics.median(performances),
            "best": performances[-1],
            "sd": statistics.stdev(performances),
            "beaten": sum(own.performance > one for one in performances),
        },
        **memories(record, cell_of(best.design), evaluator),
        "training_macs": record.spent_choosing().training_macs,
        "share_of_autoshrink_at_most": record.spent_choosing().training_macs / (whole * (1 + sum(widths))),
    }


def erdos_renyi(settings: SearchSettings, rng: random.Random) -> Design:
    """A cell of a random graph, whose density is drawn first."""
    task = TASKS[settings.task]
    spec = f"er:{rng.uniform(0.2, 1.0):.3f}"
    return start_cell(spec, kind=task.cell_kind, nodes=settings.nodes, rng=rng, draw=settings.draw, ops=settings.ops)


def memories(record: RunRecord, cell: Cell, evaluator: TrainedEvaluator) -> dict[str, object]:
    """Peak activation memory of the cell, and of a chain of its operations in a network of the same MACs."""
    settings, own = record.settings, evaluator.resources(cell)
    task, ops = TASKS[settings.task], tuple(cell.ops[node] for node in cell.reachable[1:])
    chain = task.scaled(
        task.proxy(in_a_row(cell.kind, ops), settings, record.data),
        lambda network: evaluator.resources(network).macs,
        own.macs,
    )
    if chain is None:
        return {"memory": own.memory, "chain": None}
    other = evaluator.resources(chain)
    return {
        "memory": own.memory,
        "chain": {"macs": other.macs, "memory": other.memory, "less": 1 - own.memory / other.memory},
    }


if __name__ == "__main__":
    main()

"""What DDPNAS finds beside random cells of as many MACs, and what each cost.

    AUTOSHRINK_DATA=path/to/data python benchmarks/ddpnas.py --run FOLDER [--data cifar10] [--cells 20] \\
        [--settings '{"nodes": 6}']

Searches with ``--strategy ddpnas``, or goes on with FOLDER where it was stopped; draws random cells of the same space
whose MACs are within `--within` of the named cell's; and trains them and that cell alike: by the search's whole recipe,
with one seed that no search saw. Prints JSON: the cell's performance, the random ones', how many of them it beats, and
the MACs of training that the search took up to its playoff's end, as a share of those of AutoShrink's procedure (the
most that it may take: every candidate trained from scratch at the start's cost).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from pathlib import Path

import autoshrink
from autoshrink.design import Design
from autoshrink.errors import AutoshrinkError, InputError
from autoshrink.evaluation import Job
from autoshrink.evaluators.measuring import Conditions
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.record import RunRecord
from autoshrink.seeding import derive_seed
from autoshrink.spaces import space_of
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
            record = autoshrink.search({"data": data, "strategy": "ddpnas", **options.settings}, run=options.run)
        print(json.dumps(compared(record, options.cells, options.within)))
    except AutoshrinkError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def compared(record: RunRecord, cells: int, within: float) -> dict[str, object]:
    """The named cell and random ones of its cost, trained alike; fewer where not so many were found."""
    settings, best = record.settings, record.best()
    if best is None:
        raise InputError("the search named no cell")
    problem = TASKS[settings.task].prepare(settings, Observer()).problem(choose_device(settings.device))
    evaluator = TrainedEvaluator(problem, Conditions(settings.threads))
    space, rng = space_of(settings, record.start, record.data), random.Random(derive_seed(settings.seed, "cells"))
    macs, found = best.recorded.resources.macs, dict[str, Design]()
    for _ in range(DRAWS):
        one = space.random(rng)
        if one.key != best.design.key and abs(evaluator.resources(one).macs / macs - 1) <= within:
            found.setdefault(one.key, one)
        if len(found) == cells:
            break
    seed = derive_seed(settings.seed, "ddpnas", "beside")
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
        "training_macs": record.spent_choosing().training_macs,
        "share_of_autoshrink_at_most": record.spent_choosing().training_macs / (whole * (1 + sum(widths))),
    }


if __name__ == "__main__":
    main()

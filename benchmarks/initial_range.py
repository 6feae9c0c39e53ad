"""Where the weights of a small recurrent cell start: the released search's ±.04 against a range that suits the width.

    python benchmarks/initial_range.py [--data pydocs] [--seeds 3]

Trains the complete cell of six nodes and smaller ones with the recipe of `autoshrink search --task text` from both
ranges. Prints JSON: validation perplexity of the best epoch for every seed, or why a training failed.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from typing import Any

import torch

from autoshrink.cell import Cell
from autoshrink.config import resolve
from autoshrink.evaluation import Job
from autoshrink.evaluators.measuring import Conditions
from autoshrink.evaluators.trained import TrainedEvaluator
from autoshrink.priors import start_cell
from autoshrink.tasks import TASKS
from autoshrink.watching import Observer


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="pydocs")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    complete = start_cell("complete", kind="recurrent", nodes=6, rng=random.Random(0))
    cells = [complete, Cell("recurrent", complete.ops, complete.edges[::2]), Cell("recurrent", complete.ops, ((0, 1),))]
    cells.append(Cell("recurrent", complete.ops, ()))
    found: dict[str, dict[str, list[Any]]] = {}
    for name, initial_range in (("±.04", 0.04), ("±.04·√(745/n)", None)):
        network = {"initial_range": initial_range} if initial_range else {}
        settings = resolve({"task": "text", "data": {"spec": options.data}, "network": network})
        problem = TASKS["text"].prepare(settings, Observer()).problem(torch.device("cpu"))
        evaluator = TrainedEvaluator(problem, Conditions(threads=torch.get_num_threads()))
        jobs = [Job(cell, seed) for cell in cells for seed in range(options.seeds)]
        rows: dict[str, list[Any]] = {}
        for position, evaluation in evaluator.evaluate(jobs):
            performance = evaluation.performance
            shown = evaluation.reason if performance is None else round(math.exp(-performance), 1)
            rows.setdefault(f"{len(jobs[position].cell.edges)} edges", []).append(shown)
        found[name] = rows
    print(json.dumps({"data": options.data, "perplexity": found}, ensure_ascii=False))


if __name__ == "__main__":
    main()

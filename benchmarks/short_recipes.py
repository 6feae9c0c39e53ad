"""What a search's short training makes of hand-made networks at a budget, by the recipe: as released, and at a budget.

    AUTOSHRINK_DATA=path/to/data python benchmarks/short_recipes.py --data cifar10 --macs 1M [--seeds 3] [--json]

Trains the families that a search at this budget begins with (or those of `--families`), by each recipe for the same
number of epochs and so of multiply-adds, with the product's own learner. Prints for each recipe and network the
accuracy after the last epoch, mean and standard deviation over seeds. A good recipe is high, and its deviation small
beside what networks differ by: the share of the variance of all figures that is between networks is printed too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

import torch

from autoshrink.architecture.image import ImageArchitecture
from autoshrink.budget import Budget
from autoshrink.cli.quantities import count
from autoshrink.config import resolve
from autoshrink.config.image import ImageSettings
from autoshrink.seeding import derive_seed
from autoshrink.spaces.families import at_budget, families
from autoshrink.tasks.image.problem import prepare
from autoshrink.training.device import repeatable
from autoshrink.watching import Observer

RECIPES: dict[str, dict[str, Any]] = {
    "Adam .004, constant, batch 128 (as released)": {"schedule": "constant", "learning_rate": 0.004, "batch": 128},
    "Adam .004, cosine, batch 128": {"schedule": "cosine", "learning_rate": 0.004, "batch": 128},
    "Adam .01, cosine, batch 128": {"schedule": "cosine", "learning_rate": 0.01, "batch": 128},
    "Adam .01, cosine, batch 64 (at a budget)": {"schedule": "cosine", "learning_rate": 0.01, "batch": 64},
    "Adam .01, cosine, batch 32": {"schedule": "cosine", "learning_rate": 0.01, "batch": 32},
}


def between(figures: dict[str, list[float]]) -> float:
    """The share of the variance that is between networks: intraclass correlation of single figures, one-way."""
    groups = list(figures.values())
    seeds = len(groups[0])
    among = seeds * statistics.variance([statistics.fmean(one) for one in groups])
    within = statistics.fmean([statistics.variance(one) for one in groups])
    return (among - within) / (among + (seeds - 1) * within)


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--macs", type=count, default=1_000_000)
    parser.add_argument("--train-per-class", type=int, default=1200)
    parser.add_argument("--validation-per-class", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--families", nargs="*", help="parts of their names; default: all")
    parser.add_argument("--json", action="store_true")
    said = parser.parse_args()
    data = {
        "spec": said.data,
        "train_per_class": said.train_per_class,
        "validation_per_class": said.validation_per_class,
    }
    rows = []
    networks: dict[str, ImageArchitecture] = {}
    for name, recipe in RECIPES.items():
        asked = {"data": data, "recipe": {"epochs": said.epochs, **recipe}, "budget": {"macs": said.macs}, "threads": 1}
        settings = resolve(asked)
        assert isinstance(settings, ImageSettings)
        with repeatable(1):
            prepared = prepare(settings, Observer())
            problem = prepared.problem(torch.device("cpu"))
            shape, classes = prepared.event["input"], len(prepared.event["classes"])
            found = at_budget(families(tuple(shape), classes), Budget(macs=said.macs))
            wanted = said.families or [""]
            networks = {one: net for one, net in found.items() if any(part in one for part in wanted)}
            figures: dict[str, list[float]] = {}
            began = time.process_time()
            for seed in range(said.seeds):
                for one, network in networks.items():
                    learner = problem.learner(network, derive_seed(seed, "short recipes"))
                    for epoch in range(said.epochs):
                        for _ in learner.epoch(epoch):
                            pass
                    accuracy = learner.validate_share(1.0).performance
                    figures.setdefault(one, []).append(accuracy)
                    print(f"{name}, {one}, seed {seed}: {accuracy:.2%}", file=sys.stderr, flush=True)
        seconds = (time.process_time() - began) / (said.seeds * len(networks))
        rows.append(
            {"recipe": name, "figures": figures, "seconds": round(seconds, 1), "between": round(between(figures), 3)}
        )
    if said.json:
        print(json.dumps({**vars(said), "rows": rows}, indent=1))
        return
    print("| recipe | " + " | ".join(networks) + " | between networks | seconds |")
    print("| --- |" + " ---: |" * (len(networks) + 2))
    for row in rows:
        cells = [
            f"{100 * statistics.fmean(one):.1f} ± {100 * statistics.stdev(one):.1f}" for one in row["figures"].values()
        ]
        print(f"| {row['recipe']} | " + " | ".join(cells) + f" | {row['between']:.2f} | {row['seconds']:.0f} |")


if __name__ == "__main__":
    main()
